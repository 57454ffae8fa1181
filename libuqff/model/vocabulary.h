/* What the readers of vocabularies share. Nothing here is public. */
#ifndef UQFF_MODEL_VOCABULARY_H
#define UQFF_MODEL_VOCABULARY_H

#include "uqff/model.h"

/* Ids are below this, so that tables by id stay affordable. Real vocabularies are below 2^19. */
#define UQFF_VOCABULARY_LIMIT (1u << 22)
/* Bytes of an added token: what is looked for at every place of a text has to be short. */
#define UQFF_ADDED_LIMIT 4096u
/* Bytes of a side file; a tokenizer.json of 250,000 tokens has 35 MB. */
#define UQFF_VOCABULARY_FILE_LIMIT (256u << 20)

enum token_flags {
    TOKEN_ADDED = 1 << 0,
    TOKEN_LSTRIP = 1 << 1,
    TOKEN_RSTRIP = 1 << 2,
    TOKEN_NORMALIZED = 1 << 3,
    TOKEN_SINGLE_WORD = 1 << 4,
};

struct vocabulary_token {
    const char *text;
    uint32_t length, id;
    float score;
    unsigned char type, flags;
};

struct vocabulary_slot {
    uint32_t place; /* in `tokens`, plus 1; 0: free */
    uint32_t tag;   /* some bits of the text's hash */
};

struct uqff_vocabulary {
    struct uqff_arena arena;
    struct uqff_warner warner;
    const char *where;               /* names the file in messages */
    struct vocabulary_token *tokens; /* by id, once indexed */
    size_t count, capacity;
    size_t indexed; /* tokens that can be found; further ones are added behind them */
    struct vocabulary_slot *by_text; /* open addressing */
    unsigned text_bits;
    uint64_t secret;
    uint32_t *by_id; /* places plus 1; NULL while ids are all taken, or too sparse for a table */
    struct uqff_merge *merges;
    size_t merge_capacity;
    struct uqff_vocabulary_info info;
    /* Tokens that the post-processor of tokenizer.json puts first and last, and whether settings
     * say anything else. */
    const char *template_bos, *template_eos;
    bool bos_given, eos_given;
};

/* ---- building (vocabulary.c, vocabulary_build.c) --------------------------------------------- */

enum uqff_code uqff_vocab_new(const char *where, const struct uqff_warner *warner,
                              struct uqff_vocabulary **out, struct uqff_error *err);
/* Appends a token; *out (which may be NULL) is valid until the next call. */
enum uqff_code uqff_vocab_add(struct uqff_vocabulary *v, uint64_t id, const char *text,
                              size_t length, enum uqff_token_type type,
                              struct vocabulary_token **out, struct uqff_error *err);
/* Sorts by id and makes texts findable; refuses what is there twice. To be called again after
 * tokens were added or their texts changed. */
enum uqff_code uqff_vocab_index(struct uqff_vocabulary *v, struct uqff_error *err);
struct vocabulary_token *uqff_vocab_token(const struct uqff_vocabulary *v, uint32_t id);
struct vocabulary_token *uqff_vocab_find(const struct uqff_vocabulary *v, const char *text,
                                         size_t length);
/* Appends the merge of two texts; `number` (from 0) and `offset` are for messages. */
enum uqff_code uqff_vocab_merge(struct uqff_vocabulary *v, size_t number, uint64_t offset,
                                const char *left, size_t left_length, const char *right,
                                size_t right_length, struct uqff_error *err);
/* The same from "left right", cut at the first space behind the first byte. */
enum uqff_code uqff_vocab_merge_line(struct uqff_vocabulary *v, size_t number, uint64_t offset,
                                     const char *line, size_t length, struct uqff_error *err);
/* An added token, as tokenizer.json and tokenizer_config.json declare it. */
enum uqff_code uqff_vocab_declare(struct uqff_vocabulary *v, uint64_t id, const char *text,
                                  size_t length, bool special, unsigned flags, uint64_t offset,
                                  struct uqff_error *err);
/* The flags of an added token, by their names in either file. */
struct vocabulary_flag {
    const char *name;
    unsigned flag;
};
#define UQFF_VOCAB_FLAGS 4
extern const struct vocabulary_flag uqff_vocab_flags[UQFF_VOCAB_FLAGS];
/* Keeps the first thing that a tokenizer could not honour. */
enum uqff_code uqff_vocab_unsupported(struct uqff_vocabulary *v, struct uqff_error *err,
                                      const char *format, ...) UQFF_PRINTF(3, 4);
/* The last checks, and what follows from the rest. */
enum uqff_code uqff_vocab_finish(struct uqff_vocabulary *v, struct uqff_error *err);
/* Value of "<0x41>"; -1 for any other text. */
int uqff_vocab_byte(const char *text, size_t length);

