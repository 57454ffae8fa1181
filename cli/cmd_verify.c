/* uqff verify: is this file whole, and is it what a program or a manifest demands? */
#include "cmd.h"

#include <stdio.h>
#include <string.h>

#include "digest.h"
#include "json.h"
#include "manifest.h"
#include "output.h"
#include "progress.h"
#include "recipe.h"

struct values {
    bool strict, allow_newer_minor;
    unsigned target;
    const char *manifest, *recompute;
    struct recipe_values recipe;
};

#define AT(member) offsetof(struct values, member)

static const struct option options[] = {
    {"strict", 0, NULL, OPTION_FLAG, AT(strict), COMPLETE_NONE, NULL,
     "what a format does not forbid, but is odd, fails too"},
    {"for", 0, "mistralrs|llamacpp", OPTION_CHOICE, AT(target), COMPLETE_NONE, NULL,
     "also check all that this program demands"},
    {"manifest", 0, "FILE", OPTION_TEXT, AT(manifest), COMPLETE_FILE, NULL,
     "also check the files that a SHA256SUMS or a manifest of uqff hash lists"},
    {"recompute", 0, "SOURCE", OPTION_TEXT, AT(recompute), COMPLETE_FILE, NULL,
     "encode SOURCE again and compare every byte"},
    RECIPE_OPTIONS(struct values, recipe),
    {"allow-newer-minor", 0, NULL, OPTION_FLAG, AT(allow_newer_minor), COMPLETE_NONE, NULL,
     "read a UQFF of a minor version that is newer than this program"},
    {0},
};

static const struct positional positionals[] = {
    {"MODEL", true, true, COMPLETE_FILE, "files and directories; may be none with --manifest"},
    {0},
};

static const char *const description[] = {
    "Checks that files are whole: structure, digests where a file has them, and that no scale and "
    "no "
    "stored number is impossible. --for adds what another program would refuse; --manifest "
    "compares "
    "the files' SHA-256 with a list; --recompute encodes the source again, with the options that "
    "choose "
    "types as pack had them, and compares.",
    "Failures, warnings and notes are listed, each with the name of its check. The exit code is 1 "
    "when "
    "one of the files fails; a file that cannot be parsed at all gives 3, one that cannot be read "
    "4.",
    NULL,
};

static const char *const json[] = {
    "    schema      \"uqff.verify/1\"\n"
    "    verified    true when nothing failed\n"
    "    files       [{path, verdict, findings: [{severity, check, text}], error}]\n"
    "    manifest    null, or {path, verdict, files, findings}\n"
    "    warnings    [text]",
    "verdict is one of verified, failed, error; error is null, or {code, message, offset} for a "
    "file "
    "that could not be checked. severity is one of note, warning, failure.",
    NULL,
};

static const struct example examples[] = {
    {"uqff verify storyteller.uqff", "A file's own digests:"},
    {"uqff verify storyteller-q8_0 --for mistralrs", "Would mistral.rs load it?"},
    {"uqff verify storyteller.uqff --recompute testdata/storyteller",
     "Does it come from this model?"},
    {"uqff verify --manifest SHA256SUMS", "Is the release what was published?"},
    {0},
};

/* Takes findings, under --json as members of a list. */
struct collector {
    struct cli *cli;
    cJSON *findings;
    struct progress *progress;
};

static const char *const severities[] = {"note", "warning", "failure"};

static void on_finding(void *context, enum uqff_severity severity, const char *code,
                       const char *text) {
    struct collector *collector = context;
    const struct cli *cli = collector->cli;
    if (collector->findings != NULL) {
        cJSON *object = json_object(collector->findings, NULL);
        json_text(object, "severity", severities[severity]);
        json_text(object, "check", code);
        json_text(object, "text", text);
        return;
    }
    if (cli->quiet && severity != UQFF_FAILURE) {
        return;
    }
    progress_end(collector->progress);
    const char *begin = severity == UQFF_FAILURE   ? style(cli, STYLE_RED)
                        : severity == UQFF_WARNING ? style(cli, STYLE_YELLOW)
                                                   : style(cli, STYLE_DIM);
    char line[2048];
    printf("%s%s%s: %s (%s)\n", begin, severities[severity], style_end(cli),
           output_shorten(line, sizeof line, 0, text), code);
}

