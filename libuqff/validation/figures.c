/* figures: the names of what is measured, and where the values come from. */
#include <math.h>

#include "validation/gate.h"

#define LESS(name) "" name, "max_" name, "drift " name, false
#define MORE(name) "" name, "min_" name, "drift " name, true

static const struct figure_info figures[UQFF_FIGURE_COUNT] = {
    [UQFF_FIGURE_PPL] = {LESS("ppl"), false, 0, 0},
    [UQFF_FIGURE_PPL_RATIO] = {LESS("ppl_ratio"), true, 0, 0},
    [UQFF_FIGURE_LN_PPL_RATIO] = {LESS("ln_ppl_ratio"), true, 0, 0},
    [UQFF_FIGURE_PPL_DIFFERENCE] = {LESS("ppl_difference"), true, 0, 0},
    [UQFF_FIGURE_CORRELATION] = {MORE("correlation"), true, -1, 1},
    [UQFF_FIGURE_KLD_MEAN] = {LESS("kld_mean"), true, 0, 0},
    [UQFF_FIGURE_KLD_MEDIAN] = {LESS("kld_median"), true, 0, 0},
    [UQFF_FIGURE_KLD_P90] = {LESS("kld_p90"), true, 0, 0},
    [UQFF_FIGURE_KLD_P95] = {LESS("kld_p95"), true, 0, 0},
    [UQFF_FIGURE_KLD_P99] = {LESS("kld_p99"), true, 0, 0},
    [UQFF_FIGURE_KLD_P999] = {LESS("kld_p999"), true, 0, 0},
    [UQFF_FIGURE_KLD_MAX] = {LESS("kld_max"), true, 0, 0},
    [UQFF_FIGURE_DELTA_P_MEAN] = {MORE("delta_p_mean"), true, -100, 100},
    [UQFF_FIGURE_RMS_DELTA_P] = {LESS("rms_delta_p"), true, 0, 100},
    /* A share written as 0.95 would let everything pass. */
    [UQFF_FIGURE_SAME_TOP] = {MORE("same_top"), true, 1.0000001, 100},
    [UQFF_FIGURE_BYTES] = {LESS("bytes"), false, 0, 0},
    [UQFF_FIGURE_BITS] = {LESS("bits"), false, 0, 0},
    [UQFF_FIGURE_REL_RMSE] = {LESS("rel_rmse"), true, 0, 0},
    [UQFF_FIGURE_SNR] = {MORE("snr"), true, 0, 0},
    [UQFF_FIGURE_COSINE] = {MORE("cosine"), true, -1, 1},
};

const struct figure_info *uqff_figure_info(enum uqff_figure figure) {
    return &figures[figure];
}

const char *uqff_figure_name(enum uqff_figure figure) {
    return (size_t)figure < UQFF_FIGURE_COUNT ? figures[figure].name : "unknown";
}

bool uqff_figure_more_is_better(enum uqff_figure figure) {
    return figures[figure].more_is_better;
}

void uqff_figures_clear(struct uqff_figures *out) {
    for (size_t i = 0; i < UQFF_FIGURE_COUNT; i++) {
        out->value[i] = (double)NAN;
    }
}

void uqff_figures_of_measure(const struct uqff_measure *measure, struct uqff_figures *out) {
    double *value = out->value;
    value[UQFF_FIGURE_PPL] = measure->perplexity.value;
    if (!measure->has_base) {
        return;
    }
    value[UQFF_FIGURE_PPL_RATIO] = measure->ratio.value;
    value[UQFF_FIGURE_LN_PPL_RATIO] = measure->ln_ratio.value;
    value[UQFF_FIGURE_PPL_DIFFERENCE] = measure->difference.value;
    value[UQFF_FIGURE_CORRELATION] = measure->correlation;
    value[UQFF_FIGURE_KLD_MEAN] = measure->kld.value;
    value[UQFF_FIGURE_KLD_MEDIAN] = measure->kld_percentiles.median;
    value[UQFF_FIGURE_KLD_P90] = measure->kld_percentiles.p90;
    value[UQFF_FIGURE_KLD_P95] = measure->kld_percentiles.p95;
    value[UQFF_FIGURE_KLD_P99] = measure->kld_percentiles.p99;
    value[UQFF_FIGURE_KLD_P999] = measure->kld_percentiles.p999;
    value[UQFF_FIGURE_KLD_MAX] = measure->kld_percentiles.max;
    value[UQFF_FIGURE_DELTA_P_MEAN] = 100 * measure->delta_p.value;
    value[UQFF_FIGURE_RMS_DELTA_P] = 100 * measure->rms_delta_p.value;
    value[UQFF_FIGURE_SAME_TOP] = 100 * measure->same_top.value;
}

void uqff_figures_of_weights(const struct uqff_weights *weights, struct uqff_figures *out) {
    double *value = out->value;
    for (size_t i = 0; i < uqff_weights_count(weights); i++) {
        const struct uqff_weight_error *error = uqff_weights_at(weights, i);
        if (i == 0 || error->rel_rmse > value[UQFF_FIGURE_REL_RMSE]) {
            value[UQFF_FIGURE_REL_RMSE] = error->rel_rmse;
        }
        if (i == 0 || error->snr < value[UQFF_FIGURE_SNR]) {
            value[UQFF_FIGURE_SNR] = error->snr;
        }
        if (i == 0 || error->cosine < value[UQFF_FIGURE_COSINE]) {
            value[UQFF_FIGURE_COSINE] = error->cosine;
        }
    }
}
