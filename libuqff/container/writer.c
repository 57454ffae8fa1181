/* Writing what a plan laid out. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "container/internal.h"

/* What has been written of an entry. Threads share a writer, never an entry. */
struct progress {
    uint64_t written;
    struct uqff_hasher *hasher; /* while it is being written */
    struct uqff_digest digest;
    bool complete;
};

struct uqff_container_writer {
    const struct uqff_container_plan *plan;
    char *directory;
    bool overwrite;
    struct uqff_sink **sinks;
    struct progress *progress;
    struct uqff_spec_metadata *metadata;
    struct uqff_arena arena; /* values of metadata that were replaced */
    /* One thread writes at a time. A file system lets no two write to a file at once anyway, but
     * who waits in there spins: a third of all time went into that. */
    pthread_mutex_t writing;
};

static const struct uqff_plan_item *item_of(const struct uqff_container_writer *writer, size_t i) {
    return &writer->plan->items[i];
}

/* ---- shards of an earlier run ---------------------------------------------------------------- */

/* Calls `visit` for each file that a reader would take for a further shard of our set. */
static enum uqff_code for_stale(const struct uqff_container_writer *writer,
                                enum uqff_code (*visit)(const char *path, struct uqff_error *err),
                                struct uqff_error *err) {
    const struct uqff_container_plan *plan = writer->plan;
    size_t stem = strlen(plan->stem), count;
    if (plan->multi && plan->shard_count == 1) {
        return UQFF_OK;
    }
    struct uqff_arena arena = {0};
    const char **names;
    const char *directory = writer->directory[0] == 0 ? "." : writer->directory;
    enum uqff_code code = uqff_list_directory(directory, &arena, &names, &count, err);
    for (size_t i = 0; code == UQFF_OK && i < count; i++) {
        size_t length;
        uint64_t number;
        if (!uqff_shard_name_parse(names[i], &length, &number) || length != stem ||
            memcmp(names[i], plan->stem, stem) != 0 || number < plan->shard_count) {
            continue;
        }
        char *path = uqff_path_join(writer->directory, names[i]);
        code = path == NULL ? uqff_fail_memory(err) : visit(path, err);
        uqff_free(path);
    }
    uqff_arena_free(&arena);
    return code;
}

static enum uqff_code refuse_stale(const char *path, struct uqff_error *err) {
    return uqff_fail(err, UQFF_E_EXISTS, UQFF_NO_OFFSET,
                     "%s: exists, and would be taken for a further shard of what is to be written",
                     path);
}

static enum uqff_code remove_stale(const char *path, struct uqff_error *err) {
    if (unlink(path) != 0) {
        return uqff_fail(err, UQFF_E_WRITE, UQFF_NO_OFFSET,
                         "%s: a shard of an earlier set cannot be removed", path);
    }
    return UQFF_OK;
}

/* ---- opening --------------------------------------------------------------------------------- */

