#include "base/text.h"

#include <stdatomic.h>
#include <stdio.h>

locale_t uqff_c_locale(void) {
    /* newlocale() hands out the C library's own static object for "C": nothing is allocated, and
     * two threads that come here at once get the same one. */
    static _Atomic(locale_t) cached;
    locale_t locale = atomic_load_explicit(&cached, memory_order_acquire);
    if (locale == (locale_t)0) {
        locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
        atomic_store_explicit(&cached, locale, memory_order_release);
    }
    return locale;
}

/* ---- UTF-8 ----------------------------------------------------------------------------------- */

/*
 * 0xxxxxxx                              U+0000  - U+007F
 * 110xxxxx 10xxxxxx                     U+0080  - U+07FF     first byte C2 - DF
 * 1110xxxx 10xxxxxx 10xxxxxx            U+0800  - U+FFFF     E0 - EF, no surrogates
 * 11110xxx 10xxxxxx 10xxxxxx 10xxxxxx   U+10000 - U+10FFFF   F0 - F4
 */
unsigned uqff_utf8_decode(const unsigned char *p, size_t n, uint32_t *code_point) {
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = p[0];
    if (first < 0x80) {
        *code_point = first;
        return 1;
    }
    unsigned length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || length > n) {
        return 0;
    }
    uint32_t value = first & (0x7Fu >> length);
    for (unsigned i = 1; i < length; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            return 0;
        }
        value = value << 6 | (p[i] & 0x3Fu);
    }
    if (value < smallest[length] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) {
        return 0;
    }
    *code_point = value;
    return length;
}

unsigned uqff_utf8_encode(uint32_t value, char out[4]) {
    if (value < 0x80) {
        out[0] = (char)value;
        return 1;
    }
    unsigned length = value < 0x800 ? 2 : value < 0x10000 ? 3 : 4;
    for (unsigned i = length - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (value & 0x3F));
        value >>= 6;
    }
    out[0] = (char)((0xF00u >> length & 0xF0u) | value);
    return length;
}

bool uqff_utf8_valid(const void *bytes, size_t n, size_t *bad) {
    const unsigned char *p = bytes;
    size_t i = 0;
    while (i < n) {
        if (n - i >= 8 && (uqff_load_native64(p + i) & UINT64_C(0x8080808080808080)) == 0) {
            i += 8;
            continue;
        }
        uint32_t ignored;
        unsigned length = uqff_utf8_decode(p + i, n - i, &ignored);
        if (length == 0) {
            if (bad != NULL) {
                *bad = i;
            }
            return false;
        }
        i += length;
    }
    return true;
}

size_t uqff_text_width(const char *text) {
    size_t width = 0;
    for (const char *p = text; *p != '\0'; p++) {
        width += ((unsigned char)*p & 0xC0) != 0x80;
    }
    return width;
}

bool uqff_text_ends(const char *text, const char *ending) {
    size_t n = strlen(text), m = strlen(ending);
    return n >= m && memcmp(text + n - m, ending, m) == 0;
}

/* ---- printable text -------------------------------------------------------------------------- */

/* Code points from U+0080 up that a terminal obeys, or that hide or reorder what stands beside
 * them. */
static const struct {
    uint32_t first, last;
} unprintable[] = {
    {0x0080, 0x009F}, /* C1 */
    {0x061C, 0x061C}, /* Arabic letter mark */
    {0x200B, 0x200F}, /* zero-width space, (non-)joiner; left-to-right, right-to-left mark */
    {0x202A, 0x202E}, /* bidirectional embeddings and overrides */
    {0x2066, 0x2069}, /* bidirectional isolates */
    {0xFEFF, 0xFEFF}, /* zero-width no-break space */
};

static bool is_unprintable(uint32_t value) {
    for (size_t i = 0; i < sizeof unprintable / sizeof *unprintable; i++) {
        if (value >= unprintable[i].first && value <= unprintable[i].last) {
            return true;
        }
    }
    return false;
}

