/* UQFF files made by hand, entry by entry, as a foreign or hostile writer might. */
#ifndef TEST_CONTAINER_RAW_H
#define TEST_CONTAINER_RAW_H

#include "unit/test_container_builder.h"

/* A file in the making: header members and data side by side. */
struct raw {
    struct uqff_buffer header, data;
    char *file;
    size_t size;
};

static inline void raw_metadata(struct raw *raw, const char *key, const char *value) {
    /* Always the first calls. */
    bool first = raw->header.size == 0;
    if (!first) {
        raw->header.size -= 1; /* the closing brace */
    }
    uqff_buffer_printf(&raw->header, first ? "\"__metadata__\":{" : ",");
    uqff_buffer_json_string(&raw->header, key, strlen(key));
    uqff_buffer_append(&raw->header, ":", 1);
    uqff_buffer_json_string(&raw->header, value, strlen(value));
    uqff_buffer_append(&raw->header, "}", 1);
}

static inline void raw_add(struct raw *raw, const char *name, const char *dtype, const char *shape,
                           const void *bytes, size_t n) {
    uqff_buffer_printf(&raw->header, "%s", raw->header.size == 0 ? "" : ",");
    uqff_buffer_json_string(&raw->header, name, strlen(name));
    uqff_buffer_printf(&raw->header, ":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
                       dtype, shape, raw->data.size, raw->data.size + n);
    uqff_buffer_append(&raw->data, bytes, n);
}

static inline void raw_zeros(struct raw *raw, const char *name, const char *dtype,
                             const char *shape, size_t n) {
    void *bytes = calloc(n + 1, 1);
    raw_add(raw, name, dtype, shape, bytes, n);
    free(bytes);
}

static inline void raw_u8(struct raw *raw, const char *name, unsigned char value) {
    raw_add(raw, name, "U8", "[]", &value, 1);
}

static inline void raw_u32(struct raw *raw, const char *name, uint32_t value) {
    unsigned char bytes[4];
    uqff_store_le32(bytes, value);
    raw_add(raw, name, "U32", "[]", bytes, 4);
}

static inline void raw_shape(struct raw *raw, const char *name, unsigned rank,
                             const uint64_t *dims) {
    unsigned char bytes[64];
    char shape[32];
    for (unsigned i = 0; i < rank; i++) {
        uqff_store_le32(bytes + 4 * (size_t)i, (uint32_t)dims[i]);
    }
    snprintf(shape, sizeof shape, "[%u]", rank);
    raw_add(raw, name, "U32", shape, bytes, 4 * (size_t)rank);
}

static inline void raw_versions(struct raw *raw) {
    raw_u32(raw, "uqff.version.major", 1);
    raw_u32(raw, "uqff.version.minor", 2);
    raw_u32(raw, "uqff.version.patch", 0);
}

/* The bytes of the file; valid until raw_free. */
static inline const char *raw_finish(struct raw *raw) {
    size_t n = raw->header.size + 2;
    raw->size = 8 + n + raw->data.size;
    raw->file = malloc(raw->size);
    assert_non_null(raw->file);
    uqff_store_le64(raw->file, n);
    raw->file[8] = '{';
    memcpy(raw->file + 9, raw->header.data, raw->header.size);
    raw->file[8 + n - 1] = '}';
    if (raw->data.size > 0) {
        memcpy(raw->file + 8 + n, raw->data.data, raw->data.size);
    }
    return raw->file;
}

static inline void raw_free(struct raw *raw) {
    uqff_buffer_free(&raw->header);
    uqff_buffer_free(&raw->data);
    free(raw->file);
    *raw = (struct raw){0};
}

/* Opens it from memory, as "hand.uqff". */
static inline enum uqff_code raw_open(struct raw *raw, struct warnings *warnings,
                                      struct uqff_container **out, struct uqff_error *err) {
    static const char *const names[] = {"hand.uqff"};
    struct uqff_warner warner = {collect_warning, warnings};
    struct uqff_container_options options = {.warner = warnings == NULL ? NULL : &warner};
    struct uqff_source *source;
    if (raw->file == NULL) {
        raw_finish(raw);
    }
    enum uqff_code code = uqff_source_memory(raw->file, raw->size, "hand.uqff", &source, err);
    if (code != UQFF_OK) {
        return code;
    }
    code = uqff_container_open_sources(names, &source, 1, &options, out, err);
    if (code != UQFF_OK) {
        uqff_source_close(source);
    }
    return code;
}

#endif
