/* What base.h promises of the whole interface. */
#include "support/support.h"
#include "uqff/pack.h"
#include "uqff/validation.h"

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

static void test_version(void **state) {
    (void)state;
    assert_string_equal(uqff_version(), UQFF_VERSION);
    assert_string_equal(UQFF_VERSION, TEXT(UQFF_VERSION_MAJOR) "." TEXT(
                                          UQFF_VERSION_MINOR) "." TEXT(UQFF_VERSION_PATCH));
#if UQFF_VERSION_NUMBER < 100 || UQFF_VERSION_NUMBER >= 10000
    fail_msg("the version's number is %d", UQFF_VERSION_NUMBER);
#endif
}

static void test_nothing_is_closed(void **state) {
    (void)state;
    uqff_container_close(NULL);
    uqff_container_plan_free(NULL);
    uqff_container_writer_free(NULL);
    uqff_directory_close(NULL);
    uqff_folder_close(NULL, false);
    uqff_free(NULL);
    uqff_free_aligned(NULL);
    uqff_gate_close(NULL);
    uqff_gguf_close(NULL);
    uqff_gguf_layout_free(NULL);
    uqff_hasher_free(NULL);
    uqff_imatrix_close(NULL);
    uqff_importance_free(NULL);
    uqff_json_close(NULL);
    uqff_legacy_close(NULL);
    uqff_model_close(NULL);
    uqff_pack_plan_free(NULL);
    uqff_safetensors_close(NULL);
    uqff_safetensors_set_close(NULL);
    uqff_sampler_free(NULL);
    uqff_sequence_free(NULL);
    uqff_sha_free(NULL);
    uqff_sink_close(NULL);
    uqff_source_close(NULL);
    uqff_st_layout_free(NULL);
    uqff_template_close(NULL);
    uqff_tokenizer_free(NULL);
    uqff_transformer_close(NULL);
    uqff_vocabulary_close(NULL);
    uqff_weights_free(NULL);
}

/* No options are the options that are all zero. */
static void test_no_options(void **state) {
    (void)state;
    static const uint32_t tokens[] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct uqff_error err;
    struct uqff_model *model = NULL;
    struct uqff_vocabulary *vocabulary = NULL;
    struct uqff_tokenizer *tokenizer = NULL;
    struct uqff_transformer *transformer = NULL;
    struct uqff_weights *weights = NULL;
    struct uqff_sampler *sampler = NULL;
    struct uqff_pack_plan *plan = NULL;
    struct uqff_measure measure;
    struct uqff_model *candidates[1];
    uint32_t *ids = NULL, token = 0;
    size_t count = 0, capacity = 0;
    bool said = false;
    assert_ok(uqff_model_open(test_data("storyteller"), NULL, &model, &err), &err);
    assert_ok(uqff_vocabulary_open(model, NULL, &vocabulary, &err), &err);
    assert_ok(uqff_tokenizer_new(vocabulary, NULL, &tokenizer, &err), &err);
    assert_ok(uqff_tokenize(tokenizer, "a", 1, NULL, &ids, &count, &capacity, &err), &err);
    assert_int_equal(count, 1); /* no special tokens */
    assert_ok(uqff_transformer_open(model, NULL, &transformer, &err), &err);
    assert_ok(uqff_weights_compare(model, model, NULL, NULL, &weights, &err), &err);
    assert_ok(uqff_diff(model, model, NULL, NULL, NULL, NULL, &said, &err), &err);
    assert_true(said);
    candidates[0] = model;
    assert_fails(uqff_measure(NULL, (const struct uqff_model *const *)candidates, 1, tokens, 8, 0,
                              false, NULL, NULL, NULL, &measure, &err),
                 UQFF_E_ARGUMENT, &err, "512"); /* too short a text, for chunks of that */
    assert_fails(uqff_pack_plan_new(model, NULL, &plan, &err), UQFF_E_ARGUMENT, &err, "quant");
    assert_fails(uqff_convert(model, NULL, NULL, &err), UQFF_E_ARGUMENT, &err, "no output");
    assert_ok(uqff_sampler_new(NULL, &sampler, &err), &err);
    assert_ok(uqff_sampler_choose(sampler, (const float[]){1, 3, 2}, 3, &token, &err), &err);
    assert_int_equal(token, 1); /* the likeliest */
    uqff_sampler_free(sampler);
    uqff_weights_free(weights);
    uqff_transformer_close(transformer);
    uqff_free(ids);
    uqff_tokenizer_free(tokenizer);
    uqff_vocabulary_close(vocabulary);
    uqff_model_close(model);
}

/* What is cast from a number to an enumeration has a name all the same. */
static void test_names(void **state) {
    (void)state;
    assert_non_null(uqff_code_name((enum uqff_code)9999));
    assert_non_null(uqff_dtype_name((enum uqff_dtype)9999));
    assert_non_null(uqff_figure_name((enum uqff_figure)9999));
    assert_non_null(uqff_format_name((enum uqff_format)9999));
    assert_non_null(uqff_gguf_kind_name((enum uqff_gguf_kind)9999));
    assert_non_null(uqff_model_kind_name((enum uqff_model_kind)9999));
    assert_non_null(uqff_type_label(9999));
    assert_non_null(uqff_type_name(9999));
    assert_non_null(uqff_why_name((enum uqff_why)9999));
    assert_non_null(uqff_cpu_level_name((enum uqff_cpu_level)9999));
}

/* Several threads may have a file mapped at once: all get the same place. */
struct maps {
    struct uqff_source *source;
    const void *found[8];
};

static enum uqff_code map_file(void *context, size_t i, unsigned thread, struct uqff_error *err) {
    struct maps *maps = context;
    (void)thread;
    (void)err;
    maps->found[i] = uqff_source_map(maps->source);
    return UQFF_OK;
}

static void test_maps_once(void **state) {
    (void)state;
    struct maps maps = {0};
    struct uqff_error err;
    assert_ok(uqff_source_open(test_data("storyteller/config.json"), &maps.source, &err), &err);
    assert_ok(uqff_parallel_for(8, 4, map_file, &maps, &err), &err);
    assert_non_null(maps.found[0]);
    for (size_t i = 1; i < 8; i++) {
        assert_ptr_equal(maps.found[i], maps.found[0]);
    }
    uqff_source_close(maps.source);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version),    cmocka_unit_test(test_nothing_is_closed),
        cmocka_unit_test(test_no_options), cmocka_unit_test(test_names),
        cmocka_unit_test(test_maps_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
