/* The test vectors of spec/multi-quant.md and spec/uqff.md: the files under testdata/container/ are
 * what the pages show, and what the writer makes. Run with a directory, it writes the files there.
 */
#include "unit/test_container_builder.h"

static const char made_by[] = "0.1.0";

static const struct uqff_spec_module modules[] = {
    {.name = "head", .rank = 2, .shape = (const uint64_t[]){1, 32}},
    {.name = "layers.0.proj",
     .rank = 2,
     .shape = (const uint64_t[]){2, 32},
     .has_bias = true,
     .bias_type = UQFF_TYPE_BF16},
};
static const uint32_t q8_types[] = {UQFF_TYPE_Q8_0, UQFF_TYPE_Q8_0};
static const uint32_t q4_types[] = {UQFF_TYPE_Q8_0, UQFF_TYPE_Q4_0};
static const struct uqff_spec_variant variants[] = {
    {.name = "q8_0", .recipe = "Q8_0", .type = UQFF_TYPE_Q8_0, .types = q8_types},
    {.name = "q4_0", .recipe = "Q4_0", .type = UQFF_TYPE_Q4_0, .types = q4_types},
};
static const struct uqff_spec_tensor residual[] = {
    {.name = "norm.weight", .type = UQFF_TYPE_F32, .rank = 1, .shape = (const uint64_t[]){2}},
};
static const char config[] = "{\"a\":1}\n";
static const struct uqff_spec_asset assets[] = {{.path = "config.json", .size = sizeof config - 1}};

static struct uqff_container_spec multi_spec(void) {
    return (struct uqff_container_spec){
        .multi = true,
        .stem = "tiny",
        .modules = modules,
        .module_count = COUNT(modules),
        .variants = variants,
        .variant_count = COUNT(variants),
        .default_variant = 0,
        .residual = residual,
        .residual_count = COUNT(residual),
        .assets = assets,
        .asset_count = COUNT(assets),
        .alignment = 64,
    };
}

static struct uqff_container_spec plain_spec(void) {
    return (struct uqff_container_spec){
        .stem = "plain",
        .modules = modules,
        .module_count = COUNT(modules),
        .variants = &variants[1],
        .variant_count = 1,
    };
}

/* Column c of row r is (c - 16) * (r + 1) / 16. */
static void encode(const struct uqff_plan_entry *entry, unsigned char *out) {
    struct uqff_error err;
    const uint64_t *shape = modules[entry->index].shape;
    uint64_t row_bytes;
    assert_ok(uqff_row_bytes(entry->type, 32, &row_bytes, &err), &err);
    for (uint64_t r = 0; r < shape[0]; r++) {
        float row[32];
        for (int c = 0; c < 32; c++) {
            row[c] = (float)(c - 16) * (float)(r + 1) / 16.0f;
        }
        assert_ok(uqff_quantize_row(entry->type, row, out + r * row_bytes, 32, NULL, &err), &err);
    }
}

static void write_vector(const struct uqff_container_spec *spec, const char *directory) {
    static const unsigned char bias[] = {0, 0, 0xc0, 0x3f, 0, 0, 0, 0xc0}; /* 1.5, -2 */
    static const unsigned char norm[] = {0, 0, 0x80, 0x3f, 0, 0, 0, 0x3f}; /* 1, 0.5 */
    struct uqff_error err;
    struct uqff_container_plan *plan;
    struct uqff_container_writer *writer;
    assert_ok(uqff_container_plan_new(spec, &plan, &err), &err);
    assert_ok(uqff_container_writer_new(plan, directory, true, &writer, &err), &err);
    for (size_t i = 0; i < uqff_container_plan_count(plan); i++) {
        const struct uqff_plan_entry *entry = uqff_container_plan_entry(plan, i);
        unsigned char blob[256];
        const void *bytes = entry->kind == UQFF_PLAN_BIAS       ? (const void *)bias
                            : entry->kind == UQFF_PLAN_RESIDUAL ? (const void *)norm
                            : entry->kind == UQFF_PLAN_ASSET    ? (const void *)config
                                                                : (const void *)blob;
        if (!by_caller(entry)) {
            continue;
        }
        if (entry->kind == UQFF_PLAN_BLOB) {
            encode(entry, blob);
        }
        assert_ok(uqff_container_writer_append(writer, i, bytes, (size_t)entry->bytes, &err), &err);
    }
    /* The vectors keep the version that they were made with. */
    assert_ok(uqff_container_writer_metadata(writer, "uqff.producer.version", made_by, &err), &err);
    assert_ok(uqff_container_writer_publish(writer, &err), &err);
    uqff_container_writer_free(writer);
    uqff_container_plan_free(plan);
}

