/* uqff merge: the files of a GGUF set as one. */
#include "cmd.h"

#include "json.h"
#include "output.h"
#include "progress.h"

#include "uqff/gguf.h"

struct values {
    const char *output;
};

static const struct option options[] = {
    {"output", 'o', "FILE", OPTION_TEXT, offsetof(struct values, output), COMPLETE_OUTPUT, NULL,
     "the file to write"},
    {0},
};

static const struct positional positionals[] = {
    {"FIRST", false, false, COMPLETE_FILE, "the first file of a set, NAME-00001-of-0000N.gguf"},
    {0},
};

static const char *const description[] = {
    "Writes one file that has the metadata of the first and the tensors of all. All files must be "
    "there, and agree with each other; those that are missing are named.",
    "The keys split.no, split.count and split.tensors.count, which the files of a set have, are "
    "left out.",
    NULL,
};

static const char *const json[] = {
    "    schema      \"uqff.merge/1\"\n"
    "    path        the first file of the set\n"
    "    files       how many were merged\n"
    "    output      the file that was written\n"
    "    tensors     how many it has\n"
    "    warnings    [text]",
    NULL,
};

static const struct example examples[] = {
    {"uqff merge release/model-00001-of-00005.gguf -o model.gguf", "One file of five:"},
    {0},
};

static enum uqff_code report(struct cli *cli, const struct uqff_gguf *file, const char *output,
                             struct uqff_error *err) {
    if (cli->json) {
        cJSON *document = json_document(cli);
        json_text(document, "path", cli->file);
        json_u64(document, "files", uqff_gguf_file_count(file));
        json_text(document, "output", output);
        json_u64(document, "tensors", uqff_gguf_tensor_count(file));
        return json_print(cli, document, err);
    }
    output_made(cli, output);
    return UQFF_OK;
}

static enum uqff_code run(struct cli *cli, const void *arguments, struct uqff_error *err) {
    const struct values *values = arguments;
    if (values->output == NULL) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET, "merge: -o FILE is missing");
    }
    const struct uqff_warner warner = output_warner(cli);
    struct uqff_gguf *file = NULL;
    struct progress state;
    cli->file = cli->arguments.items[0];
    enum uqff_code code = uqff_gguf_open_path(cli->file, &warner, &file, err);
    if (code != UQFF_OK) {
        return code;
    }
    const struct uqff_progress progress = progress_begin(&state, cli);
    code = uqff_gguf_merge(file, values->output, cli->force, &progress, err);
    progress_end(&state);
    if (code == UQFF_OK) {
        code = report(cli, file, values->output, err);
    }
    uqff_gguf_close(file);
    return code;
}

const struct command command_merge = {
    .name = "merge",
    .summary = "Make one GGUF file of a set",
    .needs = "-o FILE",
    .positionals = positionals,
    .options = options,
    .values_size = sizeof(struct values),
    .description = description,
    .json = json,
    .examples = examples,
    .run = run,
};
