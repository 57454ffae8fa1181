/* Where a vocabulary comes from: which file, told by its content, and the files that complete it.
 */
#include <string.h>

#include "model/vocabulary.h"

/* Side files by name: of a model, or of the directory that a file lies in. */
struct side {
    const struct uqff_model *model; /* NULL: the directory */
    const char *directory;
};

/* *text is NULL when there is no such file; else freed with uqff_free. */
static enum uqff_code read_side(const struct side *side, const char *name, char **text,
                                size_t *size, struct uqff_error *err) {
    *text = NULL;
    if (side->model != NULL) {
        for (size_t i = 0; i < uqff_model_asset_count(side->model); i++) {
            if (strcmp(uqff_model_asset_path(side->model, i), name) == 0) {
                return uqff_model_read_asset(side->model, i, text, size, err);
            }
        }
        return UQFF_OK;
    }
    struct uqff_source *source = NULL;
    enum uqff_code code = uqff_source_open_in(side->directory, name, strlen(name), &source, err);
    if (code == UQFF_E_NOT_FOUND || code == UQFF_E_NOT_REGULAR) {
        return UQFF_OK;
    }
    code = code != UQFF_OK
               ? code
               : uqff_source_read_all(source, UQFF_VOCABULARY_FILE_LIMIT, text, size, err);
    uqff_source_close(source);
    return code;
}

typedef enum uqff_code read_text(struct uqff_vocabulary *v, const char *text, size_t size,
                                 const char *where, struct uqff_error *err);

static enum uqff_code read_settings(struct uqff_vocabulary *v, const char *text, size_t size,
                                    const char *where, struct uqff_error *err) {
    return uqff_vocab_read_settings(v, text, size, where, false, err);
}

static enum uqff_code read_settings_and_tokens(struct uqff_vocabulary *v, const char *text,
                                               size_t size, const char *where,
                                               struct uqff_error *err) {
    return uqff_vocab_read_settings(v, text, size, where, true, err);
}

static enum uqff_code complete_by(struct uqff_vocabulary *v, const struct side *side,
                                  const char *name, read_text *read, struct uqff_error *err) {
    char *text;
    size_t size = 0;
    enum uqff_code code = read_side(side, name, &text, &size, err);
    if (code != UQFF_OK || text == NULL) {
        return code;
    }
    char *where =
        uqff_path_join(side->model != NULL ? uqff_model_path(side->model) : side->directory, name);
    code = where == NULL ? uqff_fail_memory(err) : read(v, text, size, where, err);
    uqff_free(where);
    uqff_free(text);
    return code;
}

/* Which token goes first and last: settings say, else the post-processor. */
static enum uqff_code settle_ends(struct uqff_vocabulary *v, struct uqff_error *err) {
    const struct {
        const char *text, *name;
        uint32_t *id;
        bool given, *add;
    } ends[] = {
        {v->template_bos, "first", &v->info.bos, v->bos_given, &v->info.add_bos},
        {v->template_eos, "last", &v->info.eos, v->eos_given, &v->info.add_eos},
    };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        if (ends[i].text == NULL || ends[i].given) {
            continue;
        }
        uint32_t id = uqff_vocabulary_find(v, ends[i].text, strlen(ends[i].text));
        if (id == UQFF_NO_TOKEN) {
            return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                             "%s: post-processor: found the token '%.100s', expected one of the "
                             "vocabulary",
                             v->where, ends[i].text);
        }
        if (*ends[i].id == UQFF_NO_TOKEN) {
            *ends[i].id = id;
        }
        *ends[i].add = *ends[i].id == id;
        if (*ends[i].id != id) {
            uqff_warn(&v->warner,
                      "%s: the post-processor puts '%s' %s, which is not the token that the "
                      "settings name; nothing is put there",
                      v->where, ends[i].text, ends[i].name);
        }
    }
    return UQFF_OK;
}

enum content { CONTENT_JSON, CONTENT_PROTO, CONTENT_OTHER };

static enum content tell_content(const char *bytes, size_t size) {
    size_t i = 0;
    while (i < size && strchr(" \t\r\n", bytes[i]) != NULL && bytes[i] != 0) {
        i++;
    }
    if (i < size && bytes[i] == '{') {
        return CONTENT_JSON;
    }
    /* The first field of a tokenizer.model is a piece. */
    return size > 0 && bytes[0] == '\n' ? CONTENT_PROTO : CONTENT_OTHER;
}

/* Reads a whole file of one of the two kinds, and what completes it. */
static enum uqff_code read_content(struct uqff_vocabulary *v, const char *bytes, size_t size,
                                   const struct side *side, struct uqff_error *err) {
    enum uqff_code code;
    switch (tell_content(bytes, size)) {
    case CONTENT_JSON:
        code = uqff_vocab_read_json(v, bytes, size, err);
        code = code != UQFF_OK ? code
                               : complete_by(v, side, "tokenizer_config.json", read_settings, err);
        break;
    case CONTENT_PROTO:
        code = uqff_vocab_read_proto(v, bytes, size, err);
        code = code != UQFF_OK
                   ? code
                   : complete_by(v, side, "added_tokens.json", uqff_vocab_read_added, err);
        code = code != UQFF_OK
                   ? code
                   : complete_by(v, side, "tokenizer_config.json", read_settings_and_tokens, err);
        break;
    default:
        return uqff_fail(err, UQFF_E_MAGIC, 0,
                         "%s: found %s, expected tokenizer.json, tokenizer.model or a GGUF",
                         v->where,
                         size >= 8 && memcmp(bytes, "version ", 8) == 0
                             ? "a pointer of Git LFS in place of the file"
                             : "something else");
    }
    code = code != UQFF_OK
               ? code
               : complete_by(v, side, "chat_template.jinja", uqff_vocab_set_template, err);
    code = code != UQFF_OK || side->model == NULL
               ? code
               : complete_by(v, side, "config.json", uqff_vocab_read_config, err);
    return code != UQFF_OK ? code : settle_ends(v, err);
}

