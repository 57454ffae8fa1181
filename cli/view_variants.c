/* view: what each variant of a container costs, alone and beside the others. */
#include "view.h"

#include <stdio.h>
#include <string.h>

#include "output.h"
#include "table.h"

struct cost {
    uint64_t alone;     /* bytes of its blobs */
    uint64_t exclusive; /* of those that no other variant uses */
};

/* Bytes of the blobs that a file holds for its variants, each once. */
static uint64_t together(const struct uqff_container *container) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < uqff_container_blob_count(container); i++) {
        bytes += uqff_container_blob(container, i)->bytes;
    }
    return bytes;
}

/* How many variants use each blob; freed with uqff_free. NULL: no memory. */
static size_t *count_users(const struct uqff_container *container) {
    size_t *users = uqff_alloc_array(uqff_container_blob_count(container), sizeof *users);
    if (users == NULL) {
        return NULL;
    }
    for (size_t v = 0; v < uqff_container_variant_count(container); v++) {
        const struct uqff_variant *variant = uqff_container_variant(container, v);
        for (size_t m = 0; m < uqff_container_module_count(container); m++) {
            users[variant->blobs[m]]++;
        }
    }
    return users;
}

static struct cost cost_of(const struct uqff_container *container,
                           const struct uqff_variant *variant, const size_t *users) {
    struct cost cost = {.alone = variant->bytes};
    for (size_t m = 0; m < uqff_container_module_count(container); m++) {
        const size_t blob = variant->blobs[m];
        if (users[blob] == 1) {
            cost.exclusive += uqff_container_blob(container, blob)->bytes;
        }
    }
    return cost;
}

/* The types of a variant and how many modules have each, in order of first use. */
struct type_count {
    const char *label;
    uint64_t modules;
};

static size_t count_types(const struct uqff_container *container,
                          const struct uqff_variant *variant, struct type_count out[32]) {
    size_t count = 0;
    for (size_t m = 0; m < uqff_container_module_count(container); m++) {
        const char *label = uqff_container_blob(container, variant->blobs[m])->label;
        size_t i = 0;
        while (i < count && strcmp(out[i].label, label) != 0) {
            i++;
        }
        if (i == count) {
            if (count == 32) {
                continue; /* more types than formats have */
            }
            out[count++] = (struct type_count){label, 0};
        }
        out[i].modules++;
    }
    return count;
}

/* "q4_k 25, q6_k 4" */
static void add_types_cell(struct table *table, const struct uqff_container *container,
                           const struct uqff_variant *variant) {
    struct type_count types[32];
    struct uqff_buffer text = {0};
    const size_t count = count_types(container, variant, types);
    for (size_t i = 0; i < count; i++) {
        uqff_buffer_printf(&text, "%s%s %llu", i == 0 ? "" : ", ", types[i].label,
                           (unsigned long long)types[i].modules);
    }
    table_bytes(table, 60, text.data == NULL ? "" : text.data, text.size);
    uqff_buffer_free(&text);
}

static uint64_t residual_bytes(const struct view *view) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < uqff_container_residual_count(view->container); i++) {
        bytes += uqff_container_residual(view->container, i)->entry.tensor->bytes;
    }
    for (size_t i = 0; view->set != NULL && i < uqff_safetensors_set_count(view->set); i++) {
        bytes += uqff_safetensors_set_tensor(view->set, i).tensor->bytes;
    }
    return bytes;
}

static uint64_t asset_bytes(const struct view *view) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < uqff_container_asset_count(view->container); i++) {
        bytes += uqff_container_asset(view->container, i)->entry.tensor->bytes;
    }
    return bytes;
}

