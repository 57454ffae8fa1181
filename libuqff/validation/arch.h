/*
 * What the transformer needs to know of an architecture, and what a configuration makes of it.
 * Private to validation/.
 */
#ifndef UQFF_VALIDATION_ARCH_H
#define UQFF_VALIDATION_ARCH_H

#include "uqff/model.h"

enum arch_activation { ARCH_SILU, ARCH_GELU_TANH, ARCH_GELU_ERF, ARCH_RELU };

enum arch_window {
    ARCH_NO_WINDOW,
    ARCH_EVERY_LAYER, /* slides wherever the configuration has a window */
    ARCH_ON_REQUEST,  /* use_sliding_window, from layer max_window_layers on */
    ARCH_ALTERNATING, /* all but the last of each sliding_window_pattern layers */
};

enum arch_flags {
    ARCH_FUSED = 1 << 0,            /* q, k and v in one matrix, gate and up in another */
    ARCH_QK_NORMS = 1 << 1,         /* heads of q and k are normed before they are rotated */
    ARCH_POST_NORMS = 1 << 2,       /* what attention and feed forward give is normed too */
    ARCH_NORM_SHIFT = 1 << 3,       /* norms multiply by 1 + weight */
    ARCH_SCALED_INPUT = 1 << 4,     /* embeddings are multiplied by sqrt(hidden) */
    ARCH_EXPERTS = 1 << 5,          /* layers may have experts */
    ARCH_ALWAYS_NORMALIZE = 1 << 6, /* weights of the chosen experts are made to sum to 1 */
    ARCH_NO_ROPE_LAYERS = 1 << 7,   /* some layers do not rotate */
    ARCH_LEGACY_GELU = 1 << 8,      /* "gelu" means the approximation by tanh */
    ARCH_QUERY_SCALAR = 1 << 9,     /* queries are scaled by query_pre_attn_scalar */
    ARCH_LOCAL_THETA = 1 << 10,     /* sliding layers have a base of rotation of their own */
};

/* One row an architecture. A default of 0 is none: the configuration must say it, or it is off. */
struct arch_traits {
    const char *name; /* of struct uqff_arch */
    unsigned flags;
    enum arch_window window;
    enum arch_activation activation; /* when the configuration says nothing */
    const char *experts;             /* what holds router and experts of a layer */
    double epsilon, theta, local_theta;
    uint64_t head_dim, pattern, sliding_window, no_rope_interval;
    double attention_softcap, output_softcap, query_scalar;
    /* llama.cpp's files leave the query scalar out: a model of so many layers is the one whose
     * scalar is hidden / heads instead of the head's size. */
    uint64_t large_layers;
};

/* NULL when the architecture cannot be run. */
const struct arch_traits *uqff_arch_traits(const struct uqff_arch *arch);

struct arch_layer {
    uint64_t window;     /* positions that are seen, the current one among them; UINT64_MAX: all */
    bool rotates, local; /* local: by rope_local_theta, not stretched */
};

/* A configuration, complete and checked. */
struct arch_shape {
    const struct arch_traits *traits;
    size_t layers, hidden, heads, kv_heads, head_dim;
    size_t rotary; /* elements of a head that are rotated: even */
    size_t feed_forward, expert_feed_forward, experts, experts_used;
    uint64_t context;
    enum arch_activation activation;
    bool normalize_experts;
    float norm_shift, query_scale, attention_softcap, output_softcap,
        input_scale; /* caps: 0: none */
    double epsilon;
    struct arch_layer *layer; /* in the arena that was given */
};

/* UQFF_E_UNSUPPORTED for an architecture or setting that cannot be run, UQFF_E_FIELD for a number
 * that is missing or impossible. */
enum uqff_code uqff_arch_shape(const struct uqff_model *model, struct uqff_arena *arena,
                               struct arch_shape *out, struct uqff_error *err) UQFF_MUST_CHECK;

/* ---- rotation -------------------------------------------------------------------------------- */

/* Angle of pair i at position p: p * frequency[i]; cosines and sines are multiplied by `scale`. */
struct arch_rope {
    double *frequency; /* [rotary / 2] */
    double scale;
};

/* How models are stretched: all that depends on the model alone, checked. */
struct arch_stretch {
    double theta, local_theta;
    const char *type; /* "", "linear", "llama3", "yarn", "longrope" */
    struct uqff_rope_scaling numbers;
    const double *factors; /* of a GGUF's rope_freqs; NULL: none */
    const double *long_factors, *short_factors;
};

enum uqff_code uqff_arch_stretch(const struct uqff_model *model, const struct arch_shape *shape,
                                 struct uqff_arena *arena, struct arch_stretch *out,
                                 struct uqff_error *err) UQFF_MUST_CHECK;
/* The frequencies for sequences of up to `capacity` positions: only longrope asks how many. */
void uqff_arch_frequencies(const struct arch_shape *shape, const struct arch_stretch *stretch,
                           uint64_t capacity, bool local, struct arch_rope *out);

#endif
