/* uqff export: one variant in another container. */
#include "cmd.h"

#include <string.h>

#include "json.h"
#include "output.h"
#include "progress.h"

#include "uqff/pack.h"

struct values {
    const char *output;
    unsigned format, dtype;
    bool no_tokenizer;
    uint64_t max_shard, memory;
};

#define AT(member) offsetof(struct values, member)

enum { FORMAT_UNSET, FORMAT_MISTRALRS, FORMAT_SAFETENSORS, FORMAT_GGUF };

static const struct option options[] = {
    {"output", 'o', "OUT", OPTION_TEXT, AT(output), COMPLETE_OUTPUT,
     "the model's name and the variant's, here", "a directory, or NAME.gguf"},
    {"format", 0, "mistralrs|safetensors|gguf", OPTION_CHOICE, AT(format), COMPLETE_NONE,
     "mistralrs",
     "a directory as mistral.rs wants it, decoded weights in Hugging Face layout, or a GGUF file "
     "for "
     "llama.cpp"},
    NO_TOKENIZER_OPTION(AT(no_tokenizer)),
    {"dtype", 0, "f32|f16|bf16", OPTION_CHOICE, AT(dtype), COMPLETE_NONE,
     "what config.json says, else bf16", "safetensors: type of the decoded weights"},
    MAX_SHARD_OPTION(AT(max_shard)),
    MEMORY_OPTION(AT(memory)),
    {0},
};

static const struct positional positionals[] = {
    {"MODEL", false, false, COMPLETE_FILE, "what to export; MODEL#variant names a variant"},
    {0},
};

static const char *const description[] = {
    "Writes one variant of a model in another container: the one that is named behind '#', else "
    "the "
    "default.",
    "With --format mistralrs nothing is encoded again: the result is byte for byte what packing "
    "that "
    "quant alone gives. So it is with --format gguf, where blocks go over as they are and only "
    "rows of "
    "q and k change places. With --format safetensors the weights are decoded; what they lost when "
    "they were "
    "quantized stays lost.",
    NULL,
};

static const char *const json[] = {
    "    schema      \"uqff.export/1\"\n"
    "    path        the model\n"
    "    variant     its name, or null\n"
    "    format      \"mistralrs\", \"safetensors\" or \"gguf\"\n"
    "    output      the directory or file that was written, the first of several\n"
    "    warnings    [text]",
    NULL,
};

static const struct example examples[] = {
    {"uqff export storyteller.uqff#q8_0 -o storyteller-q8_0", "A directory for mistral.rs:"},
    {"uqff export storyteller.uqff#q4_k_m --format safetensors --dtype f16 -o decoded",
     "Weights for a program that reads safetensors only:"},
    {"uqff export storyteller.uqff#q8_0 --format gguf -o q8.gguf", "A file for llama.cpp:"},
    {0},
};

static const char *variant_name(const struct uqff_model *model) {
    const struct uqff_container *container = uqff_model_container(model);
    const size_t variant = uqff_model_variant(model);
    return container == NULL || variant == UQFF_NONE
               ? NULL
               : uqff_container_variant(container, variant)->name;
}

/* Where an export without -o goes: <name>-<variant> or <name>-<VARIANT>.gguf here. */
static const char *default_output(struct cli *cli, const struct uqff_model *model, bool gguf) {
    const char *variant = variant_name(model), *name = uqff_model_name(model);
    if (!gguf) {
        return uqff_arena_printf(&cli->arena, "%s-%s", name, variant == NULL ? "export" : variant);
    }
    if (variant == NULL) {
        return uqff_arena_printf(&cli->arena, "%s-export.gguf", name);
    }
    char *upper = uqff_arena_copy(&cli->arena, variant, strlen(variant));
    for (char *c = upper; c != NULL && *c != '\0'; c++) {
        *c = (char)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c == ':' ? '-' : *c);
    }
    return upper == NULL ? NULL : uqff_arena_printf(&cli->arena, "%s-%s.gguf", name, upper);
}

static enum uqff_code report(struct cli *cli, const struct uqff_model *model, unsigned format,
                             const char *output, struct uqff_error *err) {
    static const char *const names[] = {"mistralrs", "mistralrs", "safetensors", "gguf"};
    if (cli->json) {
        cJSON *document = json_document(cli);
        json_text(document, "path", cli->file);
        json_text(document, "variant", variant_name(model));
        json_text(document, "format", names[format]);
        json_text(document, "output", output);
        return json_print(cli, document, err);
    }
    output_made(cli, output);
    return UQFF_OK;
}

static enum uqff_code run(struct cli *cli, const void *arguments, struct uqff_error *err) {
    static const enum uqff_export_format formats[] = {
        [FORMAT_UNSET] = UQFF_EXPORT_MISTRALRS,
        [FORMAT_MISTRALRS] = UQFF_EXPORT_MISTRALRS,
        [FORMAT_SAFETENSORS] = UQFF_EXPORT_SAFETENSORS,
        [FORMAT_GGUF] = UQFF_EXPORT_GGUF,
    };
    static const uint32_t dtypes[] = {UQFF_NO_TYPE, UQFF_TYPE_F32, UQFF_TYPE_F16, UQFF_TYPE_BF16};
    const struct values *values = arguments;
    const bool decoded = values->format == FORMAT_SAFETENSORS;
    if (values->dtype != 0 && !decoded) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "option '--dtype' goes with --format safetensors");
    }
    if (values->no_tokenizer && values->format != FORMAT_GGUF) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "option '--no-tokenizer' goes with --format gguf");
    }
    enum uqff_code code =
        values->format == FORMAT_GGUF
            ? UQFF_OK
            : output_check_folder(values->output, decoded ? "safetensors" : "mistralrs", err);
    if (code != UQFF_OK) {
        return code;
    }
    const struct uqff_warner warner = output_warner(cli);
    const struct uqff_model_options open = {.warner = &warner};
    struct uqff_model *model = NULL;
    cli->file = cli->arguments.items[0];
    code = uqff_model_open(cli->file, &open, &model, err);
    if (code != UQFF_OK) {
        return code;
    }
    char *written = NULL;
    const struct uqff_export_options export = {
        .format = formats[values->format],
        .output = values->output != NULL
                      ? values->output
                      : default_output(cli, model, values->format == FORMAT_GGUF),
        .no_tokenizer = values->no_tokenizer,
        .dtype = uqff_type_info(dtypes[values->dtype]),
        .max_shard = values->max_shard,
        .memory = values->memory,
        .threads = (unsigned)cli->threads,
        .overwrite = cli->force,
        .warner = &warner,
        .written = &written,
    };
    if (export.output == NULL) {
        code = uqff_fail_memory(err);
    } else {
        struct progress state;
        const struct uqff_progress progress = progress_begin(&state, cli);
        code = uqff_export(model, &export, &progress, err);
        progress_end(&state);
    }
    if (code == UQFF_OK) {
        code = report(cli, model, values->format, written != NULL ? written : export.output, err);
    }
    uqff_free(written);
    uqff_model_close(model);
    return code;
}

const struct command command_export = {
    .name = "export",
    .summary = "Write one variant in another container",
    .positionals = positionals,
    .options = options,
    .values_size = sizeof(struct values),
    .description = description,
    .json = json,
    .examples = examples,
    .run = run,
};
