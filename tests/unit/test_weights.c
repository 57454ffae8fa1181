/* Errors of weights: a model against its source, tensor by tensor. */
#include <math.h>
#include <sys/stat.h>

#include "unit/test_verify_made.h"
#include "uqff/validation.h"

static struct uqff_weights *must_compare(const struct uqff_model *source,
                                         const struct uqff_model *candidate, unsigned threads) {
    struct uqff_error err;
    struct uqff_weights *weights = NULL;
    const struct uqff_weights_options how = {.threads = threads, .warner = &warner};
    warnings[0] = '\0';
    assert_ok(uqff_weights_compare(source, candidate, &how, NULL, &weights, &err), &err);
    return weights;
}

static const struct uqff_weight_error *find(const struct uqff_weights *weights, const char *name) {
    for (size_t i = 0; i < uqff_weights_count(weights); i++) {
        if (strcmp(uqff_weights_at(weights, i)->name, name) == 0) {
            return uqff_weights_at(weights, i);
        }
    }
    fail_msg("no tensor '%s'", name);
    return NULL;
}

static void assert_close(double value, double expected) {
    if (!(fabs(value - expected) <= 1e-9 * fabs(expected))) {
        fail_msg("found %.17g, expected %.17g", value, expected);
    }
}

static void test_equal(void **state) {
    (void)state;
    write_small();
    struct uqff_model *model = must_open(folder), *same = must_open(folder);
    struct uqff_weights *weights = must_compare(model, same, 2);
    assert_string_equal(warnings, "");
    assert_int_equal(uqff_weights_count(weights), COUNT(small_model));
    for (size_t i = 0; i < uqff_weights_count(weights); i++) {
        const struct uqff_weight_error *error = uqff_weights_at(weights, i);
        assert_true(error->rel_rmse == 0 && error->cosine == 1 && error->max_abs == 0);
        assert_true(isinf(error->snr) && error->snr > 0);
        assert_true(i == 0 || strcmp(uqff_weights_at(weights, i - 1)->name, error->name) < 0);
    }
    assert_true(uqff_weights_total(weights)->rel_rmse == 0);
    uqff_weights_free(weights);
    uqff_weights_free(NULL);
    uqff_model_close(model);
    uqff_model_close(same);
}

/* Another copy of the small model in a folder of its own. */
static const char *write_copy(const char *name) {
    static char path[600];
    char file[64];
    snprintf(path, sizeof path, "%s", in_folder(name));
    assert_int_equal(mkdir(path, 0777), 0);
    snprintf(file, sizeof file, "%s/model.safetensors", name);
    write_tensors(file, small_model, COUNT(small_model));
    snprintf(file, sizeof file, "%s/config.json", name);
    write_text(file, small_config);
    snprintf(file, sizeof file, "%s/tokenizer.json", name);
    write_text(file, "{\"version\":\"1.0\"}");
    return path;
}

static void test_figures(void **state) {
    (void)state;
    write_small();
    struct uqff_model *source = must_open(folder);
    const char *copy = write_copy("copy");
    const char *path = in_folder("copy/model.safetensors");
    const char *name = "model.layers.0.mlp.up_proj.weight";
    const size_t at[2] = {300, 4000};
    /* Two values of 12 and -12 among others below 1. */
    patch(path, entry_offset(path, name, NULL) + 2 * at[0], "\x40\x41", 2);
    patch(path, entry_offset(path, name, NULL) + 2 * at[1], "\x40\xc1", 2);
    struct uqff_model *candidate = must_open(copy);
    struct uqff_weights *weights = must_compare(source, candidate, 1);
    const struct made made = {name, UQFF_DTYPE_BF16, 2, {256, 256}};
    float *x = made_floats(&made);
    double square = 0, xx = 0, yy = 0, xy = 0, largest = 0;
    size_t where = 0;
    for (size_t i = 0; i < 65536; i++) {
        const double a = (double)x[i], b = i == at[0] ? 12 : i == at[1] ? -12 : a;
        square += (a - b) * (a - b);
        xx += a * a;
        yy += b * b;
        xy += a * b;
        if (fabs(a - b) > largest) {
            largest = fabs(a - b);
            where = i;
        }
    }
    free(x);
    const struct uqff_weight_error *error = find(weights, name);
    assert_close(error->rel_rmse, sqrt(square / xx));
    assert_close(error->snr, -10 * log10(square / xx));
    assert_close(error->cosine, xy / sqrt(xx * yy));
    assert_true(error->max_abs == largest);
    assert_int_equal(error->max_at, where);
    assert_int_equal(error->elements, 65536);
    assert_int_equal(error->type, UQFF_TYPE_BF16);
    assert_true(uqff_weights_total(weights)->rel_rmse > 0);
    assert_true(uqff_weights_total(weights)->rel_rmse < error->rel_rmse);
    struct uqff_figures figures;
    uqff_figures_clear(&figures);
    uqff_figures_of_weights(weights, &figures);
    assert_true(figures.value[UQFF_FIGURE_REL_RMSE] == error->rel_rmse);
    assert_true(figures.value[UQFF_FIGURE_SNR] == error->snr);
    assert_true(figures.value[UQFF_FIGURE_COSINE] == error->cosine);
    uqff_weights_free(weights);
    uqff_model_close(source);
    uqff_model_close(candidate);
}

