/* uqff hash: digests of files, and of the tensors in them. */
#include "cmd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hash_tensors.h"
#include "json.h"
#include "manifest.h"
#include "options.h"
#include "output.h"
#include "progress.h"

struct values {
    bool tensors, algorithms[DIGEST_COUNT];
    const char *manifest;
};

#define AT(member) offsetof(struct values, member)

static const struct option options[] = {
    {"tensors", 0, NULL, OPTION_FLAG, AT(tensors), COMPLETE_NONE, NULL,
     "digests of each tensor's data, and of all data in file order"},
    {"xxh3", 0, NULL, OPTION_FLAG, AT(algorithms[DIGEST_XXH3]), COMPLETE_NONE, "of tensors",
     "XXH3 with 128 bits: finds damage, not tampering"},
    {"sha256", 0, NULL, OPTION_FLAG, AT(algorithms[DIGEST_SHA256]), COMPLETE_NONE, "of files",
     "SHA-256"},
    {"sha1", 0, NULL, OPTION_FLAG, AT(algorithms[DIGEST_SHA1]), COMPLETE_NONE, NULL, "SHA-1"},
    {"xxh64", 0, NULL, OPTION_FLAG, AT(algorithms[DIGEST_XXH64]), COMPLETE_NONE, NULL,
     "XXH64, which llama-gguf-hash has too"},
    {"uuid", 0, NULL, OPTION_FLAG, AT(algorithms[DIGEST_UUID]), COMPLETE_NONE, NULL,
     "the UUID of all tensors' data together, as llama-gguf-hash makes it"},
    {"manifest", 0, "OUT", OPTION_TEXT, AT(manifest), COMPLETE_FILE, NULL,
     "write the list to a file: as JSON when its name ends in .json, else as SHA256SUMS"},
    {0},
};

static const struct positional positionals[] = {
    {"FILE", false, true, COMPLETE_FILE, "files, or directories for the files in them"},
    {0},
};

static const char *const description[] = {
    "Prints the SHA-256 of files in the form of sha256sum, which can check it. With --tensors, a "
    "line "
    "for each tensor of a .safetensors, .uqff or .gguf file, and one for all of its data, in the "
    "form of "
    "llama-gguf-hash: algorithm, digest, FILE:tensor. Padding and metadata do not count there.",
    "--uuid names a model by its weights: a UUID of version 5, of SHA-1 over the data of all "
    "tensors "
    "in file order, in llama.cpp's namespace. It stays the same when metadata is edited.",
    "With --manifest the names are relative to the manifest's directory. \"uqff verify "
    "--manifest\" "
    "checks both forms; \"sha256sum -c\" checks the first. Hidden files are left out of "
    "directories.",
    NULL,
};

static const char *const json[] = {
    "    schema      \"uqff.hash/1\"; in a manifest \"uqff.manifest/1\"\n"
    "    files       [{path, bytes, sha256, tensors}]\n"
    "    tensors     with --tensors: [{name, type, bytes, xxh3}]; data_xxh3\n"
    "                beside it is of all their data in file order\n"
    "    uuid        with --uuid, of a file that has tensors; without --tensors\n"
    "                there is no sha256 then\n"
    "    manifest    null, or the file that was written; not in a manifest\n"
    "    warnings    [text]; not in a manifest",
    "The keys sha256, sha1, xxh3 and xxh64 stand for the algorithms that were asked for.",
    NULL,
};

static const struct example examples[] = {
    {"uqff hash storyteller.uqff", "The SHA-256 of a file:"},
    {"uqff hash storyteller.uqff --tensors --sha256", "Of each tensor in it:"},
    {"uqff hash model.gguf --uuid", "A name for the weights, whatever the metadata says:"},
    {"uqff hash release/ --manifest release/SHA256SUMS", "A list for a release:"},
    {0},
};

/* What one run works with. */
struct job {
    struct cli *cli;
    const struct values *values;
    enum algorithm file_algorithm; /* without --tensors, and of a manifest */
    enum algorithm tensor_algorithms[DIGEST_COUNT];
    size_t tensor_count; /* of the algorithms */
    const char *root;    /* real path of the manifest's directory, or NULL */
    struct uqff_buffer text;
    cJSON *files;
    struct uqff_progress progress;
    struct uqff_error *err;
};

