/* bench_measure: rates by the clock. */
#include "bench.h"

#include <time.h>

/* Time that this process had a processor: others may want it too. */
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* What one repeat did in what time. */
struct lap {
    size_t done; /* rows */
    double seconds;
};

/* Goes through the first `rows` rows until the time is over, or once. What a pass begins with
 * counts as far as the pass went. */
static enum uqff_code run_lap(const struct bench_work *work, const struct bench_extent *extent,
                              struct bench_data *data, size_t rows, bool once, double seconds,
                              struct lap *lap, struct uqff_error *err) {
    size_t done = 0, begun_rows = 0;
    double start = now(), elapsed = 0, begun = 0;
    enum uqff_code code = UQFF_OK;
    while (code == UQFF_OK && (done < extent->fewest || elapsed < seconds) &&
           !(once && done == rows)) {
        size_t row = done % rows;
        size_t count = rows - row < extent->step ? rows - row : extent->step;
        if (row == 0 && work->begin != NULL) {
            double before = now();
            work->begin(data);
            begun += now() - before;
            begun_rows += rows;
        }
        code = work->run(data, row, count, err);
        done += count;
        elapsed = now() - start;
    }
    double share = begun_rows > 0 ? (double)done / (double)begun_rows : 1;
    *lap = (struct lap){done, elapsed - begun + begun * share};
    return code;
}

/* The best of several laps: others use the machine as well. */
static enum uqff_code best_lap(const struct bench_work *work, const struct bench_clock *clock,
                               const struct bench_extent *extent, struct bench_data *data,
                               size_t rows, bool once, double *rows_per_second,
                               struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    *rows_per_second = 0;
    for (unsigned i = 0; i < clock->repeats && rows > 0 && code == UQFF_OK; i++) {
        struct lap lap;
        /* What is in a cache needs no long look. */
        double seconds = once ? clock->seconds : clock->seconds / 4;
        code = run_lap(work, extent, data, rows, once, seconds, &lap, err);
        double rate = (double)lap.done / (lap.seconds > 1e-9 ? lap.seconds : 1e-9);
        *rows_per_second = rate > *rows_per_second ? rate : *rows_per_second;
    }
    return code;
}

enum uqff_code bench_measure(const struct bench_work *work, const struct bench_clock *clock,
                             struct bench_data *data, struct bench_rate *rate,
                             struct uqff_error *err) {
    struct bench_extent extent;
    double memory = 0, cache = 0;
    enum uqff_code code = work->prepare(data, &extent, err);
    if (code == UQFF_OK) {
        code = best_lap(work, clock, &extent, data, extent.rows, true, &memory, err);
    }
    if (code == UQFF_OK) {
        code = best_lap(work, clock, &extent, data, extent.cached_rows, false, &cache, err);
    }
    *rate = (struct bench_rate){memory * extent.units_per_row, cache * extent.units_per_row,
                                memory * extent.bytes_per_row, cache * extent.bytes_per_row};
    return code;
}
