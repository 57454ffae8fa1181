/* uqff inspect: what a model's files hold. */
#include "cmd.h"

#include <stdio.h>
#include <string.h>

#include "output.h"
#include "quantizations.h"
#include "table.h"
#include "view.h"

#include "uqff/validation.h"

struct values {
    bool tensors, metadata, variants, layout, stats, allow_newer_minor;
    const char *filter;
};

#define AT(member) offsetof(struct values, member)

static const struct option options[] = {
    {"tensors", 0, NULL, OPTION_FLAG, AT(tensors), COMPLETE_NONE, NULL,
     "list the tensors: name, type, shape, size; in a UQFF file each module in each of its types"},
    {"metadata", 0, NULL, OPTION_FLAG, AT(metadata), COMPLETE_NONE, NULL,
     "list the metadata: keys and values"},
    {"variants", 0, NULL, OPTION_FLAG, AT(variants), COMPLETE_NONE, NULL,
     "list the variants of a UQFF file, what each costs alone, and how much of it is shared"},
    {"layout", 0, NULL, OPTION_FLAG, AT(layout), COMPLETE_NONE, NULL,
     "list every stretch of bytes in every file"},
    {"stats", 0, NULL, OPTION_FLAG, AT(stats), COMPLETE_NONE, NULL,
     "read all values and print smallest, largest, mean, deviation, zeros, and the range of the "
     "scales"},
    {"filter", 0, "REGEX", OPTION_TEXT, AT(filter), COMPLETE_NONE, NULL,
     "only what has the pattern (PCRE2) in its name: tensors, keys, entries"},
    {"allow-newer-minor", 0, NULL, OPTION_FLAG, AT(allow_newer_minor), COMPLETE_NONE, NULL,
     "read a UQFF of a minor version that is newer than this program"},
    {0},
};

static const struct positional positionals[] = {
    {"MODEL", false, false, COMPLETE_FILE,
     "directory, .safetensors, index, .gguf, .uqff; MODEL#variant"},
    {0},
};

static const char *const description[] = {
    "Prints what a model's files hold. Without an option it is a summary; each option prints a "
    "list of "
    "its own instead. Nothing but headers is read, except by --stats.",
    "Every file is checked in full before anything is printed. One that is well-formed but holds "
    "no "
    "complete model (a file of a few tensors, an importance matrix) is shown all the same. Of a "
    "directory with several quantizations they are listed; MODEL#NAME shows one.",
    "Shapes are written with the outermost dimension first, also those of GGUF files. What does "
    "not "
    "print is escaped as \\xHH or \\u{HHHH}, and a backslash is doubled.",
    NULL,
};

static const char *const json[] = {
    "The document always holds the summary; the lists that were asked for come behind it.",
    "    schema        \"uqff.inspect/1\"\n"
    "    path, kind    the reference, \"multi-quant uqff 1.2.0\"\n"
    "    model         null, or name, architecture, model_type, gguf_architecture,\n"
    "                  layers, hidden, feed_forward, heads, kv_heads, head_dim,\n"
    "                  vocabulary, experts, experts_used, context, tied, modules;\n"
    "                  a number that the source does not tell is 0\n"
    "    refusal       null, or why the files are no complete model\n"
    "    files         [{path, bytes}]\n"
    "    side_files    [{path, bytes}]\n"
    "    tensor_count, weights, tensor_bytes\n"
    "    types         [{type, tensors, elements, bytes}]\n"
    "    tensors       [{name, type, shape, elements, bytes, file, offset}],\n"
    "                  from UQFF also what (module, bias, residual), and variants\n"
    "    metadata      [{key, type, value}]\n"
    "    default, variants  [{name, recipe, weights, bytes, exclusive_bytes,\n"
    "                  shared_bytes, types: [{type, modules}]}]\n"
    "    blob_bytes, residual_bytes, asset_bytes  with --variants\n"
    "    layout        [{file, entries: [{offset, bytes, what, name}]}]\n"
    "    quantizations  of a directory with several, instead of all from refusal on:\n"
    "                  [{name, files, bytes}]\n"
    "    stats         [{name, type, decoded, elements, min, max, mean, deviation,\n"
    "                  zeros, nonfinite, scale_min, scale_max}]\n"
    "    warnings      [text]",
    "Sizes and offsets are bytes; file is an index into files. A metadata integer beyond 2^53 is a "
    "string. A value that is not valid UTF-8 is {\"hex\": \"…\"}, and a float that is not finite "
    "is null.",
    NULL,
};

