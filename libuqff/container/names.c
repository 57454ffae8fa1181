/* The grammar of entry names. */
#include <string.h>

#include "container/internal.h"

static const char marker[] = "@uqff.";
static const char weight[] = ".weight";
#define WEIGHT_LENGTH (sizeof weight - 1)

static bool ends_with(const char *name, size_t n, const char *tail) {
    size_t length = strlen(tail);
    return n >= length && memcmp(name + n - length, tail, length) == 0;
}

/* The last occurrence of `what` in name[0..n), or NULL. */
static const char *find_last(const char *name, size_t n, const char *what) {
    size_t length = strlen(what);
    for (size_t i = n < length ? 0 : n - length + 1; i > 0; i--) {
        if (memcmp(name + i - 1, what, length) == 0) {
            return name + i - 1;
        }
    }
    return NULL;
}

static bool holds_control(const char *name, size_t n) {
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c < 0x20 || c == 0x7f) {
            return true;
        }
    }
    return false;
}

bool uqff_container_all_digits(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
    }
    return n > 0;
}

/* A decimal number in its only spelling: no sign, no leading zero, below 10^18. */
static bool parse_number(const char *text, size_t n, uint64_t *out) {
    if (n > 18 || !uqff_container_all_digits(text, n) || (n > 1 && text[0] == '0')) {
        return false;
    }
    *out = 0;
    for (size_t i = 0; i < n; i++) {
        *out = *out * 10 + (uint64_t)(text[i] - '0');
    }
    return true;
}

static bool equals(const char *text, size_t n, const char *word) {
    return strlen(word) == n && memcmp(text, word, n) == 0;
}

/* <base>@uqff.<tail> */
static void parse_marked(const char *at, size_t tail_length, struct uqff_entry_name *out) {
    const char *tail = at + sizeof marker - 1;
    out->kind = UQFF_NAME_UNKNOWN;
    if (equals(tail, tail_length, "residual")) {
        out->kind = UQFF_NAME_RESIDUAL;
    } else if (equals(tail, tail_length, "asset") || equals(tail, tail_length, "asset.zlib")) {
        out->kind = UQFF_NAME_ASSET;
        out->compressed = tail_length > strlen("asset");
    } else if (equals(tail, tail_length, "shape")) {
        out->kind = UQFF_NAME_SHAPE;
    } else if (equals(tail, tail_length, "pad")) {
        if (parse_number(out->base, out->base_length, &out->number)) {
            out->kind = UQFF_NAME_PAD;
        }
    } else if (equals(tail, tail_length, "digests")) {
        if (parse_number(out->base, out->base_length, &out->number)) {
            out->kind = UQFF_NAME_DIGESTS;
        }
    } else if (uqff_container_type_from_label(tail, tail_length, &out->type) &&
               uqff_container_type_is_storable(out->type)) {
        out->kind = UQFF_NAME_BLOB;
    }
}

void uqff_container_name_parse(const char *name, size_t n, struct uqff_entry_name *out) {
    static const char *const versions[] = {"uqff.version.major", "uqff.version.minor",
                                           "uqff.version.patch"};
    *out = (struct uqff_entry_name){.kind = UQFF_NAME_OTHER, .base = name, .base_length = n};
    for (unsigned i = 0; i < 3; i++) {
        if (equals(name, n, versions[i])) {
            out->kind = UQFF_NAME_VERSION;
            out->number = i;
            return;
        }
    }
    const char *at = find_last(name, n, marker);
    if (at != NULL) {
        out->base_length = (size_t)(at - name);
        parse_marked(at, n - out->base_length - (sizeof marker - 1), out);
        return;
    }
    if (ends_with(name, n, weight)) {
        out->kind = UQFF_NAME_WEIGHT;
        out->base_length = n - WEIGHT_LENGTH;
        return;
    }
    /* The last ".weight." decides: no side entry has a suffix that holds one. */
    at = find_last(name, n, ".weight.");
    if (at != NULL) {
        out->kind = UQFF_NAME_SIDE;
        out->base_length = (size_t)(at - name);
        out->suffix = at + strlen(".weight.");
        return;
    }
    if (ends_with(name, n, ".bias")) {
        out->kind = UQFF_NAME_BIAS;
        out->base_length = n - strlen(".bias");
    }
}

