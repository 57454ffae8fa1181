/* bench_transformer: tokens a second of a model, in batches and one by one.
 *
 *     bench_transformer MODEL [--threads N] [--prompt N] [--generate N] [--rounds N] [--exact]
 *                       [--json]
 *
 * The prompt is evaluated as perplexity does it, with logits of its second half; generation takes a
 * token at a time. The share of the memory's bandwidth is that of the bytes of all weights that a
 * token reads, against a plain read of as many. Times are wall-clock, the best of
 * the rounds, of which there are three. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "uqff/validation.h"

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void check(enum uqff_code code, const struct uqff_error *err) {
    if (code != UQFF_OK) {
        fprintf(stderr, "bench_transformer: %s\n", err->text);
        exit(1);
    }
}

static enum uqff_code see(void *context, size_t first, size_t count, const float *logits,
                          struct uqff_error *err) {
    (void)first, (void)err;
    *(float *)context += logits[count - 1];
    return UQFF_OK;
}

/* ---- the memory --------------------------------------------------------------------------------
 */

struct reading {
    const uint64_t *words;
    size_t piece;
    uint64_t sums[64];
};

static enum uqff_code read_piece(void *context, size_t i, unsigned thread, struct uqff_error *err) {
    struct reading *r = context;
    const uint64_t *p = r->words + i * r->piece;
    uint64_t sums[8] = {0};
    (void)err;
    for (size_t k = 0; k + 8 <= r->piece; k += 8) {
        for (size_t l = 0; l < 8; l++) {
            sums[l] += p[k + l];
        }
    }
    for (size_t l = 0; l < 8; l++) {
        r->sums[thread % 64] += sums[l];
    }
    return UQFF_OK;
}

/* Bytes a second that `threads` threads read. */
static double memory_speed(unsigned threads) {
    enum { PIECES = 256 };
    size_t bytes = (size_t)512 << 20;
    struct uqff_error err;
    double best = 1e9;
    uint64_t *words = uqff_alloc_aligned(bytes);
    if (words == NULL) {
        return 0;
    }
    memset(words, 1, bytes);
    struct reading reading = {.words = words, .piece = bytes / 8 / PIECES};
    for (int i = 0; i < 3; i++) {
        double begin = now();
        check(uqff_parallel_for(PIECES, threads, read_piece, &reading, &err), &err);
        double seconds = now() - begin;
        best = seconds < best ? seconds : best;
    }
    uqff_free_aligned(words);
    return reading.sums[0] == 7 ? 0 : (double)bytes / best;
}

/* Bytes of the modules that a token reads: all but the embedding, unless it is the head as well. */
static double bytes_a_token(const struct uqff_model *model) {
    const struct uqff_config *config = uqff_model_config(model);
    double sum = 0;
    for (size_t i = 0; i < uqff_model_module_count(model); i++) {
        const struct uqff_model_module *module = uqff_model_module(model, i);
        uint64_t bytes = 0;
        if (module->role == UQFF_ROLE_EMBEDDING && !config->tied) {
            continue;
        }
        if (uqff_row_bytes(module->type, module->columns, &bytes, NULL) == UQFF_OK) {
            double share = module->rank == 3 && config->experts > 0
                               ? (double)config->experts_used / (double)config->experts
                               : 1;
            sum += (double)bytes * (double)module->rows * share;
        }
    }
    return sum;
}

/* ---- the model ---------------------------------------------------------------------------------
 */

int main(int argc, char **argv) {
    static const struct option options[] = {{"threads", 1, NULL, 't'},
                                            {"prompt", 1, NULL, 'p'},
                                            {"generate", 1, NULL, 'g'},
                                            {"exact", 0, NULL, 'e'},
                                            {"rounds", 1, NULL, 'r'},
                                            {"json", 0, NULL, 'j'},
                                            {0}};
    struct uqff_transformer_options how = {.threads = 2};
    size_t prompt = 512, generate = 32, rounds = 3;
    bool json = false;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 't':
            how.threads = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'p':
            prompt = strtoul(optarg, NULL, 10);
            break;
        case 'g':
            generate = strtoul(optarg, NULL, 10);
            break;
        case 'r':
            rounds = strtoul(optarg, NULL, 10);
            break;
        case 'e':
            how.exact = true;
            break;
        case 'j':
            json = true;
            break;
        default:
            return 2;
        }
    }
    if (optind + 1 != argc || prompt == 0 || rounds == 0) {
        fprintf(stderr, "usage: bench_transformer MODEL [--threads N] [--prompt N] [--generate N] "
                        "[--rounds N] [--exact] [--json]\n");
        return 2;
    }
    struct uqff_error err;
    struct uqff_model *model;
    struct uqff_transformer *transformer;
    struct uqff_sequence *sequence;
    float sink = 0;
    const struct uqff_logits logits = {see, &sink};
    check(uqff_model_open(argv[optind], NULL, &model, &err), &err);
    check(uqff_transformer_open(model, &how, &transformer, &err), &err);
    check(uqff_sequence_new(transformer, prompt + generate, &sequence, &err), &err);
    uint32_t *tokens = uqff_alloc_array(prompt + generate, sizeof *tokens);
    if (tokens == NULL) {
        return 1;
    }
    for (size_t i = 0; i < prompt + generate; i++) {
        tokens[i] = (uint32_t)(i * 7919 % uqff_transformer_vocabulary(transformer));
    }
    double prompt_best = 1e9, generate_best = 1e9;
    for (size_t round = 0; round < rounds; round++) {
        uqff_sequence_reset(sequence);
        double begin = now();
        check(uqff_sequence_eval(sequence, tokens, prompt, prompt / 2, &logits, NULL, &err), &err);
        double middle = now();
        for (size_t i = 0; i < generate; i++) {
            check(uqff_sequence_eval(sequence, tokens + prompt + i, 1, 0, &logits, NULL, &err),
                  &err);
        }
        double end = now();
        prompt_best = middle - begin < prompt_best ? middle - begin : prompt_best;
        generate_best = end - middle < generate_best ? end - middle : generate_best;
    }
    double prompt_speed = (double)prompt / prompt_best;
    double generate_speed = generate > 0 ? (double)generate / generate_best : 0;
    double bytes = bytes_a_token(model), memory = memory_speed(how.threads);
    printf(json ? "{\"model\": \"%s\", \"prompt\": %.2f, \"generate\": %.2f, \"bytes\": %.0f, "
                  "\"bandwidth_share\": %.3f}\n"
                : "%-32s prompt %8.1f tokens/s   generation %7.1f tokens/s   %.0f bytes a token, "
                  "%.2f of the memory's bandwidth\n",
           uqff_model_name(model), prompt_speed, generate_speed, bytes,
           memory > 0 ? bytes * generate_speed / memory : 0);
    uqff_free(tokens);
    uqff_sequence_free(sequence);
    uqff_transformer_close(transformer);
    uqff_model_close(model);
    return sink == 1.25f ? 3 : 0;
}
