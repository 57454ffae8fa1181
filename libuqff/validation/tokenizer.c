/* Text to ids: added tokens are taken out first, the rest is normalized, split and merged. */
#include <string.h>

#include "validation/tokenizer.h"
#include "validation/unicode.h"

enum { CACHE_FROM = 4096 }; /* bytes of text from which it pays to keep words */

enum uqff_code uqff_tokenizer_new(const struct uqff_vocabulary *vocabulary,
                                  const struct uqff_warner *warner, struct uqff_tokenizer **out,
                                  struct uqff_error *err) {
    struct uqff_tokenizer *t = uqff_alloc_array(1, sizeof *t);
    if (t == NULL) {
        return uqff_fail_memory(err);
    }
    t->vocabulary = vocabulary;
    t->info = uqff_vocabulary_info(vocabulary);
    enum uqff_code code = uqff_tokenizer_build(t, err);
    if (code != UQFF_OK) {
        uqff_tokenizer_free(t);
        return code;
    }
    if (t->info->kind == UQFF_VOCABULARY_BPE && strcmp(t->info->pre, "default") == 0 &&
        t->info->pre_known) {
        uqff_warn(warner, "the vocabulary names no split rule: text is split by a default, which "
                          "may not be the one that it was made for");
    }
    *out = t;
    return UQFF_OK;
}

void uqff_tokenizer_free(struct uqff_tokenizer *t) {
    if (t == NULL) {
        return;
    }
    for (size_t i = 0; i < t->step_count; i++) {
        uqff_regex_free(t->steps[i].regex);
    }
    uqff_free(t->pairs.slots);
    uqff_free(t->chars.symbols.slots);
    uqff_free(t->chars.joints.slots);
    uqff_free(t->added.items);
    uqff_free(t->added_normalized.items);
    uqff_arena_free(&t->arena);
    uqff_free(t);
}

void uqff_session_free(struct session *s) {
    uqff_free(s->merge.symbols);
    uqff_free(s->merge.heap);
    uqff_words_free(&s->cache);
    for (size_t i = 0; i < MAX_STEPS; i++) {
        uqff_regex_scratch_free(&s->regex[i]);
    }
    uqff_buffer_free(&s->cleaned);
    uqff_buffer_free(&s->normal);
    uqff_buffer_free(&s->marked);
    uqff_buffer_free(&s->spelled);
    uqff_free(s->points);
}

/* ---- splitting ------------------------------------------------------------------------------- */

static enum uqff_code split(struct session *s, size_t step, const char *text, size_t n);

/* Pieces of a rule that is written out: its matches, and what lies between them. */
static enum uqff_code split_by_rule(struct session *s, size_t step, const char *text, size_t n) {
    match_rule *match = s->t->steps[step].match;
    enum uqff_code code = UQFF_OK;
    for (size_t at = 0, end; at < n && code == UQFF_OK; at = end) {
        end = match(text, n, at);
        if (end == 0) {
            size_t length;
            for (end = at; end < n && (end == at || match(text, n, end) == 0); end += length) {
                unicode_decode(text + end, n - end, &length);
            }
        }
        code = split(s, step + 1, text + at, end - at);
    }
    return code;
}

/* The same of an expression. An empty match cuts without taking anything. */
static enum uqff_code split_by_regex(struct session *s, size_t step, const char *text, size_t n) {
    const struct split_regex *regex = s->t->steps[step].regex;
    size_t done = 0, from = 0, begin, end, length;
    bool found = true;
    while (from <= n) {
        enum uqff_code code =
            uqff_regex_search(regex, &s->regex[step], text, n, from, &found, &begin, &end, s->err);
        if (code != UQFF_OK || !found) {
            return code != UQFF_OK ? code : split(s, step + 1, text + done, n - done);
        }
        if (begin > done) {
            code = split(s, step + 1, text + done, begin - done);
        }
        if (code == UQFF_OK && end > begin) {
            code = split(s, step + 1, text + begin, end - begin);
        }
        if (code != UQFF_OK) {
            return code;
        }
        done = end;
        from = end;
        if (end == begin) {
            if (end == n) {
                break;
            }
            unicode_decode(text + end, n - end, &length);
            from += length;
        }
    }
    return split(s, step + 1, text + done, n - done);
}

