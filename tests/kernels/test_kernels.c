/*
 * The kernel checker: every function of every level this machine can run against the reference, by
 * the bytes, over lengths, kinds of rows, alignments, and against pages that may not be touched.
 *
 *   test_kernels [TYPE...]       only these types
 *   UQFF_TEST_LEVEL=neon         only this level
 *   UQFF_TEST_FULL=1             many more rows
 *   UQFF_TEST_SEED=N             another first seed
 *
 * It stands alone (no test framework), so that a small cross build can run it in an emulator.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fills.h"
#include "lanes_c.h"

/* Of a type, so many differing rows are told in full. */
enum { MAX_BLOCKS = 40, CANARY = 64, REPORTS = 4 };

/* ---- memory with an end ---------------------------------------------------------------------- */

/* Bytes followed by a page that may not be touched, and preceded by another. */
struct guarded {
    unsigned char *base; /* the first byte that may be touched */
    size_t size;
};

static struct guarded guarded_new(size_t size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size = (size + page - 1) / page * page;
    unsigned char *p =
        mmap(NULL, size + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || mprotect(p, page, PROT_NONE) != 0 ||
        mprotect(p + page + size, page, PROT_NONE) != 0) {
        perror("test_kernels: guard pages");
        exit(2);
    }
    return (struct guarded){p + page, size};
}

/* The place of `size` bytes at the end, `slack` bytes before it, or at the start. */
static unsigned char *place(struct guarded g, size_t size, size_t slack, bool at_end) {
    return at_end ? g.base + g.size - size - slack : g.base + slack;
}

/* ---- one comparison -------------------------------------------------------------------------- */

struct level {
    const char *name;
    const struct uqff_kernels *kernels;
};

struct bench {
    const struct uqff_type_info *type;
    struct level level;
    struct guarded x, w, y;
    unsigned char *expected;
    uint64_t rows, weights; /* compared so far */
    int failures;
};

struct row {
    uint64_t seed;
    const char *fill, *weights; /* weights NULL: without importance */
    size_t blocks;
    unsigned variant; /* picks the alignments and the end of the guarded memory */
};

static void report(const struct bench *b, const char *what, const struct row *row, size_t at,
                   size_t block_size, const unsigned char *found) {
    size_t block = at / block_size;
    fprintf(stderr,
            "%s %s %s: fill '%s', importance '%s', seed %llu, %zu blocks, variant %u: block %zu "
            "differs, byte %zu\n",
            b->level.name, b->type->name, what, row->fill, row->weights ? row->weights : "none",
            (unsigned long long)row->seed, row->blocks, row->variant, block, at % block_size);
    for (int side = 0; side < 2; side++) {
        const unsigned char *p = (side ? found : b->expected) + block * block_size;
        fprintf(stderr, "  %s", side ? "found    " : "reference");
        for (size_t i = 0; i < block_size && i < 40; i++) {
            fprintf(stderr, " %02x", p[i]);
        }
        fputc('\n', stderr);
    }
}

/* Compares what a kernel wrote, and the bytes around it. */
static void compare(struct bench *b, const char *what, const struct row *row, size_t size,
                    size_t block_size, const unsigned char *found) {
    b->rows++;
    b->weights += row->blocks * b->type->block_length;
    size_t at = 0;
    while (at < size && found[at] == b->expected[at]) {
        at++;
    }
    if (at < size) {
        if (b->failures++ < REPORTS) {
            report(b, what, row, at, block_size, found);
        }
        return;
    }
    for (const unsigned char *p = b->y.base; p < b->y.base + b->y.size; p++) {
        if ((p < found || p >= found + size) && *p != CANARY) {
            fprintf(stderr, "%s %s %s: fill '%s', seed %llu: wrote %td bytes from the row\n",
                    b->level.name, b->type->name, what, row->fill, (unsigned long long)row->seed,
                    p - found);
            b->failures++;
            return;
        }
    }
}

