/* Verification of files: digests, values, scales, recomputation. */
#include <unistd.h>

#include "unit/test_verify_made.h"

static const char *const three[] = {"q4_k_m", "q8_0", "q8_1"};
static const char blob_name[] = "model.layers.1.self_attn.q_proj@uqff.q8_0";

/* The folder holds the model and, beside it in a folder of its own, the file packed from it. */
static struct uqff_model *make(const char *const *quants, size_t count, const char *file) {
    write_small();
    assert_int_equal(mkdir(in_folder("out"), 0777), 0);
    struct uqff_model *model = must_open(folder);
    const struct uqff_pack_options wanted = pack_options(quants, count, file);
    pack(model, &wanted);
    return model;
}

static void test_clean(void **state) {
    (void)state;
    char file[600];
    snprintf(file, sizeof file, "%s", in_folder("out/small.uqff"));
    struct uqff_model *model = make(three, COUNT(three), file);
    assert_passes(file, .strict = true);
    assert_string_equal(found.text, "");
    assert_passes(in_folder("out"), .strict = true, .threads = 1);
    assert_passes(in_folder("out/small.uqff#q8_0"), .strict = true);
    assert_passes(file, .strict = true, .recompute = model);
    assert_string_equal(found.text, "");
    assert_passes(folder, .strict = true);
    uqff_model_close(model);
}

/* A shard set with compressed side files; any of its shards names it. */
static void test_shards(void **state) {
    (void)state;
    char file[600];
    write_small();
    assert_int_equal(mkdir(in_folder("out"), 0777), 0);
    snprintf(file, sizeof file, "%s", in_folder("out/small.uqff"));
    struct uqff_model *model = must_open(folder);
    struct uqff_pack_options wanted = pack_options(three, COUNT(three), file);
    wanted.max_shard = 400000;
    wanted.compress_assets = true;
    pack(model, &wanted);
    assert_passes(in_folder("out"), .strict = true, .recompute = model, .pack = &wanted);
    assert_string_equal(found.text, "");
    assert_passes(in_folder("out/small-1.uqff"), .strict = true);
    assert_int_equal(unlink(in_folder("out/small-1.uqff")), 0);
    struct uqff_error err;
    bool passed = true;
    assert_int_not_equal(
        uqff_verify(in_folder("out/small-0.uqff"), NULL, NULL, NULL, &passed, &err), UQFF_OK);
    uqff_model_close(model);
}

static void test_damage(void **state) {
    (void)state;
    char file[600];
    snprintf(file, sizeof file, "%s", in_folder("out/small.uqff"));
    struct uqff_model *model = make(three, COUNT(three), file);
    size_t size = 0;
    char *sound = read_file(file, &size);
    uint64_t bytes = 0;
    const uint64_t offset = entry_offset(file, blob_name, &bytes);

    /* One bit of a weight in row 37: 8 blocks of 34 bytes a row. */
    unsigned char byte = (unsigned char)sound[offset + 37 * 272 + 5] ^ 1;
    patch(file, offset + 37 * 272 + 5, &byte, 1);
    assert_false(verify(file, &(struct uqff_verify_options){.threads = 2}));
    assert_int_equal(found.failures, 1);
    assert_told("failure digest:", blob_name);
    assert_false(verify(file, &(struct uqff_verify_options){.recompute = model}));
    assert_told("failure recompute:", "q_proj' as Q8_0: row 37 differs");
    /* Variants that do not use the blob are sound. */
    assert_passes(in_folder("out/small.uqff#q4_k_m"), .strict = true);
    assert_passes(in_folder("out/small.uqff#q8_1"), .strict = true, .recompute = model);
    assert_false(verify(in_folder("out/small.uqff#q8_0"), NULL));
    write_file(file, sound, size);

    /* A scale that is NaN, in block 9. */
    patch(file, offset + 9 * 34, "\x00\x7e", 2);
    assert_false(verify(file, NULL));
    assert_int_equal(found.failures, 2);
    assert_told("failure nonfinite-scale:", "block 9 has a scale");
    write_file(file, sound, size);

    /* A letter of the header's metadata. */
    const char *producer = memmem(sound, size, "\"uqff.producer\":\"uqff\"", 22);
    assert_non_null(producer);
    patch(file, (uint64_t)(producer - sound) + 17, "U", 1);
    assert_false(verify(file, NULL));
    assert_told("failure header-digest:", "small.uqff");
    write_file(file, sound, size);

    /* A residual tensor. */
    const uint64_t norm = entry_offset(file, "model.norm.weight@uqff.residual", NULL);
    patch(file, norm + 6, "\x80\x7f", 2);
    assert_false(verify(file, &(struct uqff_verify_options){.recompute = model}));
    assert_told("failure digest:", "model.norm");
    assert_told("warning nonfinite:", "1 of its elements are NaN or infinite, the first is "
                                      "element 3");
    assert_told("failure recompute:", "'model.norm.weight' as residual: row 0 differs");
    free(sound);
    uqff_model_close(model);
}

