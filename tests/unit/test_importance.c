/* Collecting importance: against llama-imatrix's files for the bundled model, merging, both forms,
 * statistics. */
#include <math.h>
#include <stdio.h>

#include "support/support.h"
#include "uqff/validation.h"
#include "validation/importance.h"

static struct uqff_importance *open_importance(const char *path) {
    struct uqff_importance *importance;
    struct uqff_error err;
    assert_ok(uqff_importance_open(path, &importance, &err), &err);
    return importance;
}

struct text {
    uint32_t *ids;
    size_t count, capacity;
    uint32_t bos;
};

static struct text tokenize(const struct uqff_model *model, const char *path) {
    struct uqff_vocabulary *vocabulary;
    struct uqff_tokenizer *tokenizer;
    struct uqff_error err;
    struct text text = {0};
    const struct uqff_tokenize_options options = {.add_special = true};
    size_t size;
    char *bytes = read_file(path, &size);
    size -= bytes[size - 1] == '\n' ? 1 : 0;
    assert_ok(uqff_vocabulary_open(model, NULL, &vocabulary, &err), &err);
    assert_ok(uqff_tokenizer_new(vocabulary, NULL, &tokenizer, &err), &err);
    assert_ok(uqff_tokenize(tokenizer, bytes, size, &options, &text.ids, &text.count,
                            &text.capacity, &err),
              &err);
    text.bos = uqff_vocabulary_info(vocabulary)->bos;
    uqff_tokenizer_free(tokenizer);
    uqff_vocabulary_close(vocabulary);
    free(bytes);
    return text;
}

static struct uqff_importance *collect(const struct uqff_collect_options *options) {
    struct uqff_model *model;
    struct uqff_importance *importance;
    struct uqff_error err;
    assert_ok(uqff_model_open(test_data("storyteller"), NULL, &model, &err), &err);
    struct text text = tokenize(model, test_data("storyteller/calibration.txt"));
    assert_ok(uqff_importance_collect(model, text.ids, text.count, text.bos, true,
                                      "calibration.txt", options, NULL, &importance, &err),
              &err);
    uqff_free(text.ids);
    uqff_model_close(model);
    return importance;
}

/* llama-imatrix's file, all of its 102 chunks: the same entries, counts and, within what its
 * rounding of activations does, sums. */
static void as_llama_cpp(void **state) {
    struct uqff_importance *theirs = open_importance(test_data("storyteller/imatrix.gguf"));
    struct uqff_importance *older = open_importance(test_data("storyteller/imatrix.dat"));
    struct uqff_importance *ours = collect(NULL);
    double worst = 0;
    (void)state;
    assert_int_equal(ours->chunks, theirs->chunks);
    assert_int_equal(ours->chunk_size, theirs->chunk_size);
    assert_int_equal(ours->count, theirs->count);
    assert_int_equal(older->count, theirs->count);
    for (size_t i = 0; i < ours->count; i++) {
        const struct importance_entry *a = &ours->entries[i], *b = &theirs->entries[i];
        assert_string_equal(a->name, b->name);
        assert_int_equal(a->columns, b->columns);
        assert_true(a->counts[0] == b->counts[0]);
        assert_true(a->counts[0] == older->entries[i].counts[0]);
        for (size_t k = 0; k < a->columns; k++) {
            worst = fmax(worst, fabs(a->sums[k] - b->sums[k]) / b->sums[k]);
        }
    }
    print_message("    largest relative difference %.2g\n", worst);
    assert_true(worst < 0.01);
    uqff_importance_free(ours);
    uqff_importance_free(older);
    uqff_importance_free(theirs);
}

/* What was read is written again, byte for byte; and the older form as llama.cpp writes it. */
static void both_forms(void **state) {
    static const struct {
        const char *path;
        bool dat;
    } forms[] = {{"storyteller/imatrix.gguf", false}, {"storyteller/imatrix.dat", true}};
    struct uqff_error err;
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        size_t size, expected_size;
        struct uqff_importance *importance = open_importance(test_data(forms[i].path));
        const char *path = scratch_file("again");
        assert_ok(uqff_importance_write(importance, path, forms[i].dat, true, &err), &err);
        unsigned char *found = read_file(path, &size);
        unsigned char *expected = read_file(test_data(forms[i].path), &expected_size);
        assert_int_equal(size, expected_size);
        assert_memory_equal(found, expected, size);
        free(found);
        free(expected);
        assert_fails(uqff_importance_write(importance, path, forms[i].dat, false, &err),
                     UQFF_E_EXISTS, &err, "again");
        uqff_importance_free(importance);
    }
}