/* Writes the printable form of what is at the front of p[n] into unit[16]; *taken is how many bytes
 * that was. Returns the length. A code point becomes \u{}, a lone byte \x, so the two never meet.
 */
static size_t printable_unit(const unsigned char *p, size_t n, char unit[16], size_t *taken) {
    uint32_t value = 0;
    unsigned length = uqff_utf8_decode(p, n, &value);
    *taken = length == 0 ? 1 : length;
    if (length == 0 || value < 0x20 || value == 0x7F) {
        return (size_t)snprintf(unit, 16, "\\x%02x", (unsigned)p[0]);
    }
    if (value == '\\') {
        memcpy(unit, "\\\\", 2);
        return 2;
    }
    if (length > 1 && is_unprintable(value)) {
        return (size_t)snprintf(unit, 16, "\\u{%04x}", (unsigned)value);
    }
    memcpy(unit, p, length);
    return length;
}

size_t uqff_printable(char *out, size_t capacity, const void *bytes, size_t n) {
    const unsigned char *p = bytes;
    size_t total = 0, written = 0;
    bool full = capacity == 0;
    for (size_t i = 0; i < n;) {
        char unit[16];
        size_t taken;
        size_t length = printable_unit(p + i, n - i, unit, &taken);
        /* Once one unit did not fit nothing more goes in, or the middle would be missing. */
        full = full || length > capacity - 1 - written;
        if (!full) {
            memcpy(out + written, unit, length);
            written += length;
        }
        total += length;
        i += taken;
    }
    if (capacity > 0) {
        out[written] = '\0';
    }
    return total;
}

void uqff_printable_cut(char *out, size_t capacity, const void *bytes, size_t n) {
    if (uqff_printable(out, capacity, bytes, n) >= capacity && capacity > 3) {
        uqff_printable(out, capacity - 3, bytes, n);
        memcpy(out + strlen(out), "...", sizeof "...");
    }
}

/* ---- nearest name ---------------------------------------------------------------------------- */

enum { LONGEST_WORD = 63 };

