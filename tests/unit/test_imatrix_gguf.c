/* Importance matrices in GGUF: pairs of tensors, experts, and what is refused. */
#include "test_gguf_builder.h"
#include "uqff/model.h"

#include <math.h>

/* Keys of a sound file, of which `skip` is left out. */
enum key { TYPE, DATASETS, CHUNK_COUNT, CHUNK_SIZE, KEYS };

static void put_keys(struct builder *b, enum key skip) {
    if (skip != TYPE) {
        put_key(b, "general.type", UQFF_GGUF_STRING);
        put_string(b, "imatrix");
    }
    if (skip != DATASETS) {
        put_key(b, "imatrix.datasets", UQFF_GGUF_ARRAY);
        put_array(b, UQFF_GGUF_STRING, 2);
        put_string(b, "wiki.txt");
        put_string(b, "code.txt");
    }
    if (skip != CHUNK_COUNT) {
        put_key_u32(b, "imatrix.chunk_count", 9);
    }
    if (skip != CHUNK_SIZE) {
        put_key_u32(b, "imatrix.chunk_size", 512);
    }
}

/* What one tensor of the pair looks like. */
struct half {
    const char *name;
    uint32_t type, n_dims;
    uint64_t ne[4];
};

/* in_sum2 holds 1, 2, 3 …; counts holds 2, 0, … */
static struct builder build(enum key skip, bool big, const struct half *halves, size_t count,
                            const float *counts) {
    struct builder b = begin(3, big, count, skip == KEYS ? KEYS : KEYS - 1);
    uint64_t offset = 0;
    put_keys(&b, skip);
    for (size_t i = 0; i < count; i++) {
        uint64_t n = 1;
        for (unsigned k = 0; k < halves[i].n_dims; k++) {
            n *= halves[i].ne[k];
        }
        put_info(&b, halves[i].name, halves[i].n_dims, halves[i].ne, halves[i].type, offset);
        offset += (4 * n + 31) / 32 * 32;
    }
    put_pad(&b, 32);
    for (size_t i = 0; i < count; i++) {
        uint64_t n = 1;
        for (unsigned k = 0; k < halves[i].n_dims; k++) {
            n *= halves[i].ne[k];
        }
        for (uint64_t k = 0; k < n; k++) {
            bool sums = strstr(halves[i].name, "sum") != NULL;
            put_f32(&b, sums ? (float)(k + 1) : counts[k]);
        }
        put_pad(&b, 32);
    }
    return b;
}

static const char *save(struct builder *b) {
    const char *path = scratch_file("m.gguf");
    write_file(path, b->bytes, b->size);
    free(b->bytes);
    return path;
}

#define SUMS(...)                                                                                  \
    { "w.in_sum2", UQFF_TYPE_F32, __VA_ARGS__ }
#define COUNTS(...)                                                                                \
    { "w.counts", UQFF_TYPE_F32, __VA_ARGS__ }

static void reads_experts(void **state) {
    (void)state;
    static const struct half pair[] = {SUMS(2, {3, 2}), COUNTS(2, {1, 2})};
    static const float counts[] = {2, 0};
    struct builder b = build(KEYS, false, pair, 2, counts);
    struct uqff_imatrix *imatrix;
    struct uqff_error err;
    assert_ok(uqff_imatrix_open(save(&b), &imatrix, &err), &err);
    assert_int_equal(uqff_imatrix_count(imatrix), 1);
    const struct uqff_imatrix_entry *entry = uqff_imatrix_entry(imatrix, 0);
    static const float expected[] = {0.5f, 1.0f, 1.5f, 1.0f, 1.0f, 1.0f};
    assert_string_equal(entry->name, "w");
    assert_int_equal(entry->matrices, 2);
    assert_int_equal(entry->columns, 3);
    assert_memory_equal(entry->values, expected, sizeof expected);
    assert_string_equal(uqff_imatrix_dataset(imatrix), "wiki.txt");
    assert_int_equal(uqff_imatrix_chunks(imatrix), 9);
    uqff_imatrix_close(imatrix);
}

static void must_refuse(struct builder b, enum uqff_code code, const char *needle) {
    struct uqff_imatrix *imatrix;
    struct uqff_error err;
    assert_fails(uqff_imatrix_open(save(&b), &imatrix, &err), code, &err, needle);
}

static void refuses_what_does_not_fit(void **state) {
    (void)state;
    static const struct half pair[] = {SUMS(2, {3, 2}), COUNTS(2, {1, 2})};
    static const float counts[] = {2, 1, 1, 1}, negative[] = {2, -1}, endless[] = {INFINITY, 1};
    static const struct half swapped[] = {SUMS(2, {3, 2}), COUNTS(1, {2})};
    static const struct half fewer[] = {SUMS(2, {3, 2}), COUNTS(1, {1})};
    static const struct half deep[] = {SUMS(3, {3, 1, 2}), COUNTS(2, {1, 2})};
    static const struct half empty[] = {SUMS(1, {0}), COUNTS(1, {1})};
    static const struct half other[] = {{"w", UQFF_TYPE_F32, 1, {2}}};
    static const struct half ints[] = {SUMS(1, {2}), {"w.counts", UQFF_TYPE_I32, 1, {1}}};
    static const char *const keys[] = {"general.type", "imatrix.datasets", "imatrix.chunk_count",
                                       "imatrix.chunk_size"};
    for (unsigned key = 0; key < KEYS; key++) {
        must_refuse(build((enum key)key, false, pair, 2, counts), UQFF_E_FIELD, keys[key]);
    }
    must_refuse(build(KEYS, true, pair, 2, counts), UQFF_E_UNSUPPORTED, "big-endian");
    must_refuse(build(KEYS, false, pair, 0, counts), UQFF_E_MISSING, "no entries");
    must_refuse(build(KEYS, false, pair, 1, counts), UQFF_E_MISSING, ".counts is missing");
    must_refuse(build(KEYS, false, pair + 1, 1, counts), UQFF_E_MISSING, ".in_sum2 is missing");
    must_refuse(build(KEYS, false, pair, 2, negative), UQFF_E_FIELD, "w.counts");
    must_refuse(build(KEYS, false, pair, 2, endless), UQFF_E_NONFINITE, "w.counts");
    must_refuse(build(KEYS, false, swapped, 2, counts), UQFF_E_SHAPE, "w.counts");
    must_refuse(build(KEYS, false, fewer, 2, counts), UQFF_E_SHAPE, "w.counts");
    must_refuse(build(KEYS, false, deep, 2, counts), UQFF_E_SHAPE, "w.in_sum2");
    must_refuse(build(KEYS, false, empty, 2, counts), UQFF_E_SHAPE, "w.in_sum2");
    must_refuse(build(KEYS, false, other, 1, counts), UQFF_E_NAME, "'w'");
    must_refuse(build(KEYS, false, ints, 2, counts), UQFF_E_TYPE, "w.counts");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_experts),
        cmocka_unit_test(refuses_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