static void print_verdict(const struct cli *cli, const char *path, bool passed) {
    char text[5000];
    if (!cli->quiet) {
        printf("%s: %s%s%s\n", output_cut(text, sizeof text, 0, path, strlen(path)),
               style(cli, passed ? STYLE_GREEN : STYLE_RED), passed ? "verified" : "failed",
               style_end(cli));
    }
}

static void json_error(cJSON *object, const struct uqff_error *err) {
    cJSON *error = json_object(object, "error");
    json_text(error, "code", uqff_code_name(err->code));
    json_text(error, "message", err->text);
    if (err->offset == UQFF_NO_OFFSET) {
        json_null(error, "offset");
    } else {
        json_u64(error, "offset", err->offset);
    }
}

/* Verifies one file. An error about it is told at once, so that the others are still verified. */
static void verify_one(struct cli *cli, const char *path, const struct uqff_verify_options *how,
                       cJSON *files) {
    struct progress state;
    struct uqff_error err = {UQFF_OK, UQFF_NO_OFFSET, ""};
    cJSON *object = files == NULL ? NULL : json_object(files, NULL);
    struct collector collector = {cli, NULL, &state};
    if (object != NULL) {
        json_text(object, "path", path);
        json_null(object, "verdict"); /* its place among the keys is here */
        collector.findings = json_array(object, "findings");
    }
    const struct uqff_progress progress = progress_begin(&state, cli);
    const struct uqff_findings findings = {on_finding, &collector};
    bool passed = false;
    cli->file = path;
    enum uqff_code code = uqff_verify(path, how, &findings, &progress, &passed, &err);
    progress_end(&state);
    if (code != UQFF_OK) {
        output_error(cli, code, &err);
        cli->told = cli->told == UQFF_OK ? code : cli->told;
    } else if (!passed) {
        cli->answer_no = true;
    }
    if (object == NULL) {
        if (code == UQFF_OK) {
            print_verdict(cli, path, passed);
        }
        return;
    }
    const char *verdict = code != UQFF_OK ? "error" : passed ? "verified" : "failed";
    cJSON_ReplaceItemInObject(object, "verdict", cJSON_CreateString(verdict));
    if (code != UQFF_OK) {
        json_error(object, &err);
    } else {
        json_null(object, "error");
    }
}

/* ---- manifests ------------------------------------------------------------------------------- */

/* Opens a listed file and takes its digest; a failure to do so is a finding, not an error. */
static enum uqff_code digest_entry(const char *path, const struct manifest_entry *entry,
                                   const struct uqff_progress *progress, char hex[DIGEST_TEXT],
                                   struct uqff_error *err) {
    struct uqff_source *source = NULL;
    struct digest *digest = NULL;
    uint64_t done = 0;
    enum uqff_code code = uqff_source_open(path, &source, err);
    if (code == UQFF_OK && entry->bytes != UINT64_MAX && entry->bytes != uqff_source_size(source)) {
        code = uqff_fail(
            err, UQFF_E_DIGEST, UQFF_NO_OFFSET, "%s: found %llu bytes, the manifest has %llu", path,
            (unsigned long long)uqff_source_size(source), (unsigned long long)entry->bytes);
    }
    if (code == UQFF_OK) {
        code = digest_new(DIGEST_SHA256, &digest, err);
    }
    if (code == UQFF_OK) {
        const uint64_t size = uqff_source_size(source);
        code = digest_range(source, 0, size, &digest, 1, progress, &done, size, err);
    }
    if (code == UQFF_OK) {
        digest_final(digest, hex);
    }
    digest_free(digest);
    uqff_source_close(source);
    return code;
}

static bool check_entry(const struct manifest *manifest, const struct manifest_entry *entry,
                        const struct uqff_progress *progress, struct collector *collector) {
    struct uqff_error err;
    char hex[DIGEST_TEXT];
    char *path = uqff_path_join(manifest->directory, entry->name);
    enum uqff_code code =
        path == NULL ? uqff_fail_memory(&err) : digest_entry(path, entry, progress, hex, &err);
    if (code == UQFF_OK && strcmp(hex, entry->sha256) != 0) {
        code = uqff_fail(&err, UQFF_E_DIGEST, UQFF_NO_OFFSET,
                         "%s: found SHA-256 %s, the manifest has %s", path, hex, entry->sha256);
    }
    uqff_free(path);
    if (code != UQFF_OK) {
        on_finding(collector, UQFF_FAILURE, "manifest", err.text);
    }
    return code == UQFF_OK;
}

