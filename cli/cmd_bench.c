/* uqff bench: how fast the kernels are on this machine. */
#include "cmd.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "json.h"
#include "options.h"
#include "output.h"

enum {
    DEFAULT_SIZE_MIB = 256,
    DEFAULT_REPEATS = 5,
    MOST_REPEATS = 1000,
    ROW_BYTES = BENCH_COLUMNS * 4,
};

static const double default_seconds = 0.2;

struct values {
    struct list types, what;
    unsigned level;
    double seconds;
    uint64_t repeats, size;
};

#define AT(member) offsetof(struct values, member)

static const struct option options[] = {
    {"types", 0, "TYPE,…", OPTION_COMMAS, AT(types), COMPLETE_NONE, "all that can be encoded",
     "measure these types"},
    {"what", 0, "WHAT,…", OPTION_COMMAS, AT(what), COMPLETE_NONE, "all",
     "measure these: quantize, dequantize, dot, matmul"},
    {"level", 0, "ref|avx2|neon|avx512", OPTION_CHOICE, AT(level), COMPLETE_NONE,
     "ref and the one in use",
     "measure this level alone: plain C, or the kernels of an instruction set"},
    {"seconds", 0, "S", OPTION_REAL, AT(seconds), COMPLETE_NONE, "0.2",
     "the most that one run takes"},
    {"repeats", 0, "N", OPTION_COUNT, AT(repeats), COMPLETE_NONE, "5",
     "runs of which the best counts"},
    {"size", 0, "SIZE", OPTION_SIZE, AT(size), COMPLETE_NONE, "256M",
     "float32 weights to stream over; more than fits into a cache"},
    {0},
};

static const struct positional positionals[] = {{0}};

static const char *const description[] = {
    "Measures the kernels of this machine on one core: weights a second that are quantized, with "
    "and without importance, and dequantized; dot products of rows in the first-level cache, with "
    "activations in the type that belongs to the weights; and multiply-adds a second of 512 tokens "
    "(matmul) or one (matvec) times a matrix of 2048 columns and rows. matmul_exact multiplies "
    "decoded weights with float32.",
    "Each is measured in plain C and at the level in use (see UQFF_CPU), and printed with its "
    "ratio to plain C. Quantizing, dequantizing and matvec are measured twice: streaming over an "
    "array larger than the caches, and on one that fits into the second-level cache. COPY sets the "
    "rate beside a copy of as many bytes, measured in the same way: of the float32 weights, or for "
    "products of the encoded ones. A copy reads and writes, so that what mostly writes, or only "
    "reads, may pass 100 %.",
    "The clock counts the time in which the program had the processor, and the best of several "
    "runs "
    "counts, so that figures bear some company. They are steadiest on an idle machine.",
    NULL,
};

static const char *const json[] = {
    "    schema        \"uqff.bench/1\"\n"
    "    version, compiler, machine  of the program; the processor's name\n"
    "    level         the level in use\n"
    "    size          bytes of the float32 weights\n"
    "    seconds, repeats\n"
    "    copy          {memory, cache}: bytes a second\n"
    "    results       [{type, what, level, unit, memory, cache}]; what is\n"
    "                  quantize, quantize_importance, dequantize, dot, matmul,\n"
    "                  matmul_exact or matvec; unit \"weights\" or\n"
    "                  \"multiply-adds\"; memory and cache are null or\n"
    "                  {per_second, ratio_to_ref, share_of_copy}\n"
    "    warnings      [text]",
    "ratio_to_ref is null where plain C was not measured, share_of_copy where no copy is set "
    "beside.",
    NULL,
};

static const struct example examples[] = {
    {"uqff bench --types q4_k,q6_k --what quantize", "How fast two types are encoded:"},
    {"UQFF_CPU=ref uqff bench --what dot,matmul", "Products in plain C:"},
    {"uqff bench --json | jq -r '.results[] | select(.what == \"matmul\") | "
     "[.type, .level, .memory.per_second] | @tsv'",
     "All products of matrices:"},
    {0},
};

/* ---- what is asked for ----------------------------------------------------------------------- */

enum { MOST_TYPES = 64, MOST_WORKS = 16 };

struct request {
    const struct uqff_type_info *types[MOST_TYPES];
    size_t type_count;
    const struct bench_work *works[MOST_WORKS];
    size_t work_count;
    enum uqff_cpu_level levels[2];
    size_t level_count;
    size_t rows;
    struct bench_clock clock;
};