static void test_other_source(void **state) {
    (void)state;
    char file[600];
    snprintf(file, sizeof file, "%s", in_folder("out/small.uqff"));
    struct uqff_model *model = make(three, 1, file);
    uqff_model_close(model);
    const uint64_t weight =
        entry_offset(in_folder("model.safetensors"), "model.layers.0.mlp.up_proj.weight", NULL);
    patch(in_folder("model.safetensors"), weight + 5 * 512 + 3, "\x3f", 1);
    model = must_open(folder);
    assert_passes(file, .strict = true);
    assert_false(verify(file, &(struct uqff_verify_options){.recompute = model}));
    assert_told("failure recompute:", "up_proj' as Q4_K: row 5 differs");
    assert_told("failure recompute:", "was packed from another source");
    assert_int_equal(found.failures, 2);
    uqff_model_close(model);

    /* Another shape, and a tensor too few. */
    struct made other[COUNT(small_model)];
    memcpy(other, small_model, sizeof other);
    other[0].shape[0] = 48;
    other[1].name = "model.layers.0.extra_layernorm.weight";
    other[1].rank = 1;
    other[1].shape[0] = 256;
    write_tensors("model.safetensors", other, COUNT(other));
    model = must_open(folder);
    assert_false(verify(file, &(struct uqff_verify_options){.recompute = model}));
    assert_told("failure recompute:", "'model.embed_tokens': does not have the source's shape");
    assert_told("failure recompute:", "the source has no module 'lm_head'");
    assert_told("failure recompute:", "lacks the tensor 'model.layers.0.extra_layernorm.weight'");
    uqff_model_close(model);
}

/* Types that a rule chose are a note without the options, and what they should be with them. */
static void test_recipe_of_a_variant(void **state) {
    (void)state;
    char file[600];
    snprintf(file, sizeof file, "%s", in_folder("out/small.uqff"));
    write_small();
    assert_int_equal(mkdir(in_folder("out"), 0777), 0);
    struct uqff_model *model = must_open(folder);
    const struct uqff_type_rule rule = {"attn_k", UQFF_TYPE_Q5_1};
    struct uqff_pack_options wanted = pack_options(three, 2, file);
    wanted.recipe.rules = &rule;
    wanted.recipe.rule_count = 1;
    pack(model, &wanted);
    assert_passes(file, .strict = true, .recompute = model);
    assert_told("note recipe:", "variant 'q4_k_m': 2 modules have other types");
    assert_passes(file, .strict = true, .recompute = model, .pack = &wanted);
    assert_string_equal(found.text, "");
    wanted.recipe.rule_count = 0;
    assert_passes(file, .recompute = model, .pack = &wanted);
    assert_told("warning recipe:", "k_proj': Q5_1, expected Q4_K");
    uqff_model_close(model);
}