/* Kinds of rows come in multiples of 32. */
static void fill_row(const struct fill *fill, struct random *r, float *x, size_t n) {
    static float padded[MAX_BLOCKS * 256];
    fill->fill(r, padded, (n + 31) / 32 * 32);
    memcpy(x, padded, n * sizeof *x);
}

static void check_quantize(struct bench *b, const struct row *row, const struct fill *fill,
                           const struct fill *importance) {
    struct random r = random_from(row->seed);
    size_t n = row->blocks * b->type->block_length;
    size_t size = row->blocks * b->type->block_bytes;
    bool at_end = row->variant & 1;
    float *x = (float *)(void *)place(b->x, n * sizeof(float), row->variant / 2 % 8 * 4, at_end);
    float *w = (float *)(void *)place(b->w, n * sizeof(float), row->variant / 3 % 8 * 4, at_end);
    unsigned char *y = place(b->y, size, row->variant / 5 % 32, at_end);

    fill_row(fill, &r, x, n);
    if (importance) {
        fill_row(importance, &r, w, n);
    }
    memset(b->y.base, CANARY, b->y.size);
    uint32_t slot = UQFF_SLOT(b->type->id);
    uqff_kernels_ref.type[slot].quantize(x, b->expected, n, importance ? w : NULL);
    b->level.kernels->type[slot].quantize(x, y, n, importance ? w : NULL);
    compare(b, "quantize", row, size, b->type->block_bytes, y);
}

/* NaNs may differ in their payload: what arithmetic makes of one is the machine's business. */
static void make_nans_equal(float *y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (y[i] != y[i]) {
            memset(&y[i], 0xff, sizeof y[i]);
        }
    }
}

/* Blocks that the reference encoded or, without a fill, any bytes. */
static void check_dequantize(struct bench *b, const struct row *row, const struct fill *fill) {
    struct random r = random_from(row->seed);
    size_t n = row->blocks * b->type->block_length;
    size_t size = row->blocks * b->type->block_bytes;
    bool at_end = row->variant & 1;
    unsigned char *x = place(b->x, size, row->variant / 2 % 32, at_end);
    float *y = (float *)(void *)place(b->y, n * sizeof(float), row->variant / 3 % 8 * 4, at_end);
    float *w = (float *)(void *)b->w.base;

    uint32_t slot = UQFF_SLOT(b->type->id);
    if (fill && uqff_kernels_ref.type[slot].quantize) {
        fill_row(fill, &r, w, n);
        uqff_kernels_ref.type[slot].quantize(w, x, n, NULL);
    } else {
        for (size_t i = 0; i < size; i++) {
            x[i] = (unsigned char)(random_bits(&r) >> 56);
        }
    }
    memset(b->y.base, CANARY, b->y.size);
    uqff_kernels_ref.type[slot].dequantize(x, (float *)(void *)b->expected, n);
    b->level.kernels->type[slot].dequantize(x, y, n);
    make_nans_equal((float *)(void *)b->expected, n);
    make_nans_equal(y, n);
    compare(b, "dequantize", row, n * sizeof(float), b->type->block_length * sizeof(float),
            (unsigned char *)y);
}

static void check_find_nonfinite(struct bench *b, struct random *r) {
    size_t n = random_below(r, 600);
    float *x = (float *)(void *)place(b->x, n * sizeof(float), 0, random_below(r, 2));
    for (size_t i = 0; i < n; i++) {
        x[i] = random_float(r);
    }
    for (uint32_t bad = random_below(r, 3); bad > 0 && n > 0; bad--) {
        x[random_below(r, (uint32_t)n)] = random_below(r, 2) ? NAN : -INFINITY;
    }
    size_t expected = uqff_kernels_ref.find_nonfinite(x, n);
    size_t found = b->level.kernels->find_nonfinite(x, n);
    b->rows++;
    b->weights += n;
    if (found != expected) {
        fprintf(stderr, "%s find_nonfinite: %zu of %zu, reference %zu\n", b->level.name, found, n,
                expected);
        b->failures++;
    }
}

/* All numbers of sixteen bits there are, and floats that round to each from below, above and
 * half-way, not numbers included: here the bits of those count as well. */
