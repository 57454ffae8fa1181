/* sampler: chooses tokens by their logits. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "uqff/validation.h"
#include "validation/math.h"

enum { DEFAULT_REPEAT_LAST = 64 };

struct candidate {
    double logit;
    uint32_t token;
};

struct uqff_sampler {
    struct uqff_sampler_options options;
    uint64_t random[4];
    uint32_t *recent; /* the last repeat_last tokens, as a ring */
    size_t recent_count, recent_next;
    struct candidate *candidates;
    size_t capacity;
    double *weights; /* as many: shares of the candidates, before they are divided by their sum */
};

/* ---- the generator --------------------------------------------------------------------------- */

/* splitmix64 by Sebastiano Vigna: fills the state from a seed of any quality. */
static uint64_t next_seed(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t rotate(uint64_t x, unsigned bits) {
    return x << bits | x >> (64 - bits);
}

/* xoshiro256** by David Blackman and Sebastiano Vigna. */
static uint64_t next_random(uint64_t s[4]) {
    const uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

/* Uniform in [0, 1), a multiple of 2^-53. */
static double next_uniform(uint64_t s[4]) {
    return (double)(next_random(s) >> 11) * 0x1p-53;
}

/* ---- making ---------------------------------------------------------------------------------- */

static enum uqff_code check_share(const char *name, double value, struct uqff_error *err) {
    return value >= 0 && value <= 1
               ? UQFF_OK
               : uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                           "%s: found %g, expected a share from 0 to 1", name, value);
}

static enum uqff_code check_options(const struct uqff_sampler_options *options,
                                    struct uqff_error *err) {
    if (!(options->temperature >= 0 && isfinite(options->temperature))) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "temperature: found %g, expected 0 or more", options->temperature);
    }
    if (!(options->repeat_penalty >= 0 && isfinite(options->repeat_penalty))) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "repeat penalty: found %g, expected 0 or more", options->repeat_penalty);
    }
    enum uqff_code code = check_share("top-p", options->top_p, err);
    return code == UQFF_OK ? check_share("min-p", options->min_p, err) : code;
}

enum uqff_code uqff_sampler_new(const struct uqff_sampler_options *options,
                                struct uqff_sampler **out, struct uqff_error *err) {
    static const struct uqff_sampler_options defaults = {.temperature = 0};
    options = options != NULL ? options : &defaults;
    enum uqff_code code = check_options(options, err);
    if (code != UQFF_OK) {
        return code;
    }
    struct uqff_sampler *sampler = uqff_alloc_array(1, sizeof *sampler);
    if (sampler == NULL) {
        return uqff_fail_memory(err);
    }
    sampler->options = *options;
    if (sampler->options.repeat_last == 0) {
        sampler->options.repeat_last = DEFAULT_REPEAT_LAST;
    }
    sampler->recent = uqff_alloc_array(sampler->options.repeat_last, sizeof *sampler->recent);
    if (sampler->recent == NULL) {
        uqff_sampler_free(sampler);
        return uqff_fail_memory(err);
    }
    uint64_t seed = options->seed;
    for (size_t i = 0; i < 4; i++) {
        sampler->random[i] = next_seed(&seed);
    }
    *out = sampler;
    return UQFF_OK;
}

void uqff_sampler_free(struct uqff_sampler *sampler) {
    if (sampler != NULL) {
        uqff_free(sampler->recent);
        uqff_free(sampler->candidates);
        uqff_free(sampler->weights);
        uqff_free(sampler);
    }
}

void uqff_sampler_accept(struct uqff_sampler *sampler, uint32_t token) {
    const size_t last = sampler->options.repeat_last;
    sampler->recent[sampler->recent_next] = token;
    sampler->recent_next = (sampler->recent_next + 1) % last;
    sampler->recent_count += sampler->recent_count < last;
}

/* ---- candidates ------------------------------------------------------------------------------ */

/* True when a goes before b: the larger logit, then the smaller id. */
static bool before(const struct candidate *a, const struct candidate *b) {
    return a->logit != b->logit ? a->logit > b->logit : a->token < b->token;
}

static int compare_candidates(const void *a, const void *b) {
    return before((const struct candidate *)a, (const struct candidate *)b) ? -1 : 1;
}

/* A heap whose first is the last in order, so that it makes room for a better one. */
static void sift_down(struct candidate *heap, size_t count, size_t i) {
    for (;;) {
        size_t last = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < count; child++) {
            last = before(&heap[last], &heap[child]) ? child : last;
        }
        if (last == i) {
            return;
        }
        const struct candidate swapped = heap[i];
        heap[i] = heap[last];
        heap[last] = swapped;
        i = last;
    }
}

