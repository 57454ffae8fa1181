/* What a model card and a directory's name tell. Both are written by hand: what does not fit is
 * passed over. */
#include "pack/gguf.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- front matter ---------------------------------------------------------------------------- */

/* The block between two lines of "---" at the head of the file, of which this is read:
 *
 *     key: value                a scalar, perhaps quoted
 *     key: [one, "two"]         a list in one line
 *     key:                      a list of one item a line
 *       - one
 */
struct span {
    const char *text;
    size_t size;
};

static struct span trim(struct span span) {
    while (span.size > 0 && (*span.text == ' ' || *span.text == '\t')) {
        span.text++;
        span.size--;
    }
    while (span.size > 0 && (span.text[span.size - 1] == ' ' || span.text[span.size - 1] == '\t' ||
                             span.text[span.size - 1] == '\r')) {
        span.size--;
    }
    return span;
}

static bool next_line(struct span *rest, struct span *line) {
    if (rest->size == 0) {
        return false;
    }
    const char *end = memchr(rest->text, '\n', rest->size);
    line->text = rest->text;
    line->size = end != NULL ? (size_t)(end - rest->text) : rest->size;
    size_t used = line->size + (end != NULL);
    rest->text += used;
    rest->size -= used;
    return true;
}

static bool span_is(struct span span, const char *text) {
    return span.size == strlen(text) && memcmp(span.text, text, span.size) == 0;
}

/* A plain or quoted scalar. Empty for what is no simple text: escapes, block scalars, anchors. */
static struct span scalar(struct span span) {
    static const struct span none = {"", 0};
    span = trim(span);
    if (span.size == 0) {
        return none;
    }
    char first = *span.text;
    if (first == '"' || first == '\'') {
        struct span inner = {span.text + 1, span.size - 1};
        const char *end = memchr(inner.text, first, inner.size);
        if (end == NULL || memchr(inner.text, '\\', (size_t)(end - inner.text)) != NULL) {
            return none;
        }
        inner.size = (size_t)(end - inner.text);
        return inner;
    }
    if (strchr("|>&*!{[%@`#", first) != NULL) {
        return none;
    }
    for (size_t i = 1; i + 1 < span.size; i++) {
        if (span.text[i] == ' ' && span.text[i + 1] == '#') {
            span.size = i;
            return trim(span);
        }
    }
    return span;
}

static enum uqff_code keep(struct uqff_arena *arena, struct span span, const char **out,
                           struct uqff_error *err) {
    if (span.size == 0 || span_is(span, "null") || span_is(span, "~") ||
        memchr(span.text, 0, span.size) != NULL || !uqff_utf8_valid(span.text, span.size, NULL)) {
        return UQFF_OK;
    }
    *out = uqff_arena_copy(arena, span.text, span.size);
    return *out == NULL ? uqff_fail_memory(err) : UQFF_OK;
}

static enum uqff_code add_text(struct gguf_texts *texts, struct uqff_arena *arena, struct span span,
                               struct uqff_error *err) {
    const char *text = NULL;
    enum uqff_code code = keep(arena, scalar(span), &text, err);
    if (code != UQFF_OK || text == NULL) {
        return code;
    }
    code = uqff_grow((void **)&texts->items, &texts->capacity, texts->count + 1,
                     sizeof *texts->items, err);
    if (code == UQFF_OK) {
        texts->items[texts->count++] = text;
    }
    return code;
}

/* "[a, b]", or one scalar. */
static enum uqff_code add_inline(struct gguf_texts *texts, struct uqff_arena *arena,
                                 struct span value, struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    value = trim(value);
    if (value.size < 2 || value.text[0] != '[' || value.text[value.size - 1] != ']') {
        return add_text(texts, arena, value, err);
    }
    struct span rest = {value.text + 1, value.size - 2};
    while (rest.size > 0 && code == UQFF_OK) {
        const char *comma = memchr(rest.text, ',', rest.size);
        struct span item = {rest.text, comma != NULL ? (size_t)(comma - rest.text) : rest.size};
        code = add_text(texts, arena, item, err);
        size_t used = item.size + (comma != NULL);
        rest.text += used;
        rest.size -= used;
    }
    return code;
}

/* Where a key's value goes: one text, or a list. */
struct place {
    const char **text;
    struct gguf_texts *texts;
};

static struct place find_place(struct gguf_card *card, struct span key) {
    const struct {
        const char *key;
        struct place place;
    } places[] = {
        {"model_name", {&card->name, NULL}},
        {"author", {&card->author, NULL}},
        {"model_author", {&card->author, NULL}},
        {"model_creator", {&card->author, NULL}},
        {"organization", {&card->organization, NULL}},
        {"description", {&card->description, NULL}},
        {"model_description", {&card->description, NULL}},
        {"quantized_by", {&card->quantized_by, NULL}},
        {"license", {&card->license, NULL}},
        {"license_name", {&card->license_name, NULL}},
        {"license_link", {&card->license_link, NULL}},
        {"tags", {NULL, &card->tags}},
        {"pipeline_tag", {NULL, &card->tags}},
        {"language", {NULL, &card->languages}},
        {"languages", {NULL, &card->languages}},
        {"base_model", {NULL, &card->base_models}},
        {"dataset", {NULL, &card->datasets}},
        {"datasets", {NULL, &card->datasets}},
    };
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (span_is(key, places[i].key)) {
            return places[i].place;
        }
    }
    return (struct place){NULL, NULL};
}

