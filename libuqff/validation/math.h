/*
 * Elementary functions of our own: the same bits on every machine, whatever its C library. They use
 * nothing but additions, multiplications, divisions and exact operations on bits. Functions over
 * whole arrays of floats are in ops.h. Private to validation/.
 *
 * Each is right to a few units in the last place of a double, so that a float made of its result
 * is, but for rare ties, the float nearest to the true value.
 */
#ifndef UQFF_VALIDATION_MATH_H
#define UQFF_VALIDATION_MATH_H

double uqff_math_exp(double x);
double uqff_math_log(double x);                     /* x > 0 */
double uqff_math_pow(double base, double exponent); /* base > 0 */
/* x in radians; accurate below 2^26 quarter turns. */
void uqff_math_sincos(double x, double *sine, double *cosine);
double uqff_math_sqrt(double x); /* rounded as IEEE 754 says: the hardware's */
double uqff_math_erf(double x);
double uqff_math_floor(double x); /* |x| < 2^62 */

#endif