/* The importance matrix must be the one that the file was packed with. */
static void test_importance(void **state) {
    (void)state;
    static const char *const quants[] = {"q4_0", "q8_0"};
    char file[600], imatrix[600], other[600];
    snprintf(file, sizeof file, "%s", in_folder("story.uqff"));
    snprintf(imatrix, sizeof imatrix, "%s", test_data("storyteller/imatrix.gguf"));
    snprintf(other, sizeof other, "%s", test_data("storyteller/imatrix.dat"));
    struct uqff_model *model = must_open(test_data("storyteller"));
    struct uqff_pack_options wanted = pack_options(quants, COUNT(quants), file);
    wanted.imatrix = imatrix;
    pack(model, &wanted);
    assert_passes(file, .strict = true, .recompute = model, .pack = &wanted);
    assert_string_equal(found.text, "");
    assert_false(verify(file, &(struct uqff_verify_options){.recompute = model}));
    assert_int_equal(found.failures, 1);
    assert_told("failure recompute:", "was packed with an importance matrix");
    wanted.imatrix = other;
    assert_false(verify(file, &(struct uqff_verify_options){.recompute = model, .pack = &wanted}));
    assert_told("failure recompute:", "was packed with another importance matrix");
    uqff_model_close(model);
}

static void test_plain_directory(void **state) {
    (void)state;
    char out[600];
    snprintf(out, sizeof out, "%s", in_folder("out"));
    write_small();
    struct uqff_model *model = must_open(folder);
    static const char *const quants[] = {"q4k", "q8_0"};
    struct uqff_pack_options wanted = pack_options(quants, 2, out);
    wanted.format = UQFF_PACK_MISTRALRS;
    pack(model, &wanted);
    assert_passes(out, .strict = true);
    assert_string_equal(found.text, "");
    assert_passes(out, .strict = true, .recompute = model);
    assert_string_equal(found.text, "");
    assert_passes(in_folder("out/q4k-0.uqff"), .strict = true, .recompute = model);

    const uint64_t offset =
        entry_offset(in_folder("out/q4k-0.uqff"), "model.layers.0.mlp.up_proj.weight", NULL);
    patch(in_folder("out/q4k-0.uqff"), offset + 144 * 7 + 80, "\x5a\xa5", 2);
    assert_passes(out, .strict = true); /* a plain set has no digests */
    assert_false(verify(out, &(struct uqff_verify_options){.recompute = model}));
    assert_int_equal(found.failures, 1);
    assert_told("failure recompute:", "up_proj' as Q4_K: row 7 differs");
    uqff_model_close(model);
}

/* Values of plain tensors: odd ones are a warning, strictness fails them. */
static void test_values(void **state) {
    (void)state;
    write_small();
    const char *file = in_folder("model.safetensors");
    const uint64_t offset = entry_offset(file, "model.layers.0.mlp.up_proj.weight", NULL);
    patch(file, offset + 2 * 1000, "\x80\x7f\xc0\x7f", 4);
    static char zeros[256 * 256 * 2];
    patch(file, entry_offset(file, "model.layers.1.mlp.up_proj.weight", NULL), zeros, sizeof zeros);
    assert_passes(folder, .threads = 3);
    assert_told("warning nonfinite:", "'model.layers.0.mlp.up_proj.weight': 2 of its elements are "
                                      "NaN or infinite, the first is element 1000");
    assert_told("note zero:", "'model.layers.1.mlp.up_proj.weight': all its values are zero");
    assert_false(verify(file, &(struct uqff_verify_options){.strict = true}));
    assert_told("failure nonfinite:", "element 1000");
}

static void test_refused_paths(void **state) {
    (void)state;
    struct uqff_error err;
    bool passed = true;
#define VERIFY(path) uqff_verify((path), NULL, NULL, NULL, &passed, &err)
    assert_fails(VERIFY(in_folder("absent")), UQFF_E_NOT_FOUND, &err, "absent");
    assert_fails(VERIFY(folder), UQFF_E_MISSING, &err, "no model file");
    write_text("a.uqff", "no safetensors");
    assert_int_not_equal(VERIFY(in_folder("a.uqff")), UQFF_OK);
    assert_int_not_equal(VERIFY(folder), UQFF_OK);
    write_small();
    assert_fails(VERIFY(in_folder("model.safetensors#q4_k_m")), UQFF_E_UNKNOWN, &err, "q4_k_m");
    char file[600];
    snprintf(file, sizeof file, "%s", in_folder("small.uqff"));
    struct uqff_model *model = must_open(in_folder("model.safetensors"));
    const struct uqff_pack_options wanted = pack_options(three, 1, file);
    pack(model, &wanted);
    uqff_model_close(model);
    assert_fails(VERIFY(in_folder("small.uqff#q9")), UQFF_E_UNKNOWN, &err, "no variant 'q9'");
#undef VERIFY
}

