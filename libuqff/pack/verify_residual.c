/*
 * verify_residual: whether modules and residual tensors together are a whole model.
 *
 * What an architecture's residual must hold is not tabulated. Instead layers are compared with each
 * other: of layers that have the same modules each must have the same residual tensors. A norm that
 * was left behind in one layer shows so.
 */
#include <stdlib.h>
#include <string.h>

#include "pack/verify.h"

/* A name taken apart at its layer number: "model.layers.12.mlp.up_proj" is layer 12 of
 * "model.layers." with the rest "mlp.up_proj". A model with two towers has two prefixes. */
struct part {
    const char *name;
    size_t prefix; /* bytes of the name before the number; 0 outside the layers */
    int64_t layer; /* -1 outside */
    bool module;
    const char *rest;
};

struct layer {
    size_t first_module, modules; /* in the sorted parts */
    size_t first_tensor, tensors;
};

static struct part split_name(const char *name, bool module) {
    static const char *const marks[] = {"layers.", "blocks.", "h."};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        const size_t n = strlen(marks[i]);
        const char *at = strstr(name, marks[i]);
        if (at == NULL || (at != name && at[-1] != '.')) {
            continue;
        }
        int64_t layer = 0;
        size_t digits = 0;
        for (at += n; at[digits] >= '0' && at[digits] <= '9' && digits < 9; digits++) {
            layer = layer * 10 + (at[digits] - '0');
        }
        if (digits > 0 && at[digits] == '.') {
            return (struct part){name, (size_t)(at - name), layer, module, at + digits + 1};
        }
    }
    return (struct part){name, 0, -1, module, name};
}

static int compare_prefixes(const struct part *a, const struct part *b) {
    if (a->prefix != b->prefix) {
        return a->prefix < b->prefix ? -1 : 1;
    }
    return memcmp(a->name, b->name, a->prefix);
}

static int compare_parts(const void *left, const void *right) {
    const struct part *a = (const struct part *)left;
    const struct part *b = (const struct part *)right;
    const int order = compare_prefixes(a, b);
    if (order != 0) {
        return order;
    }
    if (a->layer != b->layer) {
        return a->layer < b->layer ? -1 : 1;
    }
    if (a->module != b->module) {
        return a->module ? -1 : 1;
    }
    return strcmp(a->rest, b->rest);
}

static bool same_modules(const struct part *parts, const struct layer *a, const struct layer *b) {
    if (a->modules != b->modules ||
        compare_prefixes(&parts[a->first_module], &parts[b->first_module]) != 0) {
        return false;
    }
    for (size_t i = 0; i < a->modules; i++) {
        if (strcmp(parts[a->first_module + i].rest, parts[b->first_module + i].rest) != 0) {
            return false;
        }
    }
    return true;
}

/* Tells what layer `a` has and layer `b` lacks. */
static void tell_missing(struct verify *verify, const char *where, const struct part *parts,
                         const struct layer *a, const struct layer *b) {
    size_t k = 0; /* both are sorted */
    for (size_t i = 0; i < a->tensors; i++) {
        const char *wanted = parts[a->first_tensor + i].rest;
        while (k < b->tensors && strcmp(parts[b->first_tensor + k].rest, wanted) < 0) {
            k++;
        }
        if (k == b->tensors || strcmp(parts[b->first_tensor + k].rest, wanted) != 0) {
            uqff_findings_add(verify, UQFF_FAILURE, "residual-incomplete",
                              "%s: layer %lld lacks the tensor '%s', which layer %lld has", where,
                              (long long)parts[b->first_module].layer, wanted,
                              (long long)parts[a->first_module].layer);
        }
    }
}

/* Compares each layer with the first one that has the same modules, both ways. */
static void compare_layers(struct verify *verify, const char *where, const struct part *parts,
                           const struct layer *layers, size_t count) {
    for (size_t i = 1; i < count; i++) {
        size_t first = 0;
        while (first < i && !same_modules(parts, &layers[first], &layers[i])) {
            first++;
        }
        if (first < i) {
            tell_missing(verify, where, parts, &layers[first], &layers[i]);
            tell_missing(verify, where, parts, &layers[i], &layers[first]);
        }
    }
}

/* Layers that have modules, by prefix and number; `out` has room for all parts. *longest is the
 * number of layers under the prefix that has most. */
static size_t find_layers(const struct part *parts, size_t count, struct layer *out,
                          size_t *longest) {
    size_t n = 0, run = 0;
    *longest = 0;
    for (size_t i = 0, next; i < count; i = next) {
        struct layer layer = {.first_module = i};
        for (next = i; next < count && parts[next].layer == parts[i].layer &&
                       compare_prefixes(&parts[next], &parts[i]) == 0;
             next++) {
            layer.modules += parts[next].module;
            layer.tensors += !parts[next].module;
        }
        layer.first_tensor = i + layer.modules;
        if (parts[i].layer < 0 || layer.modules == 0) {
            continue;
        }
        const bool same =
            n > 0 && compare_prefixes(&parts[out[n - 1].first_module], &parts[i]) == 0;
        run = same ? run + 1 : 1;
        *longest = run > *longest ? run : *longest;
        out[n++] = layer;
    }
    return n;
}