static enum uqff_code read_line(struct gguf_card *card, struct uqff_arena *arena, struct span line,
                                struct place *place, struct uqff_error *err) {
    struct span text = trim(line);
    if (text.size == 0 || *text.text == '#') {
        return UQFF_OK;
    }
    if (*text.text == '-' && text.size > 1 && (text.text[1] == ' ' || text.text[1] == '\t')) {
        struct span item = {text.text + 1, text.size - 1};
        return place->texts == NULL ? UQFF_OK : add_text(place->texts, arena, item, err);
    }
    if (*line.text == ' ' || *line.text == '\t') {
        return UQFF_OK; /* the inside of a mapping */
    }
    const char *colon = memchr(line.text, ':', line.size);
    *place = (struct place){NULL, NULL};
    if (colon == NULL) {
        return UQFF_OK;
    }
    struct span key = trim((struct span){line.text, (size_t)(colon - line.text)});
    struct span value = {colon + 1, line.size - (size_t)(colon - line.text) - 1};
    *place = find_place(card, key);
    if (place->texts != NULL) {
        return add_inline(place->texts, arena, value, err);
    }
    return place->text == NULL ? UQFF_OK : keep(arena, scalar(value), place->text, err);
}

enum uqff_code uqff_gguf_card_parse(const char *text, size_t size, struct uqff_arena *arena,
                                    struct gguf_card *out, struct uqff_error *err) {
    struct span rest = {text, size}, line;
    struct place place = {NULL, NULL};
    enum uqff_code code = UQFF_OK;
    if (!next_line(&rest, &line) || !span_is(trim(line), "---")) {
        return UQFF_OK;
    }
    /* Without a second line of "---" it was a rule, not front matter. */
    struct span inner = rest, ahead = rest;
    bool closed = false;
    while (!closed && next_line(&ahead, &line)) {
        closed = span_is(trim(line), "---");
    }
    inner.size = closed ? (size_t)(line.text - rest.text) : 0;
    while (code == UQFF_OK && next_line(&inner, &line)) {
        code = read_line(out, arena, line, &place, err);
    }
    return code;
}

void uqff_gguf_card_free(struct gguf_card *card) {
    uqff_free(card->tags.items);
    uqff_free(card->languages.items);
    uqff_free(card->base_models.items);
    uqff_free(card->datasets.items);
}

/* ---- names ----------------------------------------------------------------------------------- */

