/* Pieces of text to ids: symbols of bytes or characters, merged; words that come again are kept. */
#include <string.h>

#include "validation/tokenizer.h"
#include "validation/unicode.h"

enum {
    CACHE_BITS = 16,
    CACHE_MOST = 1 << (CACHE_BITS - 1), /* half full */
    LONGEST_KEY = 64,
};

struct cached_word {
    uint64_t hash;
    uint32_t key, ids; /* where they begin */
    uint32_t id_count;
    unsigned char length; /* 0: free */
};

/* ---- the cache ------------------------------------------------------------------------------- */

/* The slot of a word, or the free one for it; NULL when words are not kept. */
static struct cached_word *find_word(struct session *s, const char *word, size_t n, uint64_t *hash,
                                     enum uqff_code *code) {
    struct word_cache *cache = &s->cache;
    if (!s->cached || n > LONGEST_KEY) {
        return NULL;
    }
    if (cache->slots == NULL) {
        cache->slots = uqff_alloc_array((size_t)1 << CACHE_BITS, sizeof *cache->slots);
        if (cache->slots == NULL) {
            *code = uqff_fail_memory(s->err);
            return NULL;
        }
    }
    struct uqff_digest digest = uqff_hash(word, n);
    *hash = uqff_load_le64(digest.bytes);
    for (size_t i = *hash >> (64 - CACHE_BITS);; i = (i + 1) & (((size_t)1 << CACHE_BITS) - 1)) {
        struct cached_word *slot = &cache->slots[i];
        if (slot->length == 0 || (slot->hash == *hash && slot->length == n &&
                                  memcmp(cache->keys.data + slot->key, word, n) == 0)) {
            return slot;
        }
    }
}

/* Keeps the ids from `first` on as those of a word. */
static enum uqff_code keep_word(struct session *s, struct cached_word *slot, uint64_t hash,
                                const char *word, size_t n, size_t first) {
    struct word_cache *cache = &s->cache;
    size_t count = s->count - first;
    if (cache->count == CACHE_MOST || count > LONGEST_KEY) {
        return UQFF_OK;
    }
    void *items = cache->ids;
    enum uqff_code code =
        uqff_grow(&items, &cache->id_capacity, cache->id_count + count, sizeof *cache->ids, s->err);
    cache->ids = items;
    if (code != UQFF_OK) {
        return code;
    }
    *slot = (struct cached_word){hash, (uint32_t)cache->keys.size, (uint32_t)cache->id_count,
                                 (uint32_t)count, (unsigned char)n};
    uqff_buffer_append(&cache->keys, word, n);
    if (cache->keys.failed) {
        slot->length = 0;
        return uqff_fail_memory(s->err);
    }
    memcpy(cache->ids + cache->id_count, s->ids + first, count * sizeof *cache->ids);
    cache->id_count += count;
    cache->count++;
    return UQFF_OK;
}

void uqff_words_free(struct word_cache *cache) {
    uqff_free(cache->slots);
    uqff_free(cache->ids);
    uqff_buffer_free(&cache->keys);
}

/* ---- ids ------------------------------------------------------------------------------------- */

enum uqff_code uqff_session_push(struct session *s, uint32_t id) {
    void *items = s->ids;
    enum uqff_code code = uqff_grow(&items, &s->capacity, s->count + 1, sizeof *s->ids, s->err);
    s->ids = items;
    if (code == UQFF_OK) {
        s->ids[s->count++] = id;
        s->after_unknown = false;
    }
    return code;
}

/* Text that no token is made for. Characters of a SentencePiece vocabulary become their bytes, or
 * one unknown token for all in a row. */
static enum uqff_code push_unknown(struct session *s, const char *text, size_t n) {
    const struct uqff_vocabulary_info *info = s->t->info;
    bool by_bytes = info->kind == UQFF_VOCABULARY_SPM && info->byte_fallback;
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < n && by_bytes; i++) {
        by_bytes = s->t->bytes[(unsigned char)text[i]] != UQFF_NO_TOKEN;
    }
    for (size_t i = 0; i < n && by_bytes && code == UQFF_OK; i++) {
        code = uqff_session_push(s, s->t->bytes[(unsigned char)text[i]]);
    }
    if (by_bytes || info->unknown == UQFF_NO_TOKEN ||
        (s->after_unknown && info->kind == UQFF_VOCABULARY_SPM)) {
        return code;
    }
    code = uqff_session_push(s, info->unknown);
    s->after_unknown = true;
    return code;
}

static enum uqff_code push_symbols(struct session *s, const char *word, size_t n, size_t count) {
    const struct symbol *symbols = s->merge.symbols;
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        size_t end = i + 1 < count ? symbols[i + 1].start : n;
        code = symbols[i].id < s->t->info->size
                   ? uqff_session_push(s, symbols[i].id)
                   : push_unknown(s, word + symbols[i].start, end - symbols[i].start);
    }
    return code;
}

static enum uqff_code reserve_symbols(struct session *s, size_t n) {
    void *items = s->merge.symbols;
    enum uqff_code code =
        uqff_grow(&items, &s->merge.symbol_capacity, n, sizeof *s->merge.symbols, s->err);
    s->merge.symbols = items;
    return code;
}

