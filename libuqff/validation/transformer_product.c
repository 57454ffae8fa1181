/* Products of weights with activations: prepared once for all matrices of one type, then rows of
 * results divided among threads. */
#include <string.h>

#include "validation/transformer.h"

enum {
    MOST_ROWS = 256, /* of a piece of work */
    /* Less is done by the calling thread: a team takes some microseconds to start and to end, and
     * on a busy machine as long as its slowest thread waits for a core. */
    FEW_VALUES = 1 << 15,
    FEW_PRODUCTS = 1 << 20,
};

enum uqff_code uqff_room(struct room *room, uint64_t count, uint64_t size, struct uqff_error *err) {
    uint64_t bytes;
    size_t n;
    if (!uqff_mul_u64(count, size, &bytes) || !uqff_to_size(bytes, &n) || n > SIZE_MAX / 2) {
        return uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET,
                         "%llu elements of %llu bytes do not fit memory", (unsigned long long)count,
                         (unsigned long long)size);
    }
    if (n <= room->size) {
        return UQFF_OK;
    }
    void *data = uqff_alloc_aligned(n);
    if (data == NULL) {
        return uqff_fail_memory(err);
    }
    uqff_free_aligned(room->data);
    room->data = data;
    room->size = n;
    return UQFF_OK;
}

void uqff_room_free(struct room *room) {
    uqff_free_aligned(room->data);
    *room = (struct room){0};
}

enum uqff_code uqff_each_token(const struct uqff_sequence *sequence, size_t count,
                               uqff_loop_body *body, void *context, struct uqff_error *err) {
    const struct uqff_transformer *t = sequence->transformer;
    bool few = count * t->shape.hidden < FEW_VALUES;
    return uqff_parallel_for(count, few ? 1 : t->threads, body, context, err);
}

unsigned uqff_product_threads(const struct uqff_sequence *sequence, size_t tokens,
                              size_t products) {
    return products * tokens < FEW_PRODUCTS ? 1 : sequence->transformer->threads;
}

/* ---- one multiplication ---------------------------------------------------------------------- */

struct group { /* matrices of one type share what is prepared */
    struct uqff_matmul plan;
    void *prepared;
};

struct run {
    struct uqff_sequence *sequence;
    const struct product *products;
    size_t count, tokens, columns;
    const float *x;
    struct group groups[UQFF_PRODUCTS];
    size_t group_count, group_of[UQFF_PRODUCTS];
    /* Pieces of work: `piece` rows each, those of product i from first_piece[i] on. */
    size_t piece, first_piece[UQFF_PRODUCTS + 1];
};

static enum uqff_code plan_groups(struct run *run, struct uqff_error *err) {
    const struct uqff_transformer *t = run->sequence->transformer;
    for (size_t i = 0; i < run->count; i++) {
        const struct weight *weight = run->products[i].weight;
        size_t g = 0;
        while (g < run->group_count && run->groups[g].plan.weight_type != weight->type) {
            g++;
        }
        run->group_of[i] = g;
        if (g < run->group_count) {
            continue;
        }
        struct group *group = &run->groups[run->group_count++];
        uint32_t type = t->exact ? UQFF_TYPE_F32 : uqff_activation_type(weight->type);
        enum uqff_code code =
            uqff_matmul_plan(weight->type, type, weight->columns, run->tokens, &group->plan, err);
        struct room *room = &run->sequence->prepared[g];
        code = code != UQFF_OK ? code : uqff_room(room, group->plan.activation_bytes, 1, err);
        if (code != UQFF_OK) {
            return code;
        }
        group->prepared = room->data;
    }
    return UQFF_OK;
}

/* Pieces small enough that threads end together, in whole panels of the kernels. */
static void plan_pieces(struct run *run) {
    size_t rows = 0, wanted;
    for (size_t i = 0; i < run->count; i++) {
        rows += run->products[i].weight->rows;
    }
    wanted = rows / (8 * (size_t)run->sequence->transformer->threads);
    run->piece = wanted > MOST_ROWS ? MOST_ROWS : wanted < 16 ? 16 : wanted / 16 * 16;
    for (size_t i = 0; i < run->count; i++) {
        size_t n = run->products[i].weight->rows;
        run->first_piece[i + 1] =
            run->first_piece[i] + n / run->piece + (n % run->piece != 0 ? 1 : 0);
    }
}

/* What a thread needs: the kernels' scratch, and rows of weights that are not in memory. */
static enum uqff_code plan_scratch(struct run *run, struct uqff_error *err) {
    struct uqff_sequence *sequence = run->sequence;
    size_t kernel = sequence->transformer->shape.head_dim * sizeof(float), rows = 0;
    for (size_t i = 0; i < run->count; i++) {
        const struct weight *weight = run->products[i].weight;
        const struct uqff_matmul *plan = &run->groups[run->group_of[i]].plan;
        kernel = plan->scratch_bytes > kernel ? plan->scratch_bytes : kernel;
        if (weight->data == NULL && run->piece * weight->row_bytes > rows) {
            rows = run->piece * weight->row_bytes;
        }
    }
    sequence->scratch_stride = (kernel + rows + 127) / 64 * 64;
    return uqff_room(&sequence->scratch, sequence->transformer->threads, sequence->scratch_stride,
                     err);
}