/* A text in two halves, merged, is the whole. */
static void merging(void **state) {
    struct uqff_error err;
    const struct uqff_collect_options options = {.context = 64, .chunks = 2};
    struct uqff_importance *a = collect(&options), *b = collect(&options);
    double sum = a->entries[3].sums[7];
    (void)state;
    assert_int_equal(a->chunks, 2);
    assert_ok(uqff_importance_merge(a, b, &err), &err);
    assert_int_equal(a->chunks, 4);
    assert_int_equal(a->dataset_count, 1);
    assert_true(a->entries[3].sums[7] == 2 * sum);
    assert_true(a->entries[3].counts[0] == 256);
    /* Another shape: nothing is added at all. */
    struct importance_entry *entry;
    b->entries[5].columns /= 2;
    sum = a->entries[0].sums[0];
    assert_fails(uqff_importance_merge(a, b, &err), UQFF_E_SHAPE, &err, b->entries[5].name);
    assert_true(a->entries[0].sums[0] == sum && a->chunks == 4);
    b->entries[5].columns *= 2;
    /* Experts in one piece, as the older form has them, meet experts that are apart. */
    assert_ok(uqff_importance_entry(a, "blk.0.ffn_up_exps.weight", 1, 6, &entry, &err), &err);
    entry->counts[0] = 10;
    entry->sums[5] = 3;
    assert_ok(uqff_importance_entry(b, "blk.0.ffn_up_exps.weight", 2, 3, &entry, &err), &err);
    entry->counts[1] = 5;
    entry->sums[5] = 4;
    assert_ok(uqff_importance_merge(a, b, &err), &err);
    assert_ok(uqff_importance_entry(a, "blk.0.ffn_up_exps.weight", 2, 3, &entry, &err), &err);
    assert_true(entry->counts[0] == 10 && entry->counts[1] == 15 && entry->sums[5] == 7);
    assert_fails(uqff_importance_entry(a, "blk.0.ffn_up_exps.weight", 3, 2, &entry, &err),
                 UQFF_E_SHAPE, &err, "found 3 by 2 values, expected 2 by 3");
    uqff_importance_free(a);
    uqff_importance_free(b);
}

static void output_head(void **state) {
    const struct uqff_collect_options options = {
        .context = 32, .chunks = 1, .process_output = true};
    struct uqff_importance *importance = collect(&options);
    (void)state;
    assert_int_equal(importance->count, 29);
    assert_string_equal(importance->entries[28].name, "output.weight");
    assert_true(importance->entries[28].counts[0] == 32);
    uqff_importance_free(importance);
}

static void statistics(void **state) {
    struct uqff_importance *importance = uqff_importance_new();
    struct importance_entry *entry;
    struct uqff_importance_stats stats;
    struct uqff_error err;
    (void)state;
    assert_ok(uqff_importance_entry(importance, "blk.9.attn_q.weight", 1, 4, &entry, &err), &err);
    entry->counts[0] = 2;
    const double sums[4] = {0, 2, 2, 12};
    memcpy(entry->sums, sums, sizeof sums);
    assert_ok(uqff_importance_entry(importance, "blk.10.attn_q.weight", 1, 4, &entry, &err), &err);
    entry->counts[0] = 1;
    entry->sums[3] = 5;
    uqff_importance_stats(importance, 1, &stats);
    assert_string_equal(stats.name, "blk.9.attn_q.weight");
    assert_int_equal(stats.columns, 4);
    assert_true(stats.sum == 8 && stats.min == 0 && stats.max == 6 && stats.mean == 2);
    assert_true(fabs(stats.deviation - sqrt(38.0 / 4 - 4)) < 1e-12);
    assert_true(stats.active == 0.75 && stats.z_density == 0.25);
    assert_true(fabs(stats.entropy - (2 * 0.125 * 3 + 0.75 * log2(4.0 / 3))) < 1e-12);
    assert_true(fabs(stats.normalized_entropy - stats.entropy / 2) < 1e-12);
    assert_true(isnan(stats.cosine));
    uqff_importance_stats(importance, 0, &stats);
    assert_true(fabs(stats.cosine - 6 / sqrt(38)) < 1e-12);
    uqff_importance_free(importance);
}

static void refusals(void **state) {
    struct uqff_importance *importance = uqff_importance_new();
    struct uqff_model *model;
    struct uqff_importance *out = NULL;
    struct uqff_error err;
    const uint32_t ids[63] = {0};
    const struct uqff_collect_options options = {.context = 64};
    (void)state;
    assert_fails(uqff_importance_write(importance, scratch_file("none"), false, false, &err),
                 UQFF_E_ARGUMENT, &err, "nothing was collected");
    assert_ok(uqff_model_open(test_data("storyteller"), NULL, &model, &err), &err);
    assert_fails(
        uqff_importance_collect(model, ids, 63, 0, false, NULL, &options, NULL, &out, &err),
        UQFF_E_ARGUMENT, &err, "found 63 tokens, expected at least 64, a chunk of 64");
    uqff_model_close(model);
    uqff_importance_free(importance);
    assert_fails(uqff_importance_open(bad_file("i_ncall_zero.dat"), &out, &err), UQFF_E_FIELD, &err,
                 "number of calls");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_forms), cmocka_unit_test(merging),  cmocka_unit_test(output_head),
        cmocka_unit_test(statistics), cmocka_unit_test(refusals), cmocka_unit_test(as_llama_cpp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
