/* Importance matrices: the three forms, the malformed corpus, look-up and filters. */
#include <stdio.h>

#include "support/support.h"
#include "uqff/model.h"

static struct uqff_imatrix *must_open(const char *path) {
    struct uqff_imatrix *imatrix;
    struct uqff_error err;
    assert_ok(uqff_imatrix_open(path, &imatrix, &err), &err);
    return imatrix;
}

/* ---- the bundled files ----------------------------------------------------------------------- */

static void reads_both_bundled_forms_alike(void **state) {
    (void)state;
    struct uqff_imatrix *dat = must_open(test_data("storyteller/imatrix.dat"));
    struct uqff_imatrix *gguf = must_open(test_data("storyteller/imatrix.gguf"));
    assert_int_equal(uqff_imatrix_count(dat), 28);
    assert_int_equal(uqff_imatrix_count(gguf), 28);
    assert_int_equal(uqff_imatrix_chunks(dat), 102);
    assert_int_equal(uqff_imatrix_chunks(gguf), 102);
    assert_non_null(strstr(uqff_imatrix_dataset(dat), "calibration.txt"));
    assert_string_equal(uqff_imatrix_dataset(dat), uqff_imatrix_dataset(gguf));
    for (size_t i = 0; i < 28; i++) {
        const struct uqff_imatrix_entry *a = uqff_imatrix_entry(dat, i);
        const struct uqff_imatrix_entry *b = uqff_imatrix_entry(gguf, i);
        assert_string_equal(a->name, b->name);
        assert_int_equal(a->matrices, 1);
        assert_int_equal(b->matrices, 1);
        assert_int_equal(a->columns, b->columns);
        for (uint64_t k = 0; k < a->columns; k++) {
            /* The older form was divided and multiplied once more. */
            double difference = (double)a->values[k] - (double)b->values[k];
            assert_true(difference < 0 ? -difference < 1e-6 * (double)b->values[k]
                                       : difference <= 1e-6 * (double)b->values[k]);
        }
    }
    size_t size;
    void *bytes = read_file(test_data("storyteller/imatrix.dat"), &size);
    struct uqff_digest digest = uqff_hash(bytes, size), found = uqff_imatrix_digest(dat);
    assert_true(uqff_digest_equal(&digest, &found));
    free(bytes);
    uqff_imatrix_close(dat);
    uqff_imatrix_close(gguf);
}

static void finds_the_entries_of_modules(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_model *model;
    struct uqff_imatrix *imatrix = must_open(test_data("storyteller/imatrix.gguf"));
    assert_ok(uqff_model_open(test_data("storyteller"), NULL, &model, &err), &err);
    for (size_t i = 0; i < uqff_model_module_count(model); i++) {
        const struct uqff_model_module *module = uqff_model_module(model, i);
        const struct uqff_imatrix_entry *entry = uqff_imatrix_find(imatrix, module);
        if (module->layer < 0) {
            assert_null(entry);
            continue;
        }
        assert_non_null(entry);
        assert_int_equal(entry->columns, module->columns);
        assert_memory_equal(entry->name, module->gguf_name, strlen(module->gguf_name));
    }
    uqff_model_close(model);
    uqff_imatrix_close(imatrix);
}

static void filters(void **state) {
    (void)state;
    static const char *const words[] = {"attn_v", "blk.3."};
    struct uqff_imatrix *imatrix = must_open(test_data("storyteller/imatrix.dat"));
    uqff_imatrix_filter(imatrix, words, 2, true);
    assert_int_equal(uqff_imatrix_count(imatrix), 10);
    uqff_imatrix_filter(imatrix, words, 1, false);
    assert_int_equal(uqff_imatrix_count(imatrix), 6);
    uqff_imatrix_filter(imatrix, NULL, 0, false);
    assert_int_equal(uqff_imatrix_count(imatrix), 6);
    uqff_imatrix_filter(imatrix, NULL, 0, true);
    assert_int_equal(uqff_imatrix_count(imatrix), 0);
    uqff_imatrix_close(imatrix);
}

/* ---- the malformed corpus -------------------------------------------------------------------- */

static void gives_the_verdicts_of_the_corpus(void **state) {
    (void)state;
    size_t count;
    const struct bad_case *cases = bad_cases("imatrix", &count);
    assert_true(count > 10);
    for (size_t i = 0; i < count; i++) {
        struct uqff_imatrix *imatrix = NULL;
        struct uqff_error err;
        enum uqff_code code = uqff_imatrix_open(bad_file(cases[i].file), &imatrix, &err);
        bool accepted = code == UQFF_OK;
        if (accepted != (strcmp(cases[i].verdict, "accept") == 0)) {
            fail_msg("%s: %s, found %s", cases[i].file, cases[i].reason,
                     accepted ? "accepted" : err.text);
        }
        if (!accepted) {
            assert_non_null(strstr(err.text, cases[i].file));
            assert_null(imatrix);
        }
        uqff_imatrix_close(imatrix);
    }
}