static bool can_encode(const struct uqff_type_info *type) {
    return (type->flags & UQFF_TYPE_CAN_ENCODE) != 0;
}

static enum uqff_code unknown(const char *what, const char *name, const char *const *names,
                              size_t count, struct uqff_error *err) {
    const char *nearest = uqff_nearest(name, names, count);
    if (nearest != NULL) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "option '--%s': unknown '%.64s'; did you mean '%s'?", what, name, nearest);
    }
    struct uqff_buffer list = {0};
    for (size_t i = 0; i < count; i++) {
        uqff_buffer_printf(&list, "%s%s", i == 0 ? "" : ", ", names[i]);
    }
    enum uqff_code code = list.failed
                              ? uqff_fail_memory(err)
                              : uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                                          "option '--%s': unknown '%.64s', expected one of: %s",
                                          what, name, list.size == 0 ? "" : list.data);
    uqff_buffer_free(&list);
    return code;
}

static enum uqff_code choose_types(const struct list *names, struct request *request,
                                   struct uqff_error *err) {
    const char *known[MOST_TYPES];
    size_t known_count = 0, count;
    const struct uqff_type_info *table = uqff_type_table(&count);
    for (size_t i = 0; i < count && known_count < MOST_TYPES; i++) {
        if (can_encode(&table[i])) {
            known[known_count] = table[i].name;
            request->types[known_count++] = &table[i];
        }
    }
    request->type_count = known_count;
    if (names->count == 0) {
        return UQFF_OK;
    }
    if (names->count > MOST_TYPES) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "option '--types': found %zu types, expected at most %d", names->count,
                         MOST_TYPES);
    }
    for (size_t i = 0; i < names->count; i++) {
        const struct uqff_type_info *type = uqff_type_by_name(names->items[i]);
        if (type == NULL) {
            return unknown("types", names->items[i], known, known_count, err);
        }
        if (!can_encode(type)) {
            return uqff_fail(err, UQFF_E_TYPE, UQFF_NO_OFFSET,
                             "option '--types': %s cannot be encoded", type->name);
        }
        request->types[i] = type;
    }
    request->type_count = names->count;
    return UQFF_OK;
}

static bool holds(const struct list *names, const char *name) {
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->items[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static enum uqff_code choose_works(const struct list *names, struct request *request,
                                   struct uqff_error *err) {
    const char *groups[MOST_WORKS];
    size_t group_count = 0;
    for (const struct bench_work *work = bench_works; work->name != NULL; work++) {
        if (group_count == 0 || strcmp(groups[group_count - 1], work->group) != 0) {
            groups[group_count++] = work->group;
        }
        if (names->count == 0 || holds(names, work->group)) {
            request->works[request->work_count++] = work;
        }
    }
    const struct list known = {groups, group_count};
    for (size_t i = 0; i < names->count; i++) {
        if (!holds(&known, names->items[i])) {
            return unknown("what", names->items[i], groups, group_count, err);
        }
    }
    return UQFF_OK;
}

static enum uqff_code choose_levels(unsigned choice, struct request *request,
                                    struct uqff_error *err) {
    const enum uqff_cpu_level used = uqff_cpu_level();
    if (choice > 0) {
        request->levels[request->level_count++] = (enum uqff_cpu_level)(choice - 1);
        enum uqff_code code = uqff_cpu_set_level(request->levels[0], err);
        if (code != UQFF_OK) {
            uqff_error_prefix(err, "option '--level'");
        }
        return code;
    }
    request->levels[request->level_count++] = UQFF_CPU_REF;
    if (used != UQFF_CPU_REF) {
        request->levels[request->level_count++] = used;
    }
    return UQFF_OK;
}

static enum uqff_code choose(const struct values *values, struct request *request,
                             struct uqff_error *err) {
    const uint64_t mib = (uint64_t)1 << 20, most = (uint64_t)BENCH_MOST_ROWS * ROW_BYTES;
    const uint64_t size = values->size > 0 ? values->size : DEFAULT_SIZE_MIB * mib;
    if (size < mib || size > most) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "option '--size': found %llu bytes, expected 1M to %lluG",
                         (unsigned long long)size, (unsigned long long)(most >> 30));
    }
    if (values->repeats > MOST_REPEATS) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "option '--repeats': found %llu, expected at most %d",
                         (unsigned long long)values->repeats, MOST_REPEATS);
    }
    request->rows = (size_t)(size / ROW_BYTES);
    request->clock.repeats = values->repeats > 0 ? (unsigned)values->repeats : DEFAULT_REPEATS;
    request->clock.seconds = values->seconds > 0 ? values->seconds : default_seconds;
    enum uqff_code code = choose_types(&values->types, request, err);
    if (code == UQFF_OK) {
        code = choose_works(&values->what, request, err);
    }
    return code == UQFF_OK ? choose_levels(values->level, request, err) : code;
}