/* ---- which files ----------------------------------------------------------------------------- */

static enum uqff_code add_directory(struct cli *cli, const char *path, unsigned depth,
                                    struct list *files, struct uqff_error *err) {
    const char **names;
    size_t count;
    enum uqff_code code = uqff_list_directory(path, &cli->arena, &names, &count, err);
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        if (names[i][0] == '.') {
            continue;
        }
        const size_t n = strlen(path);
        const char *child = uqff_arena_printf(&cli->arena, "%s%s%s", path,
                                              n > 0 && path[n - 1] == '/' ? "" : "/", names[i]);
        if (child == NULL) {
            return uqff_fail_memory(err);
        }
        if (uqff_path_is_directory(child)) {
            /* A model's folders are one deep. */
            code = depth == 0 ? UQFF_OK : add_directory(cli, child, depth - 1, files, err);
        } else {
            code = list_append(files, &cli->arena, child, err);
        }
    }
    return code;
}

static enum uqff_code collect_files(struct cli *cli, struct list *files, struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < cli->arguments.count && code == UQFF_OK; i++) {
        const char *path = cli->arguments.items[i];
        code = uqff_path_is_directory(path) ? add_directory(cli, path, 1, files, err)
                                            : list_append(files, &cli->arena, path, err);
    }
    return code;
}

/* ---- names in a manifest --------------------------------------------------------------------- */

/* The name of a file relative to the manifest's directory; *out stays NULL when it is not below it.
 */
static enum uqff_code relative_name(struct job *job, const char *path, const char **out) {
    char *directory = uqff_path_directory(path);
    char *real = directory == NULL ? NULL : realpath(directory, NULL);
    const size_t n = strlen(job->root);
    enum uqff_code code = UQFF_OK;
    *out = NULL;
    if (directory == NULL) {
        code = uqff_fail_memory(job->err);
    } else if (real != NULL && strncmp(real, job->root, n) == 0 &&
               (real[n] == '\0' || real[n] == '/' || n == 1)) {
        const char *below = real + n + (real[n] == '/');
        *out = uqff_arena_printf(&job->cli->arena, "%s%s%s", below, below[0] == '\0' ? "" : "/",
                                 uqff_path_name(path));
        code = *out == NULL ? uqff_fail_memory(job->err) : UQFF_OK;
    } else {
        code = uqff_fail(job->err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "%s: does not lie below the directory of the manifest", path);
    }
    free(real);
    uqff_free(directory);
    return code;
}

/* True when tensors are read, be it only for what names all of them. */
static bool wants_tensors(const struct job *job) {
    return job->values->tensors || job->file_algorithm == DIGEST_UUID;
}

/* ---- one file -------------------------------------------------------------------------------- */

static enum uqff_code hash_whole(struct job *job, struct uqff_source *source, const char *name,
                                 cJSON *object) {
    struct digest *digest = NULL;
    const uint64_t size = uqff_source_size(source);
    uint64_t done = 0;
    char hex[DIGEST_TEXT];
    enum uqff_code code = digest_new(job->file_algorithm, &digest, job->err);
    if (code == UQFF_OK) {
        code = digest_range(source, 0, size, &digest, 1, &job->progress, &done, size, job->err);
    }
    if (code == UQFF_OK) {
        digest_final(digest, hex);
        if (object != NULL) {
            json_text(object, digest_name(job->file_algorithm), hex);
        } else {
            code = manifest_put_line(&job->text, hex, name, job->err);
        }
    }
    digest_free(digest);
    return code;
}

/* A manifest that is written anew does not list its old self, and does not replace a file that it
 * was asked to list. */
