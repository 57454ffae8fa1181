/* Builds small checkpoints for the tests of model/: tensors with contents that follow from their
 * names, a configuration, and a folder to hold them. */
#ifndef UQFF_TEST_MODEL_BUILDER_H
#define UQFF_TEST_MODEL_BUILDER_H

#include <stdio.h>
#include <sys/stat.h>

#include "support/support.h"
#include "uqff/model.h"

struct made {
    const char *name;
    enum uqff_dtype dtype;
    unsigned rank;
    uint64_t shape[4];
};

static char folder[512];
static char warnings[8192];

static inline void note_warning(void *context, const char *text) {
    (void)context;
    size_t used = strlen(warnings);
    snprintf(warnings + used, sizeof warnings - used, "%s\n", text);
}

static const struct uqff_warner warner = {note_warning, NULL};
static const struct uqff_model_options options = {&warner, false};

/* A fresh folder for each test. */
static inline int enter_folder(void **state) {
    static int number;
    char name[32];
    (void)state;
    snprintf(name, sizeof name, "model%d", number++);
    snprintf(folder, sizeof folder, "%s", scratch_file(name));
    warnings[0] = 0;
    return mkdir(folder, 0777);
}

static inline const char *in_folder(const char *name) {
    static char paths[4][1024];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static inline void write_text(const char *name, const char *text) {
    write_file(in_folder(name), text, strlen(text));
}

static inline size_t made_bytes(const struct made *made) {
    struct uqff_error err;
    uint64_t bytes;
    assert_ok(uqff_dtype_bytes(made->dtype, made->shape, made->rank, &bytes, &err), &err);
    return (size_t)bytes;
}

/* A tensor's content: random by its name, finite in every float type. */
static inline unsigned char *made_content(const struct made *made) {
    size_t n = made_bytes(made);
    struct uqff_digest digest = uqff_hash(made->name, strlen(made->name));
    struct test_random random = {uqff_load_le64(digest.bytes) | 1};
    unsigned char *bytes = (unsigned char *)malloc(n + 1);
    assert_non_null(bytes);
    if (made->dtype == UQFF_DTYPE_F32 || made->dtype == UQFF_DTYPE_BF16) {
        size_t size = made->dtype == UQFF_DTYPE_F32 ? 4 : 2;
        for (size_t i = 0; i < n / size; i++) {
            float value = random_float(&random);
            uint32_t bits;
            memcpy(&bits, &value, 4);
            if (size == 4) {
                uqff_store_le32(bytes + 4 * i, bits);
            } else {
                uqff_store_le16(bytes + 2 * i, (uint16_t)(bits >> 16));
            }
        }
        return bytes;
    }
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (unsigned char)(random_u64(&random) % 0x70);
    }
    return bytes;
}

/* The same as float32. */
static inline float *made_floats(const struct made *made) {
    struct uqff_error err;
    unsigned char *bytes = made_content(made);
    size_t n = made_bytes(made) * 8 / uqff_dtype_bits(made->dtype);
    float *values = (float *)malloc(4 * n + 1);
    assert_non_null(values);
    assert_ok(uqff_dequantize_row(uqff_type_from_dtype(made->dtype), bytes, values, n, &err), &err);
    free(bytes);
    return values;
}

static inline void write_tensors(const char *file, const struct made *made, size_t count) {
    struct uqff_error err;
    struct uqff_st_layout *layout;
    struct uqff_buffer out = {0};
    assert_ok(uqff_st_layout_new(&layout, &err), &err);
    /* Widest dtypes first, so that every tensor is aligned. */
    for (int pass = 0; pass < 2; pass++) {
        for (unsigned width = 8; width > 0; width /= 2) {
            for (size_t i = 0; i < count; i++) {
                if (uqff_dtype_alignment(made[i].dtype) != width) {
                    continue;
                }
                if (pass == 0) {
                    assert_ok(uqff_st_layout_add(layout, made[i].name, made[i].dtype, made[i].shape,
                                                 made[i].rank, NULL, &err),
                              &err);
                    continue;
                }
                unsigned char *bytes = made_content(&made[i]);
                uqff_buffer_append(&out, bytes, made_bytes(&made[i]));
                free(bytes);
            }
        }
        if (pass == 0) {
            assert_ok(uqff_st_layout_header(layout, 8, &out, &err), &err);
        }
    }
    assert_false(out.failed);
    write_file(in_folder(file), out.data, out.size);
    uqff_buffer_free(&out);
    uqff_st_layout_free(layout);
}

