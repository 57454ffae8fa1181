/*
 * bench_kernels: how fast each kernel is on one core, at each level that this machine has, beside
 * the reference level and beside a copy of the same bytes, all measured in one run.
 *
 * A measurement is a row of `functions`: how to make its data from weights, and how to run it over
 * some rows. It is taken twice: streaming over an array larger than the caches, and again and again
 * over one that fits into the second-level cache.
 */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "uqff/quant.h"
#include "uqff/version.h"

enum {
    COLUMNS = 4096,   /* elements a row: what one call works on */
    CACHED_ROWS = 24, /* 384 KiB of float32 */
    STEP = 48,        /* rows between two looks at the clock */
    FEWEST_ROWS = 64, /* at least 262,144 distinct weights */
    REPEATS = 5,      /* the best of these counts: others use the machine as well */
    LEVELS = UQFF_CPU_NEON + 1,
};

struct options {
    size_t rows;
    double seconds; /* the most for one repeat */
    const char *types, *functions;
    bool json;
};

/* The arrays that functions work on; each has `rows` rows of COLUMNS elements. */
struct data {
    size_t rows;
    const float *weights;
    const float *importance; /* one row of it */
    float *floats;           /* for results */
    unsigned char *encoded;  /* encoded[row * row_bytes], of any type */
    uint32_t type;
    size_t row_bytes;
};

struct function {
    const char *name;
    unsigned flags; /* enum uqff_type_flags that a type must have */
    /* Before the clock starts; NULL: nothing. */
    bool (*prepare)(struct data *data);
    /* Works on rows first .. first + count - 1. */
    bool (*run)(struct data *data, size_t first, size_t count);
    size_t step; /* the most rows for one run; the clock is read between runs */
};

/* ---- the functions -------------------------------------------------------------------------- */

static bool succeeded(enum uqff_code code, const struct uqff_error *err) {
    if (code != UQFF_OK) {
        fprintf(stderr, "bench_kernels: %s\n", err->text);
    }
    return code == UQFF_OK;
}

static bool encode(struct data *data, size_t first, size_t count, const float *importance) {
    struct uqff_error err;
    for (size_t row = first; row < first + count; row++) {
        if (!succeeded(uqff_quantize_row(data->type, data->weights + row * COLUMNS,
                                         data->encoded + row * data->row_bytes, COLUMNS, importance,
                                         &err),
                       &err)) {
            return false;
        }
    }
    return true;
}

static bool run_quantize(struct data *data, size_t first, size_t count) {
    return encode(data, first, count, NULL);
}

static bool run_quantize_weighted(struct data *data, size_t first, size_t count) {
    return encode(data, first, count, data->importance);
}

/* A few rows are encoded and repeated: decoders do not care what they decode. */
static bool prepare_dequantize(struct data *data) {
    if (!encode(data, 0, FEWEST_ROWS < data->rows ? FEWEST_ROWS : data->rows, NULL)) {
        return false;
    }
    for (size_t row = FEWEST_ROWS; row < data->rows; row++) {
        memcpy(data->encoded + row * data->row_bytes,
               data->encoded + row % FEWEST_ROWS * data->row_bytes, data->row_bytes);
    }
    return true;
}

/* All rows in one call, as one who wants a whole tensor does. */
static bool run_dequantize(struct data *data, size_t first, size_t count) {
    struct uqff_error err;
    return succeeded(uqff_dequantize_row(data->type, data->encoded + first * data->row_bytes,
                                         data->floats + first * COLUMNS, count * COLUMNS, &err),
                     &err);
}

/* What the others are compared with: each weight is read and written as float32 once. */
static bool run_copy(struct data *data, size_t first, size_t count) {
    memcpy(data->floats + first * COLUMNS, data->weights + first * COLUMNS,
           count * COLUMNS * sizeof(float));
    return true;
}