enum uqff_code uqff_container_writer_new(const struct uqff_container_plan *plan,
                                         const char *directory, bool overwrite,
                                         struct uqff_container_writer **out,
                                         struct uqff_error *err) {
    struct uqff_container_writer *writer = uqff_alloc_array(1, sizeof *writer);
    if (writer == NULL) {
        return uqff_fail_memory(err);
    }
    pthread_mutex_init(&writer->writing, NULL);
    writer->plan = plan;
    writer->overwrite = overwrite;
    writer->sinks = uqff_alloc_array(plan->shard_count, sizeof *writer->sinks);
    writer->progress = uqff_alloc_array(plan->count, sizeof *writer->progress);
    writer->metadata = uqff_alloc_array(plan->metadata_count, sizeof *writer->metadata);
    directory = directory == NULL ? "" : directory;
    writer->directory = uqff_alloc(strlen(directory) + 1);
    enum uqff_code code = UQFF_OK;
    if (writer->sinks == NULL || writer->progress == NULL || writer->metadata == NULL ||
        writer->directory == NULL) {
        code = uqff_fail_memory(err);
        goto out;
    }
    memcpy(writer->directory, directory, strlen(directory) + 1);
    memcpy(writer->metadata, plan->metadata, plan->metadata_count * sizeof *writer->metadata);
    if (!overwrite && (code = for_stale(writer, refuse_stale, err)) != UQFF_OK) {
        goto out;
    }
    for (size_t s = 0; s < plan->shard_count && code == UQFF_OK; s++) {
        char *path = uqff_path_join(directory, plan->shards[s].name);
        code = path == NULL ? uqff_fail_memory(err)
                            : uqff_sink_create(path, overwrite, &writer->sinks[s], err);
        uqff_free(path);
    }
    for (size_t i = 0; i < plan->count; i++) {
        const struct uqff_plan_item *item = item_of(writer, i);
        bool by_caller =
            item->entry.kind != UQFF_PLAN_FIXED && item->entry.kind != UQFF_PLAN_DIGESTS;
        if (by_caller && item->entry.bytes == 0) {
            writer->progress[i].complete = true;
            writer->progress[i].digest = uqff_hash("", 0);
        }
    }
out:
    if (code != UQFF_OK) {
        uqff_container_writer_free(writer);
        return code;
    }
    *out = writer;
    return UQFF_OK;
}

void uqff_container_writer_free(struct uqff_container_writer *writer) {
    if (writer == NULL) {
        return;
    }
    for (size_t s = 0; writer->sinks != NULL && s < writer->plan->shard_count; s++) {
        uqff_sink_close(writer->sinks[s]);
    }
    for (size_t i = 0; writer->progress != NULL && i < writer->plan->count; i++) {
        uqff_hasher_free(writer->progress[i].hasher);
    }
    uqff_free(writer->sinks);
    uqff_free(writer->progress);
    uqff_free(writer->metadata);
    uqff_free(writer->directory);
    uqff_arena_free(&writer->arena);
    pthread_mutex_destroy(&writer->writing);
    uqff_free(writer);
}

/* ---- content --------------------------------------------------------------------------------- */

static enum uqff_code check_room(const struct uqff_container_writer *writer, size_t entry,
                                 uint64_t n, struct uqff_error *err) {
    const struct uqff_plan_item *item = item_of(writer, entry);
    if (item->entry.kind == UQFF_PLAN_FIXED || item->entry.kind == UQFF_PLAN_DIGESTS) {
        return uqff_fail(err, UQFF_E_INTERNAL, UQFF_NO_OFFSET,
                         "'%s': the writer fills this entry itself", item->entry.name);
    }
    if (n > item->entry.bytes - writer->progress[entry].written) {
        return uqff_fail(err, UQFF_E_INTERNAL, UQFF_NO_OFFSET,
                         "'%s': more than the planned %llu bytes were given to it",
                         item->entry.name, (unsigned long long)item->entry.bytes);
    }
    return UQFF_OK;
}

enum uqff_code uqff_container_writer_append(struct uqff_container_writer *writer, size_t entry,
                                            const void *bytes, size_t n, struct uqff_error *err) {
    const struct uqff_plan_item *item = item_of(writer, entry);
    struct progress *progress = &writer->progress[entry];
    enum uqff_code code = check_room(writer, entry, n, err);
    if (code != UQFF_OK || n == 0) {
        return code;
    }
    bool hashes = writer->plan->multi; /* a plain file has no digests */
    if (hashes && progress->hasher == NULL && (progress->hasher = uqff_hasher_new()) == NULL) {
        return uqff_fail_memory(err);
    }
    pthread_mutex_lock(&writer->writing);
    code = uqff_sink_write(writer->sinks[item->entry.shard], item->entry.offset + progress->written,
                           bytes, n, err);
    pthread_mutex_unlock(&writer->writing);
    if (code != UQFF_OK) {
        return code;
    }
    if (hashes) {
        uqff_hasher_update(progress->hasher, bytes, n);
    }
    progress->written += n;
    if (progress->written == item->entry.bytes) {
        progress->complete = true;
        if (hashes) {
            progress->digest = uqff_hasher_digest(progress->hasher);
            uqff_hasher_free(progress->hasher);
            progress->hasher = NULL;
        }
    }
    return UQFF_OK;
}

