/* What the files of the tokenizers share. Nothing here is public. */
#ifndef UQFF_VALIDATION_TOKENIZER_H
#define UQFF_VALIDATION_TOKENIZER_H

#include "uqff/validation.h"

#define SPACE_MARK "\xE2\x96\x81" /* U+2581, which SentencePiece writes for a space */
#define SPACE_MARK_LENGTH 3u

/* ---- pairs and merging (tokenizer_merge.c) --------------------------------------------------- */

/* Which two symbols become one, and how early: the lowest rank goes first, of equal ones the
 * leftmost. Symbols are ids, and from the vocabulary's size on characters that are no tokens by
 * themselves. */
struct pair_slot {
    uint64_t key; /* left << 32 | right, or NO_PAIR */
    uint32_t rank, result;
};

#define NO_PAIR UINT64_MAX

/* Zero-initialise; slots are freed by uqff_free. */
struct pair_table {
    struct pair_slot *slots;
    size_t count;
    unsigned bits;
    uint64_t secret;
};

/* Room for `count` pairs. */
enum uqff_code uqff_pairs_reserve(struct pair_table *pairs, size_t count, struct uqff_error *err);
/* Keeps the first of several ranks of a pair, which callers add in the order of ranks. */
enum uqff_code uqff_pairs_add(struct pair_table *pairs, uint32_t left, uint32_t right,
                              uint32_t rank, uint32_t result, struct uqff_error *err);
const struct pair_slot *uqff_pairs_find(const struct pair_table *pairs, uint32_t left,
                                        uint32_t right);

struct symbol {
    uint32_t id;
    uint32_t start;      /* first byte in the word */
    uint32_t prev, next; /* while merging by heap */
};

struct heap_entry {
    uint32_t rank, left, left_id, right_id;
};

/* Memory that merging works in, kept from word to word. */
struct merge_scratch {
    struct symbol *symbols;
    size_t symbol_capacity;
    struct heap_entry *heap;
    size_t heap_count, heap_capacity;
};

/* Merges symbols[0 … count) as far as pairs allow; *count becomes what is left, in order. */
enum uqff_code uqff_merge_symbols(const struct pair_table *pairs, struct merge_scratch *scratch,
                                  size_t *count, struct uqff_error *err);

/* ---- characters of a SentencePiece vocabulary (tokenizer_chars.c) ---------------------------- */

/* Symbols of characters, and which two of them stand side by side in any token: between others a
 * text may be cut without changing what becomes of it. */
struct char_table {
    struct pair_table symbols; /* key: 0 << 32 | character; result: the symbol */
    struct pair_table joints;  /* key: character << 32 | character */
    uint32_t ascii[128];
    unsigned char ascii_joints[128][16]; /* bits; U+2581 goes by the place of the space */
};

/* ---- added tokens (tokenizer_added.c) -------------------------------------------------------- */

struct added_token {
    const char *text;
    size_t length;
    uint32_t id;
    bool special; /* only found when special tokens are parsed */
    bool lstrip, rstrip, single_word;
};

/* Sorted by text. Those that begin with byte b are items[first[b] … first[b + 1]). */
struct added_set {
    struct added_token *items;
    size_t count, capacity;
    size_t first[257];
};

/* A stretch of text, or a token that stands in it. */
struct added_match {
    size_t begin, end; /* what the token takes, stripped white space included */
    uint32_t id;
};

/* The next token in text[at …), or false. */
bool uqff_added_find(const struct added_set *set, const char *text, size_t n, size_t at,
                     bool parse_special, struct added_match *match);
enum uqff_code uqff_added_add(struct added_set *set, const struct added_token *token,
                              struct uqff_error *err);
void uqff_added_sort(struct added_set *set);

/* ---- split rules (tokenizer_split.c, tokenizer_regex.c) -------------------------------------- */

/* End of the match that begins at `at`, 0 when none does. */
typedef size_t match_rule(const char *text, size_t n, size_t at);

enum { MAX_STEPS = 16 };

struct split_regex; /* a compiled pattern */

