/* verify_modules: which of a container's default modules mistral.rs would load, and how well. */
#include <string.h>

#include "pack/verify.h"

struct subject {
    struct verify *verify;
    const struct uqff_container *container;
    const struct uqff_config *config; /* NULL: not known */
    const char *where;
    uint32_t version[3];
};

#define FAIL(subject, code, ...)                                                                   \
    uqff_findings_add((subject)->verify, UQFF_FAILURE, (code), __VA_ARGS__)
#define WARN(subject, code, ...)                                                                   \
    uqff_findings_add((subject)->verify, UQFF_WARNING, (code), __VA_ARGS__)

static bool is_float(uint32_t type) {
    const struct uqff_type_info *info = uqff_type_info(type);
    return info != NULL && (info->flags & UQFF_TYPE_IS_FLOAT) != 0;
}

static const char *last_component(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot != NULL ? dot + 1 : name;
}

/* ---- types ----------------------------------------------------------------------------------- */

static void check_type(const struct subject *subject, const struct uqff_module *module,
                       const struct uqff_blob *blob) {
    if (blob->format == UQFF_FORMAT_GGUF &&
        (blob->type == UQFF_TYPE_Q8_1 || blob->type == UQFF_TYPE_Q8_K)) {
        FAIL(subject, "unloadable-type",
             "%s: module '%s': blocks of %s, which mistral.rs writes but cannot load",
             subject->where, module->name, uqff_type_name(blob->type));
    }
    if (blob->format == UQFF_FORMAT_GGUF && is_float(blob->type) && module->rank == 2) {
        WARN(subject, "float-blocks",
             "%s: module '%s': %s as weight.format gguf grows to F32 in memory, expected "
             "weight.format unquant",
             subject->where, module->name, uqff_type_name(blob->type));
    }
    if (blob->format == UQFF_FORMAT_UNQUANT && blob->type != UQFF_TYPE_F32 &&
        blob->type != UQFF_TYPE_F16 && blob->type != UQFF_TYPE_BF16) {
        FAIL(subject, "unloadable-type",
             "%s: module '%s': unquantized %s, expected F32, F16 or BF16", subject->where,
             module->name, uqff_type_name(blob->type));
    }
}

/* mistral.rs reads whole rows of blocks. */
static void check_block(const struct subject *subject, const struct uqff_module *module,
                        const struct uqff_blob *blob) {
    const struct uqff_type_info *info = uqff_type_info(blob->type);
    if (blob->format == UQFF_FORMAT_GGUF && info != NULL &&
        module->shape[module->rank - 1] % info->block_length != 0) {
        FAIL(subject, "block",
             "%s: module '%s': rows of %llu weights, expected a multiple of %u for %s",
             subject->where, module->name, (unsigned long long)module->shape[module->rank - 1],
             (unsigned)info->block_length, info->name);
    }
}

/* What the version that the file gives itself did not have yet. */
static void check_version(const struct subject *subject, const struct uqff_module *module,
                          const struct uqff_blob *blob) {
    const uint32_t minor = subject->version[1];
    if (blob->format == UQFF_FORMAT_UNQUANT && minor < 1) {
        FAIL(subject, "version", "%s: module '%s': unquantized, which needs UQFF 1.1; found 1.%u",
             subject->where, module->name, minor);
    }
    if (strcmp(last_component(module->name), "embed_tokens") == 0 && minor < 2) {
        FAIL(subject, "version",
             "%s: module '%s': an embedding as a module needs UQFF 1.2; found 1.%u", subject->where,
             module->name, minor);
    }
}

static bool is_half(const struct uqff_config *config) {
    return config != NULL && (strcmp(config->torch_dtype, "bfloat16") == 0 ||
                              strcmp(config->torch_dtype, "float16") == 0);
}

/* True when AFQ's scales are F32: they lie beside the weight. */
static bool has_wide_scales(const struct subject *subject, const struct uqff_blob *blob) {
    const struct uqff_safetensors *file =
        uqff_container_shard(subject->container, blob->entry.shard);
    struct uqff_buffer name = {0};
    const struct uqff_st_tensor *scales = NULL;
    if (blob->format == UQFF_FORMAT_AFQ) {
        uqff_buffer_printf(&name, "%s.scales", blob->entry.tensor->name);
        scales = name.failed ? NULL : uqff_safetensors_find(file, name.data);
    }
    uqff_buffer_free(&name);
    return scales != NULL && scales->dtype == UQFF_DTYPE_F32;
}

/* mistral.rs multiplies in the model's dtype and takes entries larger than that for an error when
 * it maps layers to devices. */
