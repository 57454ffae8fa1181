/* lanes/matmul_float.h for AVX-512: one vector of sixteen rows. */
#if defined(__x86_64__)

#include "x86/columns.h"
#include "x86/sums_512.h"

enum { TOKENS = 12, FEWEST = 6 };

struct sums {
    __m512 v[TOKENS];
};

LANE struct sums sums_zero(void) {
    struct sums s;
    for (int t = 0; t < TOKENS; t++) {
        s.v[t] = _mm512_setzero_ps();
    }
    return s;
}

LANE void step(struct sums *s, const float *w, const float *x) {
    const __m512 rows = _mm512_load_ps(w);
    for (int t = 0; t < TOKENS; t++) {
        s->v[t] = _mm512_fmadd_ps(rows, _mm512_set1_ps(x[t]), s->v[t]);
    }
}

LANE void sums_store(float *p, const struct sums *s) {
    for (int t = 0; t < TOKENS; t++) {
        _mm512_store_ps(p + 16 * t, s->v[t]);
    }
}

LANE void sums_add(struct sums *s, const float *p) {
    for (int t = 0; t < TOKENS; t++) {
        s->v[t] = _mm512_add_ps(_mm512_load_ps(p + 16 * t), s->v[t]);
    }
}

LANE void one_nan_of(float *p, size_t count) {
    for (size_t i = 0; i < count; i += 16) {
        _mm512_store_ps(p + i, one_nan_512(_mm512_load_ps(p + i)));
    }
}

#include "lanes/matmul_float.h"

#endif
