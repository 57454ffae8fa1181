/* uqff split: one GGUF file, or a set, as a set of smaller files. */
#include "cmd.h"

#include <stdio.h>
#include <string.h>

#include "json.h"
#include "output.h"
#include "progress.h"
#include "table.h"

#include "uqff/gguf.h"

struct values {
    const char *output;
    uint64_t max_size, max_tensors;
    bool no_tensor_first, dry_run;
};

#define AT(member) offsetof(struct values, member)

static const struct option options[] = {
    {"max-size", 0, "SIZE", OPTION_SIZE, AT(max_size), COMPLETE_NONE, "none",
     "most bytes of tensors in a file"},
    {"max-tensors", 0, "N", OPTION_COUNT, AT(max_tensors), COMPLETE_NONE, "none",
     "most tensors in a file"},
    {"no-tensor-first-split", 0, NULL, OPTION_FLAG, AT(no_tensor_first), COMPLETE_NONE, NULL,
     "the first file has the metadata alone"},
    {"output", 'o', "STEM", OPTION_TEXT, AT(output), COMPLETE_OUTPUT, "the file's name, here",
     "what the names of the files begin with"},
    {"dry-run", 0, NULL, OPTION_FLAG, AT(dry_run), COMPLETE_NONE, NULL,
     "show what files there would be, write nothing"},
    {0},
};

static const struct positional positionals[] = {
    {"FILE", false, false, COMPLETE_FILE, "a .gguf file, or the first of a set"},
    {0},
};

static const char *const description[] = {
    "Writes the files STEM-00001-of-0000N.gguf and so on, which programs open as one by the first. "
    "That has all metadata. At least one of --max-size, --max-tensors and --no-tensor-first-split "
    "must be given.",
    "The cuts lie between tensors: a tensor that is larger than SIZE has a file for itself. The "
    "metadata do not count towards SIZE. There are 256 files at most.",
    "As everywhere, 2G are 2 × 1024³ bytes; for what llama-gguf-split calls 2G, write 2GB.",
    NULL,
};

static const char *const json[] = {
    "    schema      \"uqff.split/1\"\n"
    "    path        what was split\n"
    "    dry_run     true: nothing was written\n"
    "    files       [{path, bytes, tensors}]\n"
    "    warnings    [text]",
    NULL,
};

static const struct example examples[] = {
    {"uqff split model.gguf --max-size 4G -o release/model", "Files of at most 4 GiB:"},
    {"uqff split model.gguf --max-tensors 64 --dry-run", "What there would be:"},
    {0},
};

/* "model" of "dir/model.gguf" and of "dir/model-00001-of-00003.gguf". */
static const char *default_stem(struct cli *cli, const struct uqff_gguf *file, const char *path) {
    const char *name = uqff_path_name(path);
    size_t n = strlen(name);
    const size_t suffix =
        uqff_gguf_file_count(file) > 1 ? strlen("-00001-of-00001.gguf") : strlen(".gguf");
    if (n > suffix && strcmp(name + n - strlen(".gguf"), ".gguf") == 0) {
        n -= suffix;
    }
    return uqff_arena_copy(&cli->arena, name, n);
}

/* The stem as given, without an ending that the names get anyway. */
static const char *given_stem(struct cli *cli, const char *output) {
    size_t n = strlen(output);
    if (n > 5 && strcmp(output + n - 5, ".gguf") == 0) {
        n -= 5;
    }
    return uqff_arena_copy(&cli->arena, output, n);
}

static size_t tensors_in(const struct uqff_gguf *file, const struct uqff_gguf_layout *layout,
                         size_t part) {
    size_t count = 0;
    for (size_t i = 0; i < uqff_gguf_tensor_count(file); i++) {
        size_t in;
        uint64_t offset, bytes;
        uqff_gguf_layout_place(layout, i, &in, &offset, &bytes);
        count += in == part;
    }
    return count;
}

static enum uqff_code report(struct cli *cli, const struct values *values, const char *stem,
                             const struct uqff_gguf *file, const struct uqff_gguf_layout *layout,
                             struct uqff_error *err) {
    cJSON *document = cli->json ? json_document(cli) : NULL;
    cJSON *files = NULL;
    struct table table = {0};
    uint64_t total = 0;
    if (document != NULL) {
        json_text(document, "path", cli->file);
        json_bool(document, "dry_run", values->dry_run);
        files = json_array(document, "files");
    }
    table_column(&table, "FILE", ALIGN_LEFT);
    table_column(&table, "TENSORS", ALIGN_RIGHT);
    table_column(&table, "SIZE", ALIGN_RIGHT);
    for (size_t i = 0; i < uqff_gguf_layout_file_count(layout); i++) {
        const uint64_t bytes = uqff_gguf_layout_file_bytes(layout, i);
        const size_t tensors = tensors_in(file, layout, i);
        char *name = uqff_gguf_layout_file_name(layout, stem, i);
        if (name == NULL) {
            cJSON_Delete(document);
            table_free(&table);
            return uqff_fail_memory(err);
        }
        if (cli->json) {
            cJSON *entry = json_object(files, NULL);
            json_text(entry, "path", name);
            json_u64(entry, "bytes", bytes);
            json_u64(entry, "tensors", tensors);
        } else {
            table_bytes(&table, 0, name, strlen(name));
            table_cell(&table, "%zu", tensors);
            table_size(&table, bytes);
        }
        total += bytes;
        uqff_free(name);
    }
    if (cli->json) {
        table_free(&table);
        return json_print(cli, document, err);
    }
    if (cli->quiet) {
        table_free(&table);
        return UQFF_OK;
    }
    table_total(&table);
    table_cell(&table, "total: %zu", uqff_gguf_layout_file_count(layout));
    table_cell(&table, "%zu", uqff_gguf_tensor_count(file));
    table_size(&table, total);
    return table_print(&table, cli, 0, err);
}

static enum uqff_code run(struct cli *cli, const void *arguments, struct uqff_error *err) {
    const struct values *values = arguments;
    if (values->max_size == 0 && values->max_tensors == 0 && !values->no_tensor_first) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "split: neither --max-size SIZE nor --max-tensors N is given");
    }
    const struct uqff_warner warner = output_warner(cli);
    struct uqff_gguf *file = NULL;
    struct uqff_gguf_layout *layout = NULL;
    cli->file = cli->arguments.items[0];
    enum uqff_code code = uqff_gguf_open_path(cli->file, &warner, &file, err);
    if (code != UQFF_OK) {
        return code;
    }
    const struct uqff_gguf_split_options split = {.max_bytes = values->max_size,
                                                  .max_tensors = values->max_tensors,
                                                  .empty_first = values->no_tensor_first,
                                                  .overwrite = cli->force,
                                                  .dry_run = values->dry_run};
    const char *stem = values->output != NULL ? given_stem(cli, values->output)
                                              : default_stem(cli, file, cli->file);
    if (stem == NULL) {
        code = uqff_fail_memory(err);
    } else {
        struct progress state;
        const struct uqff_progress progress = progress_begin(&state, cli);
        code = uqff_gguf_split(file, stem, &split, &progress, &layout, err);
        progress_end(&state);
    }
    if (code == UQFF_OK) {
        code = report(cli, values, stem, file, layout, err);
    }
    uqff_gguf_layout_free(layout);
    uqff_gguf_close(file);
    return code;
}

const struct command command_split = {
    .name = "split",
    .summary = "Cut a GGUF file into a set of smaller ones",
    .positionals = positionals,
    .options = options,
    .values_size = sizeof(struct values),
    .description = description,
    .json = json,
    .examples = examples,
    .run = run,
};
