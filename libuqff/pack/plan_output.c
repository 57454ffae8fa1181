#include <string.h>
#include <sys/stat.h>

#include "pack/gguf.h"
#include "pack/plan.h"

/* ---- where ----------------------------------------------------------------------------------- */

static const char suffix[] = ".uqff";

/* The directory part of a path, in the arena. */
enum uqff_code uqff_pack_keep_directory(struct uqff_pack_plan *plan, const char *path,
                                        struct uqff_error *err) {
    char *directory = uqff_path_directory(path);
    if (directory == NULL) {
        return uqff_fail_memory(err);
    }
    plan->directory = uqff_arena_copy(&plan->arena, directory, strlen(directory));
    uqff_free(directory);
    return plan->directory == NULL ? uqff_fail_memory(err) : UQFF_OK;
}

bool uqff_pack_means_directory(const char *output) {
    return uqff_path_is_directory(output) || uqff_text_ends(output, "/");
}

static enum uqff_code place_file(struct uqff_pack_plan *plan, struct uqff_error *err) {
    const char *output = plan->options.output, *name = uqff_model_name(plan->model);
    if (output == NULL || uqff_pack_means_directory(output)) {
        plan->directory = output != NULL ? output : ".";
        plan->stem = name;
        return UQFF_OK;
    }
    name = uqff_path_name(output);
    size_t length = strlen(name), ending = sizeof suffix - 1;
    if (length <= ending || strcmp(name + length - ending, suffix) != 0) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "%s: expected a name that ends in '%s', or a directory; the name of one "
                         "that is to be made ends in '/'",
                         output, suffix);
    }
    plan->stem = uqff_arena_copy(&plan->arena, name, length - ending);
    if (plan->stem == NULL) {
        return uqff_fail_memory(err);
    }
    return uqff_pack_keep_directory(plan, output, err);
}

/* A name that no container may have is a slip of who chose it, the option's or the model's: not bad
 * input. Only another name helps, so it is said before anything is read. */
static enum uqff_code check_stem(const struct uqff_pack_plan *plan, struct uqff_error *err) {
    const char *stem = plan->stem, *dash = strrchr(stem, '-');
    const size_t n = strlen(stem);
    if (n > 240 || !uqff_name_is_safe_component(stem, n)) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "no file can be called '%s%s': expected 1 to 240 bytes before '%s', "
                         "without '/', '\\', ':' and control characters; give it another name "
                         "(--output)",
                         stem, suffix, suffix);
    }
    if (dash != NULL && dash[1] != '\0' && dash[1 + strspn(dash + 1, "0123456789")] == '\0') {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "'%s%s' reads as shard %s of '%.*s'; give it another name (--output), for "
                         "instance '%.*s_%s%s'",
                         stem, suffix, dash + 1, (int)(dash - stem), stem, (int)(dash - stem), stem,
                         dash + 1, suffix);
    }
    return UQFF_OK;
}

enum uqff_code uqff_pack_plan_place(struct uqff_pack_plan *plan, struct uqff_error *err) {
    if (plan->options.format == UQFF_PACK_UQFF) {
        enum uqff_code code = place_file(plan, err);
        return code == UQFF_OK ? check_stem(plan, err) : code;
    }
    if (plan->options.format == UQFF_PACK_GGUF) {
        return uqff_gguf_place(plan, err);
    }
    plan->directory =
        plan->options.output != NULL
            ? plan->options.output
            : uqff_arena_printf(&plan->arena, "%s-UQFF", uqff_model_name(plan->model));
    return plan->directory == NULL ? uqff_fail_memory(err) : UQFF_OK;
}

/* ---- what ------------------------------------------------------------------------------------ */

static bool same_file(const char *a, const char *b) {
    struct stat one, two;
    return stat(a, &one) == 0 && stat(b, &two) == 0 && one.st_dev == two.st_dev &&
           one.st_ino == two.st_ino;
}

enum uqff_code uqff_pack_check_path(const struct uqff_model *model, const char *path,
                                    bool overwrite, struct uqff_error *err) {
    if (uqff_model_is_input(model, path)) {
        return uqff_fail(err, UQFF_E_IS_INPUT, UQFF_NO_OFFSET,
                         "%s: is a file that the model is read from, so it cannot be written",
                         path);
    }
    if (!overwrite && uqff_path_exists(path)) {
        return uqff_fail(err, UQFF_E_EXISTS, UQFF_NO_OFFSET, "%s: already exists", path);
    }
    return UQFF_OK;
}

enum uqff_code uqff_pack_add_file(struct uqff_pack_plan *plan, const char *name, uint64_t bytes,
                                  struct uqff_error *err) {
    const struct uqff_pack_options *options = &plan->options;
    /* As uqff_path_join does it, but in the arena. */
    char *joined = uqff_path_join(plan->directory, name);
    char *path = joined == NULL ? NULL : uqff_arena_copy(&plan->arena, joined, strlen(joined));
    uqff_free(joined);
    if (path == NULL) {
        return uqff_fail_memory(err);
    }
    if (options->imatrix != NULL && same_file(path, options->imatrix)) {
        return uqff_fail(err, UQFF_E_IS_INPUT, UQFF_NO_OFFSET,
                         "%s: is the importance matrix, so it cannot be written", path);
    }
    plan->files[plan->file_count++] = (struct uqff_pack_file){path, bytes};
    return uqff_pack_check_path(plan->model, path, options->overwrite, err);
}

