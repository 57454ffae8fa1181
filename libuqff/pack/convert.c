/* From any container to any other. Types that the target has are kept, and blocks move as they are;
 * with a quant the model is packed. */
#include <string.h>

#include "pack/export.h"
#include "pack/quantized.h"

static bool ends_with(const char *text, const char *ending) {
    size_t n = strlen(text), m = strlen(ending);
    return n > m && strcmp(text + n - m, ending) == 0;
}

static bool is_float(uint32_t type) {
    return type == UQFF_TYPE_F32 || type == UQFF_TYPE_F16 || type == UQFF_TYPE_BF16;
}

/* ---- the target ------------------------------------------------------------------------------ */

static bool has_floats_only(const struct uqff_model *model) {
    for (size_t i = 0; i < uqff_model_module_count(model); i++) {
        if (!is_float(uqff_model_module(model, i)->type) ||
            uqff_quantized_label(model, i) != NULL) {
            return false;
        }
    }
    return true;
}

enum uqff_code uqff_convert_target(const struct uqff_model *model,
                                   const struct uqff_convert_options *options,
                                   enum uqff_convert_target *out, struct uqff_error *err) {
    const char *output = options != NULL ? options->output : NULL;
    if (output == NULL) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET, "%s: no output is named",
                         uqff_model_path(model));
    }
    bool directory = uqff_path_is_directory(output);
    enum uqff_convert_target by_name = !directory && ends_with(output, ".gguf") ? UQFF_CONVERT_GGUF
                                       : !directory && ends_with(output, ".uqff")
                                           ? UQFF_CONVERT_UQFF
                                           : UQFF_CONVERT_AUTO;
    struct uqff_quant quant;
    if (!directory && ends_with(output, ".safetensors")) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "%s: expected NAME.gguf, NAME.uqff or a directory, in which safetensors "
                         "get names of their own",
                         output);
    }
    *out = by_name != UQFF_CONVERT_AUTO ? by_name : options->target;
    if (by_name != UQFF_CONVERT_AUTO && options->target != UQFF_CONVERT_AUTO &&
        options->target != by_name) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "%s: a name that ends so is that of a file, but a directory was asked for",
                         output);
    }
    if (*out == UQFF_CONVERT_GGUF || *out == UQFF_CONVERT_UQFF) {
        return by_name == *out
                   ? UQFF_OK
                   : uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                               "%s: expected a name that ends in '.gguf' or '.uqff'", output);
    }
    if (*out != UQFF_CONVERT_AUTO) {
        return UQFF_OK;
    }
    bool floats = false;
    if (options->quant != NULL) {
        enum uqff_code code = uqff_quant_parse(options->quant, &quant, err);
        if (code != UQFF_OK) {
            return code;
        }
        floats = is_float(quant.type);
    } else {
        /* A file of the older UQFF is meant to become one of the newer. */
        floats = !uqff_model_is_legacy(model) && has_floats_only(model);
    }
    *out = floats ? UQFF_CONVERT_HF : UQFF_CONVERT_MISTRALRS;
    return UQFF_OK;
}

/* ---- what the target cannot hold ------------------------------------------------------------- */

static const char *const target_names[] = {
    [UQFF_CONVERT_HF] = "a Hugging Face directory",
    [UQFF_CONVERT_MISTRALRS] = "mistral.rs",
    [UQFF_CONVERT_UQFF] = "a multi-quant file",
    [UQFF_CONVERT_GGUF] = "a GGUF",
};

static bool holds(enum uqff_convert_target target, uint32_t type) {
    const struct uqff_type_info *info = uqff_type_info(type);
    if (info == NULL || (info->flags & UQFF_TYPE_ACTIVATIONS_ONLY) != 0) {
        return false;
    }
    switch (target) {
    case UQFF_CONVERT_HF:
        return is_float(type);
    case UQFF_CONVERT_MISTRALRS:
        return uqff_type_is_mistralrs(type) || type == UQFF_TYPE_MXFP4;
    case UQFF_CONVERT_UQFF:
    case UQFF_CONVERT_GGUF:
    case UQFF_CONVERT_AUTO:
        break;
    }
    return true;
}

/* What a type that the target lacks can become; the field's usual choices. */
static const char *suggestion(const struct uqff_model *model, enum uqff_convert_target target) {
    return target == UQFF_CONVERT_HF || uqff_model_kind(model) == UQFF_MODEL_HF
               ? "-q bf16 (or f16, f32) decodes it"
               : "-q QUANT, for instance -q q8_0, together with "
                 "--allow-requantize encodes it again";
}

static enum uqff_code check_types(const struct uqff_model *model, enum uqff_convert_target target,
                                  struct uqff_error *err) {
    for (size_t i = 0; i < uqff_model_module_count(model); i++) {
        const struct uqff_model_module *module = uqff_model_module(model, i);
        const char *label = uqff_quantized_label(model, i);
        if (label == NULL && module->type != UQFF_NO_TYPE && holds(target, module->type)) {
            continue;
        }
        const char *found = label != NULL                  ? label
                            : module->type == UQFF_NO_TYPE ? "of several types"
                                                           : uqff_type_name(module->type);
        return uqff_fail(err, UQFF_E_TYPE, UQFF_NO_OFFSET,
                         "%s: module '%s' is %s, which %s cannot hold; %s", uqff_model_path(model),
                         module->name, found, target_names[target], suggestion(model, target));
    }
    return UQFF_OK;
}

