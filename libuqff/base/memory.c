#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uqff/base.h"

static void *default_reallocate(void *context, void *block, size_t size) {
    (void)context;
    return realloc(block, size);
}

static void default_release(void *context, void *block) {
    (void)context;
    free(block);
}

static const struct uqff_allocator default_allocator = {default_reallocate, default_release, NULL};
static struct uqff_allocator allocator = {default_reallocate, default_release, NULL};

void uqff_set_allocator(const struct uqff_allocator *given) {
    allocator = given == NULL ? default_allocator : *given;
}

static bool multiply_sizes(size_t a, size_t b, size_t *out) {
    *out = a * b;
    /* PTRDIFF_MAX is the most that an object may have. */
    return (a == 0 || *out / a == b) && *out <= PTRDIFF_MAX;
}

void *uqff_alloc(size_t size) {
    return size > PTRDIFF_MAX ? NULL
                              : allocator.reallocate(allocator.context, NULL, size == 0 ? 1 : size);
}

void *uqff_alloc_array(size_t count, size_t size) {
    size_t total;
    if (!multiply_sizes(count, size, &total)) {
        return NULL;
    }
    if (allocator.reallocate == default_reallocate) {
        /* Large blocks come from the kernel zeroed already, which calloc knows. */
        return calloc(1, total == 0 ? 1 : total);
    }
    void *block = uqff_alloc(total);
    if (block != NULL) {
        memset(block, 0, total);
    }
    return block;
}

void *uqff_realloc_array(void *block, size_t count, size_t size) {
    size_t total;
    if (!multiply_sizes(count, size, &total)) {
        return NULL;
    }
    return allocator.reallocate(allocator.context, block, total == 0 ? 1 : total);
}

void uqff_free(void *block) {
    if (block != NULL) {
        allocator.release(allocator.context, block);
    }
}

/*
 *  raw            aligned (multiple of 64)
 *  | ...  | raw * | size bytes ... |
 */
enum { ALIGNMENT = 64 };

void *uqff_alloc_aligned(size_t size) {
    const size_t extra = ALIGNMENT - 1 + sizeof(void *);
    if (size > PTRDIFF_MAX - extra) {
        return NULL;
    }
    unsigned char *raw = uqff_alloc(size + extra);
    if (raw == NULL) {
        return NULL;
    }
    uintptr_t start = (uintptr_t)raw + sizeof(void *);
    uintptr_t aligned = (start + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1);
    unsigned char *block = raw + (aligned - (uintptr_t)raw);
    memcpy(block - sizeof(void *), &raw, sizeof(void *));
    return block;
}

void uqff_free_aligned(void *block) {
    if (block != NULL) {
        void *raw;
        memcpy(&raw, (unsigned char *)block - sizeof(void *), sizeof(void *));
        uqff_free(raw);
    }
}

enum uqff_code uqff_grow(void **items, size_t *capacity, size_t needed, size_t size,
                         struct uqff_error *err) {
    if (needed <= *capacity) {
        return UQFF_OK;
    }
    size_t wanted = *capacity < 8 ? 8 : *capacity;
    while (wanted < needed) {
        if (wanted > SIZE_MAX / 2) {
            return uqff_fail_memory(err);
        }
        wanted *= 2;
    }
    void *grown = uqff_realloc_array(*items, wanted, size);
    if (grown == NULL) {
        return uqff_fail_memory(err);
    }
    *items = grown;
    *capacity = wanted;
    return UQFF_OK;
}

/* ---- arenas ---------------------------------------------------------------------------------- */

struct uqff_arena_chunk {
    struct uqff_arena_chunk *next;
    /* Padding up to a multiple of 16, then the blocks. */
};

#if defined(__SANITIZE_ADDRESS__)
#define CHECKED_ARENA 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CHECKED_ARENA 1
#endif
#endif

enum { FIRST_CHUNK = 4096, LARGEST_CHUNK = 1 << 20 };
enum { BLOCK_ALIGNMENT = 16 };

static unsigned char *chunk_data(struct uqff_arena_chunk *chunk) {
    uintptr_t start = (uintptr_t)(chunk + 1);
    uintptr_t padding = (0 - start) & (BLOCK_ALIGNMENT - 1);
    return (unsigned char *)(chunk + 1) + padding;
}

static struct uqff_arena_chunk *new_chunk(size_t size) {
    const size_t overhead = sizeof(struct uqff_arena_chunk) + BLOCK_ALIGNMENT;
    return size > PTRDIFF_MAX - overhead ? NULL : uqff_alloc_array(1, size + overhead);
}

void *uqff_arena_alloc(struct uqff_arena *arena, size_t size) {
    if (size > PTRDIFF_MAX - BLOCK_ALIGNMENT) {
        return NULL;
    }
    size_t taken = (size + BLOCK_ALIGNMENT - 1) & ~(size_t)(BLOCK_ALIGNMENT - 1);
    size_t wanted = FIRST_CHUNK;
    if (arena->chunks != NULL) {
        wanted = arena->size < LARGEST_CHUNK / 2 ? 2 * arena->size : LARGEST_CHUNK;
    }
    /* A block that is large for its arena goes behind the newest chunk, whose rest stays in use. */
    bool alone = taken > wanted / 4;
#ifdef CHECKED_ARENA
    /* With AddressSanitizer every block has a chunk of its own, so that running over it is seen. */
    taken = size;
    alone = true;
#else
    if (arena->chunks != NULL && taken <= arena->size - arena->used) {
        void *block = chunk_data(arena->chunks) + arena->used;
        arena->used += taken;
        return block;
    }
#endif
    struct uqff_arena_chunk *chunk = new_chunk(alone ? taken : wanted);
    if (chunk == NULL) {
        return NULL;
    }
    if (alone && arena->chunks != NULL) {
        chunk->next = arena->chunks->next;
        arena->chunks->next = chunk;
        return chunk_data(chunk);
    }
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    arena->size = alone ? taken : wanted;
    arena->used = taken;
    return chunk_data(chunk);
}

void *uqff_arena_array(struct uqff_arena *arena, size_t count, size_t size) {
    size_t total;
    return multiply_sizes(count, size, &total) ? uqff_arena_alloc(arena, total) : NULL;
}

char *uqff_arena_copy(struct uqff_arena *arena, const void *bytes, size_t n) {
    char *copy = n > PTRDIFF_MAX - 1 ? NULL : uqff_arena_alloc(arena, n + 1);
    if (copy != NULL && n > 0) {
        memcpy(copy, bytes, n);
    }
    return copy;
}

char *uqff_arena_printf(struct uqff_arena *arena, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    char *text = length < 0 ? NULL : uqff_arena_alloc(arena, (size_t)length + 1);
    if (text != NULL) {
        vsnprintf(text, (size_t)length + 1, format, again);
    }
    va_end(again);
    va_end(args);
    return text;
}

void uqff_arena_free(struct uqff_arena *arena) {
    struct uqff_arena_chunk *chunk = arena->chunks;
    while (chunk != NULL) {
        struct uqff_arena_chunk *next = chunk->next;
        uqff_free(chunk);
        chunk = next;
    }
    *arena = (struct uqff_arena){0};
}