static void test_zeros(void **state) {
    (void)state;
    write_small();
    const char *copy = write_copy("copy");
    const char *paths[2] = {in_folder("model.safetensors"), in_folder("copy/model.safetensors")};
    static const char zeros[512];
    /* The norm of layer 0 is zero on both sides, that of layer 1 in the source only. */
    for (size_t i = 0; i < 2; i++) {
        patch(paths[i], entry_offset(paths[i], "model.layers.0.input_layernorm.weight", NULL),
              zeros, sizeof zeros);
    }
    patch(paths[0], entry_offset(paths[0], "model.layers.1.input_layernorm.weight", NULL), zeros,
          sizeof zeros);
    struct uqff_model *source = must_open(folder), *candidate = must_open(copy);
    struct uqff_weights *weights = must_compare(source, candidate, 1);
    const struct uqff_weight_error *error = find(weights, "model.layers.0.input_layernorm.weight");
    assert_true(error->rel_rmse == 0 && error->cosine == 1);
    error = find(weights, "model.layers.1.input_layernorm.weight");
    assert_true(isinf(error->rel_rmse) && error->cosine == 0 && isinf(error->snr) &&
                error->snr < 0);
    uqff_weights_free(weights);
    uqff_model_close(source);
    uqff_model_close(candidate);
}

/* A packed model beside its source, in another container and with other types; the same bytes of a
 * report for any number of threads. */
static void test_packed(void **state) {
    (void)state;
    write_small();
    struct uqff_model *source = must_open(folder);
    static const char *const quants[] = {"q4_0", "q8_0"};
    const struct uqff_pack_options how = pack_options(quants, 2, in_folder("packed.uqff"));
    pack(source, &how);
    char reference[600];
    snprintf(reference, sizeof reference, "%s#q8_0", in_folder("packed.uqff"));
    struct uqff_model *good = must_open(reference);
    snprintf(reference, sizeof reference, "%s#q4_0", in_folder("packed.uqff"));
    struct uqff_model *poor = must_open(reference);
    struct uqff_weights *reports[3] = {must_compare(source, good, 1), must_compare(source, poor, 1),
                                       must_compare(source, poor, 3)};
    assert_int_equal(uqff_weights_count(reports[0]), COUNT(small_model));
    const double rmse[2] = {uqff_weights_total(reports[0])->rel_rmse,
                            uqff_weights_total(reports[1])->rel_rmse};
    assert_true(rmse[0] > 0.001 && rmse[0] < 0.01);
    assert_true(rmse[1] > 5 * rmse[0] && rmse[1] < 0.2);
    assert_true(find(reports[1], "model.norm.weight")->rel_rmse == 0);
    assert_int_equal(find(reports[1], "model.layers.0.mlp.up_proj.weight")->type, UQFF_TYPE_Q4_0);
    for (size_t i = 0; i < uqff_weights_count(reports[1]); i++) {
        const struct uqff_weight_error *a = uqff_weights_at(reports[1], i);
        const struct uqff_weight_error *b = uqff_weights_at(reports[2], i);
        assert_true(a->rel_rmse == b->rel_rmse && a->cosine == b->cosine &&
                    a->max_abs == b->max_abs && a->max_at == b->max_at);
    }
    for (size_t i = 0; i < 3; i++) {
        uqff_weights_free(reports[i]);
    }
    uqff_model_close(good);
    uqff_model_close(poor);
    uqff_model_close(source);
}

