/* uqff export: one variant in another container. */
#include "cmd.h"

#include <stdio.h>
#include <string.h>

#include "json.h"
#include "output.h"
#include "progress.h"

#include "uqff/pack.h"

struct values {
    const char *output;
    unsigned format, dtype;
    uint64_t max_shard, memory;
};

#define AT(member) offsetof(struct values, member)

enum { FORMAT_UNSET, FORMAT_MISTRALRS, FORMAT_SAFETENSORS };

static const struct option options[] = {
    {"output", 'o', "DIRECTORY", OPTION_TEXT, AT(output), COMPLETE_FILE,
     "the model's name and the variant's, here", "where to"},
    {"format", 0, "mistralrs|safetensors", OPTION_CHOICE, AT(format), COMPLETE_NONE, "mistralrs",
     "a directory as mistral.rs wants it, or decoded weights in Hugging Face layout"},
    {"dtype", 0, "f32|f16|bf16", OPTION_CHOICE, AT(dtype), COMPLETE_NONE,
     "what config.json says, else bf16", "safetensors: type of the decoded weights"},
    {"max-shard", 0, "SIZE", OPTION_SIZE, AT(max_shard), COMPLETE_NONE, "none",
     "largest file; what is larger is cut into shards"},
    {"memory", 0, "SIZE", OPTION_SIZE, AT(memory), COMPLETE_NONE, "256M",
     "memory for weights in work"},
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
    "quant alone gives. With --format safetensors the weights are decoded; what they lost when "
    "they were "
    "quantized stays lost.",
    NULL,
};

static const char *const json[] = {
    "    schema      \"uqff.export/1\"\n"
    "    path        the model\n"
    "    variant     its name, or null\n"
    "    format      \"mistralrs\" or \"safetensors\"\n"
    "    output      the directory that was written\n"
    "    warnings    [text]",
    NULL,
};

static const struct example examples[] = {
    {"uqff export storyteller.uqff#q8_0 -o storyteller-q8_0", "A directory for mistral.rs:"},
    {"uqff export storyteller.uqff#q4_k_m --format safetensors --dtype f16 -o decoded",
     "Weights for a program that reads safetensors only:"},
    {0},
};

static const char *variant_name(const struct uqff_model *model) {
    const struct uqff_container *container = uqff_model_container(model);
    const size_t variant = uqff_model_variant(model);
    return container == NULL || variant == UQFF_NONE
               ? NULL
               : uqff_container_variant(container, variant)->name;
}

/* Where an export without -o goes: <name>-<variant> here. */
static const char *default_output(struct cli *cli, const struct uqff_model *model) {
    const char *variant = variant_name(model);
    return variant == NULL
               ? uqff_arena_printf(&cli->arena, "%s-export", uqff_model_name(model))
               : uqff_arena_printf(&cli->arena, "%s-%s", uqff_model_name(model), variant);
}

static enum uqff_code report(struct cli *cli, const struct uqff_model *model, bool decoded,
                             const char *output, struct uqff_error *err) {
    if (cli->json) {
        cJSON *document = json_document(cli);
        json_text(document, "path", cli->file);
        json_text(document, "variant", variant_name(model));
        json_text(document, "format", decoded ? "safetensors" : "mistralrs");
        json_text(document, "output", output);
        return json_print(cli, document, err);
    }
    if (!cli->quiet) {
        char text[5000];
        printf("%s\n", output_cut(text, sizeof text, 0, output, strlen(output)));
    }
    return UQFF_OK;
}

static enum uqff_code run(struct cli *cli, const void *arguments, struct uqff_error *err) {
    static const uint32_t dtypes[] = {UQFF_NO_TYPE, UQFF_TYPE_F32, UQFF_TYPE_F16, UQFF_TYPE_BF16};
    const struct values *values = arguments;
    const bool decoded = values->format == FORMAT_SAFETENSORS;
    if (values->dtype != 0 && !decoded) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "option '--dtype' goes with --format safetensors");
    }
    const struct uqff_warner warner = output_warner(cli);
    const struct uqff_model_options open = {.warner = &warner};
    struct uqff_model *model = NULL;
    cli->file = cli->arguments.items[0];
    enum uqff_code code = uqff_model_open(cli->file, &open, &model, err);
    if (code != UQFF_OK) {
        return code;
    }
    const struct uqff_export_options export = {
        .format = decoded ? UQFF_EXPORT_SAFETENSORS : UQFF_EXPORT_MISTRALRS,
        .output = values->output != NULL ? values->output : default_output(cli, model),
        .dtype = dtypes[values->dtype],
        .max_shard = values->max_shard,
        .memory = values->memory,
        .threads = (unsigned)cli->threads,
        .overwrite = cli->force,
        .warner = &warner,
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
        code = report(cli, model, decoded, export.output, err);
    }
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
