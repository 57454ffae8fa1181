/* Collecting importance: against llama-imatrix's files for the bundled model, merging, both forms,
 * statistics. */
#include <math.h>
#include <stdio.h>

#include "bench/synthetic.h"
#include "test_pack_support.h"
#include "validation/importance.h"

static void assert_same_files(const char *a, const char *b) {
    size_t size, other_size;
    unsigned char *bytes = read_file(a, &size), *other = read_file(b, &other_size);
    assert_int_equal(size, other_size);
    assert_memory_equal(bytes, other, size);
    free(bytes);
    free(other);
}

static struct uqff_importance *open_importance(const char *path) {
    struct uqff_importance *importance;
    struct uqff_error err;
    assert_ok(uqff_importance_open(path, &importance, &err), &err);
    return importance;
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
    (void)state;
    if (!FAST_BUILD) {
        skip();
    }
    struct uqff_importance *theirs = open_importance(test_data("storyteller/imatrix.gguf"));
    struct uqff_importance *older = open_importance(test_data("storyteller/imatrix.dat"));
    struct uqff_importance *ours = collect(NULL);
    double worst = 0;
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
        struct uqff_importance *importance = open_importance(test_data(forms[i].path));
        const char *path = scratch_file("again");
        assert_ok(uqff_importance_write(importance, path, forms[i].dat, true, &err), &err);
        assert_same_files(path, test_data(forms[i].path));
        assert_fails(uqff_importance_write(importance, path, forms[i].dat, false, &err),
                     UQFF_E_EXISTS, &err, "again");
        /* Of the sums in one form llama-imatrix made the other. */
        if (!forms[i].dat) {
            assert_ok(uqff_importance_write(importance, path, true, true, &err), &err);
            assert_same_files(path, test_data("storyteller/imatrix.dat"));
        }
        uqff_importance_free(importance);
    }
}

/* Numbers that a form cannot hold are refused, and no file is left. */
static void limits(void **state) {
    struct uqff_importance *importance = uqff_importance_new();
    struct importance_entry *entry;
    struct uqff_error err;
    const char *path = scratch_file("limits");
    (void)state;
    assert_ok(uqff_importance_entry(importance, "blk.0.x.weight", 1, 1, &entry, &err), &err);
    entry->counts[0] = 1;
    entry->sums[0] = 1e39;
    for (int dat = 0; dat < 2; dat++) {
        assert_fails(uqff_importance_write(importance, path, dat != 0, false, &err), UQFF_E_LIMIT,
                     &err, "limits: entry 'blk.0.x.weight': value 0: found 1e+39");
    }
    entry->sums[0] = 1;
    entry->counts[0] = 1e30;
    assert_fails(uqff_importance_write(importance, path, true, false, &err), UQFF_E_LIMIT, &err,
                 "found 1 values of 2147483648 calls");
    entry->counts[0] = 512.0 * INT32_MAX;
    importance->chunks = (uint64_t)1 << 31;
    assert_fails(uqff_importance_write(importance, path, true, false, &err), UQFF_E_LIMIT, &err,
                 "found 2147483648 chunks");
    importance->chunks = (uint64_t)1 << 32;
    assert_fails(uqff_importance_write(importance, path, false, false, &err), UQFF_E_LIMIT, &err,
                 "found 4294967296 chunks");
    assert_false(uqff_path_exists(path));
    importance->chunks--;
    assert_ok(uqff_importance_write(importance, path, false, false, &err), &err);
    uqff_importance_free(importance);
}

