/* What IQ4_NL and IQ4_XS share: codes of four bits that stand for unevenly spaced values. Private
 * to quantizers/. */
#ifndef UQFF_REF_IQ4_H
#define UQFF_REF_IQ4_H

#include <stdint.h>

/* The sixteen values, in ascending order. */
extern const int8_t uqff_iq4_values[16];

/* The index of the value nearest to v; the upper one half-way between two. NaN gives 0. */
int uqff_iq4_nearest(float v);

/* The scale of a group of 32 values with weights w, signed; 0 when the group counts as zero. */
float uqff_iq4_search(const float *x, const float *w);

/* Weights of n values of a super-block: importance and size, or, without importance, squares. */
void uqff_iq4_weigh(int n, const float *x, const float *importance, float *w);

/* codes[i] = nearest(x[i] / d) for 32 values; d = 0 is taken as if 1/d were 0. */
void uqff_iq4_codes(const float *x, float d, uint8_t *codes);

#endif
