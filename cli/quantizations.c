/* quantizations: the names of what lies in a directory or in a multi-quant file. */
#include "quantizations.h"

#include <string.h>

#include "options.h"

/* ---- sets of files in a directory ------------------------------------------------------------ */

/* Counts a file of the directory to the set whose name it has, if it is of any. */
static enum uqff_code count_file(struct cli *cli, const struct uqff_directory *directory,
                                 const char *name, struct quantization *sets, size_t *count,
                                 struct uqff_error *err) {
    struct uqff_source *source = NULL;
    uint64_t number;
    size_t i = 0, stem = strlen(name);
    if (!uqff_text_ends(name, ".uqff") || stem < 6) {
        return UQFF_OK;
    }
    stem -= 5;
    (void)uqff_shard_name_parse(name, &stem, &number);
    while (i < *count && (strlen(sets[i].name) != stem || memcmp(sets[i].name, name, stem) != 0)) {
        i++;
    }
    if (i == *count) {
        const char *copy = uqff_arena_copy(&cli->arena, name, stem);
        if (copy == NULL) {
            return uqff_fail_memory(err);
        }
        sets[(*count)++] = (struct quantization){.name = copy};
    }
    enum uqff_code code = uqff_directory_source(directory, name, strlen(name), &source, err);
    if (code == UQFF_OK) {
        sets[i].files++;
        sets[i].bytes += uqff_source_size(source);
        uqff_source_close(source);
    }
    return code;
}

enum uqff_code quantizations_find(struct cli *cli, const char *path, struct quantization **out,
                                  size_t *count, struct uqff_error *err) {
    struct uqff_directory *directory = NULL;
    const char **names;
    size_t name_count;
    *count = 0;
    enum uqff_code code = uqff_list_directory(path, &cli->arena, &names, &name_count, err);
    if (code != UQFF_OK) {
        return code;
    }
    struct quantization *sets = uqff_arena_array(&cli->arena, name_count, sizeof *sets);
    code = sets == NULL ? uqff_fail_memory(err) : uqff_directory_open(path, &directory, err);
    for (size_t i = 0; i < name_count && code == UQFF_OK; i++) {
        code = count_file(cli, directory, names[i], sets, count, err);
    }
    uqff_directory_close(directory);
    *out = sets;
    return code;
}

/* ---- one side of a comparison ---------------------------------------------------------------- */

static enum uqff_code name_sets(struct cli *cli, struct quantizations *out,
                                struct uqff_error *err) {
    struct quantization *sets;
    size_t count;
    enum uqff_code code = quantizations_find(cli, out->reference, &sets, &count, err);
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        code = list_append(&out->names, &cli->arena, sets[i].name, err);
    }
    return code;
}

/* Names are copied: they outlive the model. */
static enum uqff_code name_variants(struct cli *cli, const struct uqff_container *container,
                                    struct quantizations *out, struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < uqff_container_variant_count(container) && code == UQFF_OK; i++) {
        const char *name = uqff_container_variant(container, i)->name;
        const char *copy = uqff_arena_copy(&cli->arena, name, strlen(name));
        code =
            copy == NULL ? uqff_fail_memory(err) : list_append(&out->names, &cli->arena, copy, err);
    }
    return code;
}

/* The variants of a multi-quant file that has no default one, and so does not open as a model. */
static enum uqff_code name_undefaulted(struct cli *cli, struct quantizations *out,
                                       struct uqff_error *err) {
    struct uqff_container *container = NULL;
    struct uqff_error ignored;
    if (uqff_container_open(out->reference, NULL, &container, &ignored) != UQFF_OK) {
        *err = out->refusal;
        return err->code;
    }
    enum uqff_code code = name_variants(cli, container, out, err);
    uqff_container_close(container);
    return code;
}

enum uqff_code quantizations_open(struct cli *cli, const char *reference,
                                  const struct uqff_warner *warner, struct quantizations *out,
                                  struct uqff_error *err) {
    const struct uqff_model_options options = {.warner = warner};
    const bool directory = uqff_path_is_directory(reference);
    *out = (struct quantizations){.reference = reference};
    cli->file = reference;
    enum uqff_code code = uqff_model_open(reference, &options, &out->model, &out->refusal);
    if (code == UQFF_E_UNKNOWN) {
        out->model = NULL;
        return directory ? name_sets(cli, out, err) : name_undefaulted(cli, out, err);
    }
    if (code != UQFF_OK) {
        out->model = NULL;
        *err = out->refusal;
        return code;
    }
    const struct uqff_container *container = uqff_model_container(out->model);
    if (container == NULL || (strchr(reference, '#') != NULL && !uqff_path_exists(reference))) {
        return UQFF_OK;
    }
    return uqff_container_is_multi(container) ? name_variants(cli, container, out, err)
           : directory                        ? name_sets(cli, out, err)
                                              : UQFF_OK;
}

void quantizations_close(struct quantizations *quantizations) {
    if (quantizations->model != NULL) {
        uqff_model_close(quantizations->model);
    }
    quantizations->model = NULL;
}
