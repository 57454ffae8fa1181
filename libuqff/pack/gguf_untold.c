/* What of a configuration a GGUF has no key for, because llama.cpp has it as a constant of the
 * architecture. Where a model has it otherwise the file is another model, and that is warned of. */
#include <math.h>
#include <string.h>

#include "pack/gguf.h"

/* The constants; 0 where llama.cpp has none. */
struct constants {
    const char *name;          /* of struct uqff_arch */
    double query_scalar;       /* what transformers takes when config.json does not say */
    uint64_t large_layers;     /* with so many the query scale is that of hidden by heads */
    uint64_t full_layer_every; /* other layers slide */
    double local_theta;        /* of layers that slide */
    uint64_t no_rope_interval;
    bool normalizes_experts;
    bool never_slides;
};

static const struct constants table[] = {
    {.name = "gemma2", .query_scalar = 256, .large_layers = 46, .full_layer_every = 2},
    {.name = "gemma3_text",
     .query_scalar = 256,
     .large_layers = 62,
     .full_layer_every = 6,
     .local_theta = 10000},
    {.name = "gemma3",
     .query_scalar = 256,
     .large_layers = 62,
     .full_layer_every = 6,
     .local_theta = 10000},
    {.name = "mistral", .never_slides = true},
    {.name = "mixtral", .never_slides = true},
    {.name = "qwen2", .never_slides = true},
    {.name = "qwen3", .never_slides = true},
    {.name = "qwen3_moe", .normalizes_experts = true, .never_slides = true},
    {.name = "smollm3", .no_rope_interval = 4},
};

static void tell(const struct uqff_pack_plan *plan, const char *key, double found, double taken) {
    uqff_warn(plan->options.warner,
              "%s: config.json: %s is %.9g, which a GGUF cannot tell; llama.cpp takes %.9g, so its "
              "results will differ",
              uqff_model_path(plan->model), key, found, taken);
}

static void compare_query(const struct uqff_pack_plan *plan, const struct constants *constants,
                          const struct uqff_config *config) {
    const double found = config->query_scalar != 0 ? config->query_scalar : constants->query_scalar;
    const double taken = config->layers == constants->large_layers && config->heads != 0
                             ? (double)config->hidden / (double)config->heads
                             : (double)config->head_dim;
    if (constants->query_scalar != 0 && taken != 0 && fabs(found - taken) > 1e-6 * taken) {
        tell(plan, "query_pre_attn_scalar", found, taken);
    }
}

/* One layer in so many is not like the others: `marks` has a layer's value, or is NULL. */
static bool is_every(const uint8_t *marks, size_t count, uint64_t told, uint64_t every) {
    for (size_t i = 0; marks != NULL && i < count; i++) {
        if ((marks[i] != 0) != ((i + 1) % every != 0)) {
            return false;
        }
    }
    return marks != NULL || told == 0 || told == every;
}

static void compare_layers(const struct uqff_pack_plan *plan, const struct constants *constants,
                           const struct uqff_config *config) {
    const uint64_t full = constants->full_layer_every, turned = constants->no_rope_interval;
    const char *path = uqff_model_path(plan->model);
    if (full != 0 && !is_every(config->layer_slides, config->layer_slides_count,
                               config->sliding_window_pattern, full)) {
        uqff_warn(plan->options.warner,
                  "%s: config.json: which layers slide a GGUF cannot tell; llama.cpp takes all but "
                  "one in %llu, so its results will differ",
                  path, (unsigned long long)full);
    }
    if (turned != 0 && !is_every(config->layer_rotates, config->layer_rotates_count,
                                 config->no_rope_interval, turned)) {
        uqff_warn(plan->options.warner,
                  "%s: config.json: which layers do without rope a GGUF cannot tell; llama.cpp "
                  "takes one in %llu, so its results will differ",
                  path, (unsigned long long)turned);
    }
}

/* A window is no smaller than the context in most models that have one. */
static void compare_window(const struct uqff_pack_plan *plan, const struct constants *constants,
                           const struct uqff_config *config) {
    const bool asked = strncmp(constants->name, "qwen", 4) != 0 || config->use_sliding_window;
    if (constants->never_slides && asked && config->sliding_window != 0 &&
        config->sliding_window < config->context) {
        uqff_warn(plan->options.warner,
                  "%s: config.json: the sliding window of %llu tokens a GGUF of this architecture "
                  "cannot tell; llama.cpp attends to all, so longer texts will differ",
                  uqff_model_path(plan->model), (unsigned long long)config->sliding_window);
    }
}

void uqff_gguf_untold(const struct uqff_pack_plan *plan) {
    const struct uqff_config *config = &plan->gguf->numbers.config;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const struct constants *constants = &table[i];
        if (strcmp(constants->name, plan->gguf->arch->name) != 0) {
            continue;
        }
        compare_query(plan, constants, config);
        compare_layers(plan, constants, config);
        compare_window(plan, constants, config);
        if (constants->local_theta != 0 && config->rope_local_theta != 0 &&
            config->rope_local_theta != constants->local_theta) {
            tell(plan, "rope_local_base_freq", config->rope_local_theta, constants->local_theta);
        }
        if (constants->normalizes_experts && !config->normalize_experts) {
            uqff_warn(plan->options.warner,
                      "%s: config.json: norm_topk_prob is false, which a GGUF cannot tell; "
                      "llama.cpp normalizes, so its results will differ",
                      uqff_model_path(plan->model));
        }
    }
}
