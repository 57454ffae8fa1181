/* A row of logits, and what it says of the token that follows. */
#include "validation/math.h"
#include "validation/measure.h"

struct row_shape uqff_row_shape(const struct uqff_ops *ops, const float *x, size_t n) {
    struct row_shape shape = {.largest = x[0]};
    for (size_t i = 1; i < n; i++) {
        if (x[i] > shape.largest) {
            shape.largest = x[i];
            shape.top = i;
        }
    }
    shape.log_sum = (double)shape.largest + uqff_math_log(ops->sum_exp(x, n, shape.largest));
    return shape;
}

/* The divergence is the sum over i of p[i] * (log p[i] - log q[i]), p being the base's
 * probabilities and those below e^-16 left out. With log p = base - base_sum and log q = x - x_sum
 * it is sum of p * (base - x)  -  (base_sum - x_sum) * sum of p, where the subtraction of logits
 * that are close costs nothing. */
struct score uqff_score_row(const struct uqff_ops *ops, const float *x, const float *base,
                            const struct row_shape *base_shape, size_t n, uint32_t token) {
    struct row_shape shape = uqff_row_shape(ops, x, n);
    struct score score = {.nll = shape.log_sum - (double)x[token]};
    double sums[2];
    if (base == NULL) {
        return score;
    }
    ops->divergence(base, x, n, (float)base_shape->log_sum, sums);
    score.kld = sums[1] - (base_shape->log_sum - shape.log_sum) * sums[0];
    score.base_nll = base_shape->log_sum - (double)base[token];
    score.delta_p = uqff_math_exp(-score.nll) - uqff_math_exp(-score.base_nll);
    score.same_top = shape.top == base_shape->top;
    return score;
}