static void json_variants(const struct view *view, const size_t *users, cJSON *document) {
    const struct uqff_container *container = view->container;
    const size_t chosen = uqff_container_default(container);
    json_text(document, "default",
              chosen == UQFF_NONE ? NULL : uqff_container_variant(container, chosen)->name);
    cJSON *variants = json_array(document, "variants");
    for (size_t i = 0; i < uqff_container_variant_count(container); i++) {
        const struct uqff_variant *variant = uqff_container_variant(container, i);
        const struct cost cost = cost_of(container, variant, users);
        struct type_count types[32];
        const size_t count = count_types(container, variant, types);
        cJSON *object = json_object(variants, NULL);
        json_text(object, "name", variant->name);
        json_text(object, "recipe", variant->recipe);
        json_u64(object, "weights", variant->weights);
        json_u64(object, "bytes", cost.alone);
        json_u64(object, "exclusive_bytes", cost.exclusive);
        json_u64(object, "shared_bytes", cost.alone - cost.exclusive);
        cJSON *list = json_array(object, "types");
        for (size_t t = 0; t < count; t++) {
            cJSON *type = json_object(list, NULL);
            json_text(type, "type", types[t].label);
            json_u64(type, "modules", types[t].modules);
        }
    }
    json_u64(document, "blob_bytes", together(container));
    json_u64(document, "residual_bytes", residual_bytes(view));
    json_u64(document, "asset_bytes", asset_bytes(view));
}

static void add_row(const struct view *view, struct table *table, size_t i, const size_t *users) {
    const struct uqff_variant *variant = uqff_container_variant(view->container, i);
    const struct cost cost = cost_of(view->container, variant, users);
    char bits[16], name[160];
    output_cut(name, sizeof name, 40, variant->name, strlen(variant->name));
    table_cell(table, "%s%s", name, i == uqff_container_default(view->container) ? " *" : "");
    table_bytes(table, 30, variant->recipe, strlen(variant->recipe));
    table_size(table, cost.alone);
    table_text(table, output_bits(bits, cost.alone, variant->weights));
    table_size(table, cost.exclusive);
    table_size(table, cost.alone - cost.exclusive);
    add_types_cell(table, view->container, variant);
}

static enum uqff_code print_variants(const struct view *view, const size_t *users,
                                     struct uqff_error *err) {
    const size_t count = uqff_container_variant_count(view->container);
    struct table table = {0};
    uint64_t separate = 0;
    table_column(&table, "VARIANT", ALIGN_LEFT);
    table_column(&table, "RECIPE", ALIGN_LEFT);
    table_column(&table, "ALONE", ALIGN_RIGHT);
    table_column(&table, "BITS", ALIGN_RIGHT);
    table_column(&table, "ITS OWN", ALIGN_RIGHT);
    table_column(&table, "SHARED", ALIGN_RIGHT);
    table_column(&table, "TYPES (MODULES)", ALIGN_LEFT);
    for (size_t i = 0; i < count; i++) {
        add_row(view, &table, i, users);
        separate += uqff_container_variant(view->container, i)->bytes;
    }
    char text[32];
    table_total(&table);
    table_cell(&table, "together: %zu", count);
    table_text(&table, "");
    table_size(&table, together(view->container));
    table_text(&table, "");
    table_text(&table, "");
    table_text(&table, "");
    uqff_format_bytes(text, separate);
    table_cell(&table, "%s%s", count > 1 ? "apart they would take " : "", count > 1 ? text : "");
    enum uqff_code code = table_print(&table, view->cli, 0, err);
    if (code != UQFF_OK) {
        return code;
    }
    char residual[16], assets[16];
    uqff_format_bytes(residual, residual_bytes(view));
    uqff_format_bytes(assets, asset_bytes(view));
    if (uqff_container_is_multi(view->container)) {
        printf("each variant also needs the residual tensors (%s) and the side files (%s)\n",
               residual, assets);
    }
    if (uqff_container_default(view->container) != UQFF_NONE) {
        printf("* default\n");
    } else {
        printf("there is no default variant: mistral.rs cannot load this file\n");
    }
    return UQFF_OK;
}

enum uqff_code view_variants(struct view *view, cJSON *document, struct uqff_error *err) {
    if (view->container == NULL) {
        char kind[64];
        return uqff_fail(err, UQFF_E_UNSUPPORTED, UQFF_NO_OFFSET,
                         "%s: found %s, expected a UQFF file: no other has variants",
                         view->reference, view_kind(view, kind));
    }
    size_t *users = count_users(view->container);
    if (users == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = UQFF_OK;
    if (document != NULL) {
        json_variants(view, users, document);
    } else {
        code = print_variants(view, users, err);
    }
    uqff_free(users);
    return code;
}