static bool was_recent(const struct uqff_sampler *sampler, uint32_t token, size_t below) {
    for (size_t i = 0; i < below; i++) {
        if (sampler->recent[i] == token) {
            return true;
        }
    }
    return false;
}

/* Makes the logits of recent tokens smaller, each once. */
static void penalize(struct uqff_sampler *sampler, struct candidate *all, size_t count) {
    const double penalty = sampler->options.repeat_penalty;
    if (penalty == 0 || penalty == 1) {
        return;
    }
    for (size_t i = 0; i < sampler->recent_count; i++) {
        const uint32_t token = sampler->recent[i];
        if (token < count && !was_recent(sampler, token, i)) {
            double *logit = &all[token].logit;
            *logit = *logit > 0 ? *logit / penalty : *logit * penalty;
        }
    }
}

static enum uqff_code make_room(struct uqff_sampler *sampler, size_t count,
                                struct uqff_error *err) {
    if (count <= sampler->capacity) {
        return UQFF_OK;
    }
    uqff_free(sampler->candidates);
    uqff_free(sampler->weights);
    sampler->capacity = 0;
    sampler->candidates = uqff_alloc_array(count, sizeof *sampler->candidates);
    sampler->weights = uqff_alloc_array(count, sizeof *sampler->weights);
    if (sampler->candidates == NULL || sampler->weights == NULL) {
        return uqff_fail_memory(err);
    }
    sampler->capacity = count;
    return UQFF_OK;
}

/* Puts the first `kept` of the candidates in order before the others. */
static void sort_best(struct candidate *all, size_t count, size_t kept) {
    for (size_t i = kept / 2; i > 0; i--) {
        sift_down(all, kept, i - 1);
    }
    for (size_t i = kept; i < count; i++) {
        if (before(&all[i], &all[0])) {
            all[0] = all[i];
            sift_down(all, kept, 0);
        }
    }
    qsort(all, kept, sizeof *all, compare_candidates);
}

/* ---- choosing -------------------------------------------------------------------------------- */

/* Fills `weights` with exp((logit - largest) / temperature); returns their sum. */
static double weigh(struct uqff_sampler *sampler, size_t kept, double temperature) {
    const struct candidate *all = sampler->candidates;
    double sum = 0;
    for (size_t i = 0; i < kept; i++) {
        sampler->weights[i] = uqff_math_exp((all[i].logit - all[0].logit) / temperature);
        sum += sampler->weights[i];
    }
    return sum;
}

static size_t cut_top_p(struct uqff_sampler *sampler, size_t kept) {
    const double top_p = sampler->options.top_p;
    if (top_p == 0 || top_p == 1) {
        return kept;
    }
    const double enough = top_p * weigh(sampler, kept, 1);
    double sum = 0;
    for (size_t i = 0; i < kept; i++) {
        sum += sampler->weights[i];
        if (sum >= enough) {
            return i + 1;
        }
    }
    return kept;
}

static size_t cut_min_p(struct uqff_sampler *sampler, size_t kept) {
    const double min_p = sampler->options.min_p;
    if (min_p == 0) {
        return kept;
    }
    weigh(sampler, kept, 1);
    size_t i = 1; /* the likeliest, whose weight is 1, always stays */
    while (i < kept && sampler->weights[i] >= min_p) {
        i++;
    }
    return i;
}

static uint32_t draw(struct uqff_sampler *sampler, size_t kept) {
    const double sum = weigh(sampler, kept, sampler->options.temperature);
    const double at = next_uniform(sampler->random) * sum;
    double passed = 0;
    for (size_t i = 0; i < kept; i++) {
        passed += sampler->weights[i];
        if (at < passed) {
            return sampler->candidates[i].token;
        }
    }
    return sampler->candidates[kept - 1].token;
}

enum uqff_code uqff_sampler_choose(struct uqff_sampler *sampler, const float *logits, size_t count,
                                   uint32_t *token, struct uqff_error *err) {
    if (count == 0 || count > UINT32_MAX) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET, "found %zu logits", count);
    }
    enum uqff_code code = make_room(sampler, count, err);
    if (code != UQFF_OK) {
        return code;
    }
    struct candidate *all = sampler->candidates;
    for (size_t i = 0; i < count; i++) {
        all[i] = (struct candidate){(double)logits[i], (uint32_t)i};
    }
    penalize(sampler, all, count);
    const bool greedy = sampler->options.temperature == 0;
    const size_t top_k = greedy ? 1 : sampler->options.top_k;
    size_t kept = top_k != 0 && top_k < count ? top_k : count;
    sort_best(all, count, kept);
    if (!greedy) {
        kept = cut_top_p(sampler, kept);
        kept = cut_min_p(sampler, kept);
    }
    *token = greedy ? all[0].token : draw(sampler, kept);
    uqff_sampler_accept(sampler, *token);
    return UQFF_OK;
}