static enum uqff_code check_manifest(const struct job *job, const struct uqff_source *source,
                                     const char *path, bool *skip) {
    *skip = job->values->manifest != NULL && uqff_source_is_file(source, job->values->manifest);
    for (size_t i = 0; *skip && i < job->cli->arguments.count; i++) {
        if (job->cli->arguments.items[i] == path) {
            return uqff_fail(job->err, UQFF_E_IS_INPUT, UQFF_NO_OFFSET,
                             "%s: is a file to be listed, so it cannot be the manifest", path);
        }
    }
    return UQFF_OK;
}

static enum uqff_code hash_file(struct job *job, const char *path) {
    struct uqff_source *source = NULL;
    const char *name = path;
    job->cli->file = path;
    enum uqff_code code = job->root == NULL ? UQFF_OK : relative_name(job, path, &name);
    if (code == UQFF_OK) {
        code = uqff_source_open(path, &source, job->err);
    }
    bool skip = false;
    if (code == UQFF_OK) {
        code = check_manifest(job, source, path, &skip);
    }
    if (code != UQFF_OK || skip) {
        uqff_source_close(source);
        return code;
    }
    cJSON *object = NULL;
    if (job->files != NULL) {
        object = json_object(job->files, NULL);
        json_text(object, "path", name);
        json_u64(object, "bytes", uqff_source_size(source));
    }
    /* A manifest always has the digest of the file; a listing of tensors only theirs. */
    if (!wants_tensors(job) || (job->values->tensors && object != NULL)) {
        code = hash_whole(job, source, name, object);
    }
    if (code == UQFF_OK && wants_tensors(job) && hash_has_tensors(path)) {
        const struct hash_tensors request = {
            .source = source,
            .name = name,
            .path = path,
            .algorithms = job->tensor_algorithms,
            .count = job->tensor_count,
            .all_only = !job->values->tensors,
            .progress = &job->progress,
            .object = object,
            .text = &job->text,
        };
        code = hash_tensors(&request, job->err);
    }
    uqff_source_close(source);
    return code;
}

/* ---- the command ----------------------------------------------------------------------------- */

static enum uqff_code choose_algorithms(struct job *job) {
    const bool *wanted = job->values->algorithms;
    size_t chosen = 0;
    enum algorithm last = DIGEST_SHA256;
    /* A UUID tells nothing of one tensor: the list has what it has by default, too. */
    if (job->values->tensors && !wanted[DIGEST_XXH3] && !wanted[DIGEST_SHA256] &&
        !wanted[DIGEST_SHA1] && !wanted[DIGEST_XXH64]) {
        job->tensor_algorithms[job->tensor_count++] = DIGEST_XXH3;
    }
    for (size_t i = 0; i < DIGEST_COUNT; i++) {
        if (wanted[i]) {
            chosen++;
            last = (enum algorithm)i;
            job->tensor_algorithms[job->tensor_count++] = last;
        }
    }
    job->file_algorithm = job->values->tensors ? DIGEST_SHA256 : last;
    if (chosen > 1 && !job->values->tensors) {
        return uqff_fail(job->err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "hash: several algorithms go with --tensors only");
    }
    if (job->values->manifest != NULL && job->file_algorithm != DIGEST_SHA256) {
        return uqff_fail(job->err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "hash: a manifest holds SHA-256 of its files, not %s",
                         digest_name(job->file_algorithm));
    }
    return UQFF_OK;
}

static enum uqff_code find_root(struct job *job) {
    char *directory = uqff_path_directory(job->values->manifest);
    char *real = directory == NULL ? NULL : realpath(directory, NULL);
    enum uqff_code code = UQFF_OK;
    if (directory == NULL) {
        code = uqff_fail_memory(job->err);
    } else if (real == NULL) {
        code = uqff_fail(job->err, UQFF_E_NOT_FOUND, UQFF_NO_OFFSET, "%s: no such directory",
                         directory);
    } else {
        job->root = uqff_arena_copy(&job->cli->arena, real, strlen(real));
        code = job->root == NULL ? uqff_fail_memory(job->err) : UQFF_OK;
    }
    free(real);
    uqff_free(directory);
    return code;
}

