/* Checked arithmetic, loads and stores, the allocator, arenas, digests, hex. */
#include "tests/support/support.h"

static void test_arithmetic(void **state) {
    (void)state;
    uint64_t out;
    assert_true(uqff_add_u64(UINT64_MAX - 1, 1, &out));
    assert_int_equal(out, UINT64_MAX);
    assert_false(uqff_add_u64(UINT64_MAX, 1, &out));
    assert_true(uqff_mul_u64(0, UINT64_MAX, &out));
    assert_true(uqff_mul_u64(UINT64_C(1) << 32, (UINT64_C(1) << 32) - 1, &out));
    assert_false(uqff_mul_u64(UINT64_C(1) << 32, UINT64_C(1) << 32, &out));
    assert_true(uqff_align_u64(33, 32, &out));
    assert_int_equal(out, 64);
    assert_true(uqff_align_u64(0, 32, &out));
    assert_int_equal(out, 0);
    assert_false(uqff_align_u64(UINT64_MAX - 3, 32, &out));
}

static void test_loads(void **state) {
    (void)state;
    static const unsigned char bytes[9] = {0, 0x81, 0x92, 0xA3, 0xB4, 0xC5, 0xD6, 0xE7, 0xF8};
    const unsigned char *p = bytes + 1; /* not aligned */
    assert_int_equal(uqff_load_le16(p), 0x9281);
    assert_int_equal(uqff_load_be16(p), 0x8192);
    assert_int_equal(uqff_load_le32(p), 0xB4A39281);
    assert_int_equal(uqff_load_be32(p), 0x8192A3B4);
    assert_true(uqff_load_le64(p) == UINT64_C(0xF8E7D6C5B4A39281));
    assert_true(uqff_load_be64(p) == UINT64_C(0x8192A3B4C5D6E7F8));
    unsigned char out[8];
    uqff_store_le64(out, UINT64_C(0xF8E7D6C5B4A39281));
    assert_memory_equal(out, p, 8);
}

static void test_blocks(void **state) {
    (void)state;
    unsigned char *block = uqff_alloc(0);
    assert_non_null(block);
    uqff_free(block);
    uqff_free(NULL);
    assert_null(uqff_alloc(SIZE_MAX));
    assert_null(uqff_alloc_array(SIZE_MAX / 2, 3));
    assert_null(uqff_alloc_array(SIZE_MAX / 2 + 2, 2));
    assert_null(uqff_realloc_array(NULL, SIZE_MAX / 2, 3));
    block = uqff_alloc_array(100, 3);
    assert_non_null(block);
    for (size_t i = 0; i < 300; i++) {
        assert_int_equal(block[i], 0);
    }
    block[299] = 9;
    block = uqff_realloc_array(block, 1000, 3);
    assert_non_null(block);
    assert_int_equal(block[299], 9);
    uqff_free(block);
    for (size_t size = 0; size < 200; size++) {
        block = uqff_alloc_aligned(size);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % 64, 0);
        memset(block, 1, size);
        uqff_free_aligned(block);
    }
    assert_null(uqff_alloc_aligned(SIZE_MAX - 10));
    uqff_free_aligned(NULL);
}

static void test_grow(void **state) {
    (void)state;
    void *items = NULL;
    size_t capacity = 0;
    struct uqff_error err;
    assert_ok(uqff_grow(&items, &capacity, 3, 8, &err), &err);
    assert_true(capacity >= 3);
    ((uint64_t *)items)[2] = 7;
    void *before = items;
    assert_ok(uqff_grow(&items, &capacity, capacity, 8, &err), &err);
    assert_ptr_equal(items, before);
    size_t old = capacity;
    assert_ok(uqff_grow(&items, &capacity, old + 1, 8, &err), &err);
    assert_int_equal(capacity, 2 * old);
    assert_int_equal(((uint64_t *)items)[2], 7);
    before = items;
    assert_fails(uqff_grow(&items, &capacity, SIZE_MAX, 8, &err), UQFF_E_MEMORY, &err, "memory");
    assert_fails(uqff_grow(&items, &capacity, SIZE_MAX / 8, 8, &err), UQFF_E_MEMORY, &err,
                 "memory");
    fail_allocation(1);
    assert_fails(uqff_grow(&items, &capacity, capacity + 1, 8, &err), UQFF_E_MEMORY, &err,
                 "memory");
    fail_allocation(0);
    assert_ptr_equal(items, before);
    assert_int_equal(capacity, 2 * old);
    uqff_free(items);
}

static void test_injection(void **state) {
    (void)state;
    fail_allocation(2);
    void *first = uqff_alloc(1);
    assert_non_null(first);
    assert_null(uqff_alloc_array(1, 1));
    void *third = uqff_alloc_aligned(1);
    assert_non_null(third);
    assert_int_equal(fail_allocation(0), 3);
    uqff_free(first);
    uqff_free_aligned(third);
    unsigned char *zeroed = uqff_alloc_array(64, 1);
    assert_non_null(zeroed);
    for (size_t i = 0; i < 64; i++) {
        assert_int_equal(zeroed[i], 0);
    }
    uqff_free(zeroed);
    uqff_set_allocator(NULL);
}

