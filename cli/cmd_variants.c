/* uqff variants: lists and changes the variants of a multi-quant file. */
#include "cmd.h"

#include <stdio.h>
#include <string.h>

#include "output.h"
#include "progress.h"
#include "recipe.h"
#include "view.h"

struct values {
    struct list add, drop;
    const char *from, *default_variant;
    struct recipe_values recipe;
    bool allow_requantize, allow_nonfinite;
    uint64_t memory;
};

#define AT(member) offsetof(struct values, member)

static const struct option options[] = {
    {"add", 0, "QUANT[,QUANT…]", OPTION_COMMAS, AT(add), COMPLETE_QUANT, NULL,
     "encode these too; needs --from; repeatable"},
    {"from", 0, "MODEL", OPTION_TEXT, AT(from), COMPLETE_FILE, NULL,
     "the model that the file was packed from"},
    {"drop", 0, "NAME[,NAME…]", OPTION_COMMAS, AT(drop), COMPLETE_NONE, NULL,
     "take these variants out; repeatable"},
    {"default", 0, "NAME", OPTION_TEXT, AT(default_variant), COMPLETE_NONE, NULL,
     "make this variant the default"},
    RECIPE_OPTIONS(struct values, recipe),
    MEMORY_OPTION(AT(memory)),
    {"allow-requantize", 0, NULL, OPTION_FLAG, AT(allow_requantize), COMPLETE_NONE, NULL,
     "take a source that is quantized already, with the loss that this means"},
    {"allow-nonfinite", 0, NULL, OPTION_FLAG, AT(allow_nonfinite), COMPLETE_NONE, NULL,
     "take a source that holds NaN or infinity"},
    {0},
};

static const struct positional positionals[] = {
    {"FILE", false, false, COMPLETE_FILE, "a multi-quant .uqff file"},
    {0},
};

static const char *const description[] = {
    "Without an option, lists the variants of a file: what each costs alone, and how much of it is "
    "shared with others.",
    "Otherwise it writes the file anew with other variants, and puts it in the place of the old "
    "one "
    "when it is complete. The bytes are those that packing these variants would give. Tensors that "
    "stay "
    "are copied, not encoded. What --add encodes comes from the model that the file was packed "
    "from, "
    "which is checked; the options that choose types are those of pack.",
    NULL,
};

static const char *const json[] = {
    "    schema        \"uqff.variants/1\"\n"
    "    path\n"
    "    default       name of the default variant, or null\n"
    "    variants      [{name, recipe, weights, bytes, exclusive_bytes,\n"
    "                  shared_bytes, types: [{type, modules}]}]\n"
    "    blob_bytes, residual_bytes, asset_bytes\n"
    "    warnings      [text]",
    "After a change the list is that of the new file.",
    NULL,
};

static const struct example examples[] = {
    {"uqff variants storyteller.uqff", "What is there:"},
    {"uqff variants storyteller.uqff --add q5_k_m --from testdata/storyteller", "One more:"},
    {"uqff variants storyteller.uqff --drop q6_k --default q8_0", "One less, and another default:"},
    {0},
};

static enum uqff_code list_variants(struct cli *cli, struct uqff_error *err) {
    struct view view;
    enum uqff_code code = view_open(cli, cli->arguments.items[0], NULL, false, &view, err);
    if (code != UQFF_OK) {
        return code;
    }
    cJSON *document = cli->json ? json_document(cli) : NULL;
    if (document != NULL) {
        json_text(document, "path", view.reference);
    }
    code = view_variants(&view, document, err);
    if (code == UQFF_OK && document != NULL) {
        code = json_print(cli, document, err);
    } else {
        cJSON_Delete(document);
    }
    view_close(&view);
    return code;
}

static enum uqff_code check(const struct values *values, struct uqff_error *err) {
    if (values->add.count > 0 && values->from == NULL) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "option '--add' needs --from MODEL: what the file was packed from");
    }
    if (values->add.count == 0 && values->from != NULL) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "option '--from' goes with --add QUANT");
    }
    return recipe_check_quants(&values->add, err);
}

/* What is changed is a file, of which a variant is only a part. */
static enum uqff_code check_file(const char *reference, struct uqff_error *err) {
    const char *mark = strrchr(reference, '#');
    if (mark == NULL || uqff_path_exists(reference)) {
        return UQFF_OK;
    }
    return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                     "variants: '%s' names a variant, expected the file: '%.*s'", reference,
                     (int)(mark - reference), reference);
}

static enum uqff_code rewrite(struct cli *cli, const struct values *values,
                              struct uqff_error *err) {
    const struct uqff_warner warner = output_warner(cli);
    const struct uqff_model_options open = {.warner = &warner};
    struct uqff_model *from = NULL;
    struct uqff_pack_options pack = {
        .memory = values->memory,
        .threads = (unsigned)cli->threads,
        .allow_requantize = values->allow_requantize,
        .allow_nonfinite = values->allow_nonfinite,
        .warner = &warner,
    };
    enum uqff_code code = recipe_apply(cli, &values->recipe, &pack, err);
    if (code == UQFF_OK && values->from != NULL) {
        cli->file = values->from;
        code = uqff_model_open(values->from, &open, &from, err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    const struct uqff_variants_edit edit = {
        .add = values->add.items,
        .add_count = values->add.count,
        .from = from,
        .drop = values->drop.items,
        .drop_count = values->drop.count,
        .default_variant = values->default_variant,
        .pack = &pack,
    };
    struct progress state;
    const struct uqff_progress progress = progress_begin(&state, cli);
    cli->file = cli->arguments.items[0];
    code = uqff_variants_rewrite(cli->file, &edit, &progress, err);
    progress_end(&state);
    if (from != NULL) {
        uqff_model_close(from);
    }
    return code;
}

static enum uqff_code run(struct cli *cli, const void *arguments, struct uqff_error *err) {
    const struct values *values = arguments;
    enum uqff_code code = check(values, err);
    if (code != UQFF_OK) {
        return code;
    }
    const bool edits =
        values->add.count > 0 || values->drop.count > 0 || values->default_variant != NULL;
    if (edits) {
        code = check_file(cli->arguments.items[0], err);
        code = code == UQFF_OK ? rewrite(cli, values, err) : code;
    }
    if (code == UQFF_OK && (!edits || !cli->quiet)) {
        code = list_variants(cli, err);
    }
    return code;
}

const struct command command_variants = {
    .name = "variants",
    .summary = "List, add and drop the variants of a file",
    .positionals = positionals,
    .options = options,
    .values_size = sizeof(struct values),
    .description = description,
    .json = json,
    .examples = examples,
    .run = run,
};