/* ---- what is printed ------------------------------------------------------------------------- */

struct report {
    struct cli *cli;
    const struct request *request;
    struct bench_rate copy;
    cJSON *document, *results; /* NULL: a table is printed, row by row as it is measured */
};

static const char *compiler(void) {
#if defined(__clang__)
    return "clang " __clang_version__;
#else
    return "gcc " __VERSION__;
#endif
}

/* The name of the processor, or on ARM the number of its design. */
static void find_machine(char *text, size_t size) {
    char line[256];
    snprintf(text, size, "unknown processor");
    FILE *in = fopen("/proc/cpuinfo", "r");
    if (in == NULL) {
        return;
    }
    while (fgets(line, sizeof line, in) != NULL) {
        const char *colon = strstr(line, ": ");
        if (colon != NULL &&
            (strncmp(line, "model name", 10) == 0 || strncmp(line, "CPU part", 8) == 0)) {
            line[strcspn(line, "\n")] = '\0';
            output_cut(text, size, 0, colon + 2, strlen(colon + 2));
            break;
        }
    }
    fclose(in);
}

static void begin_table(const struct report *report, const char *machine) {
    const struct cli *cli = report->cli;
    const struct request *request = report->request;
    char size[16];
    if (!cli->quiet) {
        uqff_format_bytes(size, (uint64_t)request->rows * ROW_BYTES);
        printf("%s; %s; uqff %s\n", machine, compiler(), uqff_version());
        printf("one core, best of %u; %s of float32; a copy: %.1f GB/s, in cache %.1f GB/s\n\n",
               request->clock.repeats, size, report->copy.memory_bytes * 1e-9,
               report->copy.cache_bytes * 1e-9);
    }
    printf("%s%-7s %-19s %-6s %9s %6s %5s  %9s %6s %5s%s\n", style(cli, STYLE_BOLD), "TYPE", "WHAT",
           "LEVEL", "MEMORY/s", "x REF", "COPY", "CACHE/s", "x REF", "COPY", style_end(cli));
    fflush(stdout);
}

static void begin_document(struct report *report, const char *machine) {
    const struct request *request = report->request;
    report->document = json_document(report->cli);
    json_text(report->document, "version", uqff_version());
    json_text(report->document, "compiler", compiler());
    json_text(report->document, "machine", machine);
    json_text(report->document, "level",
              uqff_cpu_level_name(request->levels[request->level_count - 1]));
    json_u64(report->document, "size", (uint64_t)request->rows * ROW_BYTES);
    json_double(report->document, "seconds", request->clock.seconds);
    json_u64(report->document, "repeats", request->clock.repeats);
    cJSON *copy = json_object(report->document, "copy");
    json_u64(copy, "memory", (uint64_t)report->copy.memory_bytes);
    json_u64(copy, "cache", (uint64_t)report->copy.cache_bytes);
    report->results = json_array(report->document, "results");
}

/* One of the two rates of a row. */
struct figure {
    double rate;         /* 0: not measured */
    double ratio, share; /* 0: not known */
};

static struct figure figure(double rate, double reference, double bytes, double copied) {
    return (struct figure){rate, reference > 0 ? rate / reference : 0, bytes / copied};
}

/* "75.1 G": three significant digits. */
static const char *format_rate(char out[16], double rate) {
    const double value = rate >= 1e9 ? rate * 1e-9 : rate * 1e-6;
    const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    if (rate > 0) {
        snprintf(out, 16, "%.*f %c", decimals, value, rate >= 1e9 ? 'G' : 'M');
    } else {
        snprintf(out, 16, "-");
    }
    return out;
}

static const char *format_ratio(char out[16], double ratio) {
    if (ratio > 0) {
        snprintf(out, 16, "%.*f", ratio < 99.95 ? 1 : 0, ratio);
    } else {
        snprintf(out, 16, "-");
    }
    return out;
}

static const char *format_share(char out[16], double share) {
    if (share > 0) {
        snprintf(out, 16, "%.0f%%", 100 * share);
    } else {
        snprintf(out, 16, "-");
    }
    return out;
}