static inline struct uqff_model *must_open(const char *reference) {
    struct uqff_error err;
    struct uqff_model *model;
    assert_ok(uqff_model_open(reference, &options, &model, &err), &err);
    return model;
}

/* Writes weights and a configuration into the folder and opens it. */
static inline struct uqff_model *open_made(const char *config, const struct made *made,
                                           size_t count) {
    write_tensors("model.safetensors", made, count);
    write_text("config.json", config);
    return must_open(folder);
}

static inline size_t module_index(const struct uqff_model *model, const char *name) {
    for (size_t i = 0; i < uqff_model_module_count(model); i++) {
        if (strcmp(uqff_model_module(model, i)->name, name) == 0) {
            return i;
        }
    }
    return UQFF_NONE;
}

static inline const struct uqff_model_module *module_named(const struct uqff_model *model,
                                                           const char *name) {
    size_t i = module_index(model, name);
    if (i == UQFF_NONE) {
        fail_msg("no module '%s'", name);
        abort();
    }
    return uqff_model_module(model, i);
}

static inline bool is_residual(const struct uqff_model *model, const char *name) {
    for (size_t i = 0; i < uqff_model_residual_count(model); i++) {
        size_t tensor = uqff_model_residual(model, i);
        if (strcmp(uqff_model_tensor(model, tensor)->name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* All rows of a module, read in uneven pieces. */
static inline float *module_values(const struct uqff_model *model, const char *name) {
    struct uqff_error err;
    size_t i = module_index(model, name);
    assert_int_not_equal(i, UQFF_NONE);
    const struct uqff_model_module *module = uqff_model_module(model, i);
    float *values = (float *)malloc((size_t)(module->rows * module->columns) * 4);
    assert_non_null(values);
    for (uint64_t row = 0, n; row < module->rows; row += n) {
        n = module->rows - row < 7 ? module->rows - row : 7;
        assert_ok(
            uqff_model_read_module_rows(model, i, row, n, values + row * module->columns, &err),
            &err);
    }
    return values;
}

/* A tensor's rows as float32, and its raw bytes read in uneven pieces; both to be freed. */
static inline float *tensor_values(const struct uqff_model *model, size_t tensor) {
    struct uqff_error err;
    const struct uqff_tensor *info = uqff_model_tensor(model, tensor);
    float *values = (float *)malloc((size_t)info->elements * 4 + 1);
    uint64_t rows = info->rank < 2 ? 1 : info->elements / info->shape[info->rank - 1];
    assert_non_null(values);
    assert_ok(uqff_model_read_rows(model, tensor, 0, rows, values, &err), &err);
    return values;
}

static inline unsigned char *tensor_bytes(const struct uqff_model *model, size_t tensor,
                                          size_t piece) {
    struct uqff_error err;
    const struct uqff_tensor *info = uqff_model_tensor(model, tensor);
    unsigned char *bytes = (unsigned char *)malloc((size_t)info->bytes + 1);
    assert_non_null(bytes);
    for (size_t at = 0, n; at < info->bytes; at += n) {
        n = info->bytes - at < piece ? (size_t)info->bytes - at : piece;
        assert_ok(uqff_model_read(model, tensor, at, bytes + at, n, &err), &err);
    }
    return bytes;
}

#endif
