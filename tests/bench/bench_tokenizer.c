/*
 * bench_tokenizer: how long a tokenizer.json takes to open, and how fast it makes ids of a text.
 *
 *   bench_tokenizer [VOCABULARY TEXT]
 *
 * Without arguments it makes both: a language of syllables whose frequent words are the short ones,
 * a vocabulary of 128,000 tokens that has its words with the merges that lead to them, and 5 MB of
 * text in it; then the same vocabulary with 250,000 tokens, written with indentation as published
 * ones are. One core; the best of several runs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "uqff/validation.h"

enum { TEXT_BYTES = 5000000, REPEATS = 5, WORDS = 60000, LONGEST = 40 };

static uint64_t state = 88172645463325252u;

static uint64_t next_random(void) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545F4914F6CDD1Du;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void stop(const struct uqff_error *err) {
    fprintf(stderr, "bench_tokenizer: %s\n", err->text);
    exit(1);
}

/* ---- a language ------------------------------------------------------------------------------ */

static char words[WORDS][LONGEST];

static void make_words(void) {
    static const char *const parts[] = {
        "a", "e", "i", "o", "u", "th", "st", "r",  "n", "l", "er", "in", "on", "ou",  "ing",
        "t", "s", "m", "d", "p", "ch", "sh", "ea", "k", "w", "b",  "f",  "g",  "ent", "al"};
    for (size_t i = 0; i < WORDS; i++) {
        size_t n = 1 + i / 4000 / 3 + next_random() % (2 + i / 12000);
        for (size_t k = 0; k <= n && strlen(words[i]) < LONGEST - 4; k++) {
            strcat(words[i], parts[next_random() % (sizeof parts / sizeof *parts)]);
        }
    }
}

/* Frequencies fall roughly as the inverse of the rank. */
static const char *pick_word(void) {
    double u = (double)(next_random() >> 11) / 9007199254740992.0;
    size_t rank = 1;
    for (double reach = u * 16; reach > 1 && rank < WORDS / 2; reach -= 1) {
        rank *= 2;
    }
    return words[(rank + next_random() % rank) % WORDS];
}

static void make_text(struct uqff_buffer *text) {
    static const char *const ends[] = {" ",   " ",    " ",    " ",   " ",  " ",  " ", ", ",    ". ",
                                       ".\n", "\n\n", " 42 ", "'s ", " (", ") ", "-", " 1975 "};
    while (text->size < TEXT_BYTES) {
        uqff_buffer_printf(text, "%s%s", pick_word(),
                           ends[next_random() % (sizeof ends / sizeof *ends)]);
    }
}

/* ---- a vocabulary ---------------------------------------------------------------------------- */

struct tokens {
    char **texts;
    size_t count, capacity;
    size_t *slots;
    unsigned bits;
};

static size_t *slot_of(const struct tokens *t, const char *text) {
    struct uqff_digest digest = uqff_hash(text, strlen(text));
    size_t i = (size_t)(uqff_load_le64(digest.bytes) >> (64 - t->bits));
    while (t->slots[i] != 0 && strcmp(t->texts[t->slots[i] - 1], text) != 0) {
        i = (i + 1) & (((size_t)1 << t->bits) - 1);
    }
    return &t->slots[i];
}

static bool add_token(struct tokens *t, const char *text) {
    size_t *slot = slot_of(t, text);
    if (*slot != 0 || t->count == t->capacity) {
        return false;
    }
    t->texts[t->count++] = strdup(text);
    *slot = t->count;
    return true;
}

/* A word's beginnings, each the merge of the one before and a character. */
static void add_word(struct tokens *t, const char *word, struct uqff_buffer *merges,
                     const char *indent) {
    char text[2 * LONGEST] = "\u0120", before[2 * LONGEST];
    for (const char *p = word; *p != 0; p++) {
        snprintf(before, sizeof before, "%s", text);
        snprintf(text + strlen(text), sizeof text - strlen(text), "%c", *p);
        if (add_token(t, text)) {
            uqff_buffer_printf(merges, "%s%s\"%s %c\"", merges->size == 0 ? "" : ",", indent,
                               before, *p);
        }
    }
}

static void write_vocabulary(const char *path, size_t size, bool indented) {
    struct tokens t = {.capacity = size, .bits = 20};
    struct uqff_buffer json = {0}, merges = {0};
    const char *indent = indented ? "\n      " : " ";
    struct uqff_error err;
    t.texts = calloc(size, sizeof *t.texts);
    t.slots = calloc((size_t)1 << t.bits, sizeof *t.slots);
    if (t.texts == NULL || t.slots == NULL) {
        exit(1);
    }
    unsigned next = 0x100;
    for (unsigned byte = 0; byte < 256; byte++) { /* the printable alphabet */
        bool plain = (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
        unsigned c = plain ? byte : next++;
        char text[3] = {(char)c, 0, 0};
        if (c >= 0x80) {
            text[0] = (char)(0xC0 | c >> 6);
            text[1] = (char)(0x80 | (c & 0x3F));
        }
        add_token(&t, text);
    }
    for (size_t i = 0; i < WORDS && t.count < size; i++) {
        add_word(&t, words[i], &merges, indent);
    }
    while (t.count < size) { /* words that no text has */
        char word[LONGEST];
        snprintf(word, sizeof word, "%s%s", words[next_random() % 2000],
                 words[next_random() % 2000]);
        add_word(&t, word, &merges, indent);
    }
    uqff_buffer_printf(
        &json,
        "{\"version\": \"1.0\", \"added_tokens\": [{\"id\": %zu, \"content\": \"<|end|>\", "
        "\"special\": true}], \"normalizer\": null, \"pre_tokenizer\": {\"type\": \"Sequence\", "
        "\"pretokenizers\": [{\"type\": \"Split\", \"pattern\": {\"Regex\": \"(?i:'s|'t|'re|'ve|'m|"
        "'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| ?[^\\\\s\\\\p{L}\\\\p{N}]+"
        "[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"}, \"behavior\": \"Isolated\"}, "
        "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}]}, "
        "\"decoder\": {\"type\": \"ByteLevel\"}, \"model\": {\"type\": \"BPE\", \"vocab\": {",
        size);
    for (size_t i = 0; i < t.count; i++) {
        uqff_buffer_printf(&json, "%s%s", i == 0 ? "" : ",", indent);
        uqff_buffer_json_string(&json, t.texts[i], strlen(t.texts[i]));
        uqff_buffer_printf(&json, ": %zu", i);
        free(t.texts[i]);
    }
    uqff_buffer_printf(&json, "}, \"merges\": [");
    uqff_buffer_append(&json, merges.data, merges.size);
    uqff_buffer_printf(&json, "]}}\n");
    if (uqff_write_file(path, json.data, json.size, true, &err) != UQFF_OK) {
        stop(&err);
    }
    uqff_buffer_free(&json);
    uqff_buffer_free(&merges);
    free(t.texts);
    free(t.slots);
}

