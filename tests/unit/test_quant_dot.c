/* The test vectors of spec/kernels.md, read from the page itself, at every level of this machine.
 * That levels agree with each other is the business of tests/kernels/test_dot.c; here they agree
 * with the page. */
#include "support/support.h"
#include "uqff/quant.h"

enum { COLUMNS = 1024 };

static const struct { size_t weights, activations; } pairs[2] = {{1, 5}, {4, 6}};

static void read_row(const unsigned char *file, size_t row, float *out) {
    for (size_t i = 0; i < COLUMNS; i++) {
        uint32_t bits = uqff_load_le32(file + 4 * (row * COLUMNS + i));
        memcpy(&out[i], &bits, sizeof bits);
    }
}

static void check_product(uint32_t type, uint32_t activations, const float *w, const float *x,
                          uint32_t expected) {
    static unsigned char encoded_w[4 * COLUMNS], encoded_x[4 * COLUMNS];
    struct uqff_error err;
    float out;
    uint32_t bits;
    const void *row_of_x = activations == UQFF_TYPE_F32 ? (const void *)x : encoded_x;
    assert_ok(uqff_quantize_row(type, w, encoded_w, COLUMNS, NULL, &err), &err);
    assert_ok(uqff_quantize_row(activations, x, encoded_x, COLUMNS, NULL, &err), &err);
    assert_ok(uqff_dot(type, encoded_w, activations, row_of_x, COLUMNS, &out, &err), &err);
    memcpy(&bits, &out, sizeof bits);
    if (bits != expected) {
        fail_msg("%s x %s at level %s: %08x, expected %08x", uqff_type_name(type),
                 uqff_type_name(activations), uqff_cpu_level_name(uqff_cpu_level()), bits,
                 expected);
    }
}

/* ---- the page -------------------------------------------------------------------------------- */

/* A row of the table: the product in blocks and the exact one, for two pairs of rows. Plain types
 * have no first one. */
struct vector {
    uint32_t type;
    bool given[2][2];
    uint32_t bits[2][2];
};

/* The cell that begins at *at, without spaces around it; *at moves behind the bar that ends it. */
static bool next_cell(const char **at, char *cell, size_t size) {
    const char *bar = strpbrk(*at, "|\n");
    if (bar == NULL || *bar != '|') {
        return false;
    }
    const char *from = *at, *to = bar;
    while (from < to && *from == ' ') {
        from++;
    }
    while (from < to && to[-1] == ' ') {
        to--;
    }
    assert_true((size_t)(to - from) < size);
    memcpy(cell, from, (size_t)(to - from));
    cell[to - from] = '\0';
    *at = bar + 1;
    return true;
}

/* Reads `| TYPE | `bits` | `bits` | `bits` | `bits` |`; false for what is not such a row. */
static bool read_vector(const char *line, struct vector *v) {
    char cell[16];
    if (*line++ != '|' || !next_cell(&line, cell, sizeof cell)) {
        return false;
    }
    const struct uqff_type_info *type = uqff_type_by_name(cell);
    if (type == NULL) {
        return false;
    }
    *v = (struct vector){.type = type->id};
    for (int i = 0; i < 4; i++) {
        char *end;
        assert_true(next_cell(&line, cell, sizeof cell));
        if (cell[0] != '\0') {
            assert_true(cell[0] == '`' && strlen(cell) == 10);
            v->bits[i / 2][i % 2] = (uint32_t)strtoul(cell + 1, &end, 16);
            v->given[i / 2][i % 2] = true;
            assert_true(end == cell + 9);
        }
    }
    return true;
}

/* Every type that can be encoded and stored stands in the table. */
static size_t types_expected(void) {
    size_t count, expected = 0;
    const struct uqff_type_info *types = uqff_type_table(&count);
    for (size_t i = 0; i < count; i++) {
        expected += (types[i].flags & UQFF_TYPE_CAN_ENCODE) != 0 &&
                    uqff_activation_type(types[i].id) != UQFF_NO_TYPE;
    }
    return expected;
}

static void check_vector(const unsigned char *input, const struct vector *v) {
    static float w[COLUMNS], x[COLUMNS];
    uint32_t activations = uqff_activation_type(v->type);
    for (int p = 0; p < 2; p++) {
        read_row(input, pairs[p].weights, w);
        read_row(input, pairs[p].activations, x);
        assert_true(v->given[p][1]);
        assert_int_equal(v->given[p][0], activations != UQFF_TYPE_F32);
        if (v->given[p][0]) {
            check_product(v->type, activations, w, x, v->bits[p][0]);
        }
        check_product(v->type, UQFF_TYPE_F32, w, x, v->bits[p][1]);
    }
}

static void check_page(void) {
    size_t n, rows = 0;
    unsigned char *input = read_file(test_data("golden/input.f32"), NULL);
    char *page = (char *)read_file(UQFF_TESTDATA "/../spec/kernels.md", &n);
    page = (char *)realloc(page, n + 1);
    assert_non_null(page);
    page[n] = '\0';
    const char *line = strstr(page, "### 8.2 Golden rows");
    while (line != NULL && (line = strchr(line, '\n')) != NULL) {
        struct vector v;
        if (read_vector(++line, &v)) {
            check_vector(input, &v);
            rows++;
        }
    }
    assert_int_equal(rows, types_expected());
    free(page);
    free(input);
}

static void golden_rows(void **state) {
    static const enum uqff_cpu_level levels[] = {UQFF_CPU_REF, UQFF_CPU_AVX2, UQFF_CPU_AVX512,
                                                 UQFF_CPU_NEON};
    (void)state;
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        struct uqff_error err;
        if (uqff_cpu_set_level(levels[i], &err) == UQFF_OK) {
            check_page();
        }
    }
}

static void by_hand(void **state) {
    (void)state;
    unsigned char w[18], x[34];
    float v[32], out;
    struct uqff_error err;
    assert_ok(uqff_cpu_set_level(uqff_cpu_found(), &err), &err);
    for (int k = 0; k < 32; k++) {
        v[k] = (float)(k - 16);
    }
    assert_ok(uqff_quantize_row(UQFF_TYPE_Q4_0, v, w, 32, NULL, &err), &err);
    assert_ok(uqff_quantize_row(UQFF_TYPE_Q8_0, v, x, 32, NULL, &err), &err);
    assert_ok(uqff_dot(UQFF_TYPE_Q4_0, w, UQFF_TYPE_Q8_0, x, 32, &out, &err), &err);
    assert_true(out == 10733.0f * 0.251953125f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_rows),
        cmocka_unit_test(by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