/* Shards of the same stem that a reader would take for a part of this set: those of an older,
 * longer one. Overwriting removes them, so they must not be what is read. */
static enum uqff_code check_neighbours(struct uqff_pack_plan *plan,
                                       const struct pack_output *output, struct uqff_error *err) {
    struct uqff_arena arena = {0};
    const char **names = NULL;
    size_t count = 0, shards = uqff_container_plan_shard_count(output->plan);
    enum uqff_code code = UQFF_OK;
    if (!uqff_path_is_directory(plan->directory)) {
        return UQFF_OK;
    }
    code = uqff_list_directory(plan->directory, &arena, &names, &count, err);
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        size_t stem = 0, k = 0;
        uint64_t number = 0;
        if (!uqff_shard_name_parse(names[i], &stem, &number) || stem != strlen(output->spec.stem) ||
            memcmp(names[i], output->spec.stem, stem) != 0) {
            continue;
        }
        while (k < shards &&
               strcmp(uqff_container_plan_shard_name(output->plan, k), names[i]) != 0) {
            k++;
        }
        if (k == shards) {
            char *path = uqff_path_join(plan->directory, names[i]);
            code = path == NULL
                       ? uqff_fail_memory(err)
                       : uqff_pack_check_path(plan->model, path, plan->options.overwrite, err);
            uqff_free(path);
        }
    }
    uqff_arena_free(&arena);
    return code;
}

static bool is_planned(const struct uqff_pack_plan *plan, const char *name, size_t stem) {
    for (size_t i = 0; i < plan->output_count; i++) {
        const char *own = plan->outputs[i].spec.stem;
        if (strlen(own) == stem && memcmp(own, name, stem) == 0) {
            return true;
        }
    }
    return false;
}

/* Shards of other quantizations: uqff_report.json, which is written anew, would not list them, and
 * the other files that they need are replaced by those of this model. */
static enum uqff_code check_strangers(const struct uqff_pack_plan *plan, struct uqff_error *err) {
    struct uqff_arena arena = {0};
    const char **names = NULL;
    size_t count = 0, stem = 0;
    uint64_t number = 0;
    if (plan->options.format != UQFF_PACK_MISTRALRS || !uqff_path_is_directory(plan->directory)) {
        return UQFF_OK;
    }
    enum uqff_code code = uqff_list_directory(plan->directory, &arena, &names, &count, err);
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        if (uqff_shard_name_parse(names[i], &stem, &number) && !is_planned(plan, names[i], stem)) {
            code = uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                             "%s: holds '%s' of another quantization, which the new "
                             "uqff_report.json would not list; make all of them in one run, or "
                             "this one in a directory of its own",
                             plan->directory, names[i]);
        }
    }
    uqff_arena_free(&arena);
    return code;
}

/* mistral.rs prefers a checkpoint to residual.safetensors. */
static void warn_checkpoint(const struct uqff_pack_plan *plan) {
    static const char *const names[] = {
        "model.safetensors",        "model.safetensors.index.json",
        "consolidated.safetensors", "model-00001-of-00001.safetensors",
        "pytorch_model.bin",        "pytorch_model.bin.index.json",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *path = uqff_path_join(plan->directory, names[i]);
        if (path != NULL && uqff_path_exists(path)) {
            uqff_warn(plan->options.warner,
                      "%s: is there as well; mistral.rs takes it before residual.safetensors",
                      path);
        }
        uqff_free(path);
    }
}

enum uqff_code uqff_pack_plan_files(struct uqff_pack_plan *plan, struct uqff_error *err) {
    size_t count = plan->side_count + 1;
    for (size_t i = 0; i < plan->output_count; i++) {
        count += uqff_container_plan_shard_count(plan->outputs[i].plan);
    }
    plan->files = uqff_arena_array(&plan->arena, count, sizeof *plan->files);
    if (plan->files == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < plan->output_count && code == UQFF_OK; i++) {
        const struct uqff_container_plan *container = plan->outputs[i].plan;
        for (size_t k = 0; k < uqff_container_plan_shard_count(container) && code == UQFF_OK; k++) {
            code = uqff_pack_add_file(plan, uqff_container_plan_shard_name(container, k),
                                      uqff_container_plan_shard_bytes(container, k), err);
        }
        if (code == UQFF_OK) {
            code = check_neighbours(plan, &plan->outputs[i], err);
        }
    }
    if (code == UQFF_OK) {
        code = check_strangers(plan, err);
    }
    if (plan->beside && code == UQFF_OK) {
        code = uqff_pack_add_file(plan, "residual.safetensors", plan->residual_file.bytes, err);
        warn_checkpoint(plan);
    }
    for (size_t i = 0; i < plan->side_count && code == UQFF_OK; i++) {
        code = uqff_pack_add_file(plan, plan->sides[i].name, plan->sides[i].bytes, err);
    }
    return code;
}
