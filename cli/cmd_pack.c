/* uqff pack: quantizations of a model. */
#include "cmd.h"

#include <string.h>

#include "output.h"
#include "pack_report.h"
#include "progress.h"
#include "recipe.h"

struct values {
    struct list quants;
    const char *output, *default_quant;
    unsigned format;
    bool sidecars, compress_assets, dry_run, allow_requantize, allow_nonfinite, no_tokenizer;
    struct recipe_values recipe;
    struct list metadata; /* KEY=VALUE */
    uint64_t align, max_shard, memory;
};

enum { FORMAT_UNSET, FORMAT_UQFF, FORMAT_MISTRALRS, FORMAT_GGUF };

#define AT(member) offsetof(struct values, member)

static const struct option options[] = {
    {"quant", 'q', "QUANT[,QUANT…]", OPTION_COMMAS, AT(quants), COMPLETE_QUANT, NULL,
     "what to make, by the names that \"uqff help uqff\" lists; repeatable"},
    {"output", 'o', "OUT", OPTION_TEXT, AT(output), COMPLETE_OUTPUT, "the model's name, here",
     "file NAME.uqff or NAME.gguf, or a directory; DIR/ is made"},
    {"format", 0, "uqff|mistralrs|gguf", OPTION_CHOICE, AT(format), COMPLETE_NONE, "uqff",
     "one multi-quant file, a directory as mistral.rs wants it, or a GGUF file for each QUANT"},
    {"default", 0, "QUANT", OPTION_TEXT, AT(default_quant), COMPLETE_QUANT,
     "the first that mistral.rs can load", "the variant that a reader takes when none is named"},
    {"sidecars", 0, NULL, OPTION_FLAG, AT(sidecars), COMPLETE_NONE, NULL,
     "also write, beside the file, what mistral.rs wants there"},
    {"compress-assets", 0, NULL, OPTION_FLAG, AT(compress_assets), COMPLETE_NONE, NULL,
     "deflate tokenizer and other side files within the file"},
    RECIPE_OPTIONS(struct values, recipe),
    {"align", 0, "N", OPTION_COUNT, AT(align), COMPLETE_NONE, "64; of a GGUF 32",
     "weights begin at multiples of N bytes: a power of two up to 4096"},
    MAX_SHARD_OPTION(AT(max_shard)),
    MEMORY_OPTION(AT(memory)),
    {"set", 0, "KEY=VALUE", OPTION_LIST, AT(metadata), COMPLETE_NONE, NULL,
     "put an entry into the file's metadata; of a GGUF, VALUE may be TYPE:VALUE (u32:7, f32:1e-5, "
     "bool:true, str:text), and has the type that the key has already otherwise; repeatable"},
    NO_TOKENIZER_OPTION(AT(no_tokenizer)),
    {"allow-requantize", 0, NULL, OPTION_FLAG, AT(allow_requantize), COMPLETE_NONE, NULL,
     "take a source that is quantized already, with the loss that this means"},
    {"allow-nonfinite", 0, NULL, OPTION_FLAG, AT(allow_nonfinite), COMPLETE_NONE, NULL,
     "take a source that holds NaN or infinity"},
    {"dry-run", 0, NULL, OPTION_FLAG, AT(dry_run), COMPLETE_NONE, NULL,
     "print the plan (types, reasons, sizes) and write nothing"},
    {0},
};

static const struct positional positionals[] = {
    {"MODEL", false, false, COMPLETE_FILE, "what to quantize; see \"uqff help uqff\""},
    {0},
};

static const char *const description[] = {
    "Makes all quantizations that are asked for from one read of the source. By default they go "
    "into "
    "one multi-quant file, in which each tensor that several of them share lies once, together "
    "with the "
    "tensors that are not quantized, the configuration and the tokenizer.",
    "What --tensor-type and --output-type say goes before the recipe. A tensor whose rows do not "
    "fit the "
    "blocks of its type takes another one, as llama.cpp or mistral.rs would choose; --dry-run "
    "tells "
    "which and why, and --no-fallback makes it an error.",
    "With --format gguf each QUANT becomes a file MODEL-QUANT.gguf, as llama.cpp's converter and "
    "llama-quantize would make it: names, rows of q and k, norms, types, metadata and tokenizer. "
    "From "
    "a GGUF the metadata are taken over, and tensors whose type does not change are copied.",
    "An output appears under its name only when it is complete and has been checked by reading it "
    "again. The same source, recipes and version of uqff give the same bytes, whatever the machine "
    "and "
    "the number of threads.",
    "Quiet is --quiet here: -q names the quants.",
    NULL,
};

static const char *const json[] = {
    "    schema        \"uqff.pack/1\"\n"
    "    path          the model\n"
    "    dry_run       true when nothing was written\n"
    "    format        \"uqff\", \"mistralrs\" or \"gguf\"\n"
    "    files         [{path, bytes}]\n"
    "    variants      [{name, recipe, type, default, weights, bytes, fallbacks}]\n"
    "    shared_bytes  bytes of weights that several variants share, once\n"
    "    residual_bytes, asset_bytes\n"
    "    modules       with --dry-run: [{name, gguf_name, source_type, shape,\n"
    "                  choices: [{variant, type, wanted, why, bytes}]}]\n"
    "    warnings      [text]",
    "why is one of base, mixture, promotion, rule, fallback; only with fallback do type and wanted "
    "differ.",
    NULL,
};