/* One line of the report. */
static void print_line(const char *what, double seconds, const char *more) {
    printf("%-64s %14.3f s  %s\n", what, seconds, more);
    fflush(stdout);
}

/* ---- measuring ------------------------------------------------------------------------------- */

static void measure_opening(const char *path) {
    struct uqff_error err;
    double opening = 1e9, making = 1e9;
    uint32_t size = 0;
    for (int i = 0; i < REPEATS; i++) {
        struct uqff_vocabulary *v = NULL;
        struct uqff_tokenizer *t = NULL;
        double begin = now();
        if (uqff_vocabulary_open_path(path, NULL, &v, &err) != UQFF_OK) {
            stop(&err);
        }
        double opened = now();
        if (uqff_tokenizer_new(v, NULL, &t, &err) != UQFF_OK) {
            stop(&err);
        }
        making = now() - opened < making ? now() - opened : making;
        opening = opened - begin < opening ? opened - begin : opening;
        size = uqff_vocabulary_info(v)->size;
        uqff_tokenizer_free(t);
        uqff_vocabulary_close(v);
    }
    char what[64];
    snprintf(what, sizeof what, "open a vocabulary of %u tokens", size);
    print_line(what, opening, "");
    print_line("make its tokenizer", making, "");
}

static void measure_text(const char *path, const struct uqff_buffer *text) {
    struct uqff_error err;
    struct uqff_vocabulary *v = NULL;
    struct uqff_tokenizer *t = NULL;
    struct uqff_buffer back = {0};
    double best = 1e9, decoding = 1e9;
    uint32_t *ids = NULL;
    size_t count = 0, capacity = 0;
    if (uqff_vocabulary_open_path(path, NULL, &v, &err) != UQFF_OK ||
        uqff_tokenizer_new(v, NULL, &t, &err) != UQFF_OK) {
        stop(&err);
    }
    for (int i = 0; i < REPEATS; i++) {
        count = back.size = 0;
        double begin = now();
        if (uqff_tokenize(t, text->data, text->size, NULL, &ids, &count, &capacity, &err) !=
            UQFF_OK) {
            stop(&err);
        }
        double middle = now();
        if (uqff_detokenize(t, ids, count, false, &back, &err) != UQFF_OK) {
            stop(&err);
        }
        decoding = now() - middle < decoding ? now() - middle : decoding;
        best = middle - begin < best ? middle - begin : best;
    }
    double bytes = (double)text->size;
    char what[64], speed[32];
    snprintf(what, sizeof what, "%.1f MB of text to %zu ids", bytes / 1e6, count);
    snprintf(speed, sizeof speed, "%.0f MB/s", bytes / best / 1e6);
    print_line(what, best, speed);
    bool equal = back.size == text->size && memcmp(back.data, text->data, back.size) == 0;
    print_line("and back", decoding, equal ? "equal" : "DIFFERS");
    uqff_free(ids);
    uqff_buffer_free(&back);
    uqff_tokenizer_free(t);
    uqff_vocabulary_close(v);
}

static int measure_given(char **argv) {
    struct uqff_source *source = NULL;
    struct uqff_buffer text = {0};
    struct uqff_error err;
    if (uqff_source_open(argv[2], &source, &err) != UQFF_OK ||
        uqff_source_read_all(source, 1u << 29, &text.data, &text.size, &err) != UQFF_OK) {
        stop(&err);
    }
    measure_opening(argv[1]);
    measure_text(argv[1], &text);
    uqff_source_close(source);
    uqff_free(text.data);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 3) {
        return measure_given(argv);
    }
    char path[] = "/tmp/uqff-bench-tokenizer-XXXXXX";
    struct uqff_buffer text = {0};
    int file = mkstemp(path); /* a name of its own */
    if (argc != 1 || file < 0) {
        fprintf(stderr, "usage: bench_tokenizer [VOCABULARY TEXT]\n");
        return 2;
    }
    make_words();
    make_text(&text);
    write_vocabulary(path, 128000, false);
    measure_opening(path);
    measure_text(path, &text);
    write_vocabulary(path, 250000, true);
    measure_opening(path);
    remove(path);
    uqff_buffer_free(&text);
    return 0;
}