static enum uqff_code split(struct session *s, size_t step, const char *text, size_t n) {
    if (n == 0) {
        return UQFF_OK;
    }
    if (step == s->t->step_count) {
        return uqff_words_encode(s, text, n);
    }
    return s->t->steps[step].match != NULL ? split_by_rule(s, step, text, n)
                                           : split_by_regex(s, step, text, n);
}

/* ---- stretches of text ----------------------------------------------------------------------- */

/* Text between added tokens; `first` when the whole text begins with it. */
static enum uqff_code encode_stretch(struct session *s, const char *text, size_t n, bool first) {
    const struct uqff_vocabulary_info *info = s->t->info;
    enum uqff_code code = UQFF_OK;
    if (n > 0 && info->prefix_unless_space) { /* a pre-tokenizer's work, not the normalizer's */
        code = uqff_normal_mark(s, &text, &n, first);
    }
    return code != UQFF_OK ? code : split(s, 0, text, n);
}

/* Cuts at the added tokens of a set, and gives what lies between them to `encode`. */
static enum uqff_code encode_around(struct session *s, const struct added_set *set,
                                    enum uqff_code (*encode)(struct session *, const char *, size_t,
                                                             bool),
                                    const char *text, size_t n, bool first) {
    struct added_match match;
    size_t at = 0;
    enum uqff_code code = UQFF_OK;
    while (code == UQFF_OK && uqff_added_find(set, text, n, at, s->parse_special, &match)) {
        if (match.begin > at) {
            code = encode(s, text + at, match.begin - at, first && at == 0);
        }
        code = code != UQFF_OK ? code : uqff_session_push(s, match.id);
        at = match.end;
    }
    if (code == UQFF_OK && at < n) {
        code = encode(s, text + at, n - at, first && at == 0);
    }
    return code;
}

static enum uqff_code encode_raw(struct session *s, const char *text, size_t n, bool first) {
    const struct uqff_vocabulary_info *info = s->t->info;
    enum uqff_code code = UQFF_OK;
    /* SentencePiece has tokens for bytes; everything else works on characters. */
    if (info->kind == UQFF_VOCABULARY_BPE || s->t->normalizes || s->t->step_count != 0) {
        code = uqff_normal_clean(s, &text, &n);
    }
    if (code == UQFF_OK && s->t->normalizes) {
        code = uqff_normal_form(s, &text, &n);
    }
    if (code == UQFF_OK && !info->prefix_unless_space) {
        code = uqff_normal_mark(s, &text, &n, first);
    }
    return code != UQFF_OK
               ? code
               : encode_around(s, &s->t->added_normalized, encode_stretch, text, n, first);
}

enum uqff_code uqff_tokenize(const struct uqff_tokenizer *t, const char *text, size_t length,
                             const struct uqff_tokenize_options *options, uint32_t **ids,
                             size_t *count, size_t *capacity, struct uqff_error *err) {
    static const struct uqff_tokenize_options none;
    const struct uqff_tokenize_options *o = options == NULL ? &none : options;
    struct session s = {.t = t,
                        .parse_special = o->parse_special,
                        .ids = *ids,
                        .count = *count,
                        .capacity = *capacity,
                        .cached = length >= CACHE_FROM,
                        .err = err};
    enum uqff_code code = UQFF_OK;
    if (length >= UINT32_MAX / 4) { /* a text may grow to three times its size */
        return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                         "text: found %zu bytes, expected fewer than 2^30", length);
    }
    if (o->add_special && t->info->add_bos) {
        code = uqff_session_push(&s, t->info->bos);
    }
    if (code == UQFF_OK) {
        code = encode_around(&s, &t->added, encode_raw, text, length, true);
    }
    if (code == UQFF_OK && o->add_special && t->info->add_eos) {
        code = uqff_session_push(&s, t->info->eos);
    }
    uqff_session_free(&s);
    *ids = s.ids;
    *capacity = s.capacity;
    *count = code == UQFF_OK ? s.count : *count;
    return code;
}
