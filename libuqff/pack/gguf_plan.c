/* Layouts and files of the GGUFs of a plan. */
#include "pack/gguf.h"

#include <string.h>

static const char suffix[] = ".gguf";

/* ---- where ----------------------------------------------------------------------------------- */

enum uqff_code uqff_gguf_place(struct uqff_pack_plan *plan, struct uqff_error *err) {
    const char *output = plan->options.output;
    if (output == NULL || uqff_pack_means_directory(output)) {
        plan->directory = output != NULL ? output : ".";
        return UQFF_OK;
    }
    const char *name = uqff_path_name(output);
    size_t length = strlen(name), ending = sizeof suffix - 1;
    if (length <= ending || strcmp(name + length - ending, suffix) != 0) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "%s: expected a name that ends in '%s', or a directory; the name of one "
                         "that is to be made ends in '/'",
                         output, suffix);
    }
    if (plan->options.quant_count > 1) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "%s: each of the %zu quantizations becomes a file of its own, so a "
                         "directory is expected",
                         output, plan->options.quant_count);
    }
    plan->stem = uqff_arena_copy(&plan->arena, name, length - ending);
    return plan->stem == NULL ? uqff_fail_memory(err) : uqff_pack_keep_directory(plan, output, err);
}

/* "storyteller-Q4_K_M" */
static const char *stem_of(struct uqff_pack_plan *plan, size_t variant) {
    const char *model = uqff_model_name(plan->model);
    if (plan->stem != NULL) {
        return plan->stem;
    }
    char *stem = uqff_arena_printf(&plan->arena, "%s-%s", model, plan->quants[variant].name);
    for (char *c = stem != NULL ? stem + strlen(model) : NULL; c != NULL && *c != '\0'; c++) {
        *c = (char)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c == ':' ? '-' : *c);
    }
    return stem;
}

static enum uqff_code list_files(struct uqff_pack_plan *plan, struct uqff_error *err) {
    const struct gguf_plan *gguf = plan->gguf;
    enum uqff_code code = UQFF_OK;
    size_t count = 0;
    for (size_t i = 0; i < plan->variant_count; i++) {
        count += uqff_gguf_layout_file_count(gguf->outputs[i].layout);
    }
    plan->files = uqff_arena_array(&plan->arena, count, sizeof *plan->files);
    if (plan->files == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < plan->variant_count && code == UQFF_OK; i++) {
        const struct gguf_output *output = &gguf->outputs[i];
        size_t files = uqff_gguf_layout_file_count(output->layout);
        for (size_t k = 0; k < files && code == UQFF_OK; k++) {
            char *name = uqff_gguf_layout_file_name(output->layout, output->stem, k);
            code = name == NULL
                       ? uqff_fail_memory(err)
                       : uqff_pack_add_file(plan, name,
                                            uqff_gguf_layout_file_bytes(output->layout, k), err);
            uqff_free(name);
        }
    }
    return code;
}

/* ---- what the model is ----------------------------------------------------------------------- */

static enum uqff_code fail_unknown(struct uqff_pack_plan *plan, struct uqff_error *err) {
    const struct uqff_config *config = uqff_model_config(plan->model);
    const char *names = uqff_gguf_arch_names(&plan->arena);
    if (names == NULL) {
        return uqff_fail_memory(err);
    }
    return uqff_fail(err, UQFF_E_UNSUPPORTED, UQFF_NO_OFFSET,
                     "%s: how a GGUF keeps the architecture '%s' is not known: the names of its "
                     "tensors and metadata are missing; known are %s; the other formats take it",
                     uqff_model_path(plan->model),
                     config->architecture[0] != '\0' ? config->architecture : config->model_type,
                     names);
}

enum uqff_code uqff_gguf_open_carried(const struct uqff_model *model, struct uqff_gguf **out,
                                      struct uqff_error *err) {
    static const char name[] = "gguf-metadata.bin";
    char *bytes = NULL;
    size_t size = 0, i = 0;
    *out = NULL;
    while (i < uqff_model_asset_count(model) &&
           strcmp(uqff_model_asset_path(model, i), name) != 0) {
        i++;
    }
    if (i == uqff_model_asset_count(model)) {
        return UQFF_OK;
    }
    enum uqff_code code = uqff_model_read_asset(model, i, &bytes, &size, err);
    if (code == UQFF_OK) {
        code = uqff_gguf_open_keys(bytes, size, name, out, err);
    }
    uqff_free(bytes);
    return code;
}

/* Metadata that came along from a GGUF describe the model still, unless its configuration speaks of
 * another architecture. */
static enum uqff_code open_carried(struct uqff_pack_plan *plan, struct uqff_error *err) {
    const struct uqff_model *model = plan->model;
    const struct uqff_arch *arch = uqff_model_arch(model);
    struct gguf_plan *gguf = plan->gguf;
    struct uqff_gguf_string found_name;
    bool found = false;
    enum uqff_code code = uqff_gguf_open_carried(model, &gguf->carried, err);
    if (code == UQFF_OK && gguf->carried != NULL) {
        code =
            uqff_gguf_get_string(gguf->carried, "general.architecture", &found, &found_name, err);
    }
    if (code != UQFF_OK || gguf->carried == NULL) {
        return code;
    }
    if (arch != NULL && (!found || found_name.length != strlen(arch->gguf_name) ||
                         memcmp(found_name.bytes, arch->gguf_name, found_name.length) != 0)) {
        uqff_warn(plan->options.warner,
                  "%s: gguf-metadata.bin is about another architecture than config.json and is "
                  "passed over",
                  uqff_model_path(model));
        return UQFF_OK;
    }
    gguf->source = gguf->carried;
    return UQFF_OK;
}

