/* lanes/matmul_float.h for AVX2: two vectors of eight rows. */
#if defined(__x86_64__)

#include "x86/columns.h"
#include "x86/sums.h"

enum { TOKENS = 6, FEWEST = 6 };

/* Of tokens a..f with the lower and the upper eight rows. */
struct sums {
    __m256 a0, a1, b0, b1, c0, c1, d0, d1, e0, e1, f0, f1;
};

/* Compilers would begin with the next step early, and run out of registers. */
#define KEEP_SUMS(s)                                                                               \
    __asm__(""                                                                                     \
            : "+x"((s)->a0), "+x"((s)->a1), "+x"((s)->b0), "+x"((s)->b1), "+x"((s)->c0),           \
              "+x"((s)->c1), "+x"((s)->d0), "+x"((s)->d1), "+x"((s)->e0), "+x"((s)->e1),           \
              "+x"((s)->f0), "+x"((s)->f1))

LANE void step(struct sums *s, const float *w, const float *x) {
    __m256 w0 = _mm256_load_ps(w), w1 = _mm256_load_ps(w + 8);
    __m256 v = _mm256_broadcast_ss(x);
    s->a0 = _mm256_fmadd_ps(w0, v, s->a0);
    s->a1 = _mm256_fmadd_ps(w1, v, s->a1);
    v = _mm256_broadcast_ss(x + 1);
    s->b0 = _mm256_fmadd_ps(w0, v, s->b0);
    s->b1 = _mm256_fmadd_ps(w1, v, s->b1);
    v = _mm256_broadcast_ss(x + 2);
    s->c0 = _mm256_fmadd_ps(w0, v, s->c0);
    s->c1 = _mm256_fmadd_ps(w1, v, s->c1);
    v = _mm256_broadcast_ss(x + 3);
    s->d0 = _mm256_fmadd_ps(w0, v, s->d0);
    s->d1 = _mm256_fmadd_ps(w1, v, s->d1);
    v = _mm256_broadcast_ss(x + 4);
    s->e0 = _mm256_fmadd_ps(w0, v, s->e0);
    s->e1 = _mm256_fmadd_ps(w1, v, s->e1);
    v = _mm256_broadcast_ss(x + 5);
    s->f0 = _mm256_fmadd_ps(w0, v, s->f0);
    s->f1 = _mm256_fmadd_ps(w1, v, s->f1);
    KEEP_SUMS(s);
}

LANE struct sums sums_zero(void) {
    __m256 zero = _mm256_setzero_ps();
    return (struct sums){zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero};
}

LANE void sums_store(float *p, const struct sums *s) {
    _mm256_store_ps(p, s->a0);
    _mm256_store_ps(p + 8, s->a1);
    _mm256_store_ps(p + 16, s->b0);
    _mm256_store_ps(p + 24, s->b1);
    _mm256_store_ps(p + 32, s->c0);
    _mm256_store_ps(p + 40, s->c1);
    _mm256_store_ps(p + 48, s->d0);
    _mm256_store_ps(p + 56, s->d1);
    _mm256_store_ps(p + 64, s->e0);
    _mm256_store_ps(p + 72, s->e1);
    _mm256_store_ps(p + 80, s->f0);
    _mm256_store_ps(p + 88, s->f1);
}

LANE void sums_add(struct sums *s, const float *p) {
    s->a0 = _mm256_add_ps(_mm256_load_ps(p), s->a0);
    s->a1 = _mm256_add_ps(_mm256_load_ps(p + 8), s->a1);
    s->b0 = _mm256_add_ps(_mm256_load_ps(p + 16), s->b0);
    s->b1 = _mm256_add_ps(_mm256_load_ps(p + 24), s->b1);
    s->c0 = _mm256_add_ps(_mm256_load_ps(p + 32), s->c0);
    s->c1 = _mm256_add_ps(_mm256_load_ps(p + 40), s->c1);
    s->d0 = _mm256_add_ps(_mm256_load_ps(p + 48), s->d0);
    s->d1 = _mm256_add_ps(_mm256_load_ps(p + 56), s->d1);
    s->e0 = _mm256_add_ps(_mm256_load_ps(p + 64), s->e0);
    s->e1 = _mm256_add_ps(_mm256_load_ps(p + 72), s->e1);
    s->f0 = _mm256_add_ps(_mm256_load_ps(p + 80), s->f0);
    s->f1 = _mm256_add_ps(_mm256_load_ps(p + 88), s->f1);
}

LANE void one_nan_of(float *p, size_t count) {
    for (size_t i = 0; i < count; i += 8) {
        _mm256_store_ps(p + i, one_nan(_mm256_load_ps(p + i)));
    }
}

#include "lanes/matmul_float.h"

#endif