static enum uqff_code copy_by_reading(struct uqff_container_writer *writer, size_t entry,
                                      struct uqff_source *source, uint64_t offset,
                                      struct uqff_error *err) {
    uint64_t left = item_of(writer, entry)->entry.bytes;
    size_t room = left < ((size_t)1 << 20) ? (size_t)left : (size_t)1 << 20;
    unsigned char *buffer = uqff_alloc(room);
    if (buffer == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = UQFF_OK;
    while (left > 0 && code == UQFF_OK) {
        size_t n = left < room ? (size_t)left : room;
        code = uqff_source_read(source, offset, buffer, n, err);
        if (code == UQFF_OK) {
            code = uqff_container_writer_append(writer, entry, buffer, n, err);
        }
        offset += n;
        left -= n;
    }
    uqff_free(buffer);
    return code;
}

enum uqff_code uqff_container_writer_copy(struct uqff_container_writer *writer, size_t entry,
                                          struct uqff_source *source, uint64_t offset,
                                          const struct uqff_digest *digest,
                                          struct uqff_error *err) {
    const struct uqff_plan_item *item = item_of(writer, entry);
    struct progress *progress = &writer->progress[entry];
    enum uqff_code code = check_room(writer, entry, item->entry.bytes, err);
    if (code != UQFF_OK || item->entry.bytes == 0) {
        return code;
    }
    if (writer->plan->multi && digest == NULL) {
        return copy_by_reading(writer, entry, source, offset, err);
    }
    code = uqff_sink_copy(writer->sinks[item->entry.shard], item->entry.offset, source, offset,
                          item->entry.bytes, err);
    if (code == UQFF_OK) {
        progress->written = item->entry.bytes;
        progress->complete = true;
        if (digest != NULL) {
            progress->digest = *digest;
        }
    }
    return code;
}

enum uqff_code uqff_container_writer_digest(const struct uqff_container_writer *writer,
                                            size_t entry, struct uqff_digest *out,
                                            struct uqff_error *err) {
    const struct progress *progress = &writer->progress[entry];
    if (!writer->plan->multi || !progress->complete) {
        return uqff_fail(err, UQFF_E_INTERNAL, UQFF_NO_OFFSET, "'%s': it has no digest yet",
                         item_of(writer, entry)->entry.name);
    }
    *out = progress->digest;
    return UQFF_OK;
}

enum uqff_code uqff_container_writer_metadata(struct uqff_container_writer *writer, const char *key,
                                              const char *value, struct uqff_error *err) {
    for (size_t i = 0; i < writer->plan->metadata_count; i++) {
        struct uqff_spec_metadata *entry = &writer->metadata[i];
        if (strcmp(entry->key, key) != 0) {
            continue;
        }
        if (uqff_container_json_bytes(value) != uqff_container_json_bytes(entry->value)) {
            return uqff_fail(err, UQFF_E_INTERNAL, UQFF_NO_OFFSET,
                             "metadata '%s': the new value takes %llu bytes, the planned one %llu",
                             key, (unsigned long long)uqff_container_json_bytes(value),
                             (unsigned long long)uqff_container_json_bytes(entry->value));
        }
        char *copy = uqff_arena_copy(&writer->arena, value, strlen(value));
        if (copy == NULL) {
            return uqff_fail_memory(err);
        }
        entry->value = copy;
        return UQFF_OK;
    }
    return uqff_fail(err, UQFF_E_INTERNAL, UQFF_NO_OFFSET, "metadata '%s' is not in the plan", key);
}

/* ---- finishing ------------------------------------------------------------------------------- */

/* Neighbouring fixed entries are written in one go. */
static enum uqff_code write_fixed(struct uqff_container_writer *writer,
                                  const struct uqff_plan_shard *shard, struct uqff_sink *sink,
                                  struct uqff_error *err) {
    static const char zeros[4096];
    struct uqff_buffer run = {0};
    uint64_t start = 0;
    enum uqff_code code = UQFF_OK;
    for (size_t i = shard->first; i <= shard->first + shard->count && code == UQFF_OK; i++) {
        bool end = i == shard->first + shard->count;
        const struct uqff_plan_item *item = end ? NULL : item_of(writer, i);
        bool fixed = !end && item->entry.kind == UQFF_PLAN_FIXED;
        if (run.size > 0 && (!fixed || run.size >= (1u << 20))) {
            code = uqff_sink_write(sink, start, run.data, run.size, err);
            run.size = 0;
        }
        if (!fixed || code != UQFF_OK) {
            continue;
        }
        start = run.size == 0 ? item->entry.offset : start;
        /* Padding is shorter than the largest alignment, 4096. */
        const void *bytes = item->fixed == NULL ? (const void *)zeros : item->fixed;
        uqff_buffer_append(&run, bytes, (size_t)item->entry.bytes);
        writer->progress[i].digest = uqff_hash(bytes, (size_t)item->entry.bytes);
        writer->progress[i].complete = true;
        if (run.failed) {
            code = uqff_fail_memory(err);
        }
    }
    uqff_buffer_free(&run);
    return code;
}

static enum uqff_code write_digests(struct uqff_container_writer *writer,
                                    const struct uqff_plan_shard *shard, struct uqff_sink *sink,
                                    const struct uqff_digest *header, struct uqff_error *err) {
    size_t last = shard->first + shard->count - 1;
    const struct uqff_plan_item *table = item_of(writer, last);
    struct uqff_buffer rows = {0};
    uqff_buffer_append(&rows, header->bytes, sizeof header->bytes);
    for (size_t i = shard->first; i < last; i++) {
        uqff_buffer_append(&rows, writer->progress[i].digest.bytes,
                           sizeof writer->progress[i].digest.bytes);
    }
    enum uqff_code code =
        rows.failed ? uqff_fail_memory(err)
                    : uqff_sink_write(sink, table->entry.offset, rows.data, rows.size, err);
    writer->progress[last].complete = code == UQFF_OK;
    uqff_buffer_free(&rows);
    return code;
}

/* The header comes last: a file that is cut off here has none. */
static enum uqff_code finish_shard(struct uqff_container_writer *writer, size_t s,
                                   struct uqff_digest *header_digest, struct uqff_error *err) {
    const struct uqff_plan_shard *shard = &writer->plan->shards[s];
    struct uqff_sink *sink = writer->sinks[s];
    struct uqff_buffer header = {0};
    enum uqff_code code =
        uqff_container_plan_header(writer->plan, s, writer->metadata, &header, err);
    if (code != UQFF_OK) {
        goto out;
    }
    if (header.size != shard->header_bytes) {
        code = uqff_fail(err, UQFF_E_INTERNAL, UQFF_NO_OFFSET,
                         "'%s': a header of %zu bytes, planned were %llu", shard->name, header.size,
                         (unsigned long long)shard->header_bytes);
        goto out;
    }
    size_t used = header.size;
    while (used > 8 && header.data[used - 1] == ' ') {
        used--;
    }
    *header_digest = uqff_hash(header.data + 8, used - 8);
    if ((code = write_fixed(writer, shard, sink, err)) != UQFF_OK ||
        (writer->plan->multi &&
         (code = write_digests(writer, shard, sink, header_digest, err)) != UQFF_OK) ||
        (code = uqff_sink_write(sink, 0, header.data, header.size, err)) != UQFF_OK) {
        goto out;
    }
    code = uqff_sink_flush(sink, err);
out:
    uqff_buffer_free(&header);
    return code;
}

static enum uqff_code check_complete(const struct uqff_container_writer *writer,
                                     struct uqff_error *err) {
    for (size_t i = 0; i < writer->plan->count; i++) {
        const struct uqff_plan_item *item = item_of(writer, i);
        bool own = item->entry.kind == UQFF_PLAN_FIXED || item->entry.kind == UQFF_PLAN_DIGESTS;
        if (!own && !writer->progress[i].complete) {
            return uqff_fail(err, UQFF_E_INTERNAL, UQFF_NO_OFFSET,
                             "'%s': %llu of its %llu bytes were written", item->entry.name,
                             (unsigned long long)writer->progress[i].written,
                             (unsigned long long)item->entry.bytes);
        }
    }
    return UQFF_OK;
}

/* Opens what was written as any reader would, under its temporary names. */
static enum uqff_code reopen(const struct uqff_container_writer *writer,
                             const struct uqff_digest *headers, struct uqff_error *err) {
    size_t count = writer->plan->shard_count, opened = 0;
    struct uqff_source **sources = uqff_alloc_array(count, sizeof *sources);
    const char **names = uqff_alloc_array(count, sizeof *names);
    struct uqff_container *container = NULL;
    enum uqff_code code = UQFF_OK;
    if (sources == NULL || names == NULL) {
        code = uqff_fail_memory(err);
        goto out;
    }
    for (; opened < count; opened++) {
        names[opened] = writer->plan->shards[opened].name;
        code = uqff_source_open(uqff_sink_temporary_path(writer->sinks[opened]), &sources[opened],
                                err);
        if (code != UQFF_OK) {
            goto out;
        }
    }
    code = uqff_container_open_sources(names, sources, count, NULL, &container, err);
    if (code != UQFF_OK) {
        goto out;
    }
    opened = 0; /* they are the container's now */
    for (size_t s = 0; s < count && code == UQFF_OK; s++) {
        struct uqff_digest found =
            uqff_safetensors_header_digest(uqff_container_shard(container, s));
        if (!uqff_digest_equal(&found, &headers[s])) {
            code = uqff_fail(err, UQFF_E_DIGEST, UQFF_NO_OFFSET,
                             "%s: the header read back is not the one that was written", names[s]);
        }
    }
out:
    uqff_container_close(container);
    for (size_t i = 0; i < opened; i++) {
        uqff_source_close(sources[i]);
    }
    uqff_free(sources);
    uqff_free(names);
    return code;
}

static bool is_published(const struct uqff_sink *sink) {
    return strcmp(uqff_sink_path(sink), uqff_sink_temporary_path(sink)) == 0;
}

/* From the last shard to the first: a set whose shard 0 is missing is no set to any reader, so one
 * that is cut off here does not look finished. Once shard 0 has its name the set is complete, and
 * stays even if the flush of the directory failed: what it replaced is gone already. */
static enum uqff_code rename_all(struct uqff_container_writer *writer, struct uqff_error *err) {
    size_t count = writer->plan->shard_count, s = count;
    enum uqff_code code = UQFF_OK;
    while (s > 0 && code == UQFF_OK) {
        s--;
        if (s == 0 && writer->overwrite) {
            code = for_stale(writer, remove_stale, err);
        }
        if (code == UQFF_OK) {
            code = uqff_sink_publish(writer->sinks[s], err);
        }
    }
    if (code != UQFF_OK && !is_published(writer->sinks[0])) {
        for (size_t i = s; i < count; i++) {
            if (is_published(writer->sinks[i])) {
                (void)unlink(uqff_sink_path(writer->sinks[i]));
            }
        }
    }
    return code;
}

enum uqff_code uqff_container_writer_publish(struct uqff_container_writer *writer,
                                             struct uqff_error *err) {
    enum uqff_code code = check_complete(writer, err);
    if (code != UQFF_OK) {
        return code;
    }
    struct uqff_digest *headers = uqff_alloc_array(writer->plan->shard_count, sizeof *headers);
    if (headers == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t s = 0; s < writer->plan->shard_count && code == UQFF_OK; s++) {
        code = finish_shard(writer, s, &headers[s], err);
    }
    if (code == UQFF_OK && (code = reopen(writer, headers, err)) == UQFF_OK) {
        code = rename_all(writer, err);
    }
    uqff_free(headers);
    return code;
}