static const struct example examples[] = {
    {"uqff pack testdata/storyteller -q q4_k_m,q6_k,q8_0 -o storyteller.uqff",
     "Three quantizations in one file:"},
    {"uqff pack testdata/storyteller -q q4_k_m --imatrix testdata/storyteller/imatrix.gguf "
     "--dry-run",
     "What a recipe would do:"},
    {"uqff pack testdata/storyteller -q q4k,q8_0 --format mistralrs -o storyteller-UQFF",
     "A directory for mistral.rs:"},
    {"uqff pack testdata/storyteller -q q4_k_m,q8_0 --format gguf",
     "Two files for llama.cpp, storyteller-Q4_K_M.gguf and storyteller-Q8_0.gguf:"},
    {"uqff pack testdata/storyteller -q q4_k_m --tensor-type 'attn_v=q8_0' -o storyteller-v8.uqff",
     "Better values for attention:"},
    {0},
};

/* A name of one's own choosing that readers would take for a part of a set is a slip, not bad
 * input. */
static enum uqff_code check_output(const struct values *values, struct uqff_error *err) {
    size_t stem;
    uint64_t number;
    const char *name = values->output == NULL ? "" : uqff_path_name(values->output);
    if (values->format == FORMAT_MISTRALRS) {
        return output_check_folder(values->output, "mistralrs", err);
    }
    if (values->format == FORMAT_GGUF || !uqff_shard_name_parse(name, &stem, &number)) {
        return UQFF_OK;
    }
    return uqff_fail(
        err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
        "option '--output': '%s' reads as shard %llu of '%.*s'; call it '%.*s_%llu.uqff'", name,
        (unsigned long long)number, (int)stem, name, (int)stem, name, (unsigned long long)number);
}

static enum uqff_code pack_options(struct cli *cli, const struct values *values,
                                   const struct uqff_warner *warner, struct uqff_pack_options *out,
                                   struct uqff_error *err) {
    if (values->quants.count == 0) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "pack: -q QUANT is missing, for instance -q q4_k_m");
    }
    if (values->align > 4096) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "option '--align': found %llu, expected at most 4096",
                         (unsigned long long)values->align);
    }
    enum uqff_code code = recipe_check_quants(&values->quants, err);
    code = code == UQFF_OK ? check_output(values, err) : code;
    if (code != UQFF_OK) {
        return code;
    }
    static const enum uqff_pack_format formats[] = {
        [FORMAT_UNSET] = UQFF_PACK_UQFF,
        [FORMAT_UQFF] = UQFF_PACK_UQFF,
        [FORMAT_MISTRALRS] = UQFF_PACK_MISTRALRS,
        [FORMAT_GGUF] = UQFF_PACK_GGUF,
    };
    *out = (struct uqff_pack_options){
        .format = formats[values->format],
        .output = values->output,
        .quants = values->quants.items,
        .quant_count = values->quants.count,
        .default_quant = values->default_quant,
        .sidecars = values->sidecars,
        .compress_assets = values->compress_assets,
        .no_tokenizer = values->no_tokenizer,
        .alignment = (unsigned)values->align,
        .max_shard = values->max_shard,
        .memory = values->memory,
        .threads = (unsigned)cli->threads,
        .allow_requantize = values->allow_requantize,
        .allow_nonfinite = values->allow_nonfinite,
        /* A plan harms nothing, whatever is there already. */
        .overwrite = cli->force || values->dry_run,
        .warner = warner,
    };
    code = recipe_apply(cli, &values->recipe, out, err);
    return code == UQFF_OK
               ? recipe_metadata(cli, &values->metadata, &out->metadata, &out->metadata_count, err)
               : code;
}

static enum uqff_code run_plan(struct cli *cli, struct uqff_pack_plan *plan,
                               struct uqff_error *err) {
    struct progress state;
    const struct uqff_progress progress = progress_begin(&state, cli);
    enum uqff_code code = uqff_pack_run(plan, &progress, err);
    progress_end(&state);
    return code;
}

static enum uqff_code run(struct cli *cli, const void *arguments, struct uqff_error *err) {
    const struct values *values = arguments;
    const struct uqff_warner warner = output_warner(cli);
    struct uqff_pack_options pack;
    struct uqff_model *model = NULL;
    struct uqff_pack_plan *plan = NULL;
    enum uqff_code code = pack_options(cli, values, &warner, &pack, err);
    if (code != UQFF_OK) {
        return code;
    }
    const struct uqff_model_options open = {.warner = &warner};
    cli->file = cli->arguments.items[0];
    code = uqff_model_open(cli->file, &open, &model, err);
    if (code == UQFF_OK) {
        code = uqff_pack_plan_new(model, &pack, &plan, err);
    }
    if (code == UQFF_OK && !values->dry_run) {
        code = run_plan(cli, plan, err);
    }
    if (code == UQFF_OK) {
        const struct pack_report report = {cli, model, plan, &pack, values->dry_run};
        code = pack_report_print(&report, err);
    }
    uqff_pack_plan_free(plan);
    if (model != NULL) {
        uqff_model_close(model);
    }
    return code;
}

const struct command command_pack = {
    .name = "pack",
    .summary = "Make quantizations of a model",
    .needs = "-q QUANT",
    .positionals = positionals,
    .options = options,
    .values_size = sizeof(struct values),
    .description = description,
    .json = json,
    .examples = examples,
    .run = run,
};
