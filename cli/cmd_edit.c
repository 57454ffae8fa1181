/* uqff edit: changes the metadata of a GGUF file. */
#include "cmd.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gguf_value.h"
#include "json.h"
#include "output.h"
#include "progress.h"

struct values {
    struct list set, set_file, unset, rename;
    const char *output;
    uint64_t reserve;
};

#define AT(member) offsetof(struct values, member)
/* What a chat template may take; one is a few hundred kB at most. */
#define LARGEST_FILE ((uint64_t)64 << 20)

static const struct option options[] = {
    {"set", 0, "KEY=TYPE:VALUE", OPTION_LIST, AT(set), COMPLETE_NONE, NULL,
     "give a key a value; repeatable"},
    {"set-file", 0, "KEY=FILE", OPTION_LIST, AT(set_file), COMPLETE_FILE, NULL,
     "give a key the content of a file, as a string; repeatable"},
    {"unset", 0, "KEY", OPTION_LIST, AT(unset), COMPLETE_NONE, NULL, "take a key out; repeatable"},
    {"rename", 0, "KEY=KEY", OPTION_LIST, AT(rename), COMPLETE_NONE, NULL,
     "give a key another name; repeatable"},
    {"reserve", 0, "SIZE", OPTION_SIZE, AT(reserve), COMPLETE_NONE, "none",
     "leave room for later edits, in a key uqff.padding"},
    {"output", 'o', "FILE", OPTION_TEXT, AT(output), COMPLETE_OUTPUT, "the file itself",
     "write another file, leave this one as it is"},
    {0},
};

static const struct positional positionals[] = {
    {"FILE", false, false, COMPLETE_FILE, "a .gguf file, or the first of a set"},
    {0},
};

static const char *const description[] = {
    "Changes the metadata of a GGUF file, or of the first file of a set. Keys are first renamed, "
    "then "
    "taken out, then set; a key keeps its place, a new one comes last.",
    GGUF_VALUE_HELP,
    "A symbolic link is not followed: what it leads to, as in a cache, may have other users. Name "
    "the file itself, or another one with -o.",
    "Where the new header fits exactly between the file's beginning and its data, the file is "
    "changed in place, however large it is. Until that is on the disk, a file .FILE.uqff-undo "
    "beside it holds the bytes before and "
    "after; if the machine stops meanwhile, the next \"uqff edit FILE\", without options too, puts "
    "back what was there. Else a new file is written beside it, copied by the kernel where that "
    "is possible, and takes its place when it is complete.",
    "With --reserve the header has at least so much room afterwards, in a key uqff.padding that no "
    "program looks at; from then on edits are made in place as long as the room lasts.",
    "The keys split.no, split.count and split.tensors.count tell a file's place in a set: they may "
    "only be taken out, and only of a file that is in none.",
    NULL,
};

static const char *const json[] = {
    "    schema      \"uqff.edit/1\"\n"
    "    path        the file\n"
    "    output      the file that was written, or null\n"
    "    way         \"nothing\", \"in-place\" or \"copied\"\n"
    "    recovered   true: an earlier edit was cut off and has been undone\n"
    "    warnings    [text]",
    NULL,
};

static const struct example examples[] = {
    {"uqff edit model.gguf --set general.name=str:Storyteller", "Another name:"},
    {"uqff edit model.gguf --set tokenizer.ggml.add_bos_token=bool:false --unset general.url "
     "-o fixed.gguf",
     "To another file:"},
    {"uqff edit model.gguf --set-file tokenizer.chat_template=template.jinja",
     "Another chat template:"},
    {0},
};

/* ---- the changes ----------------------------------------------------------------------------- */

/* The key nearest to one that is not there. */
static const char *nearest_key(struct cli *cli, const struct uqff_gguf *file, const char *key) {
    const size_t count = uqff_gguf_kv_count(file);
    const char **names = uqff_arena_array(&cli->arena, count, sizeof *names);
    for (size_t i = 0; names != NULL && i < count; i++) {
        names[i] = uqff_gguf_key(file, i);
    }
    return names == NULL ? NULL : uqff_nearest(key, names, count);
}

