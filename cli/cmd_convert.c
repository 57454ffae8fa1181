/* uqff convert: a model in another container. */
#include "cmd.h"

#include "json.h"
#include "output.h"
#include "progress.h"
#include "recipe.h"

#include "uqff/pack.h"

struct values {
    const char *quant;
    unsigned to;
    bool allow_requantize, no_tokenizer;
    uint64_t max_shard, memory;
    struct list metadata; /* KEY=VALUE */
};

#define AT(member) offsetof(struct values, member)

enum { TO_UNSET, TO_HF, TO_MISTRALRS };

static const struct option options[] = {
    {"quant", 'q', "QUANT", OPTION_TEXT, AT(quant), COMPLETE_QUANT, "types are kept",
     "encode the weights as QUANT"},
    {"to", 0, "hf|mistralrs", OPTION_CHOICE, AT(to), COMPLETE_NONE,
     "hf when all weights will be floats, else mistralrs",
     "what a directory is to be: safetensors as Hugging Face has them, or as mistral.rs wants it"},
    {"allow-requantize", 0, NULL, OPTION_FLAG, AT(allow_requantize), COMPLETE_NONE, NULL,
     "with -q, take a source that is quantized already, with the loss that this means"},
    NO_TOKENIZER_OPTION(AT(no_tokenizer)),
    {"set", 0, "KEY=VALUE", OPTION_LIST, AT(metadata), COMPLETE_NONE, NULL,
     "put a key into a GGUF's metadata; VALUE may be TYPE:VALUE (u32:7, f32:1e-5, str:text); "
     "repeatable"},
    MAX_SHARD_OPTION(AT(max_shard)),
    MEMORY_OPTION(AT(memory)),
    {0},
};

static const struct positional positionals[] = {
    {"MODEL", false, false, COMPLETE_FILE, "what to convert; MODEL#variant names a variant"},
    {"OUT", false, false, COMPLETE_OUTPUT, "NAME.gguf, NAME.uqff or a directory"},
    {0},
};

static const char *const description[] = {
    "Writes a model in another container: a Hugging Face directory, a GGUF, a mistral.rs directory "
    "or one multi-quant file with one variant. OUT's form tells which.",
    "Without -q nothing is encoded again. Blocks move as they are; names are mapped, rows of q and "
    "k and the norms of Gemma take the form that the target has. A type that the target cannot "
    "hold is refused: -q says what it shall become. To Hugging Face that is bf16, f16 or f32.",
    "From a GGUF, config.json, generation_config.json, tokenizer.json and tokenizer_config.json "
    "are made of its metadata. The metadata themselves travel along as gguf-metadata.bin, so that "
    "a "
    "GGUF made of the result has the same ones again, and the same bytes of data.",
    "A UQFF file of the 0.x generation becomes UQFF 1.2, its payloads as they are. Which of its "
    "numbered entries is which module follows from config.json beside it, and every shape is "
    "checked against that.",
    "Quiet is --quiet here: -q names the quant.",
    NULL,
};

static const char *const json[] = {
    "    schema      \"uqff.convert/1\"\n"
    "    path        the model\n"
    "    from        \"safetensors\", \"gguf\", \"uqff\", \"multi-quant uqff\" or \"uqff 0.x\"\n"
    "    to          \"hf\", \"mistralrs\", \"uqff\" or \"gguf\"\n"
    "    output      the directory or file that was written, the first of several\n"
    "    warnings    [text]",
    NULL,
};

static const struct example examples[] = {
    {"uqff pack testdata/storyteller -q q8_0 --format gguf -o story.gguf", "A GGUF to begin with:"},
    {"uqff convert story.gguf story.uqff", "As a multi-quant file:"},
    {"uqff convert story.gguf story-mistralrs", "As a directory for mistral.rs:"},
    {"uqff convert story.uqff again.gguf", "Back again, the same bytes:"},
    {"uqff convert story.gguf story-bf16 -q bf16", "Decoded, as a Hugging Face directory:"},
    {0},
};

static enum uqff_code report(struct cli *cli, const char *from, enum uqff_convert_target to,
                             const char *output, struct uqff_error *err) {
    static const char *const names[] = {
        [UQFF_CONVERT_HF] = "hf",
        [UQFF_CONVERT_MISTRALRS] = "mistralrs",
        [UQFF_CONVERT_UQFF] = "uqff",
        [UQFF_CONVERT_GGUF] = "gguf",
    };
    if (cli->json) {
        cJSON *document = json_document(cli);
        json_text(document, "path", cli->file);
        json_text(document, "from", from);
        json_text(document, "to", names[to]);
        json_text(document, "output", output);
        return json_print(cli, document, err);
    }
    output_made(cli, output);
    return UQFF_OK;
}

static enum uqff_code check_values(struct cli *cli, const struct values *values,
                                   struct uqff_error *err) {
    if (values->allow_requantize && values->quant == NULL) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "option '--allow-requantize' goes with -q QUANT");
    }
    if (values->quant == NULL) {
        return UQFF_OK;
    }
    const char **items = uqff_arena_array(&cli->arena, 1, sizeof *items);
    if (items == NULL) {
        return uqff_fail_memory(err);
    }
    items[0] = values->quant;
    const struct list quants = {items, 1};
    return recipe_check_quants(&quants, err);
}

static enum uqff_code run(struct cli *cli, const void *arguments, struct uqff_error *err) {
    static const enum uqff_convert_target targets[] = {
        [TO_UNSET] = UQFF_CONVERT_AUTO,
        [TO_HF] = UQFF_CONVERT_HF,
        [TO_MISTRALRS] = UQFF_CONVERT_MISTRALRS,
    };
    const struct values *values = arguments;
    const struct uqff_warner warner = output_warner(cli);
    const struct uqff_model_options open = {.warner = &warner};
    struct uqff_convert_options convert = {
        .output = cli->arguments.items[1],
        .target = targets[values->to],
        .quant = values->quant,
        .allow_requantize = values->allow_requantize,
        .overwrite = cli->force,
        .no_tokenizer = values->no_tokenizer,
        .max_shard = values->max_shard,
        .memory = values->memory,
        .threads = (unsigned)cli->threads,
        .warner = &warner,
    };
    char *written = NULL;
    convert.written = &written;
    struct uqff_model *model = NULL;
    enum uqff_convert_target to = UQFF_CONVERT_AUTO;
    enum uqff_code code = check_values(cli, values, err);
    if (code == UQFF_OK) {
        code = recipe_metadata(cli, &values->metadata, &convert.metadata, &convert.metadata_count,
                               err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    cli->file = cli->arguments.items[0];
    code = uqff_model_open(cli->file, &open, &model, err);
    if (code == UQFF_OK) {
        code = uqff_convert_target(model, &convert, &to, err);
    }
    if (code == UQFF_OK) {
        struct progress state;
        const struct uqff_progress progress = progress_begin(&state, cli);
        code = uqff_convert(model, &convert, &progress, err);
        progress_end(&state);
    }
    if (code == UQFF_OK) {
        const char *from =
            uqff_model_is_legacy(model) ? "uqff 0.x" : uqff_model_kind_name(uqff_model_kind(model));
        code = report(cli, from, to, written != NULL ? written : convert.output, err);
    }
    uqff_free(written);
    uqff_model_close(model);
    return code;
}

const struct command command_convert = {
    .name = "convert",
    .summary = "Write a model in another container",
    .positionals = positionals,
    .options = options,
    .values_size = sizeof(struct values),
    .description = description,
    .json = json,
    .examples = examples,
    .run = run,
};
