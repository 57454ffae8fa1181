/* A small model for the tests of the container, and a way to write it. */
#ifndef TEST_CONTAINER_BUILDER_H
#define TEST_CONTAINER_BUILDER_H

#include "support/support.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

#include "uqff/container.h"

#define DIMS(...) ((const uint64_t[]){__VA_ARGS__})
#define COUNT(array) (sizeof(array) / sizeof *(array))

static const struct uqff_spec_module tiny_modules[] = {
    {.name = "model.embed_tokens", .rank = 2, .shape = (const uint64_t[]){4, 256}},
    {.name = "model.layers.0.mlp.experts.gate_proj",
     .rank = 3,
     .shape = (const uint64_t[]){2, 3, 256},
     .has_bias = true,
     .bias_type = UQFF_TYPE_BF16},
    {.name = "model.layers.0.self_attn.q_proj",
     .rank = 2,
     .shape = (const uint64_t[]){5, 256},
     .has_bias = true,
     .bias_type = UQFF_TYPE_F32,
     .bias_kept_exactly = true},
    {.name = "model.layers.1.self_attn.q_proj",
     .rank = 2,
     .shape = (const uint64_t[]){5, 256},
     .has_bias = true,
     .bias_type = UQFF_TYPE_F16},
};
#define TINY_MODULES 4

static const uint32_t tiny_q4[] = {UQFF_TYPE_Q6_K, UQFF_TYPE_Q4_K, UQFF_TYPE_BF16, UQFF_TYPE_Q4_K};
static const uint32_t tiny_q8[] = {UQFF_TYPE_Q8_0, UQFF_TYPE_Q8_0, UQFF_TYPE_Q8_0, UQFF_TYPE_Q8_0};
static const uint32_t tiny_iq[] = {UQFF_TYPE_Q6_K, UQFF_TYPE_IQ4_XS, UQFF_TYPE_F16,
                                   UQFF_TYPE_MXFP4};

static const struct uqff_spec_variant tiny_variants[] = {
    {.name = "q4_k_m", .recipe = "Q4_K_M", .type = UQFF_TYPE_Q4_K, .types = tiny_q4},
    {.name = "q8_0", .recipe = "Q8_0", .type = UQFF_TYPE_Q8_0, .types = tiny_q8},
    {.name = "iq4_xs", .recipe = "IQ4_XS", .type = UQFF_TYPE_IQ4_XS, .types = tiny_iq},
};

static const struct uqff_spec_tensor tiny_residual[] = {
    {.name = "model.norm.weight",
     .type = UQFF_TYPE_BF16,
     .rank = 1,
     .shape = (const uint64_t[]){7}},
    {.name = "conv.parametrizations.weight.original0",
     .type = UQFF_TYPE_F32,
     .rank = 2,
     .shape = (const uint64_t[]){3, 3}},
    {.name = "model.layers.0.self_attn.q_proj.weight_scale", .type = UQFF_TYPE_F32, .rank = 0},
    {.name = "sinks", .type = UQFF_TYPE_U8, .rank = 1, .shape = (const uint64_t[]){5}},
    {.name = "steps", .type = UQFF_TYPE_I64, .rank = 1, .shape = (const uint64_t[]){1}},
    {.name = "empty", .type = UQFF_TYPE_F16, .rank = 2, .shape = (const uint64_t[]){0, 4}},
};

static const struct uqff_spec_asset tiny_assets[] = {
    {.path = "config.json", .size = 37},
    {.path = "1_Pooling/config.json", .size = 2},
    {.path = "weights.weight.json", .size = 1},
    {.path = "empty.txt", .size = 0},
};

static const struct uqff_spec_metadata tiny_metadata[] = {
    {.key = "uqff.multi.source", .value = "{\"digest\":\"0000\"}"},
};