static const struct example examples[] = {
    {"uqff inspect storyteller.uqff --variants", "What each variant costs:"},
    {"uqff inspect model.gguf --tensors --filter 'ffn_(up|down)'", "Some tensors of a GGUF:"},
    {"uqff inspect model.gguf --metadata --json | jq -r '.metadata[].key'", "The keys of a GGUF:"},
    {"uqff inspect storyteller.uqff#q8_0 --stats", "The values of one variant:"},
    {0},
};

static enum uqff_code show(struct view *view, const struct values *values, cJSON *document,
                           struct uqff_error *err) {
    const struct {
        bool wanted;
        enum uqff_code (*show)(struct view *, cJSON *, struct uqff_error *);
    } lists[] = {
        {values->tensors, view_tensors},   {values->metadata, view_metadata},
        {values->variants, view_variants}, {values->layout, view_layout},
        {values->stats, view_stats},
    };
    bool any = false;
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        any = any || lists[i].wanted;
    }
    if (document != NULL || !any) {
        code = view_summary(view, document, err);
    }
    bool first = true;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0] && code == UQFF_OK; i++) {
        if (lists[i].wanted) {
            if (!first && document == NULL) {
                printf("\n");
            }
            code = lists[i].show(view, document, err);
            first = false;
        }
    }
    return code;
}

/* ---- a directory with several quantizations -------------------------------------------------- */

static enum uqff_code print_sets(struct cli *cli, const char *path, const struct quantization *sets,
                                 size_t count, struct uqff_error *err) {
    struct table table = {0};
    table_column(&table, "QUANTIZATION", ALIGN_LEFT);
    table_column(&table, "FILES", ALIGN_RIGHT);
    table_column(&table, "SIZE", ALIGN_RIGHT);
    for (size_t i = 0; i < count; i++) {
        table_bytes(&table, cli->verbose ? 0 : 60, sets[i].name, strlen(sets[i].name));
        table_cell(&table, "%llu", (unsigned long long)sets[i].files);
        table_size(&table, sets[i].bytes);
    }
    enum uqff_code code = table_print(&table, cli, 0, err);
    if (code == UQFF_OK) {
        char text[512], name[256];
        output_cut(text, sizeof text, 0, path, strlen(path));
        output_cut(name, sizeof name, 0, sets[0].name, strlen(sets[0].name));
        printf("%s#%s names one of them\n", text, name);
    }
    return code;
}

static enum uqff_code show_sets(struct cli *cli, const char *path, struct uqff_error *err) {
    struct quantization *sets;
    size_t count;
    enum uqff_code code = quantizations_find(cli, path, &sets, &count, err);
    if (code != UQFF_OK || !cli->json) {
        return code == UQFF_OK ? print_sets(cli, path, sets, count, err) : code;
    }
    cJSON *document = json_document(cli);
    json_text(document, "path", path);
    json_text(document, "kind", "directory");
    json_null(document, "model");
    cJSON *array = json_array(document, "quantizations");
    for (size_t i = 0; i < count; i++) {
        cJSON *object = json_object(array, NULL);
        json_bytes(object, "name", sets[i].name, strlen(sets[i].name));
        json_u64(object, "files", sets[i].files);
        json_u64(object, "bytes", sets[i].bytes);
    }
    return json_print(cli, document, err);
}

/* ---- a file that is no model ----------------------------------------------------------------- */

static bool is_importance(const char *path) {
    struct uqff_importance *importance = NULL;
    struct uqff_error ignored;
    const bool is = uqff_importance_open(path, &importance, &ignored) == UQFF_OK;
    uqff_importance_free(is ? importance : NULL);
    return is;
}

static bool is_vocabulary(const char *path) {
    struct uqff_vocabulary *vocabulary = NULL;
    struct uqff_error ignored;
    const bool is = uqff_vocabulary_open_path(path, NULL, &vocabulary, &ignored) == UQFF_OK;
    uqff_vocabulary_close(is ? vocabulary : NULL);
    return is;
}

