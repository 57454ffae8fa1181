/*
 * The checker of dot and matrix kernels: every level of this machine against the reference, bit for
 * bit, over types, lengths, kinds of rows, shapes of batches, alignments, and against pages that
 * may not be touched; and the reference against sums in double precision of what rows decode to.
 *
 *   test_dot [TYPE...]       only these types
 *   UQFF_TEST_FULL=1         many more rows
 *   UQFF_TEST_SEED=N         another first seed
 *
 * It stands alone (no test framework), so that a small cross build can run it in an emulator.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fills.h"
#include "uqff/quant.h"

enum {
    MAX_COLUMNS = 256 * 19,
    MAX_ROWS = 50,
    MAX_TOKENS = 40,
    MAX_BYTES = MAX_COLUMNS * MAX_ROWS * 8,
};

/* ---- memory with an end ---------------------------------------------------------------------- */

/* Bytes with a page before and after them that may not be touched. */
struct guarded {
    unsigned char *base;
    size_t size;
};

static struct guarded guarded_new(size_t size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size = (size + page - 1) / page * page;
    unsigned char *p =
        mmap(NULL, size + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || mprotect(p, page, PROT_NONE) != 0 ||
        mprotect(p + page + size, page, PROT_NONE) != 0) {
        perror("test_dot: guard pages");
        exit(2);
    }
    return (struct guarded){p + page, size};
}

/* `size` bytes right before the page after or right after the page before, or `slack` away. */
static void *place(struct guarded g, size_t size, size_t slack, bool at_end) {
    if (size + slack > g.size) {
        fprintf(stderr, "test_dot: %zu bytes are too many\n", size);
        exit(2);
    }
    return at_end ? g.base + g.size - size - slack : g.base + slack;
}

static struct guarded weight_memory, activation_memory, float_memory, out_memory, scratch_memory;

/* ---- helpers --------------------------------------------------------------------------------- */

static int failures;
static uint64_t compared;

static void must(enum uqff_code code, const struct uqff_error *err) {
    if (code != UQFF_OK) {
        fprintf(stderr, "test_dot: %s\n", err->text);
        exit(2);
    }
}

/* The level that is compared with the reference. */
static enum uqff_cpu_level tested;

static void use_level(enum uqff_cpu_level level) {
    struct uqff_error err;
    must(uqff_cpu_set_level(level, &err), &err);
}

static size_t row_bytes(uint32_t type, size_t n) {
    uint64_t bytes;
    struct uqff_error err;
    must(uqff_row_bytes(type, n, &bytes, &err), &err);
    return (size_t)bytes;
}