/* The ids that a model may name. */
enum vocabulary_special {
    SPECIAL_BOS,
    SPECIAL_EOS,
    SPECIAL_UNKNOWN,
    SPECIAL_SEPARATOR,
    SPECIAL_PADDING,
    SPECIAL_CLASSIFIER,
    SPECIAL_MASK,
    SPECIAL_EOT,
    SPECIAL_EOM,
    SPECIAL_COUNT,
};
uint32_t *uqff_vocab_special(struct uqff_vocabulary *v, enum vocabulary_special which);

/* ---- split rules (vocabulary_pre.c) ---------------------------------------------------------- */

/* Fills pre, pre_known, patterns and what the name implies. `given` is NULL when there is none. */
enum uqff_code uqff_vocab_pre_by_name(struct uqff_vocabulary *v, const char *given,
                                      struct uqff_error *err);
/* Fills pre and pre_known from the patterns. */
void uqff_vocab_pre_by_patterns(struct uqff_vocabulary *v);

/* The rule that byte-level BPE has of its own in tokenizer.json. */
extern const char uqff_vocab_gpt2_pattern[];
/* True for patterns that leave no text between their matches. */
bool uqff_vocab_pattern_covers(const char *pattern);

/* ---- readers --------------------------------------------------------------------------------- */

enum uqff_code uqff_vocab_read_json(struct uqff_vocabulary *v, const char *text, size_t size,
                                    struct uqff_error *err);
enum uqff_code uqff_vocab_read_proto(struct uqff_vocabulary *v, const char *bytes, size_t size,
                                     struct uqff_error *err);
enum uqff_code uqff_vocab_read_gguf(struct uqff_vocabulary *v, const struct uqff_gguf *gguf,
                                    struct uqff_error *err);
/* A key-value section by itself, as it travels with a model that came from a GGUF. */
enum uqff_code uqff_vocab_read_kv(struct uqff_vocabulary *v, const char *bytes, size_t size,
                                  struct uqff_error *err);
/* tokenizer_config.json: special tokens, flags, chat template; with `tokens` also the list of added
 * tokens, for a tokenizer.model does not have them. */
enum uqff_code uqff_vocab_read_settings(struct uqff_vocabulary *v, const char *text, size_t size,
                                        const char *where, bool tokens, struct uqff_error *err);
/* added_tokens.json: {"text": id}. */
enum uqff_code uqff_vocab_read_added(struct uqff_vocabulary *v, const char *text, size_t size,
                                     const char *where, struct uqff_error *err);
/* *_token_id of config.json, for what is not known yet. */
enum uqff_code uqff_vocab_read_config(struct uqff_vocabulary *v, const char *text, size_t size,
                                      const char *where, struct uqff_error *err);
enum uqff_code uqff_vocab_set_template(struct uqff_vocabulary *v, const char *text, size_t size,
                                       const char *where, struct uqff_error *err);

/* ---- small JSON values as trees (vocabulary_tree.c) ------------------------------------------ */

struct vocabulary_node {
    enum uqff_json_kind kind;
    const char *key; /* of a member, NUL-terminated; "" for items */
    const char *text;
    size_t length;
    uint64_t offset;
    struct vocabulary_node *child, *next;
};

/* Reads the value that comes next; at most a documented number of nodes. */
enum uqff_code uqff_vocab_tree(struct uqff_arena *arena, struct uqff_json *json, const char *where,
                               struct vocabulary_node **out, struct uqff_error *err);
/* A member, or NULL; null is as good as none. */
const struct vocabulary_node *uqff_vocab_member(const struct vocabulary_node *object,
                                                const char *key);
/* The text of a string member, or NULL. */
const char *uqff_vocab_string(const struct vocabulary_node *object, const char *key);
bool uqff_vocab_flag(const struct vocabulary_node *object, const char *key, bool otherwise);
bool uqff_vocab_is(const struct vocabulary_node *string, const char *text);

/* ---- rules of tokenizer.json (vocabulary_rules.c) -------------------------------------------- */

struct vocabulary_rules {
    const struct vocabulary_node *normalizer, *pre_tokenizer, *post_processor, *decoder;
    bool byte_fallback;
    /* Found: */
    bool byte_level;     /* a ByteLevel step or decoder */
    bool replaces_space; /* by U+2581 */
    const char *patterns[16];
    size_t pattern_count;
};
/* Takes the rules into info: kind, flags, patterns, add_bos, add_eos. */
enum uqff_code uqff_vocab_apply_rules(struct uqff_vocabulary *v, struct vocabulary_rules *rules,
                                      struct uqff_error *err);

#endif
