/* From sums to estimates, as llama-perplexity defines them. */
#include <stdlib.h>

#include "validation/math.h"
#include "validation/measure.h"

/* So few values tell nothing of their spread. */
#define TOO_FEW 10

enum uqff_code uqff_tally_add(struct tally *tally, const struct score *score, bool has_base,
                              struct uqff_error *err) {
    tally->nll += score->nll;
    tally->nll2 += score->nll * score->nll;
    if (!has_base) {
        tally->count++;
        return UQFF_OK;
    }
    void *klds = tally->klds, *deltas = tally->deltas;
    enum uqff_code code =
        uqff_grow(&klds, &tally->kld_capacity, tally->count + 1, sizeof *tally->klds, err);
    tally->klds = klds;
    code = code != UQFF_OK ? code
                           : uqff_grow(&deltas, &tally->delta_capacity, tally->count + 1,
                                       sizeof *tally->deltas, err);
    tally->deltas = deltas;
    if (code != UQFF_OK) {
        return code;
    }
    double square = score->delta_p * score->delta_p;
    tally->klds[tally->count] = (float)score->kld;
    tally->deltas[tally->count] = (float)score->delta_p;
    tally->count++;
    tally->same_top += score->same_top ? 1 : 0;
    tally->base_nll += score->base_nll;
    tally->base_nll2 += score->base_nll * score->base_nll;
    tally->cross += score->nll * score->base_nll;
    tally->kld += score->kld;
    tally->kld2 += score->kld * score->kld;
    tally->delta += score->delta_p;
    tally->delta2 += square;
    tally->delta4 += square * square;
    return UQFF_OK;
}

void uqff_tally_free(struct tally *tally) {
    uqff_free(tally->klds);
    uqff_free(tally->deltas);
    *tally = (struct tally){0};
}

/* The error of a mean: the deviation of the values, divided by the root of their number. */
static struct uqff_estimate mean_of(double sum, double square, size_t count) {
    struct uqff_estimate mean = {0};
    if (count == 0) {
        return mean;
    }
    mean.value = sum / (double)count;
    double variance = square / (double)count - mean.value * mean.value;
    if (variance > 0 && count > TOO_FEW) {
        mean.error = uqff_math_sqrt(variance / (double)(count - 1));
    }
    return mean;
}

static double root(double x) {
    return x > 0 ? uqff_math_sqrt(x) : 0;
}

/* Of the exponential of a mean. */
static struct uqff_estimate exponential(struct uqff_estimate mean) {
    double value = uqff_math_exp(mean.value);
    return (struct uqff_estimate){value, value * mean.error};
}

static void compare(const struct tally *t, struct uqff_measure *out) {
    struct uqff_estimate log = mean_of(t->nll, t->nll2, t->count);
    struct uqff_estimate base = mean_of(t->base_nll, t->base_nll2, t->count);
    double n = (double)t->count, covariance = 0;
    if (t->count >= TOO_FEW) {
        covariance = (t->cross / n - t->nll / n * (t->base_nll / n)) / (n - 1);
    }
    out->base_perplexity = exponential(base);
    out->ln_ratio.value = log.value - base.value;
    out->ln_ratio.error = root(log.error * log.error + base.error * base.error - 2 * covariance);
    out->ratio = exponential(out->ln_ratio);
    out->difference.value = out->perplexity.value - out->base_perplexity.value;
    out->difference.error =
        root(out->perplexity.error * out->perplexity.error +
             out->base_perplexity.error * out->base_perplexity.error -
             2 * out->perplexity.value * out->base_perplexity.value * covariance);
    out->correlation = log.error > 0 && base.error > 0 ? covariance / (log.error * base.error) : 0;
    out->kld = mean_of(t->kld, t->kld2, t->count);
    out->delta_p = mean_of(t->delta, t->delta2, t->count);
    struct uqff_estimate square = mean_of(t->delta2, t->delta4, t->count);
    out->rms_delta_p.value = root(square.value);
    out->rms_delta_p.error =
        out->rms_delta_p.value > 0 ? 0.5 / out->rms_delta_p.value * square.error : 0;
    out->same_top.value = t->count > 0 ? (double)t->same_top / n : 0;
    out->same_top.error =
        t->count > 1 ? root(out->same_top.value * (1 - out->same_top.value) / (n - 1)) : 0;
}

void uqff_tally_estimate(const struct tally *tally, bool has_base, struct uqff_measure *out) {
    out->tokens = tally->count;
    out->has_base = has_base;
    out->perplexity = exponential(mean_of(tally->nll, tally->nll2, tally->count));
    if (has_base) {
        compare(tally, out);
    }
}

/* ---- percentiles ----------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* Between the two values that are nearest, in proportion. */
static double at(const float *sorted, size_t count, double fraction) {
    double place = fraction * (double)(count - 1);
    size_t below = (size_t)place;
    double share = place - (double)below;
    size_t above = below + 1 < count ? below + 1 : count - 1;
    return (1 - share) * (double)sorted[below] + share * (double)sorted[above];
}

static struct uqff_percentiles percentiles(float *values, size_t count) {
    if (count == 0) {
        return (struct uqff_percentiles){0};
    }
    qsort(values, count, sizeof *values, by_value);
    return (struct uqff_percentiles){
        .max = at(values, count, 1),
        .p999 = at(values, count, 0.999),
        .p99 = at(values, count, 0.99),
        .p95 = at(values, count, 0.95),
        .p90 = at(values, count, 0.90),
        .p75 = at(values, count, 0.75),
        .median = at(values, count, 0.5),
        .p25 = at(values, count, 0.25),
        .p10 = at(values, count, 0.10),
        .p5 = at(values, count, 0.05),
        .p1 = at(values, count, 0.01),
        .p01 = at(values, count, 0.001),
        .min = at(values, count, 0),
    };
}

void uqff_tally_percentiles(struct tally *tally, struct uqff_measure *out) {
    size_t count = tally->klds != NULL ? tally->count : 0;
    out->kld_percentiles = percentiles(tally->klds, count);
    out->delta_p_percentiles = percentiles(tally->deltas, count);
}