enum part { PART_PLAIN, PART_SIZE, PART_VERSION, PART_FINETUNE, PARTS, PART_TYPE = PARTS };

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static char lower(char c) {
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

/* Digits, perhaps with points between them; returns what follows. */
static size_t skip_number(struct span part, size_t at) {
    while (at < part.size &&
           (is_digit(part.text[at]) || (part.text[at] == '.' && at > 0 && at + 1 < part.size &&
                                        is_digit(part.text[at + 1])))) {
        at++;
    }
    return at;
}

/* "7B", "8x22B", "0.5b", "656K" */
static bool is_size(struct span part) {
    size_t at = skip_number(part, 0);
    if (at > 0 && at + 1 < part.size && lower(part.text[at]) == 'x' &&
        is_digit(part.text[at + 1])) {
        at = skip_number(part, at + 1);
    }
    return at > 0 && at + 1 == part.size && strchr("kmbt", lower(part.text[at])) != NULL;
}

/* "v0.3", "3.1" */
static bool is_version(struct span part) {
    size_t at = part.size > 1 && lower(part.text[0]) == 'v' ? 1 : 0;
    return is_digit(part.text[at]) && skip_number(part, at) == part.size;
}

/* "BF16", "f32", "Q4_K": what the weights are stored as says nothing of the model. */
static bool is_type(struct span part) {
    char name[16];
    if (part.size >= sizeof name) {
        return false;
    }
    memcpy(name, part.text, part.size);
    name[part.size] = '\0';
    struct uqff_quant quant;
    return uqff_quant_parse(name, &quant, NULL) == UQFF_OK;
}

static bool is_finetune(struct span part) {
    static const char *const words[] = {"instruct", "chat", "it", "vision", "base"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t n = strlen(words[i]), k = 0;
        while (k < n && k < part.size && lower(part.text[k]) == words[i][k]) {
            k++;
        }
        if (k == n && part.size == n) {
            return true;
        }
    }
    return false;
}

static bool next_part(struct span *rest, struct span *part) {
    while (rest->size > 0 && *rest->text == '-') {
        rest->text++;
        rest->size--;
    }
    if (rest->size == 0) {
        return false;
    }
    const char *end = memchr(rest->text, '-', rest->size);
    part->text = rest->text;
    part->size = end != NULL ? (size_t)(end - rest->text) : rest->size;
    rest->text += part->size;
    rest->size -= part->size;
    return true;
}

static void join(struct uqff_buffer *buffer, char between, struct span part) {
    if (buffer->size > 0) {
        uqff_buffer_append(buffer, &between, 1);
    }
    uqff_buffer_append(buffer, part.text, part.size);
}

/* Words in lower case get a capital; versions and sizes stay. */
static void join_title(struct uqff_buffer *buffer, struct span part) {
    join(buffer, ' ', part);
    bool is_lower = part.size > 0 && !is_digit(*part.text) && !is_version(part);
    for (size_t i = 0; i < part.size; i++) {
        is_lower = is_lower && !(part.text[i] >= 'A' && part.text[i] <= 'Z');
    }
    char *first = buffer->failed ? NULL : buffer->data + buffer->size - part.size;
    if (is_lower && first != NULL && *first >= 'a' && *first <= 'z') {
        *first = (char)(*first - 'a' + 'A');
    }
}

static enum uqff_code take(struct uqff_arena *arena, const struct uqff_buffer *buffer,
                           const char **out, struct uqff_error *err) {
    if (buffer->failed) {
        return uqff_fail_memory(err);
    }
    if (buffer->size > 0) {
        *out = uqff_arena_copy(arena, buffer->data, buffer->size);
    }
    return buffer->size > 0 && *out == NULL ? uqff_fail_memory(err) : UQFF_OK;
}

enum uqff_code uqff_gguf_name_parse(const char *name, struct uqff_arena *arena,
                                    struct gguf_name *out, struct uqff_error *err) {
    struct uqff_buffer title = {0}, pieces[PARTS] = {{0}};
    struct span rest = {name, strlen(name)}, part;
    bool behind = false; /* what is named first is the base, what comes behind the size is not */
    while (next_part(&rest, &part)) {
        enum part kind = is_size(part) && (behind || pieces[PART_PLAIN].size > 0) ? PART_SIZE
                         : is_version(part)                                       ? PART_VERSION
                         : is_finetune(part)                                      ? PART_FINETUNE
                         : behind && is_type(part)                                ? PART_TYPE
                                                                                  : PART_PLAIN;
        join_title(&title, part);
        if (kind == PART_VERSION && !behind && pieces[PART_PLAIN].size > 0 && rest.size > 0) {
            kind = PART_PLAIN; /* "Llama-3.1-8B" */
        } else if (kind == PART_PLAIN && behind) {
            kind = PART_FINETUNE;
        }
        behind = behind || kind != PART_PLAIN;
        if (kind != PART_TYPE) {
            join(&pieces[kind], '-', part);
        }
        if (kind == PART_SIZE && !pieces[kind].failed) {
            char *unit = &pieces[kind].data[pieces[kind].size - 1];
            *unit = *unit == 'k' ? 'K' : *unit == 'm' ? 'M' : *unit == 'b' ? 'B' : *unit;
        }
    }
    enum uqff_code code = take(arena, &title, &out->title, err);
    /* A name without any of these could be anything. */
    if (code == UQFF_OK &&
        pieces[PART_SIZE].size + pieces[PART_FINETUNE].size + pieces[PART_VERSION].size > 0) {
        const char **const places[PARTS] = {&out->basename, &out->size_label, &out->version,
                                            &out->finetune};
        for (size_t i = 0; i < PARTS && code == UQFF_OK; i++) {
            code = take(arena, &pieces[i], places[i], err);
        }
    }
    uqff_buffer_free(&title);
    for (size_t i = 0; i < PARTS; i++) {
        uqff_buffer_free(&pieces[i]);
    }
    return code;
}

const char *uqff_gguf_size_label(uint64_t weights, uint64_t expert_weights, uint64_t experts,
                                 struct uqff_arena *arena) {
    static const struct {
        double above, unit;
        char letter;
    } units[] = {{1e12, 1e12, 'T'}, {1e9, 1e9, 'B'}, {1e6, 1e6, 'M'}, {0, 1e3, 'K'}};
    char count[24] = "";
    if (experts > 1) {
        /* Of mixtures: the experts, times what one of them and the shared part have. */
        weights = weights - expert_weights + expert_weights / experts;
        snprintf(count, sizeof count, "%" PRIu64 "x", experts);
    }
    size_t i = 0;
    while (units[i].above > 0 && (double)weights <= units[i].above) {
        i++;
    }
    double scaled = (double)weights / units[i].unit;
    /* Two digits at least. */
    int digits = scaled < 0.5 ? 2 : scaled < 9.5 ? 1 : 0;
    return uqff_arena_printf(arena, "%s%.*f%c", count, digits, scaled, units[i].letter);
}