/* ---- byte-level words ------------------------------------------------------------------------ */

/* The token that a whole piece is, by its spelling in the printable alphabet. */
static enum uqff_code whole_token(struct session *s, const char *word, size_t n, uint32_t *id) {
    struct uqff_buffer *spelled = &s->spelled;
    *id = UQFF_NO_TOKEN;
    if (!s->t->info->ignore_merges || n > s->t->longest) {
        return UQFF_OK;
    }
    spelled->size = 0;
    for (size_t i = 0; i < n; i++) {
        char character[4];
        uqff_buffer_append(spelled, character, uqff_put_byte(character, (unsigned char)word[i]));
    }
    if (spelled->failed) {
        return uqff_fail_memory(s->err);
    }
    *id = uqff_vocabulary_find(s->t->vocabulary, spelled->data, spelled->size);
    return UQFF_OK;
}

static enum uqff_code encode_bytes(struct session *s, const char *word, size_t n) {
    uint32_t whole;
    enum uqff_code code = whole_token(s, word, n, &whole);
    if (code == UQFF_OK && whole != UQFF_NO_TOKEN) {
        return uqff_session_push(s, whole);
    }
    code = code != UQFF_OK ? code : reserve_symbols(s, n);
    if (code != UQFF_OK) {
        return code;
    }
    for (size_t i = 0; i < n; i++) {
        s->merge.symbols[i].id = s->t->bytes[(unsigned char)word[i]];
        s->merge.symbols[i].start = (uint32_t)i;
    }
    size_t count = n;
    code = uqff_merge_symbols(&s->t->pairs, &s->merge, &count, s->err);
    return code != UQFF_OK ? code : push_symbols(s, word, n, count);
}

/* ---- words of characters --------------------------------------------------------------------- */

static enum uqff_code encode_characters(struct session *s, const char *word, size_t n) {
    uint32_t whole =
        s->t->info->ignore_merges ? uqff_vocabulary_find(s->t->vocabulary, word, n) : UQFF_NO_TOKEN;
    if (whole != UQFF_NO_TOKEN) {
        return uqff_session_push(s, whole);
    }
    enum uqff_code code = reserve_symbols(s, n);
    size_t count = 0, length;
    for (size_t i = 0; i < n && code == UQFF_OK; i += length) {
        uint32_t character = unicode_decode(word + i, n - i, &length);
        /* A byte that is no character has no symbol: U+FFFD itself has three bytes. */
        s->merge.symbols[count].id = character == 0xFFFD && length == 1
                                         ? UQFF_NO_TOKEN
                                         : uqff_chars_symbol(&s->t->chars, character);
        s->merge.symbols[count++].start = (uint32_t)i;
    }
    code = code != UQFF_OK ? code : uqff_merge_symbols(&s->t->pairs, &s->merge, &count, s->err);
    return code != UQFF_OK ? code : push_symbols(s, word, n, count);
}

static enum uqff_code encode_word(struct session *s, const char *word, size_t n) {
    enum uqff_code code = UQFF_OK;
    uint64_t hash = 0;
    size_t first = s->count;
    /* What follows an unknown token may add none itself: such a word is not kept. */
    struct cached_word *slot = s->after_unknown ? NULL : find_word(s, word, n, &hash, &code);
    if (code == UQFF_OK && slot != NULL && slot->length != 0) {
        for (uint32_t i = 0; i < slot->id_count && code == UQFF_OK; i++) {
            code = uqff_session_push(s, s->cache.ids[slot->ids + i]);
        }
        return code;
    }
    if (code == UQFF_OK) {
        code = s->t->info->kind == UQFF_VOCABULARY_BPE ? encode_bytes(s, word, n)
                                                       : encode_characters(s, word, n);
    }
    if (code == UQFF_OK && slot != NULL && !s->after_unknown) {
        code = keep_word(s, slot, hash, word, n, first);
    }
    return code;
}

/* A text without split rules is one piece. It is cut where no token has the two characters side by
 * side: no merge reaches over such a place, so the ids stay the same. */
static enum uqff_code encode_cut(struct session *s, const char *piece, size_t n) {
    enum uqff_code code = UQFF_OK;
    size_t begin = 0, length;
    uint32_t before = 0;
    for (size_t i = 0; i < n && code == UQFF_OK; i += length) {
        uint32_t character = unicode_decode(piece + i, n - i, &length);
        if (i > begin && !uqff_chars_joined(&s->t->chars, before, character)) {
            code = encode_word(s, piece + begin, i - begin);
            begin = i;
        }
        before = character;
    }
    return code != UQFF_OK ? code : encode_word(s, piece + begin, n - begin);
}

enum uqff_code uqff_words_encode(struct session *s, const char *piece, size_t n) {
    if (n == 0) {
        return UQFF_OK;
    }
    /* A whole piece may be a token that no merges make: then it must stay whole. */
    return s->t->info->kind == UQFF_VOCABULARY_BPE || s->t->info->ignore_merges
               ? encode_word(s, piece, n)
               : encode_cut(s, piece, n);
}
