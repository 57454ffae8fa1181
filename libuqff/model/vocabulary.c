/* Vocabularies: the tokens, findable by id and by text, and what is asked of them. */
#include <stdlib.h>
#include <string.h>

#include "model/vocabulary.h"

enum { FIRST_BITS = 8 };

enum uqff_code uqff_vocab_new(const char *where, const struct uqff_warner *warner,
                              struct uqff_vocabulary **out, struct uqff_error *err) {
    struct uqff_vocabulary *v = uqff_alloc_array(1, sizeof *v);
    if (v == NULL) {
        return uqff_fail_memory(err);
    }
    v->where = uqff_arena_copy(&v->arena, where, strlen(where));
    if (v->where == NULL) {
        uqff_free(v);
        return uqff_fail_memory(err);
    }
    if (warner != NULL) {
        v->warner = *warner;
    }
    v->info.pre = "";
    for (int i = 0; i < SPECIAL_COUNT; i++) {
        *uqff_vocab_special(v, (enum vocabulary_special)i) = UQFF_NO_TOKEN;
    }
    /* Where the heap lies differs from run to run: that changes how long a look-up takes in a file
     * made to be slow, nothing else. */
    v->secret = (uint64_t)(uintptr_t)v * UINT64_C(0x9E3779B97F4A7C15) | 1;
    *out = v;
    return UQFF_OK;
}

void uqff_vocabulary_close(struct uqff_vocabulary *v) {
    if (v == NULL) {
        return;
    }
    uqff_free(v->tokens);
    uqff_free(v->by_text);
    uqff_free(v->by_id);
    uqff_free(v->merges);
    uqff_arena_free(&v->arena);
    uqff_free(v);
}

uint32_t *uqff_vocab_special(struct uqff_vocabulary *v, enum vocabulary_special which) {
    uint32_t *const ids[SPECIAL_COUNT] = {
        [SPECIAL_BOS] = &v->info.bos,         [SPECIAL_EOS] = &v->info.eos,
        [SPECIAL_UNKNOWN] = &v->info.unknown, [SPECIAL_SEPARATOR] = &v->info.separator,
        [SPECIAL_PADDING] = &v->info.padding, [SPECIAL_CLASSIFIER] = &v->info.classifier,
        [SPECIAL_MASK] = &v->info.mask,       [SPECIAL_EOT] = &v->info.eot,
        [SPECIAL_EOM] = &v->info.eom,
    };
    return ids[which];
}

/* ---- adding and indexing --------------------------------------------------------------------- */

enum uqff_code uqff_vocab_add(struct uqff_vocabulary *v, uint64_t id, const char *text,
                              size_t length, enum uqff_token_type type,
                              struct vocabulary_token **out, struct uqff_error *err) {
    int shown = (int)(length < 100 ? length : 100);
    if (id >= UQFF_VOCABULARY_LIMIT) {
        return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                         "%s: token '%.*s': found id %llu, expected one below %u", v->where, shown,
                         text, (unsigned long long)id, UQFF_VOCABULARY_LIMIT);
    }
    if (length > UINT32_MAX || v->count >= UQFF_VOCABULARY_LIMIT) {
        return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                         "%s: token '%.*s' is too long, or one too many", v->where, shown, text);
    }
    void *items = v->tokens;
    enum uqff_code code = uqff_grow(&items, &v->capacity, v->count + 1, sizeof *v->tokens, err);
    v->tokens = items;
    char *copy = code == UQFF_OK ? uqff_arena_copy(&v->arena, text, length) : NULL;
    if (copy == NULL) {
        return uqff_fail_memory(err);
    }
    struct vocabulary_token *token = &v->tokens[v->count++];
    *token = (struct vocabulary_token){
        .text = copy, .length = (uint32_t)length, .id = (uint32_t)id, .type = (unsigned char)type};
    if (out != NULL) {
        *out = token;
    }
    return UQFF_OK;
}

static int by_id(const void *a, const void *b) {
    uint32_t x = ((const struct vocabulary_token *)a)->id;
    uint32_t y = ((const struct vocabulary_token *)b)->id;
    return (x > y) - (x < y);
}

/* Files list tokens by id as a rule, so the sort is seldom needed. */
static enum uqff_code sort_tokens(struct uqff_vocabulary *v, struct uqff_error *err) {
    bool sorted = true;
    for (size_t i = 1; i < v->count && sorted; i++) {
        sorted = v->tokens[i - 1].id < v->tokens[i].id;
    }
    if (sorted) {
        return UQFF_OK;
    }
    qsort(v->tokens, v->count, sizeof *v->tokens, by_id);
    for (size_t i = 1; i < v->count; i++) {
        const struct vocabulary_token *a = &v->tokens[i - 1], *b = &v->tokens[i];
        if (a->id == b->id) {
            return uqff_fail(err, UQFF_E_DUPLICATE, UQFF_NO_OFFSET,
                             "%s: tokens '%.100s' and '%.100s': found id %u twice, expected "
                             "different ids",
                             v->where, a->text, b->text, a->id);
        }
    }
    return UQFF_OK;
}

/* The top bits of a product with an odd number that the file's author cannot know depend on all
 * bits below them: texts whose hashes agree in part do not crowd one place. The bits below those
 * that give the place are the tag: most texts that are not the wanted one differ in it already. */