/* All in one call: the C library stores large copies past the caches. */
static const struct function copy = {"copy", 0, NULL, run_copy, SIZE_MAX};

static const struct function functions[] = {
    {"quantize", UQFF_TYPE_CAN_ENCODE, NULL, run_quantize, STEP},
    {"quantize_importance", UQFF_TYPE_CAN_ENCODE | UQFF_TYPE_USES_IMPORTANCE, NULL,
     run_quantize_weighted, STEP},
    {"dequantize", UQFF_TYPE_CAN_ENCODE | UQFF_TYPE_CAN_DECODE, prepare_dequantize, run_dequantize,
     SIZE_MAX},
};
enum { FUNCTIONS = sizeof functions / sizeof functions[0] };

/* ---- measuring ------------------------------------------------------------------------------ */

/* Time that this process had a processor: others may want it too. */
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Weights a second of the best repeat; negative on failure. A repeat goes through the first `rows`
 * rows, once or until its time is over. */
static double measure(const struct function *function, struct data *data, size_t rows, bool once,
                      double seconds) {
    double best = 0;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        size_t done = 0;
        double start = now(), elapsed = 0;
        while (done < FEWEST_ROWS || elapsed < seconds) {
            size_t row = done % rows;
            size_t count = rows - row < function->step ? rows - row : function->step;
            if (!function->run(data, row, count)) {
                return -1;
            }
            done += count;
            elapsed = now() - start;
            if (once && done == rows) {
                break;
            }
        }
        double rate = (double)done * COLUMNS / elapsed;
        best = rate > best ? rate : best;
    }
    return best;
}

struct rate {
    double memory, cache; /* weights a second */
};

static bool measure_both(const struct function *function, struct data *data, double seconds,
                         struct rate *rate) {
    if (function->prepare && !function->prepare(data)) {
        return false;
    }
    size_t cached = CACHED_ROWS < data->rows ? CACHED_ROWS : data->rows;
    rate->memory = measure(function, data, data->rows, true, seconds);
    rate->cache = measure(function, data, cached, false, seconds / 4);
    return rate->memory >= 0 && rate->cache >= 0;
}

/* ---- what is printed ------------------------------------------------------------------------ */

static const char *compiler(void) {
#if defined(__clang__)
    return "clang " __clang_version__;
#else
    return "gcc " __VERSION__;
#endif
}

static void find_machine(char *text, size_t size) {
    char line[256];
    snprintf(text, size, "unknown processor");
    FILE *in = fopen("/proc/cpuinfo", "r");
    if (!in) {
        return;
    }
    while (fgets(line, sizeof line, in)) {
        const char *colon = strchr(line, ':');
        if (colon && (strncmp(line, "model name", 10) == 0 || strncmp(line, "CPU part", 8) == 0)) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(text, size, "%s", colon + 2);
            break;
        }
    }
    fclose(in);
}

struct report {
    const struct options *options;
    struct rate copy;
    cJSON *document, *results;
};

static bool report_begin(struct report *report) {
    char machine[256];
    find_machine(machine, sizeof machine);
    double copied = 4e-9 * report->copy.memory, cached = 4e-9 * report->copy.cache;
    double mib = (double)report->options->rows * COLUMNS * 4 / (1 << 20);
    if (!report->options->json) {
        printf("%s; %s; uqff %s\n", machine, compiler(), UQFF_VERSION);
        printf("one core; %.0f MiB of float32; a copy moves %.1f GB/s, in the cache %.1f GB/s\n",
               mib, copied, cached);
        printf(
            "Mw/s: million weights a second. x ref: ratio to the reference level. copy: share of "
            "a copy of the float32.\n\n");
        printf("%-8s %-20s %-5s %9s %7s %6s   %9s %6s\n", "", "", "", "Mw/s", "x ref", "copy",
               "in cache", "copy");
        return true;
    }
    report->document = cJSON_CreateObject();
    cJSON *of = report->document;
    return of && cJSON_AddStringToObject(of, "machine", machine) &&
           cJSON_AddStringToObject(of, "compiler", compiler()) &&
           cJSON_AddStringToObject(of, "version", UQFF_VERSION) &&
           cJSON_AddNumberToObject(of, "float32_mib", mib) &&
           cJSON_AddNumberToObject(of, "copy_gb_per_second", copied) &&
           cJSON_AddNumberToObject(of, "cache_copy_gb_per_second", cached) &&
           (report->results = cJSON_AddArrayToObject(of, "results"));
}

