#include "validation/math.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* ln 2 and a quarter turn in parts: products of the first parts with the integers that occur here
 * are exact, so that what is left of a large argument keeps its bits. */
#define LN2_HIGH 0x1.62e42fee00000p-1
#define LN2_LOW 0x1.a39ef35793c76p-33
#define QUARTER_1 0x1.921fb54000000p+0
#define QUARTER_2 0x1.10b4610000000p-30
#define QUARTER_3 0x1.a62633145c06ep-58

#define PI 3.14159265358979323846

static double from_bits(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint64_t to_bits(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

double uqff_math_floor(double x) {
    double whole = (double)(int64_t)x;
    return whole > x ? whole - 1 : whole;
}

/* 2^n for -1022 <= n <= 1023. */
static double power_of_two(int n) {
    return from_bits((uint64_t)(n + 1023) << 52);
}

/* e^x = 2^k e^r with |r| <= ln 2 / 2; the terms that are left out are below r^15 / 15!. */
double uqff_math_exp(double x) {
    if (!(x < 709.8)) {
        return x != x ? x : (double)INFINITY;
    }
    if (x < -745.2) {
        return 0;
    }
    double k = uqff_math_floor(x * (1 / 0.69314718055994530942) + 0.5);
    double r = (x - k * LN2_HIGH) - k * LN2_LOW, sum = 1;
    for (int n = 14; n >= 1; n--) {
        sum = 1 + sum * r / n;
    }
    /* In two steps, for results that have no exponent of their own. */
    int whole = (int)k, half = whole / 2;
    return sum * power_of_two(half) * power_of_two(whole - half);
}

/* x = m 2^k with m from sqrt(1/2) to sqrt(2): ln x = k ln 2 + 2 artanh((m - 1) / (m + 1)), whose
 * argument is at most 0.1716, so that the terms fall by a thirtieth each. */
double uqff_math_log(double x) {
    int k = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        k = -54;
    }
    uint64_t bits = to_bits(x);
    if (bits >= (uint64_t)0x7ff << 52) {
        return x; /* infinity and NaN */
    }
    k += (int)(bits >> 52) - 1023;
    double m = from_bits((bits & 0xfffffffffffff) | (uint64_t)1023 << 52);
    if (m > 1.41421356237309504880) {
        m *= 0.5;
        k++;
    }
    double z = (m - 1) / (m + 1), square = z * z, sum = 0;
    for (int n = 23; n >= 3; n -= 2) {
        sum = (sum + 1.0 / n) * square;
    }
    return k * LN2_HIGH + (k * LN2_LOW + (2 * z + 2 * z * sum));
}

double uqff_math_pow(double base, double exponent) {
    return uqff_math_exp(exponent * uqff_math_log(base));
}

void uqff_math_sincos(double x, double *sine, double *cosine) {
    double quarter = uqff_math_floor(x * (2 / PI) + 0.5);
    double r = ((x - quarter * QUARTER_1) - quarter * QUARTER_2) - quarter * QUARTER_3;
    double square = r * r, s = 1, c = 1;
    for (int n = 16; n >= 2; n -= 2) {
        s = 1 - s * square / (n * (n + 1));
    }
    s *= r;
    for (int n = 17; n >= 1; n -= 2) {
        c = 1 - c * square / (n * (n + 1));
    }
    switch ((uint64_t)(int64_t)quarter & 3) {
    case 0:
        *sine = s;
        *cosine = c;
        break;
    case 1:
        *sine = c;
        *cosine = -s;
        break;
    case 2:
        *sine = -s;
        *cosine = -c;
        break;
    default:
        *sine = -c;
        *cosine = s;
        break;
    }
}

/* An instruction, not a function, on every machine that matters; exact either way. */
double uqff_math_sqrt(double x) {
    return sqrt(x);
}

/* erf x = 2 / sqrt(pi) e^(-x^2) sum of 2^n x^(2n+1) / (1 3 5 … (2n+1)): all terms have one sign, so
 * nothing cancels. Above 6 the difference from 1 is below a double's reach. */
double uqff_math_erf(double x) {
    if (x != x) {
        return x;
    }
    double a = x < 0 ? -x : x;
    if (a > 6) {
        return x < 0 ? -1 : 1;
    }
    double term = a, sum = a;
    for (int n = 1; term > sum * 0x1p-60; n++) {
        term *= 2 * a * a / (2 * n + 1);
        sum += term;
    }
    double value = 1.12837916709551257390 * uqff_math_exp(-a * a) * sum;
    return x < 0 ? -value : value;
}