static int check_halves(struct level level, uint32_t type) {
    enum { COUNT = 1 << 16 };
    static const uint32_t lower[] = {0, 1, 0x0fff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001, 0xffff};
    const struct uqff_kernel *ref = &uqff_kernels_ref.type[UQFF_SLOT(type)];
    const struct uqff_kernel *kernel = &level.kernels->type[UQFF_SLOT(type)];
    static unsigned char halves[2 * COUNT], found[2 * COUNT];
    static float floats[COUNT], expected[COUNT];
    int failures = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        uqff_store_le16(halves + 2 * i, (uint16_t)i);
    }
    ref->dequantize(halves, expected, COUNT);
    kernel->dequantize(halves, floats, COUNT);
    failures += memcmp(floats, expected, sizeof floats) != 0;
    for (size_t k = 0; k < sizeof lower / sizeof lower[0]; k++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            uint32_t bits = i << 16 | lower[k];
            memcpy(&floats[i], &bits, sizeof floats[i]);
        }
        ref->quantize(floats, halves, COUNT, NULL);
        kernel->quantize(floats, found, COUNT, NULL);
        failures += memcmp(found, halves, sizeof found) != 0;
    }
    if (failures) {
        fprintf(stderr, "%s %s: %d tables of all sixteen-bit numbers differ\n", level.name,
                uqff_type_name(type), failures);
    }
    return failures;
}

/* Only the kernels of x86 know long rows; elsewhere, that is in an emulator, they cost a minute. */
#if defined(__x86_64__)
enum { LONG_ROWS = 1 };
#else
enum { LONG_ROWS = 0 };
#endif

/* A row so long that a kernel may write it past the caches, and not aligned to more than a float.
 */
static int check_long_row(struct level level, const struct uqff_type_info *type) {
    const struct uqff_kernel *ref = &uqff_kernels_ref.type[UQFF_SLOT(type->id)];
    const struct uqff_kernel *kernel = &level.kernels->type[UQFF_SLOT(type->id)];
    size_t blocks = ((size_t)8 << 20) / type->block_length + 3;
    size_t n = blocks * type->block_length;
    unsigned char *x = malloc(blocks * type->block_bytes);
    float *y = malloc((n + 2) * sizeof *y);
    float *expected = malloc((n + 2) * sizeof *y);
    if (!x || !y || !expected) {
        perror("test_kernels");
        exit(2);
    }
    struct random r = random_from(type->id);
    for (size_t i = 0; i < blocks * type->block_bytes; i++) {
        x[i] = (unsigned char)(random_bits(&r) >> 56);
    }
    y[0] = y[n + 1] = expected[0] = expected[n + 1] = -1.5f;
    ref->dequantize(x, expected + 1, n);
    kernel->dequantize(x, y + 1, n);
    make_nans_equal(expected, n + 2);
    make_nans_equal(y, n + 2);
    int failures = memcmp(y, expected, (n + 2) * sizeof *y) != 0;
    if (failures) {
        fprintf(stderr, "%s %s: a row of %zu values differs\n", level.name, type->name, n);
    }
    free(expected);
    free(y);
    free(x);
    return failures;
}

/* ---- sweeps ---------------------------------------------------------------------------------- */

static bool full;
static uint64_t first_seed = 1;

/* Lengths in blocks: below, at and above the numbers that kernels work on at a time. */
static const size_t lengths[] = {1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 33};

enum { LENGTHS = sizeof lengths / sizeof lengths[0] };

/* Small blocks go in numbers that make up super-blocks and a rest, every other time. */
static size_t blocks_of(const struct bench *b, size_t length, unsigned turn) {
    size_t factor = 256 / b->type->block_length;
    return turn / 2 % 2 ? length : length * factor + turn % factor;
}

/* A reduced sweep takes three of the lengths for each kind of row, a full one all, and more seeds.
 */