static inline struct uqff_container_spec tiny_spec(void) {
    return (struct uqff_container_spec){
        .multi = true,
        .stem = "tiny",
        .modules = tiny_modules,
        .module_count = COUNT(tiny_modules),
        .variants = tiny_variants,
        .variant_count = COUNT(tiny_variants),
        .default_variant = 0,
        .residual = tiny_residual,
        .residual_count = COUNT(tiny_residual),
        .assets = tiny_assets,
        .asset_count = COUNT(tiny_assets),
        .metadata = tiny_metadata,
        .metadata_count = COUNT(tiny_metadata),
        .alignment = 64,
    };
}

/* One variant, without what a plain file cannot hold. */
static inline struct uqff_container_spec tiny_plain_spec(void) {
    struct uqff_container_spec spec = tiny_spec();
    spec.multi = false;
    spec.variant_count = 1;
    spec.residual_count = 0;
    spec.asset_count = 0;
    spec.metadata_count = 0;
    return spec;
}

/* The bytes that the tests put into an entry: they depend on its kind, index, type and place. */
static inline unsigned char content_byte(const struct uqff_plan_entry *entry, uint64_t i) {
    uint64_t x = (uint64_t)entry->kind * 131 + entry->index * 31 + entry->type * 7 + i;
    x *= 0x9E3779B97F4A7C15u;
    return (unsigned char)(x >> 33);
}

static inline unsigned char *content(const struct uqff_plan_entry *entry) {
    unsigned char *bytes = malloc((size_t)entry->bytes + 1);
    assert_non_null(bytes);
    for (uint64_t i = 0; i < entry->bytes; i++) {
        bytes[i] = content_byte(entry, i);
    }
    return bytes;
}

static inline bool by_caller(const struct uqff_plan_entry *entry) {
    return entry->kind != UQFF_PLAN_FIXED && entry->kind != UQFF_PLAN_DIGESTS;
}

/* Everything but the publishing. */
static inline enum uqff_code fill(const struct uqff_container_plan *plan,
                                  struct uqff_container_writer *writer, struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    /* Backwards: entries may come in any order. */
    for (size_t i = uqff_container_plan_count(plan); i > 0 && code == UQFF_OK; i--) {
        const struct uqff_plan_entry *entry = uqff_container_plan_entry(plan, i - 1);
        if (!by_caller(entry)) {
            continue;
        }
        unsigned char *bytes = content(entry);
        size_t half = (size_t)entry->bytes / 2;
        code = uqff_container_writer_append(writer, i - 1, bytes, half, err);
        if (code == UQFF_OK) {
            code = uqff_container_writer_append(writer, i - 1, bytes + half,
                                                (size_t)entry->bytes - half, err);
        }
        free(bytes);
    }
    return code;
}

static inline enum uqff_code write_spec(const struct uqff_container_spec *spec,
                                        const char *directory, bool overwrite,
                                        struct uqff_error *err) {
    struct uqff_container_plan *plan = NULL;
    struct uqff_container_writer *writer = NULL;
    enum uqff_code code = uqff_container_plan_new(spec, &plan, err);
    if (code == UQFF_OK) {
        code = uqff_container_writer_new(plan, directory, overwrite, &writer, err);
    }
    if (code == UQFF_OK) {
        code = fill(plan, writer, err);
    }
    if (code == UQFF_OK) {
        code = uqff_container_writer_publish(writer, err);
    }
    uqff_container_writer_free(writer);
    uqff_container_plan_free(plan);
    return code;
}

/* A fresh directory below the scratch directory. */
static inline const char *fresh_directory(const char *name) {
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", scratch(), name);
    assert_int_equal(mkdir(path, 0777), 0);
    return path;
}

static inline const char *in_directory(const char *directory, const char *name) {
    static char paths[8][1024];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

/* Files in a directory, temporary ones included. */
static inline size_t count_files(const char *directory) {
    DIR *stream = opendir(directory);
    assert_non_null(stream);
    size_t count = 0;
    for (struct dirent *e; (e = readdir(stream)) != NULL;) {
        count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    }
    closedir(stream);
    return count;
}

/* Warnings, one after the other. */
struct warnings {
    size_t count;
    char text[1024];
};
static inline void collect_warning(void *context, const char *text) {
    struct warnings *w = context;
    w->count++;
    snprintf(w->text, sizeof w->text, "%s", text);
}

#endif
