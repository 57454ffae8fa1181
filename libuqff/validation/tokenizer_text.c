/* Ids to text. */
#include <string.h>

#include "validation/tokenizer.h"
#include "validation/unicode.h"

/* Byte-level BPE: each character of the printable alphabet is a byte; others stand for themselves.
 */
static void append_byte_level(struct uqff_buffer *out, const struct uqff_token *token) {
    size_t length;
    for (size_t i = 0; i < token->length; i += length) {
        uint32_t character = unicode_decode(token->text + i, token->length - i, &length);
        int byte = uqff_character_byte(character);
        char raw = (char)byte;
        uqff_buffer_append(out, byte < 0 ? token->text + i : &raw, byte < 0 ? length : 1);
    }
}

/* SentencePiece: marks become spaces. */
static void append_marked(struct uqff_buffer *out, const struct uqff_token *token, bool marks,
                          bool drop_space) {
    size_t i = 0;
    while (i < token->length) {
        bool mark = marks && token->length - i >= SPACE_MARK_LENGTH &&
                    memcmp(token->text + i, SPACE_MARK, SPACE_MARK_LENGTH) == 0;
        bool space = mark || token->text[i] == ' ';
        if (!(space && drop_space && i == 0)) {
            uqff_buffer_append(out, mark ? " " : token->text + i, 1);
        }
        i += mark ? SPACE_MARK_LENGTH : 1;
    }
}

static int hex(char c) {
    return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

static void append_token(const struct uqff_tokenizer *t, const struct uqff_token *token,
                         bool drop_space, struct uqff_buffer *out) {
    if (token->type == UQFF_TOKEN_BYTE) { /* <0xHH>, as the vocabulary made sure */
        char byte = (char)(hex(token->text[3]) * 16 + hex(token->text[4]));
        uqff_buffer_append(out, &byte, 1);
    } else if (token->type != UQFF_TOKEN_NORMAL && token->type != UQFF_TOKEN_UNUSED) {
        uqff_buffer_append(out, token->text, token->length);
    } else if (t->info->kind == UQFF_VOCABULARY_BPE) {
        append_byte_level(out, token);
    } else {
        append_marked(out, token, t->info->escape_whitespace, drop_space);
    }
}

enum uqff_code uqff_detokenize(const struct uqff_tokenizer *t, const uint32_t *ids, size_t count,
                               bool with_special, struct uqff_buffer *out, struct uqff_error *err) {
    /* The space that tokenizing put first goes again. */
    bool first = t->info->kind == UQFF_VOCABULARY_SPM && t->info->add_prefix_space;
    for (size_t i = 0; i < count; i++) {
        struct uqff_token token = uqff_vocabulary_token(t->vocabulary, ids[i]);
        if (token.length == 0) {
            return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                             "token %zu: found id %u, which the vocabulary of %u ids does not have",
                             i, ids[i], t->info->size);
        }
        bool special = token.type == UQFF_TOKEN_CONTROL || token.type == UQFF_TOKEN_UNKNOWN;
        if (special && !with_special) {
            continue;
        }
        append_token(t, &token, first, out);
        first = false;
    }
    return out->failed ? uqff_fail_memory(err) : UQFF_OK;
}
