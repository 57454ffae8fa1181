/* Perplexity and divergence beside those that llama.cpp (llama-quantize and llama-perplexity) finds
 * for the same weights, types and text. */
#include <math.h>
#include <stdio.h>

#include "support/text.h"
#include "uqff/pack.h"

enum { MOST = 20 };

struct figure {
    const char *quant;
    double perplexity;
    /* Against the source: mean, what 999 of 1000 stay below; percentage points; percent. */
    double kld, kld_p999, rms_delta_p, same_top;
};

static void pack(const struct uqff_model *model, const struct figure *figures, size_t count,
                 bool pure, const char *output) {
    struct uqff_error err;
    struct uqff_pack_plan *plan;
    const char *quants[MOST];
    for (size_t i = 0; i < count; i++) {
        quants[i] = figures[i].quant;
    }
    const struct uqff_pack_options options = {
        .format = UQFF_PACK_UQFF,
        .output = output,
        .quants = quants,
        .quant_count = count,
        .recipe = {.pure = pure},
        .overwrite = true,
    };
    assert_ok(uqff_pack_plan_new(model, &options, &plan, &err), &err);
    assert_ok(uqff_pack_run(plan, NULL, &err), &err);
    uqff_pack_plan_free(plan);
}

static void is_near(const char *quant, const char *what, double found, double expected,
                    double room) {
    if (!(fabs(found - expected) <= room)) {
        fail_msg("%s: %s: found %.6f, by llama.cpp %.6f, expected within %.6f", quant, what, found,
                 expected, room);
    }
}

static bool is_float(const char *quant) {
    return strcmp(quant, "f32") == 0 || strcmp(quant, "f16") == 0 || strcmp(quant, "bf16") == 0;
}

/* Both round activations, each in its own way, so small divergences agree to some tenths only. */
static void compare(const struct figure *figure, const struct uqff_measure *m) {
    const char *quant = figure->quant;
    print_message("  %-8s %11.6f, by llama.cpp %11.6f, %+.3f %%\n", quant, m->perplexity.value,
                  figure->perplexity, 100 * (m->perplexity.value / figure->perplexity - 1));
    is_near(quant, "perplexity", m->perplexity.value, figure->perplexity,
            (is_float(quant) ? 0.001 : 0.005) * figure->perplexity);
    if (figure->kld > 0) {
        is_near(quant, "mean KLD", m->kld.value, figure->kld, 0.05 * figure->kld + 3e-6);
        is_near(quant, "99.9 % KLD", m->kld_percentiles.p999, figure->kld_p999,
                0.4 * figure->kld_p999);
        is_near(quant, "RMS Δp", 100 * m->rms_delta_p.value, figure->rms_delta_p,
                0.05 * figure->rms_delta_p);
        is_near(quant, "same top", 100 * m->same_top.value, figure->same_top, 0.15);
    }
}

static void measure_all(const char *path, const char *text_path, size_t chunks, bool pure,
                        bool exact, const struct figure *figures, size_t count) {
    /* Matrices this small gain nothing from threads. */
    const struct uqff_measure_options options = {.chunks = chunks, .exact = exact, .threads = 1};
    struct uqff_model *base = open_model(path), *models[MOST];
    struct text text = tokenize(base, text_path);
    struct uqff_measure measures[MOST];
    struct uqff_error err;
    pack(base, figures, count, pure, scratch_file("all.uqff"));
    for (size_t i = 0; i < count; i++) {
        char name[4096];
        snprintf(name, sizeof name, "%s#%s", scratch_file("all.uqff"), figures[i].quant);
        models[i] = open_model(name);
    }
    assert_ok(uqff_measure(base, (const struct uqff_model *const *)models, count, text.ids,
                           text.count, text.bos, text.add_bos, &options, NULL, NULL, measures,
                           &err),
              &err);
    for (size_t i = 0; i < count; i++) {
        compare(&figures[i], &measures[i]);
        uqff_model_close(models[i]);
    }
    uqff_free(text.ids);
    uqff_model_close(base);
}

/* Recipes without importance; the whole of valid.txt, 41 chunks. */
static void storyteller(void **state) {
    static const struct figure figures[] = {
        {"q8_0", 1.833914, 0.000009, 0.000580, 0.101, 99.656},
        {"q6_k", 1.833623, 0.000049, 0.002825, 0.245, 99.244},
        {"q5_k_m", 1.834998, 0.000083, 0.008358, 0.315, 99.177},
        {"q5_0", 1.833895, 0.000095, 0.008095, 0.359, 99.158},
        {"q4_k_m", 1.834526, 0.000160, 0.014042, 0.442, 99.130},
        {"q4_0", 1.834973, 0.000202, 0.017641, 0.445, 98.737},
        {"iq4_xs", 1.833590, 0.000171, 0.014539, 0.418, 98.890},
        {"q3_k_m", 1.833379, 0.000573, 0.051324, 0.922, 98.757},
        {"q2_k", 1.838490, 0.002203, 0.246123, 1.383, 97.551},
    };
    (void)state;
    if (!FAST_BUILD) {
        skip();
    }
    measure_all(test_data("storyteller"), test_data("storyteller/valid.txt"), 0, false, false,
                figures, sizeof figures / sizeof *figures);
}

/* A model of which every row can have every type, all of it of one type. */
static void pure_types(void **state) {
    static const struct figure figures[] = {
        {.quant = "q8_0", .perplexity = 3.9680},     {.quant = "q6_k", .perplexity = 3.9644},
        {.quant = "q5_k_m", .perplexity = 3.9673},   {.quant = "q5_k_s", .perplexity = 3.9673},
        {.quant = "q5_1", .perplexity = 3.9613},     {.quant = "q5_0", .perplexity = 3.9924},
        {.quant = "q4_k_m", .perplexity = 4.0277},   {.quant = "q4_k_s", .perplexity = 4.0277},
        {.quant = "q4_1", .perplexity = 4.0586},     {.quant = "q4_0", .perplexity = 4.1268},
        {.quant = "iq4_nl", .perplexity = 4.0501},   {.quant = "iq4_xs", .perplexity = 4.0688},
        {.quant = "q3_k_m", .perplexity = 4.4035},   {.quant = "q3_k_s", .perplexity = 4.4035},
        {.quant = "q2_k", .perplexity = 7.0608},     {.quant = "tq1_0", .perplexity = 1355.6176},
        {.quant = "tq2_0", .perplexity = 1355.6176},
    };
    (void)state;
    if (!FAST_BUILD || extra_data("models") == NULL) {
        skip();
    }
    measure_all(extra_data("models/stories260K-wide256"), extra_data("text/slice64k_clean.txt"), 8,
                true, false, figures, sizeof figures / sizeof *figures);
}

static void float_types(void **state) {
    static const struct figure figures[] = {
        {.quant = "f32", .perplexity = 3.9647},
        {.quant = "f16", .perplexity = 3.9646},
        {.quant = "bf16", .perplexity = 3.9644},
    };
    (void)state;
    if (!FAST_BUILD || extra_data("models") == NULL) {
        skip();
    }
    measure_all(extra_data("models/stories260K-wide256"), extra_data("text/slice64k_clean.txt"), 8,
                true, true, figures, sizeof figures / sizeof *figures);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(storyteller),
        cmocka_unit_test(pure_types),
        cmocka_unit_test(float_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
