/* Parallel loops, the number of threads, progress. */
#include "tests/support/support.h"

#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/threads.h"

enum { MANY = 10000 };

struct counts {
    atomic_uint seen[MANY];
    atomic_uint largest_thread;
    size_t fail_from; /* indices from here on fail */
};

static enum uqff_code count_one(void *context, size_t i, unsigned thread, struct uqff_error *err) {
    struct counts *counts = context;
    unsigned largest = atomic_load(&counts->largest_thread);
    while (thread > largest &&
           !atomic_compare_exchange_weak(&counts->largest_thread, &largest, thread)) {
    }
    atomic_fetch_add(&counts->seen[i], 1);
    if (i >= counts->fail_from) {
        return uqff_fail(err, UQFF_E_SHAPE, i, "body %zu", i);
    }
    return UQFF_OK;
}

static void test_every_index_once(void **state) {
    (void)state;
    static const unsigned threads[] = {0, 1, 2, 3, 8, 5000};
    for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
        for (size_t count = 0; count <= MANY; count = count * 10 + 1) {
            struct uqff_error err;
            struct counts *counts = calloc(1, sizeof *counts);
            assert_non_null(counts);
            counts->fail_from = SIZE_MAX;
            assert_ok(uqff_parallel_for(count,
                                        threads[t] > 64 && count < MANY / 10 ? 64 : threads[t],
                                        count_one, counts, &err),
                      &err);
            for (size_t i = 0; i < MANY; i++) {
                assert_int_equal(counts->seen[i], i < count);
            }
            assert_true(counts->largest_thread < (count > 0 ? count : 1));
            free(counts);
        }
    }
}

static void test_first_failure(void **state) {
    (void)state;
    for (unsigned threads = 1; threads <= 8; threads++) {
        for (int round = 0; round < 20; round++) {
            struct uqff_error err;
            struct counts *counts = calloc(1, sizeof *counts);
            assert_non_null(counts);
            counts->fail_from = 1234;
            /* The smallest failing index is what is reported, whatever the threads do. */
            assert_fails(uqff_parallel_for(MANY, threads, count_one, counts, &err), UQFF_E_SHAPE,
                         &err, "body 1234");
            assert_int_equal(err.offset, 1234);
            size_t run = 0;
            for (size_t i = 0; i < MANY; i++) {
                run += counts->seen[i];
            }
            assert_true(run < MANY);
            free(counts);
        }
        struct counts *counts = calloc(1, sizeof *counts);
        assert_non_null(counts);
        assert_int_equal(uqff_parallel_for(MANY, threads, count_one, counts, NULL), UQFF_E_SHAPE);
        free(counts);
    }
}

static enum uqff_code nested(void *context, size_t i, unsigned thread, struct uqff_error *err) {
    (void)i, (void)thread;
    return uqff_parallel_for(10, 2, count_one, context, err);
}

static void test_nested(void **state) {
    (void)state;
    struct uqff_error err;
    struct counts *counts = calloc(1, sizeof *counts);
    assert_non_null(counts);
    counts->fail_from = SIZE_MAX;
    assert_ok(uqff_parallel_for(50, 4, nested, counts, &err), &err);
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(counts->seen[i], 50);
    }
    free(counts);
}

/* Loops of a team: the same work, the same failures, loops in loops, a team in a team. */
static enum uqff_code loops_of_team(void *context, struct uqff_error *err) {
    struct counts *counts = context;
    for (unsigned threads = 1; threads < 6; threads++) {
        counts->largest_thread = 0;
        assert_ok(uqff_parallel_for(MANY, threads, count_one, counts, err), err);
        assert_true(counts->largest_thread < threads);
    }
    assert_ok(uqff_parallel_for(1, 4, count_one, counts, err), err);
    assert_ok(uqff_parallel_for(0, 4, count_one, counts, err), err);
    assert_ok(uqff_parallel_for(50, 4, nested, counts, err), err);
    counts->fail_from = 1234;
    assert_fails(uqff_parallel_for(MANY, 4, count_one, counts, err), UQFF_E_SHAPE, err,
                 "body 1234");
    counts->fail_from = SIZE_MAX;
    return uqff_fail(err, UQFF_E_FIELD, 7, "what the body of the team returns");
}

static enum uqff_code team_in_team(void *context, struct uqff_error *err) {
    return uqff_parallel_team(3, loops_of_team, context, err);
}