/* Each failing allocation in turn: an error, no leak, and in the end a file. */
static void failing_allocations(void **state) {
    struct uqff_importance *one = NULL;
    struct uqff_error err;
    char path[4096];
    (void)state;
    snprintf(path, sizeof path, "%s", scratch_file("few"));
    for (size_t n = 1;; n++) {
        enum uqff_code code;
        fail_allocation(n);
        code = uqff_importance_open(test_data("storyteller/imatrix.gguf"), &one, &err);
        if (code == UQFF_OK) {
            struct uqff_importance *two = NULL;
            code = uqff_importance_open(test_data("storyteller/imatrix.dat"), &two, &err);
            code = code != UQFF_OK ? code : uqff_importance_merge(one, two, &err);
            code =
                code != UQFF_OK ? code : uqff_importance_write(one, path, n % 2 == 0, false, &err);
            uqff_importance_free(two);
            uqff_importance_free(one);
        }
        fail_allocation(0);
        if (code == UQFF_OK) {
            break;
        }
        assert_int_equal(code, UQFF_E_MEMORY);
        assert_false(uqff_path_exists(path));
    }
    uqff_importance_free(open_importance(path));
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

/* ---- experts --------------------------------------------------------------------------------- */

enum { EXPERT_TOKENS = 40, EXPERT_CHUNK = 20, EXPERT_COUNT = 6, EXPERT_USED = 2 };

/* Sums by themselves: one row for each module and expert that came by. */
struct recorder {
    struct record {
        const char *module;
        int64_t expert;
        size_t rows;
        double sums[128];
    } records[256];
    size_t count;
};

static void record(void *context, const char *module, int64_t expert, const float *rows,
                   size_t row_count, size_t columns) {
    struct recorder *recorder = context;
    size_t at = 0;
    while (at < recorder->count && (recorder->records[at].expert != expert ||
                                    strcmp(recorder->records[at].module, module) != 0)) {
        at++;
    }
    assert_true(at < COUNT(recorder->records) && columns <= COUNT(recorder->records->sums));
    struct record *entry = &recorder->records[at];
    recorder->count += at == recorder->count ? 1 : 0;
    entry->module = module;
    entry->expert = expert;
    entry->rows += row_count;
    for (size_t i = 0; i < row_count * columns; i++) {
        entry->sums[i % columns] += (double)rows[i] * (double)rows[i];
    }
}

static enum uqff_code no_logits(void *context, size_t first, size_t count, const float *logits,
                                struct uqff_error *err) {
    (void)context, (void)first, (void)count, (void)logits, (void)err;
    return UQFF_OK;
}

/* The model run chunk by chunk, with the recorder looking on; its modules' names live as long as
 * the transformer, which the caller closes. */
static struct uqff_transformer *record_all(const struct uqff_model *model, const uint32_t *ids,
                                           struct recorder *recorder) {
    struct uqff_transformer *transformer;
    struct uqff_sequence *sequence;
    struct uqff_error err;
    const struct uqff_observer observer = {.input = record, .context = recorder};
    const struct uqff_logits logits = {no_logits, NULL};
    assert_ok(uqff_transformer_open(model, NULL, &transformer, &err), &err);
    assert_ok(uqff_sequence_new(transformer, EXPERT_CHUNK, &sequence, &err), &err);
    for (size_t at = 0; at < EXPERT_TOKENS; at += EXPERT_CHUNK) {
        uqff_sequence_reset(sequence);
        assert_ok(uqff_sequence_eval(sequence, ids + at, EXPERT_CHUNK, EXPERT_CHUNK, &logits,
                                     &observer, &err),
                  &err);
    }
    uqff_sequence_free(sequence);
    return transformer;
}

static const struct record *find_record(const struct recorder *recorder, const char *module,
                                        int64_t expert) {
    for (size_t i = 0; i < recorder->count; i++) {
        if (recorder->records[i].expert == expert &&
            strcmp(recorder->records[i].module, module) == 0) {
            return &recorder->records[i];
        }
    }
    return NULL;
}

/* One matrix of an entry against what came by. Returns its rows. */
static double check_matrix(const struct importance_entry *entry, size_t matrix,
                           const struct record *seen) {
    assert_true(entry->counts[matrix] == (seen == NULL ? 0 : (double)seen->rows));
    for (size_t k = 0; k < entry->columns; k++) {
        const double sum = seen == NULL ? 0 : seen->sums[k];
        assert_true(entry->sums[matrix * entry->columns + k] == sum);
    }
    return entry->counts[matrix];
}

static void check_modules(const struct uqff_model *model, struct uqff_importance *importance,
                          const struct recorder *recorder) {
    size_t checked = 0, stacks = 0;
    for (size_t i = 0; i < uqff_model_module_count(model); i++) {
        const struct uqff_model_module *module = uqff_model_module(model, i);
        const size_t matrices = module->rank == 3 ? (size_t)module->shape[0] : 1;
        struct importance_entry *entry = NULL;
        for (size_t k = 0; k < importance->count; k++) {
            const size_t n = strlen(module->gguf_name);
            if (strncmp(importance->entries[k].name, module->gguf_name, n) == 0 &&
                strcmp(importance->entries[k].name + n, ".weight") == 0) {
                entry = &importance->entries[k];
            }
        }
        if (strncmp(module->gguf_name, "blk.", 4) != 0) {
            assert_null(entry);
            continue;
        }
        assert_non_null(entry);
        assert_int_equal(entry->matrices, matrices);
        double rows = 0;
        for (size_t m = 0; m < matrices; m++) {
            rows += check_matrix(
                entry, m, find_record(recorder, module->name, matrices == 1 ? -1 : (int64_t)m));
        }
        assert_true(rows == EXPERT_TOKENS * (matrices == 1 ? 1 : EXPERT_USED));
        stacks += matrices > 1 ? 1 : 0;
        checked++;
    }
    assert_int_equal(stacks, 6);
    /* What is no module: the routers. */
    assert_int_equal(importance->count, checked + 2);
}

/* Every expert has the rows that it was chosen for; routers, which stay as they are, are there too;
 * the same sums with any number of threads, and from the file again. */
static void experts(void **state) {
    static const char *const architectures[] = {"mixtral", "qwen3_moe"};
    struct test_random random = {5};
    (void)state;
    for (size_t i = 0; i < COUNT(architectures); i++) {
        const struct synthetic made = {
            .architecture = architectures[i],
            .hidden = 64,
            .feed_forward = 96,
            .layers = 2,
            .heads = 2,
            .kv_heads = 1,
            .head_dim = 32,
            .vocabulary = 48,
            .experts = EXPERT_COUNT,
            .experts_used = EXPERT_USED,
            .dtype = UQFF_DTYPE_F32,
            .seed = i + 1,
            .deviation = 0.15,
            .norms_around_one = true,
        };
        static struct recorder recorder;
        struct uqff_model *model;
        struct uqff_importance *importance, *other;
        struct importance_entry *router;
        struct uqff_error err;
        char folder[4096];
        uint32_t ids[EXPERT_TOKENS];
        for (size_t t = 0; t < EXPERT_TOKENS; t++) {
            ids[t] = (uint32_t)(random_u64(&random) % made.vocabulary);
        }
        memset(&recorder, 0, sizeof recorder);
        snprintf(folder, sizeof folder, "%s", scratch_file(architectures[i]));
        assert_ok(synthetic_write(&made, folder, &err), &err);
        assert_ok(uqff_model_open(folder, NULL, &model, &err), &err);
        struct uqff_collect_options options = {.context = EXPERT_CHUNK, .threads = 1};
        assert_ok(uqff_importance_collect(model, ids, EXPERT_TOKENS, 0, false, "made", &options,
                                          NULL, &importance, &err),
                  &err);
        struct uqff_transformer *transformer = record_all(model, ids, &recorder);
        check_modules(model, importance, &recorder);
        assert_ok(
            uqff_importance_entry(importance, "blk.1.ffn_gate_inp.weight", 1, 64, &router, &err),
            &err);
        assert_true(router->counts[0] == EXPERT_TOKENS && router->sums[63] > 0);
        uqff_transformer_close(transformer);
        assert_ok(uqff_importance_write(importance, scratch_file("one"), false, true, &err), &err);
        other = open_importance(scratch_file("one"));
        assert_ok(uqff_importance_write(other, scratch_file("again"), false, true, &err), &err);
        assert_same_files(scratch_file("one"), scratch_file("again"));
        uqff_importance_free(other);
        for (options.threads = 2; options.threads <= 5; options.threads += 3) {
            assert_ok(uqff_importance_collect(model, ids, EXPERT_TOKENS, 0, false, "made", &options,
                                              NULL, &other, &err),
                      &err);
            assert_ok(uqff_importance_write(other, scratch_file("more"), false, true, &err), &err);
            assert_same_files(scratch_file("one"), scratch_file("more"));
            uqff_importance_free(other);
        }
        uqff_importance_free(importance);
        uqff_model_close(model);
    }
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
    /* NaN on the way: the module that it came to. */
    const char *poisoned = tiny_model("poisoned", "Qwen2ForCausalLM", "qwen2", tiny_qwen2,
                                      COUNT(tiny_qwen2), "model.layers.0.mlp.up_proj.weight", 200);
    const struct uqff_collect_options few = {.context = 8};
    assert_ok(uqff_model_open(poisoned, NULL, &model, &err), &err);
    assert_fails(uqff_importance_collect(model, ids, 16, 0, false, NULL, &few, NULL, &out, &err),
                 UQFF_E_NONFINITE, &err, "layers.0.mlp.down_proj': its input for token 0");
    uqff_model_close(model);
    assert_null(out);
    assert_fails(uqff_importance_open(bad_file("i_ncall_zero.dat"), &out, &err), UQFF_E_FIELD, &err,
                 "number of calls");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_forms),
        cmocka_unit_test(limits),
        cmocka_unit_test(failing_allocations),
        cmocka_unit_test(merging),
        cmocka_unit_test(experts),
        cmocka_unit_test(output_head),
        cmocka_unit_test(statistics),
        cmocka_unit_test(refusals),
        cmocka_unit_test(as_llama_cpp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
