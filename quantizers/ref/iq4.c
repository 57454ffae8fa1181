#include "iq4.h"

#include "number.h"
#include "search.h"

const int8_t uqff_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                    1,    13,   25,  38,  53,  69,  89,  113};

/* Half-way between neighbours, exact in binary32. Comparing v with these is the same as comparing
 * its distances to both neighbours: near a half-way point those differences are exact, and
 * elsewhere rounding cannot swap them. */
static const float middle[15] = {-115.5f, -93.5f, -74.0f, -57.0f, -42.0f, -28.5f, -16.0f, -4.5f,
                                 7.0f,    19.0f,  31.5f,  45.5f,  61.0f,  79.0f,  101.0f};

/* Binary search without branches: how many half-way points are not above v. */
static inline int nearest_index(float v) {
    int i = v >= middle[7] ? 8 : 0;
    i += v >= middle[i + 3] ? 4 : 0;
    i += v >= middle[i + 1] ? 2 : 0;
    i += v >= middle[i] ? 1 : 0;
    return i;
}

int uqff_iq4_nearest(float v) {
    return nearest_index(v);
}

struct fit {
    float sumqx, sumq2;
};

static struct fit fit_values(const float *x, const float *w, float id) {
    float q[32];
    for (int i = 0; i < 32; i++) {
        q[i] = (float)uqff_iq4_values[nearest_index(id * x[i])];
    }
    return (struct fit){weighted_product(32, w, q, x), weighted_product(32, w, q, q)};
}

float uqff_iq4_search(const float *x, const float *w) {
    float smax = signed_maximum(32, x);
    if (fabsf(smax) < UQFF_GROUP_EPSILON) {
        return 0.0f;
    }
    float lowest = (float)uqff_iq4_values[0];
    struct fit fit = fit_values(x, w, 1.0f / (-smax / lowest));
    float d = fit.sumq2 != 0.0f ? fit.sumqx / fit.sumq2 : 0.0f;
    float best = d * fit.sumqx;
    for (int s = -7; s <= 7; s++) {
        fit = fit_values(x, w, ((float)s + lowest) / smax);
        if (fit.sumq2 > 0.0f && fit.sumqx * fit.sumqx > best * fit.sumq2) {
            d = fit.sumqx / fit.sumq2;
            best = d * fit.sumqx;
        }
    }
    return d;
}

void uqff_iq4_weigh(int n, const float *x, const float *importance, float *w) {
    if (importance) {
        float sigma2 = sum_of_squares((size_t)n, x) * (2.0f / (float)n);
        uqff_weigh(n, x, importance, sigma2, w);
        return;
    }
    for (int i = 0; i < n; i++) {
        w[i] = x[i] * x[i];
    }
}

void uqff_iq4_codes(const float *x, float d, uint8_t *codes) {
    float id = inverse(d);
    for (int i = 0; i < 32; i++) {
        codes[i] = (uint8_t)nearest_index(id * x[i]);
    }
}