/* Strips an ending; NULL when the name has another. */
static const char *stem_of(const char *name, const char *ending, struct uqff_arena *arena,
                           bool *memory) {
    const size_t n = strlen(name), m = strlen(ending);
    if (n <= m || strcmp(name + n - m, ending) != 0) {
        return NULL;
    }
    const char *stem = uqff_arena_copy(arena, name, n - m);
    *memory = *memory && stem != NULL;
    return stem;
}

/* A module's weight must not lie in the residual as well, nor its bias there alone: mistral.rs
 * takes a bias only from where the weight is. *kept: the name is that of a bias that the module has
 * too. */
static enum uqff_code check_moved(struct verify *verify, const struct uqff_container *container,
                                  const char *name, const char *where, bool *kept,
                                  struct uqff_error *err) {
    struct uqff_arena arena = {0};
    bool memory = true;
    const char *weight = stem_of(name, ".weight", &arena, &memory);
    const char *bias = stem_of(name, ".bias", &arena, &memory);
    if (!memory) {
        uqff_arena_free(&arena);
        return uqff_fail_memory(err);
    }
    if (weight != NULL && uqff_container_find_module(container, weight) != UQFF_NONE) {
        uqff_findings_add(verify, UQFF_FAILURE, "residual-moved",
                          "%s: '%s' is a module of the UQFF file, expected it to be there alone",
                          where, name);
    }
    const size_t module = bias != NULL ? uqff_container_find_module(container, bias) : UQFF_NONE;
    *kept = module != UQFF_NONE && uqff_container_module(container, module)->has_bias;
    if (module != UQFF_NONE && !*kept) {
        uqff_findings_add(verify, UQFF_FAILURE, "bias",
                          "%s: '%s' lies apart from its module's weight, where mistral.rs does not "
                          "look for it",
                          where, name);
    }
    uqff_arena_free(&arena);
    return UQFF_OK;
}

static bool is_named(const char *name, const char *last) {
    const size_t n = strlen(name), m = strlen(last);
    return n >= m && strcmp(name + n - m, last) == 0 && (n == m || name[n - m - 1] == '.');
}

static bool has_tensor(const struct uqff_container *container, const char *const *names,
                       size_t count, const char *module, const char *weight) {
    for (size_t i = 0; i < uqff_container_module_count(container); i++) {
        if (is_named(uqff_container_module(container, i)->name, module)) {
            return true;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (is_named(names[i], weight)) {
            return true;
        }
    }
    return false;
}

static bool ends_in_norm(const struct part *part) {
    return part->layer < 0 && !part->module && strstr(part->rest, "norm") != NULL;
}

/* What nearly every model has outside its layers. Models of the vision and speech kinds name things
 * otherwise, so this is told of architectures alone that are known. */
static void check_outside(struct verify *verify, const struct uqff_container *container,
                          const struct uqff_config *config, const char *const *names, size_t count,
                          const struct part *parts, size_t part_count, const char *where) {
    const char *missing = NULL;
    if (config == NULL || (uqff_arch_find(config->architecture) == NULL &&
                           uqff_arch_find(config->model_type) == NULL)) {
        return;
    }
    bool norm = false;
    for (size_t i = 0; i < part_count; i++) {
        norm = norm || ends_in_norm(&parts[i]);
    }
    const bool embedding =
        has_tensor(container, names, count, "embed_tokens", "embed_tokens.weight");
    const bool head = has_tensor(container, names, count, "lm_head", "lm_head.weight");
    if (!norm) {
        missing = "a norm behind the layers";
    } else if (!embedding && !(config->tied && head)) {
        missing = "the token embedding";
    } else if (!head && !config->tied) {
        missing = "the output head";
    }
    if (missing != NULL) {
        uqff_findings_add(verify, UQFF_FAILURE, "residual-incomplete",
                          "%s: modules and residual tensors lack %s", where, missing);
    }
}

enum uqff_code uqff_verify_residual(struct verify *verify, const struct uqff_container *container,
                                    const struct uqff_config *config, const char *const *names,
                                    size_t count, const char *where, struct uqff_error *err) {
    const size_t modules = uqff_container_module_count(container);
    enum uqff_code code = UQFF_OK;
    struct part *parts = uqff_alloc_array(modules + count + 1, sizeof *parts);
    struct layer *layers = uqff_alloc_array(modules + count + 1, sizeof *layers);
    if (parts == NULL || layers == NULL) {
        code = uqff_fail_memory(err);
        goto out;
    }
    for (size_t i = 0; i < modules; i++) {
        parts[i] = split_name(uqff_container_module(container, i)->name, true);
    }
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        bool kept = false;
        code = check_moved(verify, container, names[i], where, &kept, err);
        /* A bias that is kept beside its module's is no part of a layer's pattern. */
        parts[modules + i] =
            kept ? (struct part){names[i], 0, -1, false, names[i]} : split_name(names[i], false);
    }
    if (code != UQFF_OK) {
        goto out;
    }
    qsort(parts, modules + count, sizeof *parts, compare_parts);
    size_t longest = 0;
    const size_t layer_count = find_layers(parts, modules + count, layers, &longest);
    compare_layers(verify, where, parts, layers, layer_count);
    if (config != NULL && config->layers > longest) {
        uqff_findings_add(verify, UQFF_FAILURE, "residual-incomplete",
                          "%s: %zu layers have modules, expected %llu", where, longest,
                          (unsigned long long)config->layers);
    }
    check_outside(verify, container, config, names, count, parts, modules + count, where);
out:
    uqff_free(parts);
    uqff_free(layers);
    return code;
}