static void print_figure(struct figure figure) {
    char rate[16], ratio[16], share[16];
    printf(" %9s %6s %5s", format_rate(rate, figure.rate), format_ratio(ratio, figure.ratio),
           format_share(share, figure.share));
}

static void add_figure(cJSON *row, const char *key, struct figure figure) {
    if (!(figure.rate > 0)) {
        json_null(row, key);
        return;
    }
    cJSON *object = json_object(row, key);
    json_u64(object, "per_second", (uint64_t)figure.rate);
    json_double(object, "ratio_to_ref", figure.ratio > 0 ? figure.ratio : NAN);
    json_double(object, "share_of_copy", figure.share > 0 ? figure.share : NAN);
}

static void report_row(const struct report *report, const char *type, const struct bench_work *work,
                       enum uqff_cpu_level level, const struct bench_rate *rate,
                       const struct bench_rate *reference) {
    const struct bench_rate *copy = &report->copy;
    const struct figure memory =
        figure(rate->memory, reference->memory, rate->memory_bytes, copy->memory_bytes);
    const struct figure cache =
        figure(rate->cache, reference->cache, rate->cache_bytes, copy->cache_bytes);
    if (report->document == NULL) {
        printf("%-7s %-19s %-6s", type, work->name, uqff_cpu_level_name(level));
        print_figure(memory);
        printf(" ");
        print_figure(cache);
        printf("\n");
        fflush(stdout);
        return;
    }
    cJSON *row = json_object(report->results, NULL);
    json_text(row, "type", type);
    json_text(row, "what", work->name);
    json_text(row, "level", uqff_cpu_level_name(level));
    json_text(row, "unit", work->unit);
    add_figure(row, "memory", memory);
    add_figure(row, "cache", cache);
}

/* ---- the run --------------------------------------------------------------------------------- */

static enum uqff_code run_work(const struct report *report, struct bench_data *data,
                               const struct uqff_type_info *type, const struct bench_work *work,
                               struct uqff_error *err) {
    const struct request *request = report->request;
    struct bench_rate rate, reference = {0};
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < request->level_count && code == UQFF_OK; i++) {
        const enum uqff_cpu_level level = request->levels[i];
        code = uqff_cpu_set_level(level, err);
        if (code == UQFF_OK) {
            code = bench_measure(work, &request->clock, data, &rate, err);
        }
        if (code == UQFF_OK) {
            reference = level == UQFF_CPU_REF ? rate : reference;
            report_row(report, type->name, work, level, &rate, &reference);
        }
    }
    return code;
}

static enum uqff_code run_all(struct report *report, struct bench_data *data,
                              struct uqff_error *err) {
    const struct request *request = report->request;
    enum uqff_code code = bench_measure(&bench_copy, &request->clock, data, &report->copy, err);
    if (code != UQFF_OK) {
        return code;
    }
    char machine[256];
    find_machine(machine, sizeof machine);
    if (report->cli->json) {
        begin_document(report, machine);
    } else {
        begin_table(report, machine);
    }
    for (size_t t = 0; t < request->type_count; t++) {
        bench_data_set_type(data, request->types[t]);
        for (size_t w = 0; w < request->work_count && code == UQFF_OK; w++) {
            const struct bench_work *work = request->works[w];
            if (work->applies == NULL || work->applies(request->types[t])) {
                code = run_work(report, data, request->types[t], work, err);
            }
        }
    }
    return code;
}

static enum uqff_code run(struct cli *cli, const void *arguments, struct uqff_error *err) {
    struct request request = {0};
    struct report report = {.cli = cli, .request = &request};
    struct bench_data data;
    enum uqff_code code = choose(arguments, &request, err);
    if (code != UQFF_OK) {
        return code;
    }
    code = bench_data_make(request.rows, &data, err);
    if (code != UQFF_OK) {
        return code;
    }
    code = run_all(&report, &data, err);
    bench_data_free(&data);
    if (code == UQFF_OK && cli->json) {
        return json_print(cli, report.document, err);
    }
    cJSON_Delete(report.document);
    return code;
}

const struct command command_bench = {
    .name = "bench",
    .summary = "Measure how fast the kernels are on this machine",
    .positionals = positionals,
    .options = options,
    .values_size = sizeof(struct values),
    .description = description,
    .json = json,
    .examples = examples,
    .run = run,
};
