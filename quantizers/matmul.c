/*
 * Products of matrices: the plan, the form of activations, and the order of the work. What is
 * computed for an element is the product of two rows; see spec/kernels.md.
 */
#include "products.h"

enum {
    ALIGNMENT = 64,
    PIECE = 1024, /* columns that are encoded at a time; whole blocks of every type */
    PIECE_BYTES = PIECE / 256 * 292,
    STREAMS = 4, /* of rows that are read at once */
};

/* Sizes of buffers include what aligning their start may take. */
static unsigned char *aligned(const void *buffer) {
    uintptr_t misfit = (uintptr_t)buffer % ALIGNMENT;
    return (unsigned char *)buffer + (misfit ? ALIGNMENT - misfit : 0);
}

const struct uqff_matmul_kernel *uqff_matmul_kernel_of(const struct uqff_matmul *plan) {
    const struct uqff_matmul_kernel *kernel = NULL;
    for (const struct uqff_products *products = plan->products; products && !kernel;
         products = products->below) {
        kernel = plan->activation_type == UQFF_TYPE_F32
                     ? products->exact
                     : products->matmul[UQFF_SLOT(plan->weight_type)];
    }
    return kernel && plan->tokens >= kernel->fewest ? kernel : NULL;
}

static size_t activation_row_bytes(const struct uqff_matmul *plan) {
    const struct uqff_type_info *info = uqff_type_info(plan->activation_type);
    return plan->columns / info->block_length * info->block_bytes;
}

static size_t blocks_of(const struct uqff_matmul *plan, const struct uqff_matmul_kernel *kernel) {
    return plan->columns / kernel->block + (plan->columns % kernel->block != 0);
}

static size_t groups_of(const struct uqff_matmul *plan, const struct uqff_matmul_kernel *kernel) {
    return plan->tokens / kernel->tokens + (plan->tokens % kernel->tokens != 0);
}

static size_t panel_bytes(const struct uqff_matmul *plan, const struct uqff_matmul_kernel *kernel) {
    return blocks_of(plan, kernel) * kernel->panel_bytes + kernel->slack;
}

/* ---- plan ------------------------------------------------------------------------------------ */

enum uqff_code uqff_matmul_plan(uint32_t weight_type, uint32_t activation_type, size_t columns,
                                size_t tokens, struct uqff_matmul *plan, struct uqff_error *err) {
    enum uqff_code code = uqff_check_product(weight_type, activation_type, columns, err);
    if (code != UQFF_OK) {
        return code;
    }
    /* The largest prepared form has less than 16 bytes an element, whole groups and blocks
     * included: at most 255 more columns and 15 more tokens. */
    size_t most;
    if (columns > SIZE_MAX / 128 || tokens > SIZE_MAX / 4096 ||
        __builtin_mul_overflow(columns + 256, tokens + 16, &most) || most > SIZE_MAX / 16) {
        return uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET,
                         "%s: product of %zu tokens of %zu elements is too large",
                         uqff_type_name(weight_type), tokens, columns);
    }
    const struct uqff_type_info *info = uqff_type_info(weight_type);
    *plan = (struct uqff_matmul){
        .weight_type = weight_type,
        .activation_type = activation_type,
        .columns = columns,
        .tokens = tokens,
        .row_bytes = columns / info->block_length * info->block_bytes,
        .products = uqff_products_in_use(),
    };
    const struct uqff_matmul_kernel *kernel = uqff_matmul_kernel_of(plan);
    if (kernel) {
        size_t groups = groups_of(plan, kernel);
        plan->activation_bytes =
            groups * blocks_of(plan, kernel) * kernel->group_bytes + kernel->slack;
        plan->scratch_bytes = panel_bytes(plan, kernel) + groups * kernel->tokens *
                                                              kernel->waiting * UQFF_PANEL_ROWS *
                                                              sizeof(float);
    } else {
        plan->activation_bytes = tokens * activation_row_bytes(plan);
    }
    plan->activation_bytes += ALIGNMENT;
    plan->scratch_bytes += ALIGNMENT;
    return UQFF_OK;
}

/* ---- activations ----------------------------------------------------------------------------- */

static void place_token(const struct uqff_matmul *plan, const struct uqff_matmul_kernel *kernel,
                        const float *x, size_t token, unsigned char *activations) {
    unsigned char codes[PIECE_BYTES];
    uqff_quantize_fn *encode = uqff_quantize_in_use(plan->activation_type);
    for (size_t c = 0; c < plan->columns; c += PIECE) {
        size_t count = plan->columns - c < PIECE ? plan->columns - c : PIECE;
        const unsigned char *data = (const unsigned char *)(x + c);
        if (plan->activation_type != UQFF_TYPE_F32) {
            encode(x + c, codes, count, NULL);
            data = codes;
        }
        kernel->place(plan, data, c, count, token, activations);
    }
}