static bool report_row(struct report *report, const char *type, const char *function,
                       enum uqff_cpu_level level, struct rate rate, struct rate reference) {
    const char *name = uqff_cpu_level_name(level);
    double share = rate.memory / report->copy.memory, cached = rate.cache / report->copy.cache;
    double ratio = rate.memory / reference.memory;
    if (!report->options->json) {
        printf("%-8s %-20s %-5s %9.1f %7.2f %5.0f%%   %9.1f %5.0f%%\n", type, function, name,
               rate.memory * 1e-6, ratio, 100 * share, rate.cache * 1e-6, 100 * cached);
        fflush(stdout);
        return true;
    }
    cJSON *row = cJSON_CreateObject();
    if (!row || !cJSON_AddItemToArray(report->results, row)) {
        cJSON_Delete(row);
        return false;
    }
    return cJSON_AddStringToObject(row, "type", type) &&
           cJSON_AddStringToObject(row, "function", function) &&
           cJSON_AddStringToObject(row, "level", name) &&
           cJSON_AddNumberToObject(row, "weights_per_second", rate.memory) &&
           cJSON_AddNumberToObject(row, "ratio_to_ref", ratio) &&
           cJSON_AddNumberToObject(row, "share_of_copy", share) &&
           cJSON_AddNumberToObject(row, "cache_weights_per_second", rate.cache) &&
           cJSON_AddNumberToObject(row, "cache_share_of_copy", cached);
}

static bool report_end(struct report *report) {
    if (!report->options->json) {
        return true;
    }
    char *text = cJSON_Print(report->document);
    if (text) {
        puts(text);
    }
    free(text);
    return text != NULL;
}

/* ---- the run -------------------------------------------------------------------------------- */

/* Is the name on the list, separated by commas? No list has all. */
static bool listed(const char *list, const char *name) {
    size_t length = strlen(name);
    if (!list) {
        return true;
    }
    for (;;) {
        size_t item = strcspn(list, ",");
        if (item == length && strncasecmp(list, name, length) == 0) {
            return true;
        }
        if (list[item] == '\0') {
            return false;
        }
        list += item + 1;
    }
}

static bool run_function(struct report *report, struct data *data, const struct function *function,
                         const struct uqff_type_info *info) {
    const enum uqff_cpu_level levels[] = {UQFF_CPU_REF, uqff_cpu_found()};
    const double seconds = report->options->seconds;
    struct uqff_error err;
    struct rate rate, reference = {0, 0};
    for (int i = 0; i < (levels[1] == UQFF_CPU_REF ? 1 : 2); i++) {
        if (!succeeded(uqff_cpu_set_level(levels[i], &err), &err) ||
            !measure_both(function, data, seconds, &rate)) {
            return false;
        }
        reference = i == 0 ? rate : reference;
        if (!report_row(report, info->name, function->name, levels[i], rate, reference)) {
            return false;
        }
    }
    return true;
}

static bool run_type(struct report *report, struct data *data, const struct uqff_type_info *info) {
    data->type = info->id;
    data->row_bytes = (size_t)COLUMNS / info->block_length * info->block_bytes;
    for (int f = 0; f < FUNCTIONS; f++) {
        const struct function *function = &functions[f];
        if ((info->flags & function->flags) == function->flags &&
            listed(report->options->functions, function->name) &&
            !run_function(report, data, function, info)) {
            return false;
        }
    }
    return true;
}

