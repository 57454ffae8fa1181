/* Small JSON values of a tokenizer's files as trees: the rules, and special tokens in their forms.
 */
#include <string.h>

#include "model/vocabulary.h"

/* Rules have some dozens of values. Nodes being larger than the text of a small value, their number
 * is what bounds the memory. */
enum { MAX_NODES = 1 << 16, MAX_DEPTH = 64 };

static struct vocabulary_node *new_node(struct uqff_arena *arena,
                                        const struct uqff_json_event *event, const char *key) {
    struct vocabulary_node *node = uqff_arena_alloc(arena, sizeof *node);
    if (node != NULL) {
        node->kind = event->kind;
        node->key = key;
        node->offset = event->offset;
        node->text = "";
        if (event->kind == UQFF_JSON_STRING || event->kind == UQFF_JSON_NUMBER) {
            node->text = uqff_arena_copy(arena, event->text, event->length);
            node->length = event->length;
        }
    }
    return node == NULL || node->text == NULL ? NULL : node;
}

enum uqff_code uqff_vocab_tree(struct uqff_arena *arena, struct uqff_json *json, const char *where,
                               struct vocabulary_node **out, struct uqff_error *err) {
    struct vocabulary_node **ends[MAX_DEPTH + 1]; /* where the next child of each open value goes */
    struct uqff_json_event event;
    const char *key = "";
    size_t depth = 0, count = 0;
    *out = NULL;
    ends[0] = out;
    for (;;) {
        enum uqff_code code = uqff_json_next(json, &event, err);
        if (code != UQFF_OK) {
            return code;
        }
        if (event.kind == UQFF_JSON_OBJECT_END || event.kind == UQFF_JSON_ARRAY_END) {
            depth--;
        } else if (event.kind == UQFF_JSON_KEY) {
            key = uqff_arena_copy(arena, event.text, event.length);
        } else {
            struct vocabulary_node *node = key == NULL ? NULL : new_node(arena, &event, key);
            if (node == NULL) {
                return uqff_fail_memory(err);
            }
            if (++count > MAX_NODES) {
                return uqff_fail(err, UQFF_E_LIMIT, event.offset,
                                 "%s: found a rule of more than %d values", where, MAX_NODES);
            }
            *ends[depth] = node;
            ends[depth] = &node->next;
            key = "";
            if (event.kind == UQFF_JSON_OBJECT || event.kind == UQFF_JSON_ARRAY) {
                ends[++depth] = &node->child; /* the parser stops at MAX_DEPTH */
            }
        }
        if (depth == 0) {
            return UQFF_OK;
        }
    }
}

const struct vocabulary_node *uqff_vocab_member(const struct vocabulary_node *object,
                                                const char *key) {
    if (object == NULL || object->kind != UQFF_JSON_OBJECT) {
        return NULL;
    }
    for (const struct vocabulary_node *child = object->child; child != NULL; child = child->next) {
        if (strcmp(child->key, key) == 0) {
            return child->kind == UQFF_JSON_NULL ? NULL : child;
        }
    }
    return NULL;
}

const char *uqff_vocab_string(const struct vocabulary_node *object, const char *key) {
    const struct vocabulary_node *member = uqff_vocab_member(object, key);
    return member == NULL || member->kind != UQFF_JSON_STRING ? NULL : member->text;
}

bool uqff_vocab_flag(const struct vocabulary_node *object, const char *key, bool otherwise) {
    const struct vocabulary_node *member = uqff_vocab_member(object, key);
    if (member == NULL || (member->kind != UQFF_JSON_TRUE && member->kind != UQFF_JSON_FALSE)) {
        return otherwise;
    }
    return member->kind == UQFF_JSON_TRUE;
}

bool uqff_vocab_is(const struct vocabulary_node *string, const char *text) {
    return string != NULL && string->kind == UQFF_JSON_STRING && string->length == strlen(text) &&
           memcmp(string->text, text, string->length) == 0;
}