static void test_arena(void **state) {
    (void)state;
    struct uqff_arena arena = {0};
    struct test_random random = {5};
    enum { COUNT = 3000 };
    static unsigned char *blocks[COUNT];
    static size_t sizes[COUNT];
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            sizes[i] = random_u64(&random) % (i % 100 == 0 ? 50000 : 100);
            blocks[i] = uqff_arena_alloc(&arena, sizes[i]);
            assert_non_null(blocks[i]);
            assert_int_equal((uintptr_t)blocks[i] % 16, 0);
            for (size_t j = 0; j < sizes[i]; j++) {
                if (blocks[i][j] != 0) {
                    fail_msg("block %zu is not zeroed", i);
                }
            }
            memset(blocks[i], (int)(i & 255), sizes[i]);
        }
        for (size_t i = 0; i < COUNT; i++) {
            for (size_t j = 0; j < sizes[i]; j++) {
                if (blocks[i][j] != (i & 255)) {
                    fail_msg("block %zu was overwritten", i);
                }
            }
        }
        uqff_arena_free(&arena);
        assert_null(arena.chunks);
    }
    assert_string_equal(uqff_arena_copy(&arena, "abcdef", 3), "abc");
    assert_string_equal(uqff_arena_copy(&arena, NULL, 0), "");
    assert_string_equal(uqff_arena_printf(&arena, "%s %d", "layer", 12), "layer 12");
    assert_null(uqff_arena_alloc(&arena, SIZE_MAX));
    assert_null(uqff_arena_array(&arena, SIZE_MAX / 2, 4));
    assert_null(uqff_arena_copy(&arena, "", SIZE_MAX));
    assert_non_null(uqff_arena_array(&arena, 10, 4));
    fail_allocation(1);
    assert_null(uqff_arena_alloc(&arena, 1 << 20));
    fail_allocation(0);
    assert_non_null(uqff_arena_alloc(&arena, 1 << 20));
    uqff_arena_free(&arena);
    uqff_arena_free(&arena);
    uqff_set_allocator(NULL);
}

static void check_hex(const void *bytes, size_t n, const char *expected) {
    char hex[65];
    uqff_hex(hex, bytes, n);
    assert_string_equal(hex, expected);
}

static void test_hash(void **state) {
    (void)state;
    struct uqff_digest digest = uqff_hash(NULL, 0);
    check_hex(digest.bytes, 16, "99aa06d3014798d86001c324468d497f");
    digest = uqff_hash("abc", 3);
    check_hex(digest.bytes, 16, "06b05ab6733a618578af5f94892f3950");

    static unsigned char data[100000];
    struct test_random random = {9};
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (unsigned char)random_u64(&random);
    }
    struct uqff_digest whole = uqff_hash(data, sizeof data);
    struct uqff_hasher *hasher = uqff_hasher_new();
    assert_non_null(hasher);
    for (int round = 0; round < 2; round++) {
        for (size_t at = 0, step; at < sizeof data; at += step) {
            step = random_u64(&random) % 3000;
            step = step < sizeof data - at ? step : sizeof data - at;
            uqff_hasher_update(hasher, data + at, step);
        }
        digest = uqff_hasher_digest(hasher);
        assert_true(uqff_digest_equal(&digest, &whole));
        uqff_hasher_update(hasher, "x", 1);
        digest = uqff_hasher_digest(hasher);
        assert_false(uqff_digest_equal(&digest, &whole));
        uqff_hasher_reset(hasher);
    }
    uqff_hasher_free(hasher);
    uqff_hasher_free(NULL);
    fail_allocation(1);
    assert_null(uqff_hasher_new());
    fail_allocation(0);
    uqff_set_allocator(NULL);
}

static void test_sha(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_sha *sha;
    unsigned char out[32];
    size_t size;
    assert_ok(uqff_sha_new("sha256", &sha, &err), &err);
    uqff_sha_update(sha, "a", 1);
    uqff_sha_update(sha, NULL, 0);
    uqff_sha_update(sha, "bc", 2);
    uqff_sha_final(sha, out, &size);
    uqff_sha_free(sha);
    assert_int_equal(size, 32);
    check_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_ok(uqff_sha_new("sha1", &sha, &err), &err);
    uqff_sha_update(sha, "abc", 3);
    uqff_sha_final(sha, out, &size);
    uqff_sha_free(sha);
    assert_int_equal(size, 20);
    check_hex(out, 20, "a9993e364706816aba3e25717850c26c9cd0d89d");
    assert_fails(uqff_sha_new("md5", &sha, &err), UQFF_E_UNKNOWN, &err, "'md5'");
    fail_allocation(1);
    assert_fails(uqff_sha_new("sha1", &sha, &err), UQFF_E_MEMORY, &err, "memory");
    fail_allocation(0);
    uqff_set_allocator(NULL);
    uqff_sha_free(NULL);
}

static void test_hex(void **state) {
    (void)state;
    unsigned char out[4];
    assert_true(uqff_unhex(out, "00aBcDff", 4));
    check_hex(out, 4, "00abcdff");
    assert_false(uqff_unhex(out, "0g", 1));
    assert_false(uqff_unhex(out, "g0", 1));
    assert_false(uqff_unhex(out, "0", 1));
    assert_false(uqff_unhex(out, "", 1));
    assert_true(uqff_unhex(out, "", 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arithmetic), cmocka_unit_test(test_loads),
        cmocka_unit_test(test_blocks),     cmocka_unit_test(test_grow),
        cmocka_unit_test(test_injection),  cmocka_unit_test(test_arena),
        cmocka_unit_test(test_hash),       cmocka_unit_test(test_sha),
        cmocka_unit_test(test_hex),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