/* What fills the last group: zeros, which cannot hurt. */
static void place_nothing(const struct uqff_matmul *plan, const struct uqff_matmul_kernel *kernel,
                          size_t token, unsigned char *activations) {
    static const float zeros[PIECE];
    for (size_t c = 0; c < plan->columns; c += PIECE) {
        size_t count = plan->columns - c < PIECE ? plan->columns - c : PIECE;
        kernel->place(plan, (const unsigned char *)zeros, c, count, token, activations);
    }
}

/* Rows one after the other, as uqff_dot takes them. */
static void keep_rows(const struct uqff_matmul *plan, const float *x, size_t x_stride, size_t first,
                      size_t count, unsigned char *out) {
    uqff_quantize_fn *encode = uqff_quantize_in_use(plan->activation_type);
    size_t row_bytes = activation_row_bytes(plan);
    for (size_t t = first; t < first + count; t++) {
        if (plan->activation_type == UQFF_TYPE_F32) {
            memcpy(out + t * row_bytes, x + t * x_stride, row_bytes);
        } else {
            encode(x + t * x_stride, out + t * row_bytes, plan->columns, NULL);
        }
    }
}

void uqff_matmul_prepare(const struct uqff_matmul *plan, const float *x, size_t x_stride,
                         size_t first, size_t count, void *activations) {
    const struct uqff_matmul_kernel *kernel = uqff_matmul_kernel_of(plan);
    unsigned char *out = aligned(activations);
    if (!kernel) {
        keep_rows(plan, x, x_stride, first, count, out);
        return;
    }
    for (size_t t = first; t < first + count; t++) {
        place_token(plan, kernel, x + t * x_stride, t, out);
    }
    if (count > 0 && first + count == plan->tokens) {
        for (size_t t = plan->tokens; t % kernel->tokens != 0; t++) {
            place_nothing(plan, kernel, t, out);
        }
    }
}

/* ---- run ------------------------------------------------------------------------------------- */

/* Row by row. A row of weights is read from memory once and meets all tokens. A single stream of
 * reads waits at every page for its address to be found, and few tokens leave nothing else to do
 * meanwhile; so the rows are those of several places by turns, each row a piece of a stream. */
static void run_rows(const struct uqff_matmul *plan, const unsigned char *weights, size_t rows,
                     const unsigned char *activations, float *out, size_t out_stride) {
    size_t x_bytes = activation_row_bytes(plan);
    size_t part = rows / STREAMS + (rows % STREAMS != 0);
    for (size_t i = 0; i < part * STREAMS; i++) {
        size_t r = i % STREAMS * part + i / STREAMS;
        for (size_t t = 0; r < rows && t < plan->tokens; t++) {
            out[t * out_stride + r] = uqff_dot_rows(
                plan->products, plan->weight_type, plan->activation_type,
                weights + r * plan->row_bytes, activations + t * x_bytes, plan->columns);
        }
    }
}

static void run_panels(const struct uqff_matmul *plan, const struct uqff_matmul_kernel *kernel,
                       const unsigned char *weights, size_t rows, const unsigned char *activations,
                       float *out, size_t out_stride, unsigned char *scratch) {
    unsigned char *panel = scratch;
    float *waiting = (float *)(void *)(scratch + panel_bytes(plan, kernel));
    for (size_t first = 0; first < rows; first += UQFF_PANEL_ROWS) {
        size_t count = rows - first < UQFF_PANEL_ROWS ? rows - first : UQFF_PANEL_ROWS;
        const unsigned char *row[UQFF_PANEL_ROWS];
        for (size_t r = 0; r < UQFF_PANEL_ROWS; r++) {
            /* What the last panel has too much repeats its last row. */
            row[r] = weights + (first + (r < count ? r : count - 1)) * plan->row_bytes;
        }
        kernel->pack(plan, row, panel);
        const struct uqff_results results = {out + first, out_stride, count};
        kernel->multiply(plan, panel, activations, waiting, &results);
    }
}

void uqff_matmul_run(const struct uqff_matmul *plan, const void *weights, size_t rows,
                     const void *activations, float *out, size_t out_stride, void *scratch) {
    const struct uqff_matmul_kernel *kernel = uqff_matmul_kernel_of(plan);
    if (kernel) {
        run_panels(plan, kernel, (const unsigned char *)weights, rows, aligned(activations), out,
                   out_stride, aligned(scratch));
    } else {
        run_rows(plan, (const unsigned char *)weights, rows, aligned(activations), out, out_stride);
    }
}