static bool stop_at_once(void *context, const char *stage, uint64_t done, uint64_t total) {
    (void)context, (void)stage;
    assert_true(done <= total);
    return false;
}

static void test_cancelled(void **state) {
    (void)state;
    struct uqff_error err;
    bool passed = true;
    const struct uqff_progress progress = {stop_at_once, NULL};
    write_small();
    assert_fails(uqff_verify(folder, &(struct uqff_verify_options){.threads = 1}, NULL, &progress,
                             &passed, &err),
                 UQFF_E_CANCELLED, &err, NULL);
}

/* Files that must be refused are errors or failures; those that must be accepted can be read. */
static void test_corpus(void **state) {
    (void)state;
    static const char *const levels[] = {"gguf", "st", "uqff"};
    for (size_t l = 0; l < COUNT(levels); l++) {
        size_t count = 0;
        const struct bad_case *cases = bad_cases(levels[l], &count);
        assert_true(count > 0);
        for (size_t i = 0; i < count; i++) {
            struct uqff_error err;
            bool passed = false;
            const struct uqff_findings sink = {note_finding, &found};
            memset(&found, 0, sizeof found);
            const enum uqff_code code =
                uqff_verify(bad_file(cases[i].file), &(struct uqff_verify_options){.threads = 1},
                            &sink, NULL, &passed, &err);
            /* A container that is sound may still hold weights that are not. */
            const bool refused = code != UQFF_OK || !passed;
            if (strcmp(cases[i].verdict, "accept") == 0 ? code != UQFF_OK : !refused) {
                fail_msg("%s: expected %s, found %s %s", cases[i].file, cases[i].verdict,
                         code == UQFF_OK ? "findings" : err.text, found.text);
            }
        }
    }
}

static void test_out_of_memory(void **state) {
    (void)state;
    char file[600];
    snprintf(file, sizeof file, "%s", in_folder("out/small.uqff"));
    struct uqff_model *model = make(three, 2, file);
    const struct uqff_verify_options wanted = {
        .threads = 1, .recompute = model, .target = UQFF_TARGET_MISTRALRS};
    struct uqff_error err;
    bool passed = false;
    (void)fail_allocation(0);
    assert_ok(uqff_verify(file, &wanted, NULL, NULL, &passed, &err), &err);
    const size_t allocations = fail_allocation(0);
    /* All of the first ones, then samples. */
    for (size_t n = 1; n <= allocations; n += n < 200 ? 1 : 37) {
        (void)fail_allocation(n);
        const enum uqff_code code = uqff_verify(file, &wanted, NULL, NULL, &passed, &err);
        (void)fail_allocation(0);
        if (code != UQFF_E_MEMORY) {
            fail_msg("allocation %zu of %zu: %s", n, allocations,
                     code == UQFF_OK ? "went unnoticed" : err.text);
        }
    }
    uqff_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_clean, enter_folder),
        cmocka_unit_test_setup(test_shards, enter_folder),
        cmocka_unit_test_setup(test_damage, enter_folder),
        cmocka_unit_test_setup(test_other_source, enter_folder),
        cmocka_unit_test_setup(test_recipe_of_a_variant, enter_folder),
        cmocka_unit_test_setup(test_importance, enter_folder),
        cmocka_unit_test_setup(test_plain_directory, enter_folder),
        cmocka_unit_test_setup(test_values, enter_folder),
        cmocka_unit_test_setup(test_refused_paths, enter_folder),
        cmocka_unit_test_setup(test_cancelled, enter_folder),
        cmocka_unit_test_setup(test_corpus, enter_folder),
        cmocka_unit_test_setup(test_out_of_memory, enter_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