/* ---- files made here ------------------------------------------------------------------------- */

static void add_u32(struct uqff_buffer *out, uint32_t value) {
    unsigned char bytes[4];
    uqff_store_le32(bytes, value);
    uqff_buffer_append(out, bytes, 4);
}

static void add_u64(struct uqff_buffer *out, uint64_t value) {
    add_u32(out, (uint32_t)value);
    add_u32(out, (uint32_t)(value >> 32));
}

static void add_float(struct uqff_buffer *out, float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    add_u32(out, bits);
}

static const char *save(struct uqff_buffer *out, const char *name) {
    const char *path = scratch_file(name);
    assert_false(out->failed);
    write_file(path, out->data, out->size);
    uqff_buffer_free(out);
    return path;
}

/* One entry of a .dat with a tail of `tail` bytes. */
static void add_dat(struct uqff_buffer *out, uint32_t count, uint32_t calls, uint32_t values) {
    add_u32(out, count);
    add_u32(out, 3);
    uqff_buffer_append(out, "a.b", 3);
    add_u32(out, calls);
    add_u32(out, values);
    for (uint32_t i = 0; i < values; i++) {
        add_float(out, (float)(i + 1));
    }
}

static void reads_dat(void **state) {
    (void)state;
    struct uqff_buffer out = {0};
    add_dat(&out, 1, 4, 3);
    struct uqff_imatrix *imatrix = must_open(save(&out, "plain.dat"));
    const struct uqff_imatrix_entry *entry = uqff_imatrix_entry(imatrix, 0);
    assert_string_equal(entry->name, "a.b");
    assert_int_equal(entry->columns, 3);
    assert_true(entry->values[0] == 0.25f && entry->values[1] == 0.5f && entry->values[2] == 0.75f);
    assert_int_equal(uqff_imatrix_chunks(imatrix), 0);
    assert_string_equal(uqff_imatrix_dataset(imatrix), "");
    uqff_imatrix_close(imatrix);

    add_dat(&out, 1, 4, 3);
    add_u32(&out, 7);
    imatrix = must_open(save(&out, "chunks.dat"));
    assert_int_equal(uqff_imatrix_chunks(imatrix), 7);
    uqff_imatrix_close(imatrix);

    add_dat(&out, 1, 4, 3);
    add_u32(&out, 7);
    add_u32(&out, 0);
    uqff_imatrix_close(must_open(save(&out, "nameless.dat")));
}

static void refuses_broken_dat(void **state) {
    (void)state;
    static const struct {
        const char *tail;
        size_t size;
        enum uqff_code code;
        const char *needle;
    } cases[] = {
        {"\1\0", 2, UQFF_E_TRUNCATED, "chunks"},
        {"\377\377\377\377", 4, UQFF_E_FIELD, "-1"},
        {"\1\0\0\0\2\0", 6, UQFF_E_TRUNCATED, "dataset"},
        {"\1\0\0\0\2\0\0\0a", 9, UQFF_E_LAYOUT, "dataset"},
        {"\1\0\0\0\377\377\377\377a", 9, UQFF_E_LAYOUT, "-1"},
        {"\1\0\0\0\1\0\0\0ab", 10, UQFF_E_LAYOUT, "2 bytes"},
        {"\1\0\0\0\1\0\0\0\377", 9, UQFF_E_ENCODING, "UTF-8"},
    };
    struct uqff_buffer out = {0};
    struct uqff_imatrix *imatrix;
    struct uqff_error err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        add_dat(&out, 1, 1, 2);
        uqff_buffer_append(&out, cases[i].tail, cases[i].size);
        assert_fails(uqff_imatrix_open(save(&out, "tail.dat"), &imatrix, &err), cases[i].code, &err,
                     cases[i].needle);
    }
    add_dat(&out, 2, 1, 2);
    assert_fails(uqff_imatrix_open(save(&out, "short.dat"), &imatrix, &err), UQFF_E_TRUNCATED, &err,
                 "name length");
    add_dat(&out, 1, 1, 1);
    out.data[8] = 0;
    assert_fails(uqff_imatrix_open(save(&out, "nul.dat"), &imatrix, &err), UQFF_E_ENCODING, &err,
                 "name");
    add_dat(&out, 1, 1, 1);
    out.data[out.size - 1] = (char)0xbf;
    assert_fails(uqff_imatrix_open(save(&out, "negative.dat"), &imatrix, &err), UQFF_E_FIELD, &err,
                 "a.b");
    assert_fails(uqff_imatrix_open(scratch_file("absent"), &imatrix, &err), UQFF_E_NOT_FOUND, &err,
                 "absent");
}