static void test_refused(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_weights *weights = NULL;
    write_small();
    const char *copy = write_copy("copy");
    const char *path = in_folder("copy/model.safetensors");
    struct uqff_model *source = must_open(folder);
    patch(path, entry_offset(path, "model.layers.1.mlp.up_proj.weight", NULL) + 2 * (256 * 3 + 5),
          "\xc0\x7f", 2);
    struct uqff_model *candidate = must_open(copy);
    assert_fails(uqff_weights_compare(source, candidate, NULL, NULL, &weights, &err),
                 UQFF_E_NONFINITE, &err,
                 "'model.layers.1.mlp.up_proj.weight': row 3, column 5: found NaN");
    uqff_model_close(candidate);

    static const struct made other[] = {{"model.norm.weight", UQFF_DTYPE_BF16, 1, {128}},
                                        {"stranger", UQFF_DTYPE_F32, 1, {4}}};
    assert_int_equal(mkdir(in_folder("other"), 0777), 0);
    write_tensors("other/model.safetensors", other, 2);
    write_text("other/config.json", "{\"model_type\":\"unheard_of\"}");
    candidate = must_open(in_folder("other"));
    assert_fails(uqff_weights_compare(source, candidate, NULL, NULL, &weights, &err), UQFF_E_SHAPE,
                 &err, "'model.norm.weight': found shape [128], expected [256]");
    uqff_model_close(candidate);
    write_tensors("other/model.safetensors", other + 1, 1);
    candidate = must_open(in_folder("other"));
    assert_fails(uqff_weights_compare(source, candidate, NULL, NULL, &weights, &err),
                 UQFF_E_MISSING, &err, "has no tensor of a name that");
    uqff_model_close(candidate);
    assert_null(weights);
    uqff_model_close(source);
}

static void test_alone(void **state) {
    (void)state;
    static const struct made few[] = {{"model.norm.weight", UQFF_DTYPE_BF16, 1, {256}},
                                      {"stranger", UQFF_DTYPE_F32, 2, {4, 2}}};
    static const struct made fewer[] = {{"model.norm.weight", UQFF_DTYPE_BF16, 1, {256}},
                                        {"another", UQFF_DTYPE_F32, 0, {0}}};
    assert_int_equal(mkdir(in_folder("a"), 0777), 0);
    assert_int_equal(mkdir(in_folder("b"), 0777), 0);
    write_tensors("a/model.safetensors", few, 2);
    write_tensors("b/model.safetensors", fewer, 2);
    write_text("a/config.json", "{\"model_type\":\"unheard_of\"}");
    write_text("b/config.json", "{\"model_type\":\"unheard_of\"}");
    struct uqff_model *a = must_open(in_folder("a")), *b = must_open(in_folder("b"));
    struct uqff_weights *weights = must_compare(a, b, 1);
    assert_int_equal(uqff_weights_count(weights), 1);
    assert_non_null(strstr(warnings, "tensor 'stranger' has no counterpart"));
    assert_non_null(strstr(warnings, "tensor 'another' has no counterpart"));
    uqff_weights_free(weights);
    uqff_model_close(a);
    uqff_model_close(b);
}

static void test_out_of_memory(void **state) {
    (void)state;
    write_small();
    struct uqff_model *model = must_open(folder);
    const struct uqff_weights_options how = {.threads = 1};
    for (size_t n = 1;; n++) {
        struct uqff_error err;
        struct uqff_weights *weights = NULL;
        fail_allocation(n);
        enum uqff_code code = uqff_weights_compare(model, model, &how, NULL, &weights, &err);
        const size_t asked = fail_allocation(0);
        uqff_weights_free(weights);
        if (code == UQFF_OK && asked < n) {
            break;
        }
        assert_int_equal(code, UQFF_E_MEMORY);
    }
    uqff_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_equal, enter_folder),
        cmocka_unit_test_setup(test_figures, enter_folder),
        cmocka_unit_test_setup(test_zeros, enter_folder),
        cmocka_unit_test_setup(test_packed, enter_folder),
        cmocka_unit_test_setup(test_refused, enter_folder),
        cmocka_unit_test_setup(test_alone, enter_folder),
        cmocka_unit_test_setup(test_out_of_memory, enter_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