static enum uqff_code verify_manifest(struct cli *cli, const char *path, cJSON *document,
                                      struct uqff_error *err) {
    struct manifest manifest;
    struct progress state;
    cli->file = path;
    enum uqff_code code = manifest_read(cli, path, &manifest, err);
    if (code != UQFF_OK) {
        return code;
    }
    const struct uqff_progress progress = progress_begin(&state, cli);
    cJSON *object = document == NULL ? NULL : json_object(document, "manifest");
    struct collector collector = {cli, NULL, &state};
    if (object != NULL) {
        json_text(object, "path", path);
        json_null(object, "verdict");
        json_u64(object, "files", manifest.count);
        collector.findings = json_array(object, "findings");
    }
    bool passed = true;
    for (size_t i = 0; i < manifest.count; i++) {
        passed = check_entry(&manifest, &manifest.entries[i], &progress, &collector) && passed;
    }
    progress_end(&state);
    cli->answer_no = cli->answer_no || !passed;
    if (object == NULL) {
        print_verdict(cli, path, passed);
    } else {
        cJSON_ReplaceItemInObject(object, "verdict",
                                  cJSON_CreateString(passed ? "verified" : "failed"));
    }
    return UQFF_OK;
}

/* ---- the command ----------------------------------------------------------------------------- */

static enum uqff_code verify_all(struct cli *cli, const struct values *values,
                                 const struct uqff_verify_options *how, cJSON *document,
                                 struct uqff_error *err) {
    if (document != NULL) {
        json_null(document, "verified");
    }
    cJSON *files = document == NULL ? NULL : json_array(document, "files");
    for (size_t i = 0; i < cli->arguments.count; i++) {
        verify_one(cli, cli->arguments.items[i], how, files);
    }
    enum uqff_code code = UQFF_OK;
    if (values->manifest != NULL) {
        code = verify_manifest(cli, values->manifest, document, err);
    } else if (document != NULL) {
        json_null(document, "manifest");
    }
    if (code == UQFF_OK && document != NULL) {
        cJSON_ReplaceItemInObject(document, "verified",
                                  cJSON_CreateBool(!cli->answer_no && cli->told == UQFF_OK));
    }
    return code;
}

static enum uqff_code run(struct cli *cli, const void *arguments, struct uqff_error *err) {
    static const enum uqff_target targets[] = {UQFF_TARGET_NONE, UQFF_TARGET_MISTRALRS,
                                               UQFF_TARGET_LLAMACPP};
    const struct values *values = arguments;
    const struct uqff_warner warner = output_warner(cli);
    const struct uqff_model_options open = {.warner = &warner};
    struct uqff_model *source = NULL;
    struct uqff_pack_options pack = {.threads = (unsigned)cli->threads, .warner = &warner};
    if (cli->arguments.count == 0 && values->manifest == NULL) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET, "verify: MODEL is missing");
    }
    enum uqff_code code = recipe_apply(cli, &values->recipe, &pack, err);
    if (code == UQFF_OK && values->recompute != NULL) {
        cli->file = values->recompute;
        code = uqff_model_open(values->recompute, &open, &source, err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    const struct uqff_verify_options verify = {
        .strict = values->strict,
        .target = targets[values->target],
        .recompute = source,
        .pack = &pack,
        .allow_newer_minor = values->allow_newer_minor,
        .threads = (unsigned)cli->threads,
    };
    cJSON *document = cli->json ? json_document(cli) : NULL;
    code = verify_all(cli, values, &verify, document, err);
    if (code == UQFF_OK && document != NULL) {
        code = json_print(cli, document, err);
    } else {
        cJSON_Delete(document);
    }
    if (source != NULL) {
        uqff_model_close(source);
    }
    return code;
}

const struct command command_verify = {
    .name = "verify",
    .summary = "Check that files are whole and fit for use",
    .positionals = positionals,
    .options = options,
    .values_size = sizeof(struct values),
    .description = description,
    .json = json,
    .examples = examples,
    .run = run,
};