static void check_dtype(const struct subject *subject, const struct uqff_module *module,
                        const struct uqff_blob *blob) {
    if (!is_half(subject->config)) {
        return;
    }
    if (blob->format == UQFF_FORMAT_UNQUANT && blob->type == UQFF_TYPE_F32) {
        WARN(subject, "dtype",
             "%s: module '%s': F32 in a model of dtype %s: larger than the dense model",
             subject->where, module->name, subject->config->torch_dtype);
    }
    if (has_wide_scales(subject, blob)) {
        WARN(subject, "dtype", "%s: module '%s': scales in F32, expected the model's dtype %s",
             subject->where, module->name, subject->config->torch_dtype);
    }
}

/* ---- experts --------------------------------------------------------------------------------- */

static bool has_digits_behind(const char *name, const char *part) {
    const char *at = strstr(name, part);
    return at != NULL && at[strlen(part)] >= '0' && at[strlen(part)] <= '9';
}

static void check_experts(const struct subject *subject, const struct uqff_module *module,
                          const struct uqff_blob *blob) {
    static const char *const stacked[] = {"gate_proj",    "up_proj",      "down_proj",
                                          "gate_up_proj", "input_linear", "output_linear"};
    if (has_digits_behind(module->name, ".experts.")) {
        FAIL(subject, "experts",
             "%s: module '%s': a single expert, expected all of them stacked under gate_proj, "
             "up_proj and down_proj",
             subject->where, module->name);
        return;
    }
    if (module->rank != 3) {
        return;
    }
    if (blob->format == UQFF_FORMAT_HQQ || blob->format == UQFF_FORMAT_FP8 ||
        blob->format == UQFF_FORMAT_F8Q8) {
        FAIL(subject, "experts", "%s: module '%s': stacked experts cannot be weight.format %s",
             subject->where, module->name, uqff_format_name(blob->format));
    }
    const char *last = last_component(module->name);
    for (size_t i = 0; i < sizeof stacked / sizeof stacked[0]; i++) {
        if (strcmp(last, stacked[i]) == 0) {
            return;
        }
    }
    WARN(subject, "experts",
         "%s: module '%s': a stack under a name that mistral.rs does not look for", subject->where,
         module->name);
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* A tied model reads its head from the embedding. */
static void check_tied(const struct subject *subject) {
    bool head = false, embedding = false;
    for (size_t i = 0; i < uqff_container_module_count(subject->container); i++) {
        const char *last = last_component(uqff_container_module(subject->container, i)->name);
        head = head || strcmp(last, "lm_head") == 0;
        embedding = embedding || strcmp(last, "embed_tokens") == 0;
    }
    if (subject->config != NULL && subject->config->tied && head && embedding) {
        WARN(subject, "tied",
             "%s: the model ties its head to the embedding, yet 'lm_head' is stored too",
             subject->where);
    }
}

/* mistral.rs takes a name without a dot for a file of before 1.0. */
static void check_names(const struct subject *subject) {
    for (size_t s = 0; s < uqff_container_shard_count(subject->container); s++) {
        const struct uqff_safetensors *file = uqff_container_shard(subject->container, s);
        for (size_t i = 0; i < uqff_safetensors_count(file); i++) {
            const struct uqff_st_tensor *tensor = uqff_safetensors_tensor(file, i);
            if (strchr(tensor->name, '.') == NULL) {
                FAIL(subject, "name", "%s: '%s': a name without a dot, as files before 1.0 had",
                     uqff_source_name(uqff_safetensors_source(file)), tensor->name);
            }
        }
    }
}

void uqff_verify_modules(struct verify *verify, const struct uqff_container *container,
                         const struct uqff_config *config) {
    struct subject subject = {
        .verify = verify,
        .container = container,
        .config = config,
        .where = uqff_source_name(uqff_safetensors_source(uqff_container_shard(container, 0))),
    };
    uqff_container_version(container, subject.version);
    check_names(&subject);
    const size_t chosen = uqff_container_default(container);
    if (chosen == UQFF_NONE) {
        FAIL(&subject, "no-default",
             "%s: no variant is the default, so mistral.rs finds nothing to load", subject.where);
        return;
    }
    const size_t *blobs = uqff_container_variant(container, chosen)->blobs;
    for (size_t i = 0; i < uqff_container_module_count(container); i++) {
        const struct uqff_module *module = uqff_container_module(container, i);
        const struct uqff_blob *blob = uqff_container_blob(container, blobs[i]);
        check_type(&subject, module, blob);
        check_block(&subject, module, blob);
        check_version(&subject, module, blob);
        check_dtype(&subject, module, blob);
        check_experts(&subject, module, blob);
    }
    check_tied(&subject);
}