static enum uqff_code find_architecture(struct uqff_pack_plan *plan, struct uqff_error *err) {
    struct gguf_plan *gguf = plan->gguf;
    const struct uqff_arch *arch = uqff_model_arch(plan->model);
    gguf->arch = uqff_gguf_arch(arch);
    gguf->source = uqff_model_gguf(plan->model);
    gguf->architecture = arch != NULL ? arch->gguf_name : "";
    if (gguf->source != NULL) {
        return UQFF_OK;
    }
    enum uqff_code code = open_carried(plan, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (gguf->arch == NULL) {
        return gguf->source != NULL ? UQFF_OK : fail_unknown(plan, err);
    }
    uqff_gguf_numbers(gguf->arch, uqff_model_config(plan->model), &gguf->numbers);
    if (gguf->source == NULL) {
        uqff_gguf_untold(plan);
    }
    return UQFF_OK;
}

static enum uqff_code open_vocabulary(struct uqff_pack_plan *plan, struct uqff_error *err) {
    if (plan->gguf->source != NULL || plan->options.no_tokenizer) {
        return UQFF_OK;
    }
    enum uqff_code code =
        uqff_vocabulary_open(plan->model, plan->options.warner, &plan->gguf->vocabulary, err);
    if (code == UQFF_E_MISSING) {
        return uqff_fail(err, UQFF_E_MISSING, UQFF_NO_OFFSET,
                         "%s: there is neither tokenizer.json nor tokenizer.model; a GGUF without "
                         "tokenizer must be asked for (--no-tokenizer)",
                         uqff_model_path(plan->model));
    }
    return code;
}

/* ---- layouts --------------------------------------------------------------------------------- */

static enum uqff_code add_tensors(struct uqff_pack_plan *plan, size_t variant,
                                  struct uqff_error *err) {
    const struct gguf_plan *gguf = plan->gguf;
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < gguf->count && code == UQFF_OK; i++) {
        const struct gguf_entry *entry = &gguf->entries[i];
        uint32_t type =
            entry->kind == GGUF_MODULE ? plan->types[variant][entry->index] : entry->type;
        code = uqff_gguf_layout_add(gguf->outputs[variant].layout, entry->name, type, entry->ne,
                                    entry->n_dims, err);
    }
    return code;
}

static enum uqff_code make_layout(struct uqff_pack_plan *plan, size_t variant,
                                  struct uqff_error *err) {
    struct gguf_output *output = &plan->gguf->outputs[variant];
    uint64_t alignment = plan->options.alignment;
    output->stem = stem_of(plan, variant);
    if (output->stem == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code =
        uqff_gguf_layout_new(alignment != 0 ? alignment : 32, &output->layout, err);
    if (code == UQFF_OK) {
        code = uqff_gguf_metadata(plan, variant, err);
    }
    if (code == UQFF_OK && alignment != 0 && plan->gguf->source != NULL) {
        code =
            uqff_gguf_set_u64(output->layout, "general.alignment", UQFF_GGUF_U32, alignment, err);
    }
    if (code == UQFF_OK) {
        code = add_tensors(plan, variant, err);
    }
    if (code == UQFF_OK) {
        code = uqff_gguf_layout_finish(output->layout, plan->options.max_shard, 0, err);
    }
    if (code != UQFF_OK) {
        uqff_error_prefix(err, "%s%s", output->stem, suffix);
    }
    return code;
}

/* Bytes of the tensors that are no modules, the same in all variants. */
static uint64_t other_bytes(const struct gguf_plan *gguf) {
    uint64_t sum = 0;
    for (size_t i = 0; i < gguf->count; i++) {
        size_t file = 0;
        uint64_t offset = 0, bytes = 0;
        uqff_gguf_layout_place(gguf->outputs[0].layout, i, &file, &offset, &bytes);
        sum += gguf->entries[i].kind == GGUF_MODULE ? 0 : bytes;
    }
    return sum;
}

enum uqff_code uqff_gguf_plan(struct uqff_pack_plan *plan, struct uqff_error *err) {
    plan->gguf = uqff_arena_alloc(&plan->arena, sizeof *plan->gguf);
    if (plan->gguf == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = find_architecture(plan, err);
    if (code == UQFF_OK) {
        code = uqff_gguf_tensors(plan, err);
    }
    if (code == UQFF_OK) {
        code = open_vocabulary(plan, err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    plan->gguf->outputs =
        uqff_arena_array(&plan->arena, plan->variant_count, sizeof *plan->gguf->outputs);
    if (plan->gguf->outputs == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < plan->variant_count && code == UQFF_OK; i++) {
        plan->gguf->output_count = i + 1;
        code = make_layout(plan, i, err);
    }
    uqff_vocabulary_close(plan->gguf->vocabulary);
    plan->gguf->vocabulary = NULL;
    if (code != UQFF_OK) {
        return code;
    }
    plan->residual_bytes = other_bytes(plan->gguf);
    return list_files(plan, err);
}

void uqff_gguf_plan_free(struct gguf_plan *gguf) {
    if (gguf == NULL) {
        return;
    }
    for (size_t i = 0; i < gguf->output_count; i++) {
        uqff_gguf_layout_free(gguf->outputs[i].layout);
    }
    uqff_vocabulary_close(gguf->vocabulary);
    uqff_gguf_close(gguf->carried);
    uqff_free(gguf->entries);
}