static bool run_all(const struct options *options, struct data *data) {
    struct report report = {options, {0, 0}, NULL, NULL};
    size_t count;
    const struct uqff_type_info *table = uqff_type_table(&count);
    bool fine = measure_both(&copy, data, options->seconds, &report.copy) && report_begin(&report);
    for (size_t t = 0; t < count && fine; t++) {
        if (listed(options->types, table[t].name)) {
            fine = run_type(&report, data, &table[t]);
        }
    }
    fine = fine && report_end(&report);
    cJSON_Delete(report.document);
    return fine;
}

/* ---- data ----------------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * 0x2545f4914f6cdd1d;
}

/* Near a normal distribution: the sum of four 16-bit numbers. */
static float random_weight(uint64_t *state) {
    uint64_t r = next_random(state);
    int32_t sum = (int32_t)(r & 0xffff) + (int32_t)(r >> 16 & 0xffff) +
                  (int32_t)(r >> 32 & 0xffff) + (int32_t)(r >> 48);
    return (float)(sum - 2 * 0xffff) * 0x1p-21f;
}

/* Pages that the system makes large where it can, and all of them present. */
static void *allocate(size_t bytes) {
    size_t huge = (size_t)2 << 20;
    void *p = aligned_alloc(huge, (bytes + huge - 1) / huge * huge);
    if (p) {
        madvise(p, bytes, MADV_HUGEPAGE);
        memset(p, 1, bytes);
    }
    return p;
}

static bool run(const struct options *options) {
    size_t count = options->rows * COLUMNS;
    float *weights = allocate(count * sizeof *weights);
    float *importance = allocate(COLUMNS * sizeof *importance);
    float *floats = allocate(count * sizeof *floats);
    unsigned char *encoded = allocate(count * sizeof *floats + (count >> 2));
    bool fine = false;
    if (weights && importance && floats && encoded) {
        uint64_t state = 0x9e3779b97f4a7c15;
        for (size_t i = 0; i < count; i++) {
            weights[i] = random_weight(&state);
        }
        for (size_t i = 0; i < COLUMNS; i++) {
            importance[i] = random_weight(&state) * random_weight(&state);
            importance[i] *= importance[i];
        }
        struct data data = {.rows = options->rows,
                            .weights = weights,
                            .importance = importance,
                            .floats = floats,
                            .encoded = encoded};
        fine = run_all(options, &data);
    } else {
        fprintf(stderr, "bench_kernels: out of memory\n");
    }
    free(encoded);
    free(floats);
    free(importance);
    free(weights);
    return fine;
}

static int usage(void) {
    fprintf(stderr, "usage: bench_kernels [--json] [--size MIB] [--seconds S] [--types A,B...]\n"
                    "                     [--functions quantize,quantize_importance,dequantize]\n"
                    "  --size     float32 to stream over, default 256 MiB\n"
                    "  --seconds  the most that one repeat takes, default 0.2\n");
    return 2;
}

int main(int argc, char **argv) {
    struct options options = {.rows = 256 * 64, .seconds = 0.2};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            options.json = true;
            continue;
        }
        if (i + 1 == argc) {
            return usage();
        }
        const char *name = argv[i], *value = argv[++i];
        if (strcmp(name, "--size") == 0) {
            options.rows = strtoul(value, NULL, 10) * 64; /* a MiB is 64 rows */
        } else if (strcmp(name, "--seconds") == 0) {
            options.seconds = strtod(value, NULL);
        } else if (strcmp(name, "--types") == 0) {
            options.types = value;
        } else if (strcmp(name, "--functions") == 0) {
            options.functions = value;
        } else {
            return usage();
        }
    }
    if (options.rows == 0 || options.rows > (size_t)64 << 20 || !(options.seconds > 0)) {
        return usage();
    }
    return run(&options) ? 0 : 1;
}