static struct vocabulary_slot *text_slot(const struct uqff_vocabulary *v, const char *text,
                                         size_t length, uint32_t *tag) {
    struct uqff_digest digest = uqff_hash(text, length);
    uint64_t mixed = uqff_load_le64(digest.bytes) * v->secret;
    size_t mask = ((size_t)1 << v->text_bits) - 1;
    size_t i = (size_t)(mixed >> (64 - v->text_bits));
    *tag = (uint32_t)(mixed >> (32 - v->text_bits));
    for (;; i = (i + 1) & mask) {
        struct vocabulary_slot *slot = &v->by_text[i];
        if (slot->place == 0) {
            return slot;
        }
        const struct vocabulary_token *token = &v->tokens[slot->place - 1];
        if (slot->tag == *tag && token->length == length &&
            memcmp(token->text, text, length) == 0) {
            return slot;
        }
    }
}

static enum uqff_code index_texts(struct uqff_vocabulary *v, struct uqff_error *err) {
    unsigned bits = FIRST_BITS;
    while ((size_t)1 << bits < v->count * 2) { /* at most half full: probes end */
        bits++;
    }
    uqff_free(v->by_text);
    v->text_bits = bits;
    v->by_text = uqff_alloc_array((size_t)1 << bits, sizeof *v->by_text);
    if (v->by_text == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < v->count; i++) {
        const struct vocabulary_token *token = &v->tokens[i];
        if (token->length == 0) {
            continue; /* a hole */
        }
        uint32_t tag;
        struct vocabulary_slot *slot = text_slot(v, token->text, token->length, &tag);
        if (slot->place != 0) {
            return uqff_fail(err, UQFF_E_DUPLICATE, UQFF_NO_OFFSET,
                             "%s: tokens %u and %u: found the text '%.100s' twice, expected "
                             "different texts",
                             v->where, v->tokens[slot->place - 1].id, token->id, token->text);
        }
        *slot = (struct vocabulary_slot){(uint32_t)(i + 1), tag};
    }
    return UQFF_OK;
}

/* Ids that leave no hole are places themselves. Few holes get a table; where a file names large ids
 * for few tokens, a search does, and memory stays in proportion to the file. */
static enum uqff_code index_ids(struct uqff_vocabulary *v, struct uqff_error *err) {
    uqff_free(v->by_id);
    v->by_id = NULL;
    v->info.size = v->count == 0 ? 0 : v->tokens[v->count - 1].id + 1;
    v->indexed = v->count;
    if (v->info.size == v->count || v->info.size / 4 > v->count) {
        return UQFF_OK;
    }
    v->by_id = uqff_alloc_array(v->info.size, sizeof *v->by_id);
    if (v->by_id == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < v->count; i++) {
        v->by_id[v->tokens[i].id] = (uint32_t)(i + 1);
    }
    return UQFF_OK;
}

enum uqff_code uqff_vocab_index(struct uqff_vocabulary *v, struct uqff_error *err) {
    enum uqff_code code = sort_tokens(v, err);
    code = code != UQFF_OK ? code : index_texts(v, err);
    return code != UQFF_OK ? code : index_ids(v, err);
}

/* ---- finding --------------------------------------------------------------------------------- */

struct vocabulary_token *uqff_vocab_find(const struct uqff_vocabulary *v, const char *text,
                                         size_t length) {
    if (v->by_text == NULL || length == 0) {
        return NULL;
    }
    uint32_t tag, place = text_slot(v, text, length, &tag)->place;
    return place == 0 ? NULL : &v->tokens[place - 1];
}

struct vocabulary_token *uqff_vocab_token(const struct uqff_vocabulary *v, uint32_t id) {
    if (id >= v->info.size) {
        return NULL;
    }
    if (v->info.size == v->indexed) {
        return &v->tokens[id];
    }
    if (v->by_id != NULL) {
        return v->by_id[id] == 0 ? NULL : &v->tokens[v->by_id[id] - 1];
    }
    struct vocabulary_token wanted = {.id = id};
    return bsearch(&wanted, v->tokens, v->indexed, sizeof wanted, by_id);
}

/* ---- the public functions -------------------------------------------------------------------- */

const struct uqff_vocabulary_info *uqff_vocabulary_info(const struct uqff_vocabulary *v) {
    return &v->info;
}

struct uqff_token uqff_vocabulary_token(const struct uqff_vocabulary *v, uint32_t id) {
    const struct vocabulary_token *token = uqff_vocab_token(v, id);
    if (token == NULL) {
        return (struct uqff_token){.text = "", .type = UQFF_TOKEN_UNUSED};
    }
    return (struct uqff_token){
        .text = token->text,
        .length = token->length,
        .score = token->score,
        .type = (enum uqff_token_type)token->type,
        .added = (token->flags & TOKEN_ADDED) != 0,
        .lstrip = (token->flags & TOKEN_LSTRIP) != 0,
        .rstrip = (token->flags & TOKEN_RSTRIP) != 0,
        .normalized = (token->flags & TOKEN_NORMALIZED) != 0,
        .single_word = (token->flags & TOKEN_SINGLE_WORD) != 0,
    };
}

struct uqff_merge uqff_vocabulary_merge(const struct uqff_vocabulary *v, size_t i) {
    return v->merges[i];
}

uint32_t uqff_vocabulary_find(const struct uqff_vocabulary *v, const char *text, size_t length) {
    const struct vocabulary_token *token = uqff_vocab_find(v, text, length);
    return token == NULL ? UQFF_NO_TOKEN : token->id;
}