/* A manifest in JSON: its own schema, and nothing of the run. */
static enum uqff_code write_manifest(struct job *job, cJSON *document) {
    struct uqff_buffer text = {0};
    enum uqff_code code = UQFF_OK;
    const char *path = job->values->manifest;
    if (document != NULL) {
        code = json_render(document, &text, job->err);
    }
    const struct uqff_buffer *content = document != NULL ? &text : &job->text;
    if (code == UQFF_OK && content->failed) {
        code = uqff_fail_memory(job->err);
    }
    if (code == UQFF_OK) {
        job->cli->file = path;
        code = uqff_write_file(path, content->data, content->size, job->cli->force, job->err);
    }
    uqff_buffer_free(&text);
    return code;
}

static enum uqff_code hash_all(struct job *job, const struct list *files) {
    struct progress state;
    enum uqff_code code = UQFF_OK;
    job->progress = progress_begin(&state, job->cli);
    for (size_t i = 0; i < files->count && code == UQFF_OK; i++) {
        code = hash_file(job, files->items[i]);
    }
    progress_end(&state);
    return code;
}

/* Ends a run whose digests are there: prints them, or writes them and says where. */
static enum uqff_code finish(struct job *job, cJSON *document, bool json_manifest) {
    struct cli *cli = job->cli;
    const char *path = job->values->manifest;
    if (path == NULL) {
        if (cli->json) {
            json_null(document, "manifest");
            return json_print(cli, document, job->err);
        }
        if (job->text.failed) {
            return uqff_fail_memory(job->err);
        }
        fwrite(job->text.data == NULL ? "" : job->text.data, 1, job->text.size, stdout);
        return UQFF_OK;
    }
    enum uqff_code code = write_manifest(job, json_manifest ? document : NULL);
    if (code == UQFF_OK && cli->json) {
        cJSON *answer = json_document(cli);
        json_text(answer, "manifest", path);
        return json_print(cli, answer, job->err);
    }
    if (code == UQFF_OK) {
        output_made(cli, path);
    }
    return code;
}

/* Nothing at all would look like an answer. */
static void warn_without_tensors(struct cli *cli, const struct list *files) {
    const struct uqff_warner warner = output_warner(cli);
    for (size_t i = 0; i < files->count; i++) {
        if (hash_has_tensors(files->items[i])) {
            return;
        }
    }
    uqff_warn(&warner, "there is no .safetensors, .uqff or .gguf file here, so no tensor to read");
}

static enum uqff_code run(struct cli *cli, const void *arguments, struct uqff_error *err) {
    const struct values *values = arguments;
    const bool json_manifest =
        values->manifest != NULL && uqff_text_ends(values->manifest, ".json");
    struct job job = {.cli = cli, .values = values, .err = err};
    struct list files = {0};
    enum uqff_code code = choose_algorithms(&job);
    if (code == UQFF_OK && values->manifest != NULL && !json_manifest && values->tensors) {
        code = uqff_fail(
            err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
            "hash: SHA256SUMS has no place for tensors; name a manifest that ends in .json");
    }
    if (code == UQFF_OK && values->manifest != NULL && strcmp(values->manifest, "-") == 0) {
        code = uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "option '--manifest': the list goes to standard output without it; call a "
                         "file of that name './-'");
    }
    if (code == UQFF_OK && values->manifest != NULL) {
        code = find_root(&job);
    }
    if (code == UQFF_OK) {
        code = collect_files(cli, &files, err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    cJSON *document = NULL;
    if (json_manifest) {
        document = json_document_of("uqff.manifest/1");
    } else if (cli->json && values->manifest == NULL) {
        document = json_document(cli);
    }
    if (wants_tensors(&job)) {
        warn_without_tensors(cli, &files);
    }
    job.files = document == NULL ? NULL : json_array(document, "files");
    code = hash_all(&job, &files);
    if (code == UQFF_OK) {
        code = finish(&job, document, json_manifest);
    } else {
        cJSON_Delete(document);
    }
    uqff_buffer_free(&job.text);
    return code;
}

const struct command command_hash = {
    .name = "hash",
    .summary = "Print digests of files and tensors",
    .positionals = positionals,
    .options = options,
    .values_size = sizeof(struct values),
    .description = description,
    .json = json,
    .examples = examples,
    .run = run,
};