static void sweep_type(struct bench *b) {
    const struct uqff_kernel *kernel = &b->level.kernels->type[UQFF_SLOT(b->type->id)];
    unsigned turn = 0;
    int repeats = full ? 8 : 2;
    for (int repeat = 0; repeat < repeats; repeat++) {
        for (size_t f = 0; f <= FILLS; f++) {
            for (size_t k = 0; k < (full ? LENGTHS : 3); k++, turn++) {
                struct row row = {first_seed + turn, f < FILLS ? fills[f].name : "bytes", NULL,
                                  blocks_of(b, lengths[full ? k : turn % LENGTHS], turn), turn * 7};
                if (kernel->quantize && f < FILLS) {
                    check_quantize(b, &row, &fills[f], NULL);
                    const struct fill *w = &weights[turn % WEIGHTS];
                    row.weights = w->name;
                    check_quantize(b, &row, &fills[f], w);
                    row.weights = NULL;
                }
                if (kernel->dequantize) {
                    check_dequantize(b, &row, f < FILLS ? &fills[f] : NULL);
                }
            }
        }
    }
}

static bool is_wanted(const char *name, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], name) == 0) {
            return true;
        }
    }
    return argc == 1;
}

static int sweep_level(struct level level, int argc, char **argv) {
    const char *only = getenv("UQFF_TEST_LEVEL");
    if (only && strcmp(only, level.name) != 0) {
        return 0;
    }
    const size_t longest = MAX_BLOCKS * 256 * sizeof(float);
    struct bench b = {.level = level,
                      .x = guarded_new(longest),
                      .w = guarded_new(longest),
                      .y = guarded_new(longest),
                      .expected = malloc(longest)};
    int failures = 0;
    size_t count;
    const struct uqff_type_info *types = uqff_type_table(&count);
    for (size_t i = 0; i < count; i++) {
        const struct uqff_kernel *kernel = &level.kernels->type[UQFF_SLOT(types[i].id)];
        if ((!kernel->quantize && !kernel->dequantize) || !is_wanted(types[i].name, argc, argv)) {
            continue;
        }
        b.type = &types[i];
        b.rows = b.weights = 0;
        b.failures = 0;
        sweep_type(&b);
        printf("%-8s %-7s %6llu rows, %9llu values%s\n", level.name, types[i].name,
               (unsigned long long)b.rows, (unsigned long long)b.weights,
               b.failures ? "  FAILED" : "");
        failures += b.failures;
        if (kernel->dequantize && (full || LONG_ROWS)) {
            failures += check_long_row(level, &types[i]);
        }
    }
    for (int i = 0; i < 2; i++) {
        const uint32_t type = i ? UQFF_TYPE_BF16 : UQFF_TYPE_F16;
        if (level.kernels->type[UQFF_SLOT(type)].quantize &&
            is_wanted(uqff_type_name(type), argc, argv)) {
            failures += check_halves(level, type);
        }
    }
    if (level.kernels->find_nonfinite && argc == 1) {
        struct random r = random_from(first_seed);
        b.failures = 0;
        for (int i = 0; i < (full ? 20000 : 2000); i++) {
            check_find_nonfinite(&b, &r);
        }
        failures += b.failures;
    }
    free(b.expected);
    return failures;
}

int main(int argc, char **argv) {
    const char *text = getenv("UQFF_TEST_FULL");
    full = text && strcmp(text, "0") != 0;
    text = getenv("UQFF_TEST_SEED");
    first_seed = text ? strtoull(text, NULL, 10) : 1;

    int failures = sweep_level((struct level){"c lanes", &lanes_c}, argc, argv);
#if defined(__x86_64__)
    if (uqff_cpu_detect() != UQFF_CPU_REF) {
        failures += sweep_level((struct level){"avx2", &uqff_kernels_avx2}, argc, argv);
    }
    if (uqff_cpu_detect() == UQFF_CPU_AVX512) {
        failures += sweep_level((struct level){"avx512", &uqff_kernels_avx512}, argc, argv);
    }
#elif defined(__aarch64__)
    failures += sweep_level((struct level){"neon", &uqff_kernels_neon}, argc, argv);
#endif
    if (failures) {
        fprintf(stderr, "%d rows differ from the reference\n", failures);
    }
    return failures ? 1 : 0;
}
