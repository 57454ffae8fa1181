/* Chat templates: numbers, which are doubles and are written as JavaScript writes them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "validation/template.h"

/* Digits beyond these cannot change which double is nearest, short of a contrived tie. */
#define MOST_DIGITS 800

/* The double nearest to 0.DIGITS × 10^point. The text given to strtod has no decimal point, so the
 * locale has no say. */
static double assemble(const char *digits, size_t n, long point) {
    char text[MOST_DIGITS + 32];
    n = n < MOST_DIGITS ? n : MOST_DIGITS;
    point = point > 100000 ? 100000 : point < -100000 ? -100000 : point;
    memcpy(text, digits, n);
    snprintf(text + n, sizeof text - n, "e%ld", point - (long)n);
    return strtod(text, NULL);
}

/* The shortest digits d1 d2 … that read back as the same value: 0.d1d2… × 10^*point. */
static size_t shortest(double value, char digits[24], long *point) {
    size_t n = 0;
    /* A decimal of up to 15 digits survives the way through a normal double, so 15 digits without
     * their trailing zeros are the shortest form if they read back at all. Denormals hold less. */
    int precision = value < 0x1p-1022 ? 0 : 14;
    for (; precision < 17; precision++) {
        char text[40];
        snprintf(text, sizeof text, "%.*e", precision, value);
        n = 0;
        const char *p = text;
        for (; *p != 'e' && *p != '\0'; p++) {
            if (*p >= '0' && *p <= '9') { /* not the decimal point, whichever it is */
                digits[n++] = *p;
            }
        }
        *point = strtol(p + 1, NULL, 10) + 1;
        if (assemble(digits, n, *point) == value) {
            break;
        }
    }
    while (n > 1 && digits[n - 1] == '0') {
        n--;
    }
    return n;
}

static size_t put(char *out, const char *text) {
    size_t n = strlen(text);
    memcpy(out, text, n + 1);
    return n;
}

size_t uqff_tmpl_number(double value, char out[TMPL_NUMBER_TEXT]) {
    if (isnan(value)) {
        return put(out, "NaN");
    }
    if (isinf(value)) {
        return put(out, value < 0 ? "-Infinity" : "Infinity");
    }
    if (fabs(value) < 0x1p53 && value == floor(value)) {
        return (size_t)snprintf(out, TMPL_NUMBER_TEXT, "%lld", (long long)value);
    }
    char digits[24];
    long point;
    size_t n = 0, count = shortest(fabs(value), digits, &point);
    if (value < 0) {
        out[n++] = '-';
    }
    if (point > 21 || point <= -6) {
        out[n++] = digits[0];
        if (count > 1) {
            out[n++] = '.';
            memcpy(out + n, digits + 1, count - 1);
            n += count - 1;
        }
        return n + (size_t)snprintf(out + n, TMPL_NUMBER_TEXT - n, "e%+ld", point - 1);
    }
    if (point <= 0) {
        n += put(out + n, "0.");
        memset(out + n, '0', (size_t)-point);
        n += (size_t)-point;
        memcpy(out + n, digits, count);
        n += count;
    } else {
        for (size_t i = 0; i < (size_t)point || i < count; i++) {
            if (i == (size_t)point) {
                out[n++] = '.';
            }
            out[n++] = i < count ? digits[i] : '0';
        }
    }
    out[n] = '\0';
    return n;
}

size_t uqff_tmpl_float(double value, char out[TMPL_NUMBER_TEXT]) {
    if (isfinite(value) && value == floor(value) && fabs(value) < 1e21) {
        /* All digits of the value, not the shortest: that is what one fixed decimal means. */
        size_t n = (size_t)snprintf(out, TMPL_NUMBER_TEXT, "%.0f", value);
        return n + put(out + n, ".0");
    }
    return uqff_tmpl_number(value, out);
}

size_t uqff_tmpl_read_number(struct tmpl_text text, double *out) {
    char digits[MOST_DIGITS];
    size_t n = 0, i = 0;
    long point = 0;
    bool any = false;
    for (bool fraction = false; i < text.size; i++) {
        char c = text.data[i];
        if (c == '.' && !fraction) {
            fraction = true;
            continue;
        }
        if (c < '0' || c > '9') {
            break;
        }
        any = true;
        bool leading = n == 0 && c == '0';
        if (!leading && n < MOST_DIGITS) {
            digits[n++] = c;
        }
        if (fraction ? leading : !leading) {
            point += fraction ? -1 : 1;
        }
    }
    if (!any) {
        return 0;
    }
    size_t j = i;
    if (j < text.size && (text.data[j] == 'e' || text.data[j] == 'E')) {
        j++;
        bool negative = j < text.size && text.data[j] == '-';
        j += j < text.size && (text.data[j] == '-' || text.data[j] == '+');
        long exponent = 0;
        size_t first = j;
        for (; j < text.size && text.data[j] >= '0' && text.data[j] <= '9'; j++) {
            exponent = exponent < 100000 ? exponent * 10 + (text.data[j] - '0') : exponent;
        }
        if (j > first) {
            point += negative ? -exponent : exponent;
            i = j;
        }
    }
    *out = n > 0 ? assemble(digits, n, point) : 0.0;
    return i;
}

/* 0x1F, 0o17, 0b11. */
static double read_prefixed(struct tmpl_text text) {
    char letter = (char)(text.data[1] | 0x20);
    unsigned base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    double value = 0;
    for (size_t i = 2; i < text.size; i++) {
        char c = (char)(text.data[i] | 0x20);
        unsigned digit = text.data[i] >= '0' && text.data[i] <= '9' ? (unsigned)(text.data[i] - '0')
                         : c >= 'a' && c <= 'f'                     ? (unsigned)(c - 'a') + 10
                                                                    : 99;
        if (digit >= base) {
            return NAN;
        }
        value = value * base + digit;
    }
    return base != 0 && text.size > 2 ? value : NAN;
}

double uqff_tmpl_to_number(struct tmpl_text text) {
    text = uqff_tmpl_trim(text, true, true);
    if (text.size == 0) {
        return 0;
    }
    if (text.size > 1 && text.data[0] == '0' && (text.data[1] | 0x20) >= 'a') {
        double value;
        /* "0e5" is a decimal. */
        return (text.data[1] | 0x20) == 'e' && uqff_tmpl_read_number(text, &value) == text.size
                   ? value
                   : read_prefixed(text);
    }
    bool negative = text.data[0] == '-';
    if (negative || text.data[0] == '+') {
        text.data++;
        text.size--;
    }
    double value;
    if (tmpl_is(text, "Infinity")) {
        value = INFINITY;
    } else if (uqff_tmpl_read_number(text, &value) != text.size || text.size == 0) {
        return NAN;
    }
    return negative ? -value : value;
}