static unsigned char *scratch_of(const struct run *run, unsigned thread) {
    return (unsigned char *)run->sequence->scratch.data + thread * run->sequence->scratch_stride;
}

/* ---- pieces of work -------------------------------------------------------------------------- */

static enum uqff_code prepare_token(void *context, size_t token, unsigned thread,
                                    struct uqff_error *err) {
    struct run *run = context;
    const float *row = run->x + token * run->columns;
    (void)thread;
    if (uqff_find_nonfinite(row, run->columns) != run->columns) {
        const struct weight *weight = run->products[0].weight;
        return uqff_fail(err, UQFF_E_NONFINITE, UQFF_NO_OFFSET,
                         "%s: module '%s': its input for token %zu holds NaN or infinity",
                         uqff_model_path(run->sequence->transformer->model), weight->module,
                         run->sequence->length + token);
    }
    for (size_t g = 0; g < run->group_count; g++) {
        uqff_matmul_prepare(&run->groups[g].plan, run->x, run->columns, token, 1,
                            run->groups[g].prepared);
    }
    return UQFF_OK;
}

static enum uqff_code run_piece(void *context, size_t index, unsigned thread,
                                struct uqff_error *err) {
    struct run *run = context;
    size_t i = 0;
    while (index >= run->first_piece[i + 1]) {
        i++;
    }
    const struct product *product = &run->products[i];
    const struct weight *weight = product->weight;
    const struct group *group = &run->groups[run->group_of[i]];
    size_t first = (index - run->first_piece[i]) * run->piece, left = weight->rows - first;
    size_t rows = left < run->piece ? left : run->piece;
    unsigned char *scratch = scratch_of(run, thread);
    const unsigned char *data = weight->data;
    if (data != NULL) {
        data += first * weight->row_bytes;
    } else {
        unsigned char *copy = scratch;
        scratch += (rows * weight->row_bytes + 63) / 64 * 64;
        enum uqff_code code =
            uqff_weight_read(run->sequence->transformer, weight, first, rows, copy, err);
        if (code != UQFF_OK) {
            return code;
        }
        data = copy;
    }
    uqff_matmul_run(&group->plan, data, rows, group->prepared, product->out + first,
                    product->stride, scratch);
    return UQFF_OK;
}

static enum uqff_code finish_token(void *context, size_t token, unsigned thread,
                                   struct uqff_error *err) {
    struct run *run = context;
    (void)err;
    for (size_t i = 0; i < run->count; i++) {
        const struct weight *weight = run->products[i].weight;
        float *out = run->products[i].out + token * run->products[i].stride;
        for (size_t r = 0; weight->head_rows > 0 && r < weight->rows; r += weight->head_rows) {
            uqff_unpair(out + r, (float *)(void *)scratch_of(run, thread), weight->head_rows);
        }
        if (weight->bias != NULL) {
            uqff_add(out, weight->bias, weight->rows);
        }
    }
    return UQFF_OK;
}

static void show_input(const struct run *run) {
    const struct uqff_observer *observer = run->sequence->observer;
    if (observer == NULL || observer->input == NULL) {
        return;
    }
    for (size_t i = 0; i < run->count; i++) {
        const struct weight *weight = run->products[i].weight;
        /* Parts of a fused module follow each other. */
        if (i == 0 || weight->module != run->products[i - 1].weight->module) {
            observer->input(observer->context, weight->module, weight->expert, run->x, run->tokens,
                            run->columns);
        }
    }
}

enum uqff_code uqff_multiply(struct uqff_sequence *sequence, const struct product *products,
                             size_t count, const float *x, size_t tokens, struct uqff_error *err) {
    struct run run = {
        .sequence = sequence,
        .products = products,
        .count = count,
        .tokens = tokens,
        .columns = products[0].weight->columns,
        .x = x,
    };
    size_t weights = 0;
    bool finish = false;
    for (size_t i = 0; i < count; i++) {
        weights += products[i].weight->rows * run.columns;
        finish = finish || products[i].weight->head_rows > 0 || products[i].weight->bias != NULL;
    }
    show_input(&run);
    enum uqff_code code = plan_groups(&run, err);
    if (code != UQFF_OK) {
        return code;
    }
    plan_pieces(&run);
    code = plan_scratch(&run, err);
    code = code != UQFF_OK ? code : uqff_each_token(sequence, tokens, prepare_token, &run, err);
    code = code != UQFF_OK ? code
                           : uqff_parallel_for(run.first_piece[count],
                                               uqff_product_threads(sequence, tokens, weights),
                                               run_piece, &run, err);
    if (code == UQFF_OK && finish) {
        code = uqff_each_token(sequence, tokens, finish_token, &run, err);
    }
    return code;
}