/* The page as text. */
static char *read_page(const char *name) {
    size_t size;
    char *bytes = read_file(test_data(name), &size);
    char *text = malloc(size + 1);
    assert_non_null(text);
    memcpy(text, bytes, size);
    text[size] = 0;
    free(bytes);
    return text;
}

/* The header: the page's first line that begins with "    {\"__metadata__\"". */
static void assert_header(const char *page, const char *file, size_t header) {
    const char *line = strstr(page, "\n    {\"__metadata__\"");
    assert_non_null(line);
    line += 5;
    size_t n = strcspn(line, "\n");
    assert_true(n <= header);
    assert_memory_equal(line, file + 8, n);
    for (size_t i = n; i < header; i++) {
        assert_int_equal(file[8 + i], ' ');
    }
}

/* The data: lines "    0080  64 61 …", by offset in the file; "*" lines stand for zeros left out.
 */
static void assert_data(const char *page, const char *file, size_t start, size_t size) {
    size_t next = start;
    for (const char *line = page; line != NULL; line = strchr(line + 1, '\n')) {
        unsigned offset, byte;
        int used;
        if (sscanf(line, "\n    %4x  %n%2x", &offset, &used, &byte) != 2 ||
            strncmp(line, "\n    ", 5) != 0) {
            continue;
        }
        for (; next < offset; next++) {
            assert_int_equal(file[next], 0);
        }
        assert_int_equal(next, offset);
        for (const char *p = line + used; sscanf(p, "%2x", &byte) == 1; p += 3) {
            assert_true(next < size);
            assert_int_equal((unsigned char)file[next], byte);
            next++;
            if (p[2] == '\n') {
                break;
            }
        }
    }
    assert_int_equal(next, size);
}

static void check_vector(const struct uqff_container_spec *spec, const char *name,
                         const char *page_name) {
    char path[64];
    if (sizeof made_by != sizeof UQFF_VERSION) {
        skip(); /* another length moves every offset */
    }
    const char *directory = fresh_directory(name);
    snprintf(path, sizeof path, "container/%s", name);
    write_vector(spec, directory);
    size_t m, n;
    char *stored = read_file(test_data(path), &m);
    char *made = read_file(in_directory(directory, name), &n);
    assert_int_equal(m, n);
    assert_memory_equal(stored, made, m);
    char *page = read_page(page_name);
    size_t header = (size_t)uqff_load_le64(stored);
    assert_header(page, stored, header);
    assert_data(page, stored, 8 + header, m);
    free(stored);
    free(made);
    free(page);
}

static void test_multi(void **state) {
    (void)state;
    struct uqff_container_spec spec = multi_spec();
    check_vector(&spec, "tiny.uqff", "../spec/multi-quant.md");
}

static void test_plain(void **state) {
    (void)state;
    struct uqff_container_spec spec = plain_spec();
    check_vector(&spec, "plain-0.uqff", "../spec/uqff.md");
}

/* What the pages say that the files decode to. */
static void test_values(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_container *container;
    assert_ok(uqff_container_open(test_data("container/tiny.uqff"), NULL, &container, &err), &err);
    size_t proj = uqff_container_find_module(container, "layers.0.proj");
    for (size_t v = 0; v < 2; v++) {
        float rows[64];
        const struct uqff_variant *variant = uqff_container_variant(container, v);
        assert_ok(uqff_container_read_rows(container, variant->blobs[proj], 0, 2, rows, &err),
                  &err);
        for (int i = 0; i < 64; i++) {
            float x = (float)(i % 32 - 16) * (float)(i / 32 + 1) / 16.0f;
            float error = rows[i] > x ? rows[i] - x : x - rows[i];
            assert_true(error <= (v == 0 ? 0.01f : 0.26f));
        }
    }
    uqff_container_close(container);
}

int main(int argc, char **argv) {
    if (argc == 2) {
        struct uqff_container_spec multi = multi_spec(), plain = plain_spec();
        write_vector(&multi, argv[1]);
        write_vector(&plain, argv[1]);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_multi),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