/* The first bytes of a file, with zeros behind its end. Gives its size. */
static uint64_t read_start(const char *path, char start[9]) {
    struct uqff_source *source = NULL;
    struct uqff_error ignored;
    uint64_t size = 0;
    memset(start, 0, 9);
    if (uqff_source_open(path, &source, &ignored) == UQFF_OK) {
        size = uqff_source_size(source);
        if (uqff_source_read(source, 0, start, size < 9 ? (size_t)size : 9, &ignored) != UQFF_OK) {
            memset(start, 0, 9);
        }
        uqff_source_close(source);
    }
    return size;
}

static bool is_empty(const char *path) {
    char start[9];
    return read_start(path, start) == 0;
}

static bool is_logits(const char *path) {
    char start[9];
    (void)read_start(path, start);
    return memcmp(start, "_logits_", 8) == 0;
}

/* True when a file is taken for safetensors for want of a better guess: neither its name nor its
 * first bytes say so. */
static bool is_unknown(const char *path) {
    enum uqff_model_kind kind;
    struct uqff_error ignored;
    char start[9];
    if (!uqff_path_exists(path) || uqff_path_is_directory(path) ||
        uqff_text_ends(path, ".safetensors") ||
        uqff_model_sniff(path, &kind, &ignored) != UQFF_OK || kind != UQFF_MODEL_HF) {
        return false;
    }
    (void)read_start(path, start);
    return start[8] != '{';
}

/* What refused such a file complained of what safetensors must have. This says what it is. */
static enum uqff_code explain(const char *path, enum uqff_code code, struct uqff_error *err) {
    static const struct {
        bool (*is)(const char *path);
        const char *what, *before, *behind; /* of its name, in the command that reads it */
    } kinds[] = {
        {is_importance, "is an importance matrix", "imatrix --merge ", " --show"},
        {is_logits, "holds logits", "validate MODEL --logits-base ", ""},
        {is_vocabulary, "is a vocabulary", "tokenize ", " TEXT"},
    };
    if (uqff_code_family(code) != UQFF_FAMILY_INPUT || !is_unknown(path)) {
        return code;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i].is(path)) {
            return uqff_fail(err, UQFF_E_MAGIC, UQFF_NO_OFFSET,
                             "%s: %s and no model; \"uqff %s%s%s\" reads it", path, kinds[i].what,
                             kinds[i].before, path, kinds[i].behind);
        }
    }
    if (code == UQFF_E_MAGIC || uqff_text_ends(path, ".json") || is_empty(path)) {
        return code; /* it has been told what it is */
    }
    return uqff_fail(err, UQFF_E_MAGIC, UQFF_NO_OFFSET,
                     "%s: is in no format that is known; inspect reads a model's directory, "
                     ".safetensors, an index of them (.index.json), .gguf and .uqff",
                     path);
}

static enum uqff_code run(struct cli *cli, const void *arguments, struct uqff_error *err) {
    const struct values *values = arguments;
    const char *reference = cli->arguments.items[0];
    /* --variants asks for no more than their list. */
    const bool lists = values->tensors || values->metadata || values->layout || values->stats;
    struct view view;
    enum uqff_code code =
        view_open(cli, reference, values->filter, values->allow_newer_minor, &view, err);
    /* Of what a directory holds several of, one must be named for all but the list of them. */
    if (code == UQFF_E_UNKNOWN && !lists && uqff_path_is_directory(reference)) {
        return show_sets(cli, reference, err);
    }
    if (code != UQFF_OK) {
        return explain(reference, code, err);
    }
    cJSON *document = cli->json ? json_document(cli) : NULL;
    code = show(&view, values, document, err);
    if (cli->json) {
        if (code == UQFF_OK) {
            code = json_print(cli, document, err);
        } else {
            cJSON_Delete(document);
        }
    }
    view_close(&view);
    return code;
}

const struct command command_inspect = {
    .name = "inspect",
    .summary = "Show what a model's files hold",
    .positionals = positionals,
    .options = options,
    .values_size = sizeof(struct values),
    .description = description,
    .json = json,
    .examples = examples,
    .run = run,
};
