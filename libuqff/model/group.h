/* Between claims.c, which says what each tensor is part of, and modules.c, which puts parts
 * together. */
#ifndef UQFF_MODEL_GROUP_H
#define UQFF_MODEL_GROUP_H

#include "model/internal.h"

enum claim_kind {
    CLAIM_WHOLE,  /* the tensor is the module */
    CLAIM_EXPERT, /* the tensor is one expert of it */
    CLAIM_GATE,   /* the first half of each expert's rows */
    CLAIM_UP,     /* the second half */
};

struct claim {
    const char *module;
    size_t tensor;
    enum claim_kind kind;
    uint64_t expert;
    size_t expert_begin, expert_end; /* the expert's number within the tensor's name */
};

struct grouping {
    struct uqff_model *model;
    struct claim *claims;
    size_t count, capacity;
    size_t embedding, head; /* tensors, or UQFF_NONE */
};

/* Finds the embedding and the output head by their names. */
void uqff_model_find_ends(struct grouping *g);
/* Lets tensor `i` claim what it is part of; most norms and the like claim nothing. */
enum uqff_code uqff_model_claim(struct grouping *g, size_t i, struct uqff_error *err);

/* A name without ".weight", in the model's arena. NULL: no memory. */
char *uqff_model_module_name(struct uqff_model *model, const char *name);
bool uqff_model_is_quantized(uint32_t type);

#endif