static enum uqff_code check_set(struct cli *cli, const struct uqff_gguf *file,
                                const struct uqff_gguf_layout *layout, const char *option,
                                const char *key, struct uqff_error *err) {
    if (uqff_gguf_is_set(layout, key)) {
        return UQFF_OK;
    }
    const char *nearest = nearest_key(cli, file, key);
    return uqff_fail(err, UQFF_E_UNKNOWN, UQFF_NO_OFFSET,
                     "option '%s': there is no key '%.96s'%s%.96s%s", option, key,
                     nearest == NULL ? "" : "; did you mean '", nearest == NULL ? "" : nearest,
                     nearest == NULL ? "" : "'?");
}

static enum uqff_code rename_keys(struct cli *cli, const struct uqff_gguf *file,
                                  struct uqff_gguf_layout *layout, const struct list *list,
                                  struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; code == UQFF_OK && i < list->count; i++) {
        const char *from, *to;
        code = gguf_value_split(cli, "--rename", list->items[i], &from, &to, err);
        if (code == UQFF_OK) {
            code = check_set(cli, file, layout, "--rename", from, err);
        }
        if (code == UQFF_OK) {
            code = uqff_gguf_rename_key(layout, from, to, err);
        }
    }
    return code;
}

static enum uqff_code set_from_file(struct cli *cli, struct uqff_gguf_layout *layout,
                                    const char *text, struct uqff_error *err) {
    const char *key, *path;
    struct uqff_source *source = NULL;
    char *content = NULL;
    size_t size = 0;
    enum uqff_code code = gguf_value_split(cli, "--set-file", text, &key, &path, err);
    if (code == UQFF_OK) {
        code = uqff_source_open(path, &source, err);
    }
    if (code == UQFF_OK) {
        code = uqff_source_read_all(source, LARGEST_FILE, &content, &size, err);
    }
    size_t at = 0;
    if (code == UQFF_OK && !uqff_utf8_valid(content, size, &at)) {
        code = uqff_fail(err, UQFF_E_ENCODING, at, "%s: byte %zu is not UTF-8, expected text", path,
                         at);
    }
    if (code == UQFF_OK) {
        code = uqff_gguf_set_string(layout, key, content, size, err);
    }
    uqff_free(content);
    uqff_source_close(source);
    return code;
}

static enum uqff_code change_keys(struct cli *cli, const struct values *values,
                                  const struct uqff_gguf *file, struct uqff_gguf_layout *layout,
                                  struct uqff_error *err) {
    enum uqff_code code = rename_keys(cli, file, layout, &values->rename, err);
    for (size_t i = 0; code == UQFF_OK && i < values->unset.count; i++) {
        code = check_set(cli, file, layout, "--unset", values->unset.items[i], err);
        if (code == UQFF_OK) {
            uqff_gguf_unset(layout, values->unset.items[i]);
        }
    }
    for (size_t i = 0; code == UQFF_OK && i < values->set.count; i++) {
        code = gguf_value_set(cli, layout, "--set", values->set.items[i], err);
    }
    for (size_t i = 0; code == UQFF_OK && i < values->set_file.count; i++) {
        code = set_from_file(cli, layout, values->set_file.items[i], err);
    }
    /* A key or value that cannot be written came from the command line, not from a file. */
    if (code == UQFF_E_NAME || code == UQFF_E_FIELD || code == UQFF_E_DUPLICATE ||
        code == UQFF_E_ENCODING) {
        code = err->code = UQFF_E_ARGUMENT;
    }
    return code;
}

/* The library does not change what a link leads to, as other names may lead there too; a person
 * wants to know where it leads and what to type. */