static char lower(char c) {
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

/* What is compared of a name: its letters and digits, for it is '_', '-' and '.' that people mix up
 * first. False when that is nothing, or more than LONGEST_WORD. */
static bool essence(const char *word, char out[LONGEST_WORD], size_t *n) {
    *n = 0;
    for (const char *p = word; *p != '\0'; p++) {
        if (*p == '_' || *p == '-' || *p == '.' || *p == ' ') {
            continue;
        }
        if (*n == LONGEST_WORD) {
            return false;
        }
        out[(*n)++] = lower(*p);
    }
    return *n > 0;
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Edit distance with insertions, deletions, changes and swaps of neighbours, each counting one.
 * Three rows of the usual table are enough. Both words have at most LONGEST_WORD bytes. */
static size_t edit_distance(const char *a, size_t na, const char *b, size_t nb) {
    size_t rows[3][LONGEST_WORD + 1];
    for (size_t j = 0; j <= nb; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= na; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            char x = a[i - 1], y = b[j - 1];
            size_t best = smaller(smaller(above[j], row[j - 1]) + 1, above[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == b[j - 2] && y == a[i - 2]) {
                best = smaller(best, before[j - 2] + 1);
            }
            row[j] = best;
        }
    }
    return rows[na % 3][nb];
}

const char *uqff_nearest(const char *word, const char *const *names, size_t count) {
    char wanted[LONGEST_WORD], known[LONGEST_WORD];
    size_t n, length;
    if (!essence(word, wanted, &n)) {
        return NULL;
    }
    /* A third of the word may be wrong, and never all of it. */
    size_t allowed = smaller(n < 3 ? n - 1 : (n + 2) / 3, 4);
    const char *nearest = NULL;
    for (size_t i = 0; i < count; i++) {
        if (!essence(names[i], known, &length)) {
            continue;
        }
        size_t distance = edit_distance(wanted, n, known, length);
        if (distance <= allowed && (nearest == NULL || distance < allowed)) {
            nearest = names[i];
            allowed = distance;
        }
    }
    return nearest;
}

/* ---- sizes ----------------------------------------------------------------------------------- */

void uqff_format_bytes(char out[16], uint64_t bytes) {
    static const char units[] = "KMGTPE";
    if (bytes < 1024) {
        snprintf(out, 16, "%u B", (unsigned)bytes);
        return;
    }
    unsigned unit = 0, shift = 10;
    while (shift < 60 && bytes >> shift >= 1024) {
        unit++;
        shift += 10;
    }
    /* Integers only, for printf's decimal point follows the locale. Twenty binary places are more
     * than three digits need, and leave room to multiply by 100. */
    uint64_t fixed = shift < 20 ? bytes << (20 - shift) : bytes >> (shift - 20);
    uint64_t hundredths = (fixed * 100 + (1u << 19)) >> 20;
    uint64_t tenths = (fixed * 10 + (1u << 19)) >> 20;
    uint64_t whole = (fixed + (1u << 19)) >> 20;
    char letter = units[unit];
    if (hundredths < 1000) {
        snprintf(out, 16, "%u.%02u %ciB", (unsigned)(hundredths / 100),
                 (unsigned)(hundredths % 100), letter);
    } else if (tenths < 1000) {
        snprintf(out, 16, "%u.%u %ciB", (unsigned)(tenths / 10), (unsigned)(tenths % 10), letter);
    } else if (whole < 1024 || letter == 'E') {
        snprintf(out, 16, "%u %ciB", (unsigned)whole, letter);
    } else {
        snprintf(out, 16, "1.00 %ciB", units[unit + 1]);
    }
}

static const struct {
    const char *name;
    uint64_t bytes;
} size_units[] = {
    {"", 1},
    {"b", 1},
    {"k", UINT64_C(1) << 10},
    {"kib", UINT64_C(1) << 10},
    {"kb", 1000},
    {"m", UINT64_C(1) << 20},
    {"mib", UINT64_C(1) << 20},
    {"mb", 1000000},
    {"g", UINT64_C(1) << 30},
    {"gib", UINT64_C(1) << 30},
    {"gb", 1000000000},
    {"t", UINT64_C(1) << 40},
    {"tib", UINT64_C(1) << 40},
    {"tb", UINT64_C(1000000000000)},
};

static uint64_t unit_bytes(const char *text) {
    for (size_t i = 0; i < sizeof size_units / sizeof *size_units; i++) {
        const char *name = size_units[i].name;
        size_t j = 0;
        while (name[j] != '\0' && lower(text[j]) == name[j]) {
            j++;
        }
        if (name[j] == '\0' && text[j] == '\0') {
            return size_units[i].bytes;
        }
    }
    return 0;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

enum uqff_code uqff_parse_bytes(const char *text, uint64_t *out, struct uqff_error *err) {
    const char *p = text;
    uint64_t whole = 0, fraction = 0, scale = 1, size;
    bool fits = true;
    if (!is_digit(*p)) {
        goto bad;
    }
    for (; is_digit(*p); p++) {
        fits = fits && uqff_mul_u64(whole, 10, &whole) &&
               uqff_add_u64(whole, (uint64_t)(*p - '0'), &whole);
    }
    if (*p == '.') {
        p++;
        if (!is_digit(*p)) {
            goto bad;
        }
        /* Six places: 10^6 times the largest unit, 2^40, is still below 2^64. */
        for (; is_digit(*p); p++) {
            if (scale < 1000000) {
                fraction = fraction * 10 + (uint64_t)(*p - '0');
                scale *= 10;
            }
        }
    }
    if (*p == ' ') {
        p++;
    }
    uint64_t unit = unit_bytes(p);
    if (unit == 0 || (unit == 1 && fraction != 0)) {
        goto bad;
    }
    if (!fits || !uqff_mul_u64(whole, unit, &size) ||
        !uqff_add_u64(size, fraction * unit / scale, &size)) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "size '%s' is too large, expected less than 2^64 bytes", text);
    }
    *out = size;
    return UQFF_OK;
bad:
    return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                     "'%s' is not a size, expected a number with B, K, M, G or T, as in 1.5G",
                     text);
}