static void test_team(void **state) {
    static const unsigned threads[] = {0, 1, 2, 3, 8};
    (void)state;
    for (size_t t = 0; t < 2 * sizeof threads / sizeof *threads; t++) {
        struct uqff_error err;
        struct counts *counts = calloc(1, sizeof *counts);
        assert_non_null(counts);
        counts->fail_from = SIZE_MAX;
        assert_fails(uqff_parallel_team(threads[t / 2], t % 2 == 0 ? loops_of_team : team_in_team,
                                        counts, &err),
                     UQFF_E_FIELD, &err, "what the body of the team returns");
        assert_int_equal(counts->seen[0], 5 + 1 + 50 + 1);
        assert_int_equal(counts->seen[9], 5 + 50 + 1);
        assert_true(counts->seen[MANY - 1] == 5 || counts->seen[MANY - 1] == 6);
        free(counts);
    }
}

static void put(const char *name, const char *text) {
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", scratch(), name);
    for (char *slash = strchr(path + strlen(scratch()) + 1, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    write_file(path, text, strlen(text));
}

static unsigned granted(const char *groups, const char *mount) {
    char path[4200];
    put("cgroup", groups);
    snprintf(path, sizeof path, "%s/%s", scratch(), mount);
    return uqff_cgroup_threads(scratch_file("cgroup"), path);
}

static void test_cgroups(void **state) {
    (void)state;
    assert_true(uqff_available_threads() >= 1);
    assert_int_equal(uqff_cgroup_threads("/nonexistent/cgroup", "/nonexistent"), 0);

    put("v2/cpu.max", "max 100000\n");
    put("v2/slice/cpu.max", "350000 100000\n");
    put("v2/slice/job/cpu.max", "max 100000\n");
    put("v2/slice/tight/cpu.max", "1000 100000\n");
    put("v2/slice/odd/cpu.max", "nonsense\n");
    assert_int_equal(granted("0::/\n", "v2"), 0);
    assert_int_equal(granted("0::/slice\n", "v2"), 4);
    assert_int_equal(granted("0::/slice/job\n", "v2"), 4);
    assert_int_equal(granted("0::/slice/tight\n", "v2"), 1);
    assert_int_equal(granted("0::/slice/odd\n", "v2"), 4);
    assert_int_equal(granted("0::/elsewhere/gone\n", "v2"), 0);

    put("v1/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
    put("v1/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    put("v1/cpu,cpuacct/box/cpu.cfs_quota_us", "250000\n");
    put("v1/cpu,cpuacct/box/cpu.cfs_period_us", "100000\n");
    put("v1/cpu/box/cpu.cfs_quota_us", "100000\n");
    put("v1/cpu/box/cpu.cfs_period_us", "100000\n");
    assert_int_equal(granted("12:cpuset:/\n4:cpu,cpuacct:/\n1:name=systemd:/\n", "v1"), 0);
    assert_int_equal(granted("4:cpu,cpuacct:/box\n", "v1"), 3);
    assert_int_equal(granted("4:cpuacct,cpu:/box\n", "v1"), 1);
    assert_int_equal(granted("4:cpuset:/box\nnonsense\n7:cpu\n\n", "v1"), 0);
}

static bool accept_below(void *context, const char *stage, uint64_t done, uint64_t total) {
    assert_string_equal(stage, "packing");
    assert_int_equal(total, 100);
    return done < *(uint64_t *)context;
}

static void test_progress(void **state) {
    (void)state;
    uint64_t limit = 50;
    struct uqff_error err;
    struct uqff_progress progress = {accept_below, &limit};
    assert_ok(uqff_progress_update(&progress, "packing", 49, 100, &err), &err);
    assert_fails(uqff_progress_update(&progress, "packing", 50, 100, &err), UQFF_E_CANCELLED, &err,
                 "packing");
    progress.update = NULL;
    assert_ok(uqff_progress_update(&progress, "packing", 50, 100, &err), &err);
    assert_ok(uqff_progress_update(NULL, "packing", 50, 100, &err), &err);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_index_once), cmocka_unit_test(test_first_failure),
        cmocka_unit_test(test_nested),           cmocka_unit_test(test_team),
        cmocka_unit_test(test_cgroups),          cmocka_unit_test(test_progress),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