static enum uqff_code refuse_link(const char *path, enum uqff_code code, struct uqff_error *err) {
    char target[4096];
    const ssize_t n = readlink(path, target, sizeof target - 1);
    if (code != UQFF_E_NOT_REGULAR || n < 0) {
        return code;
    }
    target[n] = '\0';
    return uqff_fail(
        err, code, UQFF_NO_OFFSET,
        "%s: is a symbolic link to '%s', which may have other users; edit that file by "
        "its own name, or write another with -o",
        path, target);
}

/* ---- the run --------------------------------------------------------------------------------- */

static enum uqff_code report(struct cli *cli, const char *output, enum uqff_gguf_edit_way way,
                             bool recovered, struct uqff_error *err) {
    static const char *const names[] = {"nothing", "in-place", "copied"};
    static const char *const texts[] = {"nothing to change", "changed in place", "written anew"};
    const char *done =
        recovered && way == UQFF_GGUF_EDIT_NOTHING ? "put back as it was" : texts[way];
    if (cli->json) {
        cJSON *document = json_document(cli);
        json_text(document, "path", cli->file);
        json_text(document, "output", output);
        json_text(document, "way", names[way]);
        json_bool(document, "recovered", recovered);
        return json_print(cli, document, err);
    }
    if (!cli->quiet) {
        char text[5000];
        const char *shown = output == NULL ? cli->file : output;
        printf("%s: %s\n", output_cut(text, sizeof text, 0, shown, strlen(shown)), done);
    }
    return UQFF_OK;
}

static enum uqff_code edit(struct cli *cli, const struct values *values,
                           enum uqff_gguf_edit_way *way, struct uqff_error *err) {
    const struct uqff_warner warner = output_warner(cli);
    struct uqff_gguf *file = NULL;
    struct uqff_gguf_layout *layout = NULL;
    enum uqff_code code = uqff_gguf_open_path(cli->file, &warner, &file, err);
    if (code == UQFF_OK) {
        code = uqff_gguf_edit_begin(file, &layout, err);
    }
    if (code == UQFF_OK) {
        code = change_keys(cli, values, file, layout, err);
    }
    if (code == UQFF_OK) {
        const struct uqff_gguf_edit_options edit_options = {
            .output = values->output, .overwrite = cli->force, .reserve = values->reserve};
        struct progress state;
        const struct uqff_progress progress = progress_begin(&state, cli);
        code = uqff_gguf_edit(file, layout, &edit_options, &progress, way, err);
        progress_end(&state);
    }
    uqff_gguf_layout_free(layout);
    uqff_gguf_close(file);
    return code;
}

static enum uqff_code run(struct cli *cli, const void *arguments, struct uqff_error *err) {
    const struct values *values = arguments;
    const bool changes =
        values->set.count + values->set_file.count + values->unset.count + values->rename.count >
            0 ||
        values->reserve > 0;
    enum uqff_patch_state found = UQFF_PATCH_NONE;
    enum uqff_gguf_edit_way way = UQFF_GGUF_EDIT_NOTHING;
    cli->file = cli->arguments.items[0];
    enum uqff_code code = uqff_patch_recover(cli->file, &found, err);
    if (code != UQFF_OK) {
        return code;
    }
    const bool recovered = found == UQFF_PATCH_TORN;
    if (recovered) {
        const struct uqff_warner warner = output_warner(cli);
        uqff_warn(&warner, "%s: an earlier edit was cut off: what was there before is back",
                  cli->file);
    }
    if (changes) {
        code = refuse_link(cli->file, edit(cli, values, &way, err), err);
    } else if (found == UQFF_PATCH_NONE) {
        return uqff_fail(
            err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
            "edit: none of --set, --set-file, --unset, --rename and --reserve is given");
    }
    return code == UQFF_OK ? report(cli, values->output, way, recovered, err) : code;
}

const struct command command_edit = {
    .name = "edit",
    .summary = "Change the metadata of a GGUF file",
    .positionals = positionals,
    .options = options,
    .values_size = sizeof(struct values),
    .description = description,
    .json = json,
    .examples = examples,
    .run = run,
};