/* Names and configuration of a GGUF whose architecture is not known cannot be told in the terms of
 * other programs; our own container keeps them as they are. */
static enum uqff_code check_architecture(const struct uqff_model *model,
                                         enum uqff_convert_target target, struct uqff_error *err) {
    bool foreign = target == UQFF_CONVERT_HF || target == UQFF_CONVERT_MISTRALRS;
    if (!foreign || uqff_model_kind(model) != UQFF_MODEL_GGUF || uqff_model_arch(model) != NULL) {
        return UQFF_OK;
    }
    return uqff_fail(err, UQFF_E_UNSUPPORTED, UQFF_NO_OFFSET,
                     "%s: what Hugging Face calls the tensors of the architecture '%s', and its "
                     "config.json, are not known; a multi-quant file (NAME.uqff) takes it as it is",
                     uqff_model_path(model), uqff_model_config(model)->model_type);
}

/* ---- the ways -------------------------------------------------------------------------------- */

static struct uqff_export_options export_options(const struct uqff_convert_options *options,
                                                 const struct uqff_type_info *dtype) {
    return (struct uqff_export_options){
        .output = options->output,
        .dtype = dtype,
        .max_shard = options->max_shard,
        .memory = options->memory,
        .threads = options->threads,
        .overwrite = options->overwrite,
        .no_tokenizer = options->no_tokenizer,
        .warner = options->warner,
        .metadata = options->metadata,
        .metadata_count = options->metadata_count,
        .written = options->written,
    };
}

static enum uqff_code keep_types(const struct uqff_model *model, enum uqff_convert_target target,
                                 const struct uqff_convert_options *options,
                                 const struct uqff_progress *progress, struct uqff_error *err) {
    static const enum uqff_pack_format formats[] = {
        [UQFF_CONVERT_MISTRALRS] = UQFF_PACK_MISTRALRS,
        [UQFF_CONVERT_UQFF] = UQFF_PACK_UQFF,
        [UQFF_CONVERT_GGUF] = UQFF_PACK_GGUF,
    };
    const struct uqff_export_options export = export_options(options, NULL);
    if (uqff_model_is_legacy(model) && target == UQFF_CONVERT_MISTRALRS) {
        return uqff_convert_legacy(model, options, progress, err);
    }
    enum uqff_code code = check_types(model, target, err);
    if (code != UQFF_OK) {
        return code;
    }
    return target == UQFF_CONVERT_HF
               ? uqff_export_decoded(model, options->output, true, &export, progress, err)
               : uqff_export_plain(model, options->output, formats[target], &export, progress, err);
}

static enum uqff_code encode(const struct uqff_model *model, enum uqff_convert_target target,
                             const struct uqff_convert_options *options,
                             const struct uqff_progress *progress, struct uqff_error *err) {
    struct uqff_quant quant;
    enum uqff_code code = uqff_quant_parse(options->quant, &quant, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (target == UQFF_CONVERT_HF) {
        if (!is_float(quant.type)) {
            return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                             "%s: a Hugging Face directory holds floats, found the quant '%s', "
                             "expected bf16, f16 or f32",
                             options->output, options->quant);
        }
        const struct uqff_export_options export =
            export_options(options, uqff_type_info(quant.type));
        return uqff_export_decoded(model, options->output, false, &export, progress, err);
    }
    const struct uqff_pack_options pack = {
        .format = target == UQFF_CONVERT_GGUF        ? UQFF_PACK_GGUF
                  : target == UQFF_CONVERT_MISTRALRS ? UQFF_PACK_MISTRALRS
                                                     : UQFF_PACK_UQFF,
        .output = options->output,
        .quants = &options->quant,
        .quant_count = 1,
        .max_shard = options->max_shard,
        .memory = options->memory,
        .threads = options->threads,
        .allow_requantize = options->allow_requantize,
        .overwrite = options->overwrite,
        .no_tokenizer = options->no_tokenizer,
        .warner = options->warner,
        .metadata = options->metadata,
        .metadata_count = options->metadata_count,
    };
    struct uqff_pack_plan *plan = NULL;
    code = uqff_pack_plan_new(model, &pack, &plan, err);
    if (code == UQFF_OK) {
        code = uqff_export_tell(plan, options->written, err);
    }
    if (code == UQFF_OK) {
        code = uqff_pack_run(plan, progress, err);
    }
    uqff_pack_plan_free(plan);
    return code;
}

enum uqff_code uqff_convert(const struct uqff_model *model,
                            const struct uqff_convert_options *options,
                            const struct uqff_progress *progress, struct uqff_error *err) {
    enum uqff_convert_target target = UQFF_CONVERT_AUTO;
    enum uqff_code code = uqff_convert_target(model, options, &target, err);
    if (code == UQFF_OK) {
        code = check_architecture(model, target, err);
    }
    if (code == UQFF_OK && options->no_tokenizer && target != UQFF_CONVERT_GGUF) {
        code = uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "the tokenizer can be left out of a GGUF only");
    }
    if (code == UQFF_OK && options->metadata_count > 0 && target != UQFF_CONVERT_GGUF) {
        code =
            uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET, "metadata can be set in a GGUF only");
    }
    if (code != UQFF_OK) {
        return code;
    }
    return options->quant == NULL ? keep_types(model, target, options, progress, err)
                                  : encode(model, target, options, progress, err);
}