static void add_key(struct uqff_buffer *out, const char *key, uint64_t values) {
    add_u64(out, strlen(key));
    uqff_buffer_append(out, key, strlen(key));
    add_u64(out, values);
    for (uint64_t i = 0; i < values; i++) {
        add_float(out, (float)i);
    }
}

static void reads_cimatrix(void **state) {
    (void)state;
    struct uqff_buffer out = {0};
    add_u64(&out, 2);
    add_key(&out, "model.layers.1.mlp.up_proj", 3);
    add_key(&out, "model.layers.0.mlp.up_proj", 2);
    struct uqff_imatrix *imatrix = must_open(save(&out, "two.cimatrix"));
    assert_int_equal(uqff_imatrix_count(imatrix), 2);
    assert_string_equal(uqff_imatrix_entry(imatrix, 0)->name, "model.layers.0.mlp.up_proj");
    struct uqff_model_module module = {.name = "model.layers.1.mlp.up_proj",
                                       .gguf_name = "blk.1.ffn_up"};
    const struct uqff_imatrix_entry *entry = uqff_imatrix_find(imatrix, &module);
    assert_non_null(entry);
    assert_int_equal(entry->columns, 3);
    assert_true(entry->values[2] == 2);
    module.gguf_name = NULL;
    assert_ptr_equal(uqff_imatrix_find(imatrix, &module), entry);
    module.name = "model.layers.1.mlp.up_pro";
    assert_null(uqff_imatrix_find(imatrix, &module));
    uqff_imatrix_close(imatrix);
}

static void refuses_broken_cimatrix(void **state) {
    (void)state;
    struct uqff_buffer out = {0};
    struct uqff_imatrix *imatrix;
    struct uqff_error err;
    add_u64(&out, 2);
    add_key(&out, "a", 1);
    assert_fails(uqff_imatrix_open(save(&out, "short"), &imatrix, &err), UQFF_E_TRUNCATED, &err,
                 "name length");
    add_u64(&out, 1);
    add_key(&out, "a", 1);
    add_u32(&out, 0);
    assert_fails(uqff_imatrix_open(save(&out, "long"), &imatrix, &err), UQFF_E_LAYOUT, &err,
                 "4 bytes behind");
    add_u64(&out, 1);
    add_key(&out, "a", 0);
    assert_fails(uqff_imatrix_open(save(&out, "zero"), &imatrix, &err), UQFF_E_FIELD, &err,
                 "number of values");
    add_u64(&out, 2);
    add_key(&out, "a", 1);
    add_key(&out, "a", 2);
    assert_fails(uqff_imatrix_open(save(&out, "twice"), &imatrix, &err), UQFF_E_DUPLICATE, &err,
                 "'a' occurs twice");
    add_u64(&out, 1);
    add_u64(&out, 1);
    uqff_buffer_append(&out, "a", 1);
    add_u64(&out, UINT64_MAX / 4 + 2);
    assert_fails(uqff_imatrix_open(save(&out, "wrap"), &imatrix, &err), UQFF_E_TRUNCATED, &err,
                 "values");
    add_u64(&out, 1);
    add_u64(&out, UINT64_MAX);
    assert_fails(uqff_imatrix_open(save(&out, "name"), &imatrix, &err), UQFF_E_TRUNCATED, &err,
                 "name");
    /* The older form: an ordinal, a byte, values. */
    add_u64(&out, 1);
    add_u64(&out, 0);
    uqff_buffer_append(&out, "\0", 1);
    assert_fails(uqff_imatrix_open(save(&out, "older"), &imatrix, &err), UQFF_E_UNSUPPORTED, &err,
                 "older form");
}

static void survives_failing_allocations(void **state) {
    (void)state;
    static const char *const files[] = {"storyteller/imatrix.dat", "storyteller/imatrix.gguf"};
    for (size_t i = 0; i < 2; i++) {
        for (size_t n = 1;; n++) {
            struct uqff_imatrix *imatrix = NULL;
            struct uqff_error err;
            fail_allocation(n);
            enum uqff_code code = uqff_imatrix_open(test_data(files[i]), &imatrix, &err);
            fail_allocation(0);
            if (code == UQFF_OK) {
                assert_true(n > 5);
                uqff_imatrix_close(imatrix);
                break;
            }
            assert_int_equal(code, UQFF_E_MEMORY);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_both_bundled_forms_alike),
        cmocka_unit_test(finds_the_entries_of_modules),
        cmocka_unit_test(filters),
        cmocka_unit_test(gives_the_verdicts_of_the_corpus),
        cmocka_unit_test(reads_dat),
        cmocka_unit_test(refuses_broken_dat),
        cmocka_unit_test(reads_cimatrix),
        cmocka_unit_test(refuses_broken_cimatrix),
        cmocka_unit_test(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