static uint32_t bits_of(float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

/* Activations as uqff_dot takes them. */
static void encode_activations(uint32_t type, const float *floats, void *x, size_t n) {
    struct uqff_error err;
    if (type == UQFF_TYPE_F32) {
        memcpy(x, floats, n * sizeof *floats);
    } else {
        must(uqff_quantize_row(type, floats, x, n, NULL, &err), &err);
    }
}

static float dot(uint32_t type, const void *w, uint32_t activations, const void *x, size_t n) {
    float out;
    struct uqff_error err;
    must(uqff_dot(type, w, activations, x, n, &out, &err), &err);
    return out;
}

/* How rows of weights are made: encoded from a fill, or of random bytes. */
struct recipe {
    uint64_t seed;
    const struct fill *weights; /* NULL: any bytes */
    const struct fill *activations;
    unsigned variant; /* picks the alignments and the end of the guarded memory */
};

static void fill_floats(const struct fill *fill, struct random *r, float *x, size_t n) {
    static float padded[MAX_COLUMNS + 32];
    fill->fill(r, padded, (n + 31) / 32 * 32);
    memcpy(x, padded, n * sizeof *x);
}

static void make_weights(const struct recipe *recipe, struct random *r, uint32_t type, size_t n,
                         unsigned char *w) {
    static float x[MAX_COLUMNS];
    struct uqff_error err;
    if (recipe->weights && uqff_type_info(type)->flags & UQFF_TYPE_CAN_ENCODE) {
        fill_floats(recipe->weights, r, x, n);
        must(uqff_quantize_row(type, x, w, n, NULL, &err), &err);
        return;
    }
    for (size_t i = 0; i < row_bytes(type, n); i++) {
        w[i] = (unsigned char)(random_bits(r) >> 56);
    }
}

static void describe(const struct recipe *recipe, const char *level, uint32_t type,
                     uint32_t activations, size_t n) {
    fprintf(stderr,
            "%s %s x %s: weights '%s', activations '%s', seed %" PRIu64
            ", variant %u, %zu elements: ",
            level, uqff_type_name(type), uqff_type_name(activations),
            recipe->weights ? recipe->weights->name : "any bytes", recipe->activations->name,
            recipe->seed, recipe->variant, n);
    failures++;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* The sum as a plain mind would take it, and how far off a chain of float32 sums may be. */
static void check_against_doubles(const struct recipe *recipe, uint32_t type, const void *w,
                                  uint32_t activations, const void *x, size_t n, float found) {
    static float decoded_w[MAX_COLUMNS], decoded_x[MAX_COLUMNS];
    struct uqff_error err;
    must(uqff_dequantize_row(type, w, decoded_w, n, &err), &err);
    if (activations == UQFF_TYPE_F32) {
        memcpy(decoded_x, x, n * sizeof decoded_x[0]);
    } else {
        must(uqff_dequantize_row(activations, x, decoded_x, n, &err), &err);
    }
    double sum = 0.0, size = 0.0, largest = 0.0, size_of_x = 0.0, largest_x = 0.0;
    for (size_t k = 0; k < n; k++) {
        double product = (double)decoded_w[k] * (double)decoded_x[k];
        sum += product;
        size += fabs(product);
        size_of_x += fabs((double)decoded_x[k]);
        largest = fmax(largest, fabs((double)decoded_w[k]));
        largest_x = fmax(largest_x, fabs((double)decoded_x[k]));
    }
    /* Where a minimum is taken off, both parts may be larger than what remains. Q8_1 holds the sum
     * of a block in eleven bits, and takes it from a scale that is not yet rounded: where its f16
     * are subnormal, each of up to 127 units of a value is off by up to 2^-25. */
    bool coarse = activations == UQFF_TYPE_Q8_1;
    double bound = size * 0x1p-19 + largest * size_of_x * (coarse ? 0x1p-8 : 0x1p-19);
    bound += largest * (double)n * (coarse ? 0x1p-17 : 0.0) + 1e-37 * (double)(n + 1);
    if (!(size < 1e38) || largest_x > 1e30 || (coarse && !isfinite(found))) {
        return; /* the sum, or something on the way to it, overflows */
    }
    if (!(fabs((double)found - sum) <= bound)) {
        describe(recipe, "ref", type, activations, n);
        fprintf(stderr, "%.9g, in double precision %.9g, sizes %.9g\n", (double)found, sum, size);
    }
}

static void check_dot(const struct recipe *recipe, uint32_t type, uint32_t activations, size_t n) {
    struct random r = random_from(recipe->seed);
    bool at_end = recipe->variant & 1;
    size_t w_size = row_bytes(type, n);
    size_t x_size = row_bytes(activations, n);
    size_t unit = activations == UQFF_TYPE_F32 ? 4 : 1;
    unsigned char *w = place(weight_memory, w_size, recipe->variant / 2 % 32, at_end);
    void *x = place(activation_memory, x_size, recipe->variant / 3 % 32 / unit * unit, at_end);
    float *floats = place(float_memory, n * sizeof(float), 0, at_end);

    use_level(UQFF_CPU_REF);
    make_weights(recipe, &r, type, n, w);
    fill_floats(recipe->activations, &r, floats, n);
    encode_activations(activations, floats, x, n);
    float expected = dot(type, w, activations, x, n);
    if (recipe->weights) {
        check_against_doubles(recipe, type, w, activations, x, n, expected);
    }
    if (expected != expected && bits_of(expected) != 0x7fc00000) {
        describe(recipe, "ref", type, activations, n);
        fprintf(stderr, "NaN %08" PRIx32 "\n", bits_of(expected));
    }
    use_level(tested);
    float found = dot(type, w, activations, x, n);
    compared++;
    if (bits_of(found) != bits_of(expected)) {
        describe(recipe, uqff_cpu_level_name(tested), type, activations, n);
        fprintf(stderr, "%.9g %08" PRIx32 ", reference %.9g %08" PRIx32 "\n", (double)found,
                bits_of(found), (double)expected, bits_of(expected));
    }
}

/* ---- matrices -------------------------------------------------------------------------------- */

struct shape {
    size_t columns, rows, tokens;
};

/* Each product of the matrix must be that of its two rows, whichever level took either. The work is
 * divided in the middle, as two threads would. */
static void check_matmul(const struct recipe *recipe, enum uqff_cpu_level level, uint32_t type,
                         uint32_t activations, struct shape s) {
    struct random r = random_from(recipe->seed);
    struct uqff_error err;
    struct uqff_matmul plan;
    bool at_end = recipe->variant & 1;
    use_level(level);
    must(uqff_matmul_plan(type, activations, s.columns, s.tokens, &plan, &err), &err);

    size_t w_bytes = plan.row_bytes;
    size_t x_stride = s.columns + recipe->variant / 2 % 3;
    size_t out_stride = s.rows + recipe->variant / 3 % 3;
    size_t out_size = s.tokens * out_stride * sizeof(float);
    unsigned char *w = place(weight_memory, s.rows * w_bytes, recipe->variant / 5 % 32, at_end);
    float *x = place(float_memory, s.tokens * x_stride * sizeof(float), 0, at_end);
    void *prepared =
        place(activation_memory, plan.activation_bytes, recipe->variant / 7 % 64, at_end);
    float *out = place(out_memory, out_size, 0, at_end);
    void *scratch = place(scratch_memory, plan.scratch_bytes, recipe->variant / 11 % 64, at_end);

    for (size_t row = 0; row < s.rows; row++) {
        make_weights(recipe, &r, type, s.columns, w + row * w_bytes);
    }
    for (size_t t = 0; t < s.tokens; t++) {
        fill_floats(recipe->activations, &r, x + t * x_stride, s.columns);
        for (size_t i = s.columns; i < x_stride; i++) {
            x[t * x_stride + i] = NAN;
        }
    }
    memset(prepared, 0xff, plan.activation_bytes);
    memset(scratch, 0xff, plan.scratch_bytes);
    memset(out, 0xa5, out_size);

    size_t middle_token = s.tokens / 2;
    size_t middle_row = s.rows / 2;
    uqff_matmul_prepare(&plan, x, x_stride, middle_token, s.tokens - middle_token, prepared);
    uqff_matmul_prepare(&plan, x, x_stride, 0, middle_token, prepared);
    uqff_matmul_run(&plan, w, middle_row, prepared, out, out_stride, scratch);
    uqff_matmul_run(&plan, w + middle_row * w_bytes, s.rows - middle_row, prepared,
                    out + middle_row, out_stride, scratch);

    _Alignas(float) static unsigned char row_of_x[MAX_COLUMNS * 8];
    for (size_t t = 0; t < s.tokens; t++) {
        encode_activations(activations, x + t * x_stride, row_of_x, s.columns);
        for (size_t row = 0; row < s.rows; row++) {
            /* One of the two levels, by turns. */
            use_level((row + t) % 11 == 0 ? UQFF_CPU_REF : tested);
            float expected = dot(type, w + row * w_bytes, activations, row_of_x, s.columns);
            float found = out[t * out_stride + row];
            compared++;
            if (bits_of(found) != bits_of(expected)) {
                describe(recipe, uqff_cpu_level_name(level), type, activations, s.columns);
                fprintf(stderr,
                        "matrix of %zu rows, %zu tokens: row %zu, token %zu: %.9g %08" PRIx32
                        ", product of rows %.9g %08" PRIx32 "\n",
                        s.rows, s.tokens, row, t, (double)found, bits_of(found), (double)expected,
                        bits_of(expected));
                return;
            }
        }
        for (size_t i = s.rows; i < out_stride; i++) {
            if (bits_of(out[t * out_stride + i]) != 0xa5a5a5a5) {
                describe(recipe, uqff_cpu_level_name(level), type, activations, s.columns);
                fprintf(stderr, "wrote beyond %zu rows of token %zu\n", s.rows, t);
                return;
            }
        }
    }
}

/* ---- sweeps ---------------------------------------------------------------------------------- */

static bool full;
static uint64_t first_seed = 1;

static struct recipe recipe_of(struct random *r, uint64_t seed, bool any_bytes) {
    return (struct recipe){
        .seed = seed,
        .weights = any_bytes ? NULL : &fills[random_below(r, FILLS)],
        .activations = &fills[random_below(r, FILLS)],
        .variant = (unsigned)(random_bits(r) >> 40),
    };
}

static void sweep_rows(const struct uqff_type_info *type, uint32_t activations) {
    struct random r = random_from(first_seed + type->id);
    size_t block = type->block_length;
    unsigned rounds = full ? 20000 : 240;
    for (unsigned i = 0; i < rounds; i++) {
        struct recipe recipe = recipe_of(&r, first_seed + i, i % 8 == 0);
        /* Every number of blocks at first; lengths of plain types need not be even. */
        size_t most = MAX_COLUMNS / block;
        size_t blocks = i < 40 ? i : random_below(&r, (uint32_t)(i % 4 ? most / 8 : most) + 1);
        blocks = blocks > most ? most : blocks;
        check_dot(&recipe, type->id, activations, blocks * block);
    }
}

static void sweep_matrices(const struct uqff_type_info *type, uint32_t activations) {
    struct random r = random_from(first_seed + 1000 + type->id);
    size_t block = type->block_length;
    unsigned rounds = full ? 1500 : type->flags & UQFF_TYPE_CAN_ENCODE ? 24 : 6;
    for (unsigned i = 0; i < rounds; i++) {
        struct recipe recipe = recipe_of(&r, first_seed + i, i % 6 == 0);
        size_t most = (i % 9 ? 256 * 4 : MAX_COLUMNS) / block;
        struct shape s = {
            .columns = block * (i < 4 ? i : random_below(&r, (uint32_t)most + 1)),
            .rows = 1 + random_below(&r, i % 4 ? 18 : MAX_ROWS),
            .tokens = random_below(&r, i % 5 ? 8 : MAX_TOKENS),
        };
        check_matmul(&recipe, i % 12 ? tested : UQFF_CPU_REF, type->id, activations, s);
    }
}

/* Rows whose integers are as large as they get: all codes at an end, all activations at another. */
static void sweep_extremes(const struct uqff_type_info *type, uint32_t activations) {
    static const unsigned char ends[] = {0x00, 0x0f, 0xf0, 0xff, 0x7f, 0x80, 0x3f, 0xaa, 0x55};
    static float x[MAX_COLUMNS];
    _Alignas(float) static unsigned char row_of_x[MAX_COLUMNS * 8];
    size_t n = 9 * 256;
    size_t bytes = row_bytes(type->id, n);
    unsigned char *w = weight_memory.base;
    struct recipe recipe = {.weights = NULL, .activations = &fills[0]};
    for (size_t e = 0; e < sizeof ends; e++) {
        memset(w, ends[e], bytes);
        for (int sign = 0; sign < 3; sign++) {
            for (size_t k = 0; k < n; k++) {
                x[k] = sign == 0 || (sign == 1 && k % 2) ? 1.0f : -1.0f;
            }
            use_level(UQFF_CPU_REF);
            encode_activations(activations, x, row_of_x, n);
            float expected = dot(type->id, w, activations, row_of_x, n);
            use_level(tested);
            float found = dot(type->id, w, activations, row_of_x, n);
            compared++;
            if (bits_of(found) != bits_of(expected)) {
                describe(&recipe, uqff_cpu_level_name(tested), type->id, activations, n);
                fprintf(stderr, "all bytes %02x, sign %d: %.9g, reference %.9g\n", ends[e], sign,
                        (double)found, (double)expected);
            }
        }
    }
}

/* What does not meet, and what does not fit. */
static void check_refusals(void) {
    float v[64] = {0}, out;
    struct uqff_matmul plan;
    struct uqff_error err;
    bool ok =
        uqff_activation_type(UQFF_TYPE_Q4_0) == UQFF_TYPE_Q8_0 &&
        uqff_activation_type(UQFF_TYPE_Q5_1) == UQFF_TYPE_Q8_1 &&
        uqff_activation_type(UQFF_TYPE_Q4_K) == UQFF_TYPE_Q8_K &&
        uqff_activation_type(UQFF_TYPE_BF16) == UQFF_TYPE_F32 &&
        uqff_activation_type(UQFF_TYPE_Q8_K) == UQFF_NO_TYPE &&
        uqff_activation_type(UQFF_TYPE_IQ2_XXS) == UQFF_NO_TYPE &&
        uqff_activation_type(4) == UQFF_NO_TYPE &&
        uqff_dot(UQFF_TYPE_Q4_0, v, UQFF_TYPE_Q8_1, v, 32, &out, &err) == UQFF_E_TYPE &&
        uqff_dot(UQFF_TYPE_F32, v, UQFF_TYPE_Q8_0, v, 32, &out, &err) == UQFF_E_TYPE &&
        uqff_dot(UQFF_TYPE_Q8_K, v, UQFF_TYPE_F32, v, 256, &out, &err) == UQFF_E_TYPE &&
        uqff_dot(UQFF_TYPE_Q4_0, v, UQFF_TYPE_Q8_0, v, 33, &out, &err) == UQFF_E_SHAPE &&
        uqff_matmul_plan(UQFF_TYPE_Q6_K, UQFF_TYPE_Q8_0, 256, 1, &plan, &err) == UQFF_E_TYPE &&
        uqff_matmul_plan(UQFF_TYPE_Q6_K, UQFF_TYPE_Q8_K, 128, 1, &plan, &err) == UQFF_E_SHAPE &&
        uqff_matmul_plan(UQFF_TYPE_F32, UQFF_TYPE_F32, SIZE_MAX / 8, 1, &plan, &err) ==
            UQFF_E_OVERFLOW &&
        uqff_matmul_plan(UQFF_TYPE_F32, UQFF_TYPE_F32, 1 << 20, SIZE_MAX / 4096, &plan, &err) ==
            UQFF_E_OVERFLOW;
    if (!ok) {
        fprintf(stderr, "types or shapes that do not meet are not told apart\n");
        failures++;
    }
}

static bool wanted(const struct uqff_type_info *type, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (uqff_type_by_name(argv[i]) == type) {
            return true;
        }
    }
    return argc < 2;
}

static void sweep_level(enum uqff_cpu_level level, int argc, char **argv) {
    tested = level;
    compared = 0;
    size_t count;
    const struct uqff_type_info *types = uqff_type_table(&count);
    for (size_t i = 0; i < count && failures < 20; i++) {
        uint32_t pair = uqff_activation_type(types[i].id);
        if (pair == UQFF_NO_TYPE || !wanted(&types[i], argc, argv)) {
            continue;
        }
        /* F32 last: for plain types it is both. */
        for (uint32_t activations = pair;; activations = UQFF_TYPE_F32) {
            sweep_rows(&types[i], activations);
            sweep_extremes(&types[i], activations);
            sweep_matrices(&types[i], activations);
            if (activations == UQFF_TYPE_F32) {
                break;
            }
        }
    }
    printf("%s against ref: %" PRIu64 " products compared from seed %" PRIu64 ", %d failures\n",
           uqff_cpu_level_name(tested), compared, first_seed, failures);
}

int main(int argc, char **argv) {
    const char *seed = getenv("UQFF_TEST_SEED");
    const char *whole = getenv("UQFF_TEST_FULL");
    first_seed = seed ? strtoull(seed, NULL, 0) : first_seed;
    full = whole && strcmp(whole, "0") != 0;
    weight_memory = guarded_new(MAX_BYTES);
    activation_memory = guarded_new(MAX_BYTES);
    float_memory = guarded_new(MAX_BYTES);
    out_memory = guarded_new(MAX_BYTES);
    scratch_memory = guarded_new(MAX_BYTES);

    check_refusals();
    static const enum uqff_cpu_level levels[] = {UQFF_CPU_AVX2, UQFF_CPU_AVX512, UQFF_CPU_NEON};
    struct uqff_error err;
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (uqff_cpu_set_level(levels[i], &err) == UQFF_OK) {
            sweep_level(levels[i], argc, argv);
        }
    }
    return failures > 0;
}