struct split_step {
    match_rule *match; /* NULL: the pattern */
    struct split_regex *regex;
};

/* The steps of a rule known by name, written by hand; false when there is none. */
bool uqff_split_by_name(const char *name, struct split_step *steps, size_t *count);

/* UQFF_E_LIMIT for a pattern that could run away. */
enum uqff_code uqff_regex_new(const char *pattern, struct split_regex **out,
                              struct uqff_error *err);
void uqff_regex_free(struct split_regex *regex);

/* Where a match was found; match data is kept from piece to piece. */
struct regex_scratch {
    void *data; /* pcre2_match_data */
};
void uqff_regex_scratch_free(struct regex_scratch *scratch);
/* Searches text[at …); *found tells whether [*begin, *end) is a match. */
enum uqff_code uqff_regex_search(const struct split_regex *regex, struct regex_scratch *scratch,
                                 const char *text, size_t n, size_t at, bool *found, size_t *begin,
                                 size_t *end, struct uqff_error *err);

/* ---- the tokenizer --------------------------------------------------------------------------- */

struct uqff_tokenizer {
    const struct uqff_vocabulary *vocabulary;
    const struct uqff_vocabulary_info *info;
    struct uqff_arena arena; /* texts of added tokens, normalized */
    struct pair_table pairs;
    struct char_table chars; /* SPM */
    uint32_t bytes[256];     /* ids of single bytes; UQFF_NO_TOKEN where there is none */
    size_t longest;          /* bytes of the longest token */
    bool normalizes;
    struct added_set added, added_normalized;
    struct split_step steps[MAX_STEPS];
    size_t step_count;
};

/* Words that were met, with their ids. */
struct word_cache {
    struct cached_word *slots;
    size_t count;
    struct uqff_buffer keys;
    uint32_t *ids;
    size_t id_count, id_capacity;
};

/* One call of uqff_tokenize. */
struct session {
    const struct uqff_tokenizer *t;
    bool parse_special;
    uint32_t *ids;
    size_t count, capacity;
    bool after_unknown; /* the last id stands for unknown characters: more of them add none */
    bool cached;        /* the text is long enough to keep words */
    struct merge_scratch merge;
    struct word_cache cache;
    struct regex_scratch regex[MAX_STEPS];
    struct uqff_buffer cleaned, normal, marked, spelled;
    int32_t *points; /* code points, while they are normalized */
    size_t point_capacity;
    struct uqff_error *err;
};

enum uqff_code uqff_session_push(struct session *s, uint32_t id);
void uqff_session_free(struct session *s); /* all but the ids */

/* tokenizer_build.c */
enum uqff_code uqff_tokenizer_build(struct uqff_tokenizer *t, struct uqff_error *err);
/* tokenizer_chars.c: symbols, joints and, where the vocabulary has no merges, pairs by score. */
enum uqff_code uqff_chars_build(struct uqff_tokenizer *t, struct uqff_error *err);
uint32_t uqff_chars_symbol(const struct char_table *chars, uint32_t character);
bool uqff_chars_joined(const struct char_table *chars, uint32_t left, uint32_t right);

/* tokenizer_words.c: ids of a piece that split rules made. */
enum uqff_code uqff_words_encode(struct session *s, const char *piece, size_t n);
void uqff_words_free(struct word_cache *cache);

/* tokenizer_normal.c: text prepared in the session's buffers; *text and *n are replaced. */
enum uqff_code uqff_normal_clean(struct session *s, const char **text, size_t *n);
enum uqff_code uqff_normal_form(struct session *s, const char **text, size_t *n);
enum uqff_code uqff_normal_mark(struct session *s, const char **text, size_t *n, bool first);

/* The printable alphabet of byte-level BPE. */
uint32_t uqff_byte_character(unsigned char byte);
int uqff_character_byte(uint32_t character); /* -1: none */
size_t uqff_put_character(char out[4], uint32_t character);
/* Writes a byte's character; 1 or 2 bytes. */
size_t uqff_put_byte(char out[4], unsigned char byte);

#endif