/*
 *  residual "conv.parametrizations.weight.original0"
 *  entry    "conv.parametrizations.@weight.original0@uqff.residual"
 *
 * A source name holds no '@', so every '@' of the base is one that encoding put there.
 */
char *uqff_container_name_encode(struct uqff_arena *arena, const char *name, const char *suffix) {
    size_t n = strlen(name), extra = 0;
    for (size_t i = 0; i + WEIGHT_LENGTH < n; i++) {
        extra += memcmp(name + i, weight, WEIGHT_LENGTH) == 0;
    }
    size_t tail = strlen(suffix);
    char *out = uqff_arena_alloc(arena, n + extra + tail + 1);
    if (out == NULL) {
        return NULL;
    }
    char *p = out;
    for (size_t i = 0; i < n; i++) {
        *p++ = name[i];
        if (i + WEIGHT_LENGTH < n && memcmp(name + i, weight, WEIGHT_LENGTH) == 0) {
            *p++ = '@';
        }
    }
    memcpy(p, suffix, tail + 1);
    return out;
}

enum uqff_code uqff_container_name_decode(struct uqff_arena *arena, const char *base, size_t n,
                                          const char **out) {
    char *text = uqff_arena_copy(arena, base, n);
    if (text == NULL) {
        return UQFF_E_MEMORY;
    }
    char *p = text;
    for (size_t i = 0; i < n; i++) {
        if (base[i] != '@') {
            *p++ = base[i];
            continue;
        }
        bool escape = i > 0 && base[i - 1] == '.' && n - i > WEIGHT_LENGTH &&
                      memcmp(base + i + 1, weight + 1, WEIGHT_LENGTH - 1) == 0;
        if (!escape) {
            return UQFF_E_NAME;
        }
    }
    *p = 0;
    *out = text;
    return UQFF_OK;
}

bool uqff_container_tensor_name_ok(const char *name, size_t n) {
    return n > 0 && n <= UQFF_CONTAINER_MAX_NAME && memchr(name, '@', n) == NULL &&
           !holds_control(name, n) && uqff_utf8_valid(name, n, NULL);
}

bool uqff_container_module_name_ok(const char *name, size_t n) {
    return uqff_container_tensor_name_ok(name, n) && !ends_with(name, n, weight) &&
           find_last(name, n, ".weight.") == NULL;
}

bool uqff_container_asset_path_ok(const char *path, size_t n) {
    const char *slash = memchr(path, '/', n);
    size_t head = slash == NULL ? n : (size_t)(slash - path);
    if (memchr(path, '@', n) != NULL || !uqff_name_is_safe_component(path, head)) {
        return false;
    }
    /* A second slash lies in the tail, where no safe component has one. */
    return slash == NULL || uqff_name_is_safe_component(slash + 1, n - head - 1);
}

bool uqff_container_name_is_ignored(const char *name, size_t n) {
    return memchr(name, '.', n) != NULL && !ends_with(name, n, weight) &&
           find_last(name, n, ".weight.") == NULL && !uqff_container_all_digits(name, n);
}

/* The first component of a path that is a number, leading zeros left out; NULL when none is. */
static const char *layer_number(const char *name, size_t *length) {
    for (const char *p = name;; p++) {
        size_t n = strcspn(p, ".");
        if (uqff_container_all_digits(p, n)) {
            while (n > 1 && *p == '0') {
                p++;
                n--;
            }
            *length = n;
            return p;
        }
        p += n;
        if (*p == 0) {
            return NULL;
        }
    }
}

int uqff_module_order(const char *a, const char *b) {
    size_t m = 0, n = 0;
    const char *x = layer_number(a, &m);
    const char *y = layer_number(b, &n);
    if ((x == NULL) != (y == NULL)) {
        return x == NULL ? -1 : 1;
    }
    if (x != NULL) {
        /* Without leading zeros the longer number is the larger one, of whatever size. */
        int order = m != n ? (m < n ? -1 : 1) : memcmp(x, y, n);
        if (order != 0) {
            return order;
        }
    }
    return strcmp(a, b);
}