/* ---- from a model ---------------------------------------------------------------------------- */

static enum uqff_code open_asset(const struct side *side, const char *name,
                                 const struct uqff_warner *warner, struct uqff_vocabulary **out,
                                 struct uqff_error *err) {
    char *text;
    size_t size = 0;
    enum uqff_code code = read_side(side, name, &text, &size, err);
    if (code != UQFF_OK || text == NULL) {
        return code;
    }
    char *where = uqff_path_join(uqff_model_path(side->model), name);
    code = where == NULL ? uqff_fail_memory(err) : uqff_vocab_new(where, warner, out, err);
    if (code == UQFF_OK) {
        code = strcmp(name, "gguf-metadata.bin") == 0 ? uqff_vocab_read_kv(*out, text, size, err)
                                                      : read_content(*out, text, size, side, err);
    }
    uqff_free(where);
    uqff_free(text);
    return code;
}

static enum uqff_code open_gguf(const struct uqff_gguf *gguf, const struct uqff_warner *warner,
                                struct uqff_vocabulary **out, struct uqff_error *err) {
    enum uqff_code code =
        uqff_vocab_new(uqff_source_name(uqff_gguf_source(gguf, 0)), warner, out, err);
    return code != UQFF_OK ? code : uqff_vocab_read_gguf(*out, gguf, err);
}

/* Publishes a vocabulary, or closes it. */
static enum uqff_code finish(enum uqff_code code, struct uqff_vocabulary *v,
                             struct uqff_vocabulary **out, struct uqff_error *err) {
    code = code != UQFF_OK ? code : uqff_vocab_finish(v, err);
    if (code != UQFF_OK) {
        uqff_vocabulary_close(v);
        return code;
    }
    v->warner = (struct uqff_warner){NULL, NULL}; /* it may not outlive this call */
    *out = v;
    return UQFF_OK;
}

enum uqff_code uqff_vocabulary_open(const struct uqff_model *model,
                                    const struct uqff_warner *warner, struct uqff_vocabulary **out,
                                    struct uqff_error *err) {
    static const char *const names[] = {"tokenizer.json", "tokenizer.model", "gguf-metadata.bin"};
    const struct side side = {model, NULL};
    const struct uqff_gguf *gguf = uqff_model_gguf(model);
    struct uqff_vocabulary *v = NULL;
    enum uqff_code code = UQFF_OK;
    if (gguf != NULL) {
        code = open_gguf(gguf, warner, &v, err);
        return finish(code, v, out, err);
    }
    for (size_t i = 0; i < sizeof names / sizeof *names && code == UQFF_OK && v == NULL; i++) {
        code = open_asset(&side, names[i], warner, &v, err);
    }
    if (code == UQFF_OK && v == NULL) {
        return uqff_fail(err, UQFF_E_MISSING, UQFF_NO_OFFSET,
                         "%s: found no tokenizer.json, tokenizer.model or GGUF metadata",
                         uqff_model_path(model));
    }
    return finish(code, v, out, err);
}

/* ---- from a file ----------------------------------------------------------------------------- */

static enum uqff_code open_gguf_path(const char *path, const struct uqff_warner *warner,
                                     struct uqff_vocabulary **out, struct uqff_error *err) {
    struct uqff_gguf *gguf = NULL;
    enum uqff_code code = uqff_gguf_open_path(path, warner, &gguf, err);
    code = code != UQFF_OK ? code : open_gguf(gguf, warner, out, err);
    uqff_gguf_close(gguf);
    return code;
}

static enum uqff_code open_text(struct uqff_source *source, const char *path,
                                const struct uqff_warner *warner, struct uqff_vocabulary **out,
                                struct uqff_error *err) {
    char *bytes = NULL;
    size_t size = 0;
    char *directory = uqff_path_directory(path);
    const struct side side = {NULL, directory};
    enum uqff_code code = directory == NULL ? uqff_fail_memory(err) : UQFF_OK;
    code = code != UQFF_OK
               ? code
               : uqff_source_read_all(source, UQFF_VOCABULARY_FILE_LIMIT, &bytes, &size, err);
    code = code != UQFF_OK ? code : uqff_vocab_new(uqff_source_name(source), warner, out, err);
    code = code != UQFF_OK ? code : read_content(*out, bytes, size, &side, err);
    uqff_free(bytes);
    uqff_free(directory);
    return code;
}

enum uqff_code uqff_vocabulary_open_path(const char *path, const struct uqff_warner *warner,
                                         struct uqff_vocabulary **out, struct uqff_error *err) {
    struct uqff_source *source = NULL;
    struct uqff_vocabulary *v = NULL;
    char magic[4] = {0};
    enum uqff_code code = uqff_source_open(path, &source, err);
    if (code == UQFF_OK && uqff_source_size(source) >= sizeof magic) {
        code = uqff_source_read(source, 0, magic, sizeof magic, err);
    }
    if (code == UQFF_OK) {
        code = memcmp(magic, "GGUF", 4) == 0 ? open_gguf_path(path, warner, &v, err)
                                             : open_text(source, path, warner, &v, err);
    }
    uqff_source_close(source);
    return finish(code, v, out, err);
}
