/* Where the encoders are at their limits: zero, vanishing and huge blocks, weights that are all
 * zero, any finite bit pattern; and decoding of bytes that no encoder writes. */
#include <math.h>

#include "support/support.h"
#include "uqff/quant.h"

enum { N = 1024, MAX_BYTES = 4 * N };

static const uint32_t encodable[] = {
    UQFF_TYPE_F32,    UQFF_TYPE_F16,    UQFF_TYPE_BF16,  UQFF_TYPE_Q4_0,  UQFF_TYPE_Q4_1,
    UQFF_TYPE_Q5_0,   UQFF_TYPE_Q5_1,   UQFF_TYPE_Q8_0,  UQFF_TYPE_Q8_1,  UQFF_TYPE_Q2_K,
    UQFF_TYPE_Q3_K,   UQFF_TYPE_Q4_K,   UQFF_TYPE_Q5_K,  UQFF_TYPE_Q6_K,  UQFF_TYPE_Q8_K,
    UQFF_TYPE_IQ4_NL, UQFF_TYPE_IQ4_XS, UQFF_TYPE_TQ1_0, UQFF_TYPE_TQ2_0, UQFF_TYPE_MXFP4,
};
enum { TYPES = sizeof encodable / sizeof encodable[0] };

static float float_of(uint32_t bits) {
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static uint32_t bits_of(float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static bool is_finite(float v) {
    return (bits_of(v) & 0x7f800000) != 0x7f800000;
}

static size_t bytes_of(uint32_t type, size_t n) {
    uint64_t bytes;
    struct uqff_error err;
    assert_ok(uqff_row_bytes(type, n, &bytes, &err), &err);
    assert_true(bytes <= MAX_BYTES);
    return (size_t)bytes;
}

/* Encodes into y, a buffer of MAX_BYTES + 16, and checks that nothing behind the row is written. */
static void encode(uint32_t type, const float *x, size_t n, const float *importance,
                   unsigned char *y) {
    struct uqff_error err;
    size_t size = bytes_of(type, n);
    memset(y, 0xa5, MAX_BYTES + 16);
    assert_ok(uqff_quantize_row(type, x, y, n, importance, &err), &err);
    for (size_t i = size; i < size + 16; i++) {
        assert_int_equal(y[i], 0xa5);
    }
}

static void decode(uint32_t type, const unsigned char *bytes, float *y, size_t n) {
    struct uqff_error err;
    assert_ok(uqff_dequantize_row(type, bytes, y, n, &err), &err);
}

static bool all_zero(const unsigned char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

static void fill(float *x, size_t n, float v) {
    for (size_t i = 0; i < n; i++) {
        x[i] = v;
    }
}

/* ---- zero blocks ----------------------------------------------------------------------------- */

/* The bytes of one zero block, as (count, byte) pairs ending with count 0. NULL: all are 0. */
static const unsigned char *zero_block(uint32_t type, bool importance) {
    static const unsigned char q4_0[] = {1, 0x00, 1, 0x80, 16, 0x88, 0};
    static const unsigned char q5_0[] = {1, 0x00, 1, 0x80, 4, 0xff, 16, 0x00, 0};
    static const unsigned char iq4_nl[] = {2, 0x00, 16, 0x88, 0};
    static const unsigned char iq4_xs[] = {1, 0x00, 1, 0x80, 2, 0xaa, 4, 0x00, 128, 0x88, 0};
    static const unsigned char tq1_0[] = {48, 0x80, 4, 0x7f, 2, 0x00, 0};
    static const unsigned char tq2_0[] = {64, 0x55, 2, 0x00, 0};
    switch (type) {
    case UQFF_TYPE_Q4_0:
        return importance ? NULL : q4_0;
    case UQFF_TYPE_Q5_0:
        return importance ? NULL : q5_0;
    case UQFF_TYPE_IQ4_NL:
        return iq4_nl;
    case UQFF_TYPE_IQ4_XS:
        return iq4_xs;
    case UQFF_TYPE_TQ1_0:
        return tq1_0;
    case UQFF_TYPE_TQ2_0:
        return tq2_0;
    default:
        return NULL;
    }
}

static void assert_zero_blocks(uint32_t type, bool importance, const unsigned char *y, size_t n) {
    const struct uqff_type_info *info = uqff_type_info(type);
    const unsigned char *pattern = zero_block(type, importance);
    for (size_t b = 0; b < n / info->block_length; b++, y += info->block_bytes) {
        if (!pattern) {
            assert_true(all_zero(y, info->block_bytes));
            continue;
        }
        size_t at = 0;
        for (const unsigned char *p = pattern; *p != 0; p += 2) {
            for (size_t i = 0; i < *p; i++) {
                assert_int_equal(y[at++], p[1]);
            }
        }
        assert_int_equal(at, info->block_bytes);
    }
}

static void test_zero(void **state) {
    (void)state;
    float x[N], importance[N], decoded[N];
    unsigned char y[MAX_BYTES + 16];
    fill(importance, N, 1.0f);
    for (size_t t = 0; t < TYPES; t++) {
        fill(x, N, 0.0f);
        encode(encodable[t], x, N, NULL, y);
        assert_zero_blocks(encodable[t], false, y, N);
        decode(encodable[t], y, decoded, N);
        for (size_t i = 0; i < N; i++) {
            assert_true(decoded[i] == 0.0f);
        }
        encode(encodable[t], x, N, importance, y);
        assert_zero_blocks(encodable[t], true, y, N);
    }
}

/* Below 1e-15 these types take a group for zero. */
static void test_vanishing(void **state) {
    (void)state;
    static const uint32_t thresholds[] = {UQFF_TYPE_Q3_K, UQFF_TYPE_Q6_K, UQFF_TYPE_IQ4_NL,
                                          UQFF_TYPE_IQ4_XS};
    float x[N], importance[N];
    unsigned char y[MAX_BYTES + 16];
    struct test_random random = {11};
    fill(importance, N, 1.0f);
    for (size_t i = 0; i < N; i++) {
        x[i] = 1e-30f * random_float(&random);
    }
    for (size_t t = 0; t < sizeof thresholds / sizeof thresholds[0]; t++) {
        encode(thresholds[t], x, N, NULL, y);
        assert_zero_blocks(thresholds[t], false, y, N);
        encode(thresholds[t], x, N, importance, y);
        assert_zero_blocks(thresholds[t], true, y, N);
    }
    encode(UQFF_TYPE_Q4_0, x, N, importance, y);
    assert_zero_blocks(UQFF_TYPE_Q4_0, true, y, N);
    encode(UQFF_TYPE_Q5_0, x, N, importance, y);
    assert_zero_blocks(UQFF_TYPE_Q5_0, true, y, N);

    /* No threshold: codes are those of a scale that is then stored as 0. */
    encode(UQFF_TYPE_Q8_0, x, N, NULL, y);
    assert_int_equal(uqff_load_le16(y), 0);
    assert_false(all_zero(y, 34));
    encode(UQFF_TYPE_Q4_1, x, N, NULL, y);
    assert_int_equal(uqff_load_le16(y), 0);
    assert_int_equal(uqff_load_le16(y + 2), 0x8000); /* a negative minimum */
    encode(UQFF_TYPE_Q8_K, x, N, NULL, y);
    assert_true(uqff_load_le32(y) != 0);
    encode(UQFF_TYPE_MXFP4, x, N, NULL, y);
    assert_in_range(y[0], 1, 30);
}

/* So small that the inverse of the scale overflows: the codes are those of zero blocks. */
static void test_subnormal(void **state) {
    (void)state;
    float x[N];
    unsigned char y[MAX_BYTES + 16];
    for (size_t i = 0; i < N; i++) {
        x[i] = float_of((uint32_t)(i % 8) | (i % 3 == 0 ? 0x80000000 : 0));
    }
    encode(UQFF_TYPE_Q8_0, x, N, NULL, y);
    assert_zero_blocks(UQFF_TYPE_Q8_0, false, y, N);
    encode(UQFF_TYPE_Q8_K, x, N, NULL, y);
    assert_zero_blocks(UQFF_TYPE_Q8_K, false, y, N);
    encode(UQFF_TYPE_TQ1_0, x, N, NULL, y);
    assert_zero_blocks(UQFF_TYPE_TQ1_0, false, y, N);
    encode(UQFF_TYPE_TQ2_0, x, N, NULL, y);
    assert_zero_blocks(UQFF_TYPE_TQ2_0, false, y, N);
    encode(UQFF_TYPE_MXFP4, x, N, NULL, y);
    assert_zero_blocks(UQFF_TYPE_MXFP4, false, y, N);
    encode(UQFF_TYPE_Q4_0, x, N, NULL, y);
    for (size_t i = 2; i < 18; i++) {
        assert_int_equal(y[i], 0x88);
    }
    /* MXFP4: 2^-126 has the exponent of its smallest scale, and -2^-127 is 2 * 2^-128. */
    fill(x, N, -0x1p-127f);
    x[0] = 0x1p-126f;
    encode(UQFF_TYPE_MXFP4, x, 32, NULL, y);
    assert_int_equal(y[0], 0);
    assert_int_equal(y[1], 0xa4);
    assert_int_equal(y[2], 0xaa);
}

/* ---- any finite input ------------------------------------------------------------------------ */

static float random_finite(struct test_random *random) {
    for (;;) {
        float v = float_of((uint32_t)(random_u64(random) >> 32));
        if (is_finite(v)) {
            return v;
        }
    }
}

/* One row in a style: bit patterns of all magnitudes, or of few. */
static void random_row(struct test_random *random, unsigned style, float *x, float *importance) {
    float magnitude = ldexpf(1.0f, (int)(random_u64(random) % 276) - 148);
    for (size_t i = 0; i < N; i++) {
        uint64_t r = random_u64(random);
        switch (style % 6) {
        case 0:
            x[i] = random_finite(random);
            break;
        case 1:
            x[i] = magnitude * random_float(random);
            break;
        case 2: /* one large offset, tiny differences */
            x[i] = float_of(bits_of(magnitude) + (uint32_t)(r % 3));
            break;
        case 3:
            x[i] = r % 2 ? 0x1.fffffep127f : -0x1.fffffep127f;
            break;
        case 4:
            x[i] = r % 50 ? random_gauss(random) : random_finite(random);
            break;
        default: /* subnormal, and zeros of both signs */
            x[i] = float_of((uint32_t)(r % 4 ? r & 0x803fffff : r & 0x80000000));
            break;
        }
        r = random_u64(random);
        switch (style / 6 % 4) {
        case 0:
            importance[i] = fabsf(random_finite(random));
            break;
        case 1:
            importance[i] = r % 10 == 0 ? fabsf(random_float(random)) : 0.0f;
            break;
        case 2:
            importance[i] = float_of((uint32_t)(r & 0x007fffff));
            break;
        default:
            importance[i] = r % 2 ? 0x1.fffffep127f : 0.0f;
            break;
        }
    }
}

/* Under the sanitizers this is where undefined behaviour would show. What is asserted here: the
 * same bytes each time, nothing out of bounds, and that the result can be decoded and scanned. */
static void test_any_finite_input(void **state) {
    (void)state;
    static float x[N], importance[N], decoded[N];
    static unsigned char y[MAX_BYTES + 16], again[MAX_BYTES + 16];
    struct test_random random = {4};
    struct uqff_error err;
    for (unsigned round = 0; round < 120; round++) {
        random_row(&random, round, x, importance);
        assert_int_equal(uqff_find_nonfinite(x, N), N);
        for (size_t t = 0; t < TYPES; t++) {
            for (int weighted = 0; weighted < 2; weighted++) {
                const float *w = weighted ? importance : NULL;
                encode(encodable[t], x, N, w, y);
                encode(encodable[t], x, N, w, again);
                assert_memory_equal(y, again, bytes_of(encodable[t], N));
                decode(encodable[t], y, decoded, N);
                struct uqff_scale_range range;
                if (uqff_type_info(encodable[t])->flags & UQFF_TYPE_IS_QUANTIZED) {
                    assert_ok(uqff_scan_scales(encodable[t], y, N, &range, &err), &err);
                    assert_true(range.min <= range.max);
                    /* 127 times the rounded scale of Q8_K may lie above the largest float. */
                    assert_true(range.nonfinite || uqff_find_nonfinite(decoded, N) == N ||
                                encodable[t] == UQFF_TYPE_Q8_K);
                }
            }
        }
    }
}

/* A weight too large for a type leaves a mark: a stored scale that is not finite. */
static void test_overflow_is_seen(void **state) {
    (void)state;
    float x[N], importance[N];
    unsigned char y[MAX_BYTES + 16];
    struct test_random random = {5};
    struct uqff_error err;
    struct uqff_scale_range range;
    for (size_t i = 0; i < N; i++) {
        x[i] = random_gauss(&random);
        importance[i] = i % 7 ? 1.0f : 0.0f;
    }
    for (float huge = 1e10f; huge < 1e38f; huge *= 1e4f) {
        x[400] = -huge; /* in block 12 of 32, 1 of 256; its weight is not 0 */
        for (size_t t = 0; t < TYPES; t++) {
            const struct uqff_type_info *info = uqff_type_info(encodable[t]);
            if (!(info->flags & UQFF_TYPE_IS_QUANTIZED) || info->id == UQFF_TYPE_Q8_K ||
                info->id == UQFF_TYPE_MXFP4) {
                continue;
            }
            encode(info->id, x, N, NULL, y);
            assert_ok(uqff_scan_scales(info->id, y, N, &range, &err), &err);
            assert_true(range.nonfinite);
            assert_int_equal(range.first_bad_block, 400 / info->block_length);
            encode(info->id, x, N, importance, y);
            assert_ok(uqff_scan_scales(info->id, y, N, &range, &err), &err);
            assert_true(range.nonfinite);
        }
    }
}

static void test_importance_all_zero(void **state) {
    (void)state;
    float x[N], importance[N], decoded[N];
    unsigned char y[MAX_BYTES + 16];
    struct test_random random = {6};
    struct uqff_error err;
    struct uqff_scale_range range;
    fill(importance, N, 0.0f);
    for (size_t i = 0; i < N; i++) {
        x[i] = random_gauss(&random);
    }
    for (size_t t = 0; t < TYPES; t++) {
        encode(encodable[t], x, N, importance, y);
        decode(encodable[t], y, decoded, N);
        assert_int_equal(uqff_find_nonfinite(decoded, N), N);
        if (uqff_type_info(encodable[t])->flags & UQFF_TYPE_IS_QUANTIZED) {
            assert_ok(uqff_scan_scales(encodable[t], y, N, &range, &err), &err);
            assert_false(range.nonfinite);
        }
    }
}

/* Blocks do not know of each other, except through the row's sum in the weights of four types. */
static void test_blocks_are_independent(void **state) {
    (void)state;
    float x[N], importance[N], whole[N], part[256];
    unsigned char y[MAX_BYTES + 16], block[MAX_BYTES + 16];
    struct test_random random = {7};
    for (size_t i = 0; i < N; i++) {
        x[i] = random_gauss(&random) * (i < 300 ? 1.0f : 30.0f);
        importance[i] = 1.0f + random_float(&random);
    }
    for (size_t t = 0; t < TYPES; t++) {
        const struct uqff_type_info *info = uqff_type_info(encodable[t]);
        bool by_row = info->id == UQFF_TYPE_Q4_0 || info->id == UQFF_TYPE_Q4_1 ||
                      info->id == UQFF_TYPE_Q5_0 || info->id == UQFF_TYPE_Q5_1;
        for (int weighted = 0; weighted < (by_row ? 1 : 2); weighted++) {
            encode(info->id, x, N, weighted ? importance : NULL, y);
            decode(info->id, y, whole, N);
            for (size_t i = 0; i < N; i += info->block_length) {
                const unsigned char *there = y + i / info->block_length * info->block_bytes;
                encode(info->id, x + i, info->block_length, weighted ? importance + i : NULL,
                       block);
                assert_memory_equal(block, there, info->block_bytes);
                decode(info->id, there, part, info->block_length);
                assert_memory_equal(part, whole + i, info->block_length * sizeof *part);
            }
        }
    }
    /* And in those four the row does matter. */
    encode(UQFF_TYPE_Q4_1, x, N, importance, y);
    encode(UQFF_TYPE_Q4_1, x, 32, importance, block);
    assert_memory_not_equal(block, y, 20);
}

/* ---- any bytes ------------------------------------------------------------------------------- */

static void test_decode_any_bytes(void **state) {
    (void)state;
    static float y[N];
    static unsigned char bytes[8 * N];
    struct test_random random = {8};
    struct uqff_error err;
    struct uqff_scale_range range;
    size_t count;
    const struct uqff_type_info *table = uqff_type_table(&count);
    static const unsigned char classes[] = {0x00, 0xff, 0x7f, 0x80, 0x7c, 0x55, 0xaa, 0x01};
    for (size_t round = 0; round < sizeof classes + 8; round++) {
        for (size_t i = 0; i < sizeof bytes; i++) {
            bytes[i] = round < sizeof classes ? classes[round] : (unsigned char)random_u64(&random);
        }
        for (size_t t = 0; t < count; t++) {
            if (table[t].flags & UQFF_TYPE_CAN_DECODE) {
                decode(table[t].id, bytes, y, N);
            }
            if ((table[t].flags & UQFF_TYPE_CAN_DECODE) &&
                (table[t].flags & UQFF_TYPE_IS_QUANTIZED)) {
                assert_ok(uqff_scan_scales(table[t].id, bytes, N, &range, &err), &err);
                assert_true(range.min <= range.max);
                /* Scales of 2^126 and more are finite, 6 times such a scale is not. */
                bool wide = table[t].id == UQFF_TYPE_Q8_K || table[t].id == UQFF_TYPE_MXFP4;
                assert_true(range.nonfinite || wide || uqff_find_nonfinite(y, N) == N);
            }
        }
    }
}

/* Codes that decoders take though no encoder gives them. */
static void test_decode_unwritten_codes(void **state) {
    (void)state;
    float y[256];
    unsigned char block[292] = {0};

    uqff_store_le16(block + 64, 0x4000); /* TQ2_0, d = 2 */
    block[0] = 0xe4;                     /* codes 0, 1, 2, 3 */
    decode(UQFF_TYPE_TQ2_0, block, y, 256);
    assert_true(y[0] == -2.0f && y[32] == 0.0f && y[64] == 2.0f && y[96] == 4.0f);

    memset(block, 0, sizeof block);
    block[0] = 127; /* MXFP4, scale 1 */
    block[1] = 0x78;
    block[16] = 0xf1;
    decode(UQFF_TYPE_MXFP4, block, y, 32);
    assert_int_equal(bits_of(y[0]), 0); /* code 8 is +0 */
    assert_true(y[16] == 6.0f && y[15] == 0.5f && y[31] == -6.0f);
    block[0] = 0;
    decode(UQFF_TYPE_MXFP4, block, y, 32);
    assert_true(y[15] == 0x1p-128f);
    block[0] = 1;
    decode(UQFF_TYPE_MXFP4, block, y, 32);
    assert_true(y[15] == 0x1p-127f);
    block[0] = 255;
    decode(UQFF_TYPE_MXFP4, block, y, 32);
    assert_true(y[15] == 0x1p127f);

    /* TQ1_0: 255 decodes to five twos. */
    memset(block, 0, sizeof block);
    block[0] = 255;
    uqff_store_le16(block + 52, 0x3c00);
    decode(UQFF_TYPE_TQ1_0, block, y, 256);
    assert_true(y[0] == 1.0f && y[32] == 1.0f && y[128] == 1.0f && y[1] == -1.0f);

    /* A negative scale turns the sign of a zero. */
    memset(block, 0, sizeof block);
    uqff_store_le16(block, 0xbc00);
    memset(block + 2, 0x88, 16);
    decode(UQFF_TYPE_Q4_0, block, y, 32);
    assert_int_equal(bits_of(y[0]), 0x80000000);
}

/* ---- scans ----------------------------------------------------------------------------------- */

static void test_scan_scales(void **state) {
    (void)state;
    unsigned char q8_0[4 * 34] = {0};
    struct uqff_error err;
    struct uqff_scale_range range;
    uqff_store_le16(q8_0, 0x3c00);      /* 1 */
    uqff_store_le16(q8_0 + 34, 0xc000); /* -2 */
    uqff_store_le16(q8_0 + 68, 0x4200); /* 3 */
    uqff_store_le16(q8_0 + 102, 0x0001);
    assert_ok(uqff_scan_scales(UQFF_TYPE_Q8_0, q8_0, 128, &range, &err), &err);
    assert_true(range.min == -2.0f && range.max == 3.0f && !range.nonfinite);
    uqff_store_le16(q8_0 + 68, 0x7c00);
    uqff_store_le16(q8_0 + 102, 0x7e01);
    assert_ok(uqff_scan_scales(UQFF_TYPE_Q8_0, q8_0, 128, &range, &err), &err);
    assert_true(range.min == -2.0f && range.max == 1.0f && range.nonfinite);
    assert_int_equal(range.first_bad_block, 2);

    /* Q4_K: d = 0.5; scales 63, 1, then 0; dmin counts for being finite only. */
    unsigned char q4_k[144] = {0};
    uqff_store_le16(q4_k, 0x3800);
    uqff_store_le16(q4_k + 2, 0xffff);
    q4_k[4] = 63;
    q4_k[5] = 1;
    assert_ok(uqff_scan_scales(UQFF_TYPE_Q4_K, q4_k, 256, &range, &err), &err);
    assert_true(range.nonfinite && range.first_bad_block == 0);
    uqff_store_le16(q4_k + 2, 0xc000);
    assert_ok(uqff_scan_scales(UQFF_TYPE_Q4_K, q4_k, 256, &range, &err), &err);
    assert_true(range.min == 0.0f && range.max == 31.5f && !range.nonfinite);

    unsigned char q6_k[210] = {0};
    uqff_store_le16(q6_k + 208, 0x3c00);
    q6_k[192] = 0x80;
    q6_k[207] = 0x7f;
    assert_ok(uqff_scan_scales(UQFF_TYPE_Q6_K, q6_k, 256, &range, &err), &err);
    assert_true(range.min == -128.0f && range.max == 127.0f);

    unsigned char mxfp4[34] = {0};
    mxfp4[0] = 128;
    mxfp4[17] = 255;
    assert_ok(uqff_scan_scales(UQFF_TYPE_MXFP4, mxfp4, 64, &range, &err), &err);
    assert_true(range.min == 2.0f && range.max == 2.0f && range.nonfinite);
    assert_int_equal(range.first_bad_block, 1);

    assert_ok(uqff_scan_scales(UQFF_TYPE_Q8_0, q8_0, 0, &range, &err), &err);
    assert_true(range.min == 0.0f && range.max == 0.0f && !range.nonfinite);
    assert_fails(uqff_scan_scales(UQFF_TYPE_F16, q8_0, 1, &range, &err), UQFF_E_TYPE, &err, "F16");
    assert_fails(uqff_scan_scales(UQFF_TYPE_Q8_0, q8_0, 33, &range, &err), UQFF_E_SHAPE, &err,
                 "row of 33");
}

static void test_find_nonfinite(void **state) {
    (void)state;
    static const uint32_t bad[] = {0x7f800000, 0xff800000, 0x7f800001, 0xffffffff, 0x7fc00000};
    float x[1500] = {0};
    for (size_t n = 0; n < 1500; n += n < 20 ? 1 : 83) {
        for (size_t i = 0; i < n; i++) {
            x[i] = float_of(i % 2 ? 0x7f7fffff : 0xff7fffff);
        }
        assert_int_equal(uqff_find_nonfinite(x, n), n);
        for (size_t i = 0; i < n; i++) {
            float kept = x[i];
            x[i] = float_of(bad[i % 5]);
            assert_int_equal(uqff_find_nonfinite(x, n), i);
            x[n - 1] = float_of(bad[0]);
            assert_int_equal(uqff_find_nonfinite(x, n), i);
            x[n - 1] = float_of((n - 1) % 2 ? 0x7f7fffff : 0xff7fffff);
            x[i] = kept;
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zero),
        cmocka_unit_test(test_vanishing),
        cmocka_unit_test(test_subnormal),
        cmocka_unit_test(test_any_finite_input),
        cmocka_unit_test(test_overflow_is_seen),
        cmocka_unit_test(test_importance_all_zero),
        cmocka_unit_test(test_blocks_are_independent),
        cmocka_unit_test(test_decode_any_bytes),
        cmocka_unit_test(test_decode_unwritten_codes),
        cmocka_unit_test(test_scan_scales),
        cmocka_unit_test(test_find_nonfinite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
