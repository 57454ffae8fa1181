/* Plans: order, offsets, padding, shards, names, and what is refused. */
#include "unit/test_container_builder.h"

#include "libuqff/container/internal.h"

static const char *const multi_order[] = {
    "uqff.version.major",
    "uqff.version.minor",
    "uqff.version.patch",
    "model.embed_tokens.weight.dtype",
    "model.embed_tokens.weight.shape",
    "model.layers.0.mlp.experts.gate_proj.weight.dtype",
    "model.layers.0.mlp.experts.gate_proj.weight.shape",
    "model.layers.1.self_attn.q_proj.weight.dtype",
    "model.layers.1.self_attn.q_proj.weight.shape",
    "model.embed_tokens.weight.format",
    "model.layers.0.mlp.experts.gate_proj.weight.format",
    "model.layers.0.self_attn.q_proj.weight.format",
    "model.layers.1.self_attn.q_proj.weight.format",
    "model.layers.0.mlp.experts.gate_proj.bias",
    "model.layers.0.self_attn.q_proj.bias",
    "0@uqff.pad",
    "model.layers.1.self_attn.q_proj.bias",
    "1@uqff.pad",
    "steps@uqff.residual",
    "2@uqff.pad",
    "conv.parametrizations.@weight.original0@uqff.residual",
    "3@uqff.pad",
    "model.layers.0.self_attn.q_proj.@weight_scale@uqff.residual",
    "4@uqff.pad",
    "model.layers.0.self_attn.q_proj.bias@uqff.residual",
    "5@uqff.pad",
    "empty@uqff.residual",
    "model.norm.weight@uqff.residual",
    "6@uqff.pad",
    "sinks@uqff.residual",
    "1_Pooling/config.json@uqff.asset",
    "config.json@uqff.asset",
    "empty.txt@uqff.asset",
    "weights.@weight.json@uqff.asset",
    "7@uqff.pad",
    "model.embed_tokens.weight",
    "8@uqff.pad",
    "model.embed_tokens@uqff.q8_0",
    "model.layers.0.mlp.experts.gate_proj.weight",
    "9@uqff.pad",
    "model.layers.0.mlp.experts.gate_proj@uqff.q8_0",
    "10@uqff.pad",
    "model.layers.0.mlp.experts.gate_proj@uqff.iq4_xs",
    "11@uqff.pad",
    "model.layers.0.self_attn.q_proj.weight",
    "model.layers.0.self_attn.q_proj@uqff.f16",
    "model.layers.0.self_attn.q_proj@uqff.q8_0",
    "12@uqff.pad",
    "model.layers.1.self_attn.q_proj.weight",
    "13@uqff.pad",
    "model.layers.1.self_attn.q_proj@uqff.q8_0",
    "14@uqff.pad",
    "model.layers.1.self_attn.q_proj@uqff.mxfp4",
    "0@uqff.digests",
};

static const char *const bare_order[] = {
    "uqff.version.major",
    "uqff.version.minor",
    "uqff.version.patch",
    "model.embed_tokens@uqff.shape",
    "model.layers.0.mlp.experts.gate_proj@uqff.shape",
    "model.layers.0.self_attn.q_proj@uqff.shape",
    "model.layers.1.self_attn.q_proj@uqff.shape",
    "0@uqff.pad",
    "steps@uqff.residual",
    "1@uqff.pad",
    "conv.parametrizations.@weight.original0@uqff.residual",
    "2@uqff.pad",
    "model.layers.0.self_attn.q_proj.@weight_scale@uqff.residual",
    "3@uqff.pad",
    "model.layers.0.self_attn.q_proj.bias@uqff.residual",
    "4@uqff.pad",
    "empty@uqff.residual",
    "model.layers.0.mlp.experts.gate_proj.bias@uqff.residual",
    "5@uqff.pad",
    "model.layers.1.self_attn.q_proj.bias@uqff.residual",
    "6@uqff.pad",
    "model.norm.weight@uqff.residual",
    "7@uqff.pad",
    "sinks@uqff.residual",
    "1_Pooling/config.json@uqff.asset",
    "config.json@uqff.asset",
    "empty.txt@uqff.asset",
    "weights.@weight.json@uqff.asset",
    "8@uqff.pad",
    "model.embed_tokens@uqff.q8_0",
    "model.embed_tokens@uqff.q6_k",
    "9@uqff.pad",
    "model.layers.0.mlp.experts.gate_proj@uqff.q8_0",
    "10@uqff.pad",
    "model.layers.0.mlp.experts.gate_proj@uqff.q4_k",
    "11@uqff.pad",
    "model.layers.0.mlp.experts.gate_proj@uqff.iq4_xs",
    "12@uqff.pad",
    "model.layers.0.self_attn.q_proj@uqff.f16",
    "model.layers.0.self_attn.q_proj@uqff.q8_0",
    "13@uqff.pad",
    "model.layers.0.self_attn.q_proj@uqff.bf16",
    "model.layers.1.self_attn.q_proj@uqff.q8_0",
    "14@uqff.pad",
    "model.layers.1.self_attn.q_proj@uqff.q4_k",
    "15@uqff.pad",
    "model.layers.1.self_attn.q_proj@uqff.mxfp4",
    "0@uqff.digests",
};

static const char *const plain_order[] = {
    "model.layers.0.mlp.experts.gate_proj.bias",
    "model.layers.1.self_attn.q_proj.bias",
    "model.embed_tokens.weight.dtype",
    "model.embed_tokens.weight.shape",
    "model.layers.0.mlp.experts.gate_proj.weight.dtype",
    "model.layers.0.mlp.experts.gate_proj.weight.shape",
    "model.layers.1.self_attn.q_proj.weight.dtype",
    "model.layers.1.self_attn.q_proj.weight.shape",
    "uqff.version.major",
    "uqff.version.minor",
    "uqff.version.patch",
    "model.layers.0.self_attn.q_proj.bias",
    "model.layers.0.self_attn.q_proj.weight",
    "model.embed_tokens.weight",
    "model.embed_tokens.weight.format",
    "model.layers.0.mlp.experts.gate_proj.weight",
    "model.layers.0.mlp.experts.gate_proj.weight.format",
    "model.layers.0.self_attn.q_proj.weight.format",
    "model.layers.1.self_attn.q_proj.weight",
    "model.layers.1.self_attn.q_proj.weight.format",
};

static struct uqff_container_plan *plan_ok(const struct uqff_container_spec *spec) {
    struct uqff_error err;
    struct uqff_container_plan *plan;
    assert_ok(uqff_container_plan_new(spec, &plan, &err), &err);
    return plan;
}

static void assert_order(const struct uqff_container_spec *spec, const char *const *names,
                         size_t count) {
    struct uqff_container_plan *plan = plan_ok(spec);
    for (size_t i = 0; i < count && i < uqff_container_plan_count(plan); i++) {
        assert_string_equal(uqff_container_plan_entry(plan, i)->name, names[i]);
    }
    assert_int_equal(uqff_container_plan_count(plan), count);
    uqff_container_plan_free(plan);
}

static void test_order(void **state) {
    (void)state;
    struct uqff_container_spec spec = tiny_spec();
    assert_order(&spec, multi_order, COUNT(multi_order));
    spec.default_variant = UQFF_NONE;
    assert_order(&spec, bare_order, COUNT(bare_order));
    spec = tiny_plain_spec();
    assert_order(&spec, plain_order, COUNT(plain_order));
}

/* Entries lie end to end, each where its kind wants it, and no padding is longer than it must be.
 */
static void check_layout(const struct uqff_container_spec *spec) {
    struct uqff_container_plan *plan = plan_ok(spec);
    uint64_t alignment = spec->multi ? spec->alignment : 8, end = 0, pad = 0;
    size_t shard = UQFF_NONE, pads = 0;
    for (size_t i = 0; i < uqff_container_plan_count(plan); i++) {
        const struct uqff_plan_entry *entry = uqff_container_plan_entry(plan, i);
        if (entry->shard != shard) {
            assert_int_equal(entry->shard, shard + 1); /* UQFF_NONE + 1 is 0 */
            if (shard != UQFF_NONE) {
                assert_int_equal(uqff_container_plan_shard_bytes(plan, shard), end);
            }
            shard = entry->shard;
            assert_int_equal(entry->offset % alignment, 0); /* where the data begins */
        } else {
            assert_int_equal(entry->offset, end);
        }
        char name[64];
        snprintf(name, sizeof name, "%zu@uqff.pad", pads);
        if (strcmp(entry->name, name) == 0) {
            assert_int_equal(pad, 0); /* never two in a row */
            assert_int_equal(entry->kind, UQFF_PLAN_FIXED);
            pad = entry->bytes;
            pads++;
            assert_true(pad > 0 && pad < alignment);
        } else {
            bool aligned = entry->kind == UQFF_PLAN_RESIDUAL || entry->kind == UQFF_PLAN_BLOB ||
                           entry->kind == UQFF_PLAN_RESIDUAL_BIAS;
            enum uqff_dtype dtype = UQFF_DTYPE_U8;
            (void)uqff_type_to_dtype(entry->type, &dtype);
            uint64_t wanted = spec->multi && aligned ? alignment : uqff_dtype_alignment(dtype);
            assert_int_equal(entry->offset % wanted, 0);
            assert_true(pad < wanted);
            pad = 0;
        }
        end = entry->offset + entry->bytes;
    }
    assert_int_equal(uqff_container_plan_shard_bytes(plan, shard), end);
    assert_int_equal(shard + 1, uqff_container_plan_shard_count(plan));
    uqff_container_plan_free(plan);
}

/* No shard is larger than the limit unless it holds a single thing that is. */
static void check_limit(const struct uqff_container_spec *spec) {
    struct uqff_container_plan *plan = plan_ok(spec);
    for (size_t s = 0; s < uqff_container_plan_shard_count(plan); s++) {
        size_t things = 0;
        for (size_t i = 0; i < uqff_container_plan_count(plan); i++) {
            const struct uqff_plan_entry *entry = uqff_container_plan_entry(plan, i);
            things += entry->shard == s && entry->kind != UQFF_PLAN_BIAS && by_caller(entry);
        }
        assert_true(things >= 1);
        assert_true(things == 1 || spec->max_shard == 0 ||
                    uqff_container_plan_shard_bytes(plan, s) <= spec->max_shard);
    }
    uqff_container_plan_free(plan);
}

static void test_layout(void **state) {
    (void)state;
    static const unsigned alignments[] = {64, 128, 4096};
    static const uint64_t limits[] = {0, 1, 6000, 12000, 30000};
    for (size_t a = 0; a < COUNT(alignments); a++) {
        for (size_t l = 0; l < COUNT(limits); l++) {
            struct uqff_container_spec spec = tiny_spec();
            spec.alignment = alignments[a];
            spec.max_shard = limits[l];
            check_layout(&spec);
            check_limit(&spec);
            spec.default_variant = UQFF_NONE;
            check_layout(&spec);
            check_limit(&spec);
            spec = tiny_plain_spec();
            spec.max_shard = limits[l];
            check_layout(&spec);
        }
    }
}

static bool ends_with(const char *text, const char *tail) {
    size_t n = strlen(text), m = strlen(tail);
    return n >= m && strcmp(text + n - m, tail) == 0;
}

/* What mistral.rs must not take for a part of a module: it passes over names that hold a dot, do
 * not end in ".weight", do not hold ".weight." and are not all digits. Written out here, not asked
 * of the library. */
static void assert_ignored(const char *name) {
    bool ignored = strchr(name, '.') != NULL && !ends_with(name, ".weight") &&
                   strstr(name, ".weight.") == NULL && strspn(name, "0123456789") < strlen(name);
    if (!ignored) {
        fail_msg("mistral.rs would not pass over '%s'", name);
    }
    assert_true(uqff_container_name_is_ignored(name, strlen(name)));
    /* Nor may it begin as the name of a module's weight does, which it counts as surplus. */
    for (size_t m = 0; m < TINY_MODULES; m++) {
        char weight[256];
        snprintf(weight, sizeof weight, "%s.weight", tiny_modules[m].name);
        assert_true(strncmp(name, weight, strlen(weight)) != 0);
    }
}

static void test_names_outside_the_default_are_ignored(void **state) {
    (void)state;
    for (size_t d = 0; d < 3; d++) {
        struct uqff_container_spec spec = tiny_spec();
        spec.default_variant = d == 2 ? UQFF_NONE : d;
        spec.max_shard = d == 1 ? 10000 : 0;
        struct uqff_container_plan *plan = plan_ok(&spec);
        size_t ignored = 0;
        for (size_t i = 0; i < uqff_container_plan_count(plan); i++) {
            const char *name = uqff_container_plan_entry(plan, i)->name;
            bool version = strncmp(name, "uqff.version.", 13) == 0;
            bool canonical = strchr(name, '@') == NULL;
            assert_true(!canonical || version || spec.default_variant != UQFF_NONE);
            if (!canonical) {
                assert_ignored(name);
                ignored++;
            }
        }
        assert_true(ignored > 10);
        uqff_container_plan_free(plan);
    }
}

static void test_names_parse_back(void **state) {
    (void)state;
    static const char *const names[] = {"model.norm.weight",
                                        "a.parametrizations.weight.original0",
                                        "a.weight.weight.b",
                                        "a.weightb",
                                        ".weight.",
                                        "weight",
                                        "x"};
    struct uqff_arena arena = {0};
    for (size_t i = 0; i < COUNT(names); i++) {
        struct uqff_entry_name parsed;
        const char *decoded;
        char *entry = uqff_container_name_encode(&arena, names[i], "@uqff.residual");
        assert_non_null(entry);
        uqff_container_name_parse(entry, strlen(entry), &parsed);
        assert_int_equal(parsed.kind, UQFF_NAME_RESIDUAL);
        assert_int_equal(
            uqff_container_name_decode(&arena, parsed.base, parsed.base_length, &decoded), UQFF_OK);
        assert_string_equal(decoded, names[i]);
        assert_true(uqff_container_name_is_ignored(entry, strlen(entry)));
    }
    const char *decoded;
    assert_int_equal(uqff_container_name_decode(&arena, "a@b", 3, &decoded), UQFF_E_NAME);
    assert_int_equal(uqff_container_name_decode(&arena, "a.@weight", 9, &decoded), UQFF_E_NAME);
    assert_int_equal(uqff_container_name_decode(&arena, "@", 1, &decoded), UQFF_E_NAME);
    uqff_arena_free(&arena);

    static const struct {
        const char *name;
        enum uqff_name_kind kind;
        size_t base_length;
    } cases[] = {
        {"uqff.version.minor", UQFF_NAME_VERSION, 18},
        {"a.b.weight", UQFF_NAME_WEIGHT, 3},
        {"a.b.weight.format", UQFF_NAME_SIDE, 3},
        {"a.weight.b.weight.format", UQFF_NAME_SIDE, 10},
        {"a.b.bias", UQFF_NAME_BIAS, 3},
        {"a.b@uqff.q4_k", UQFF_NAME_BLOB, 3},
        {"a.b@uqff.Q4_K", UQFF_NAME_UNKNOWN, 3},
        {"a.b@uqff.q8_k", UQFF_NAME_UNKNOWN, 3},
        {"a.b@uqff.i32", UQFF_NAME_UNKNOWN, 3},
        {"a.b@uqff.", UQFF_NAME_UNKNOWN, 3},
        {"a.b@uqff.shape", UQFF_NAME_SHAPE, 3},
        {"a/b.json@uqff.asset", UQFF_NAME_ASSET, 8},
        {"a/b.json@uqff.asset.zlib", UQFF_NAME_ASSET, 8},
        {"12@uqff.pad", UQFF_NAME_PAD, 2},
        {"012@uqff.pad", UQFF_NAME_UNKNOWN, 3},
        {"@uqff.pad", UQFF_NAME_UNKNOWN, 0},
        {"0@uqff.digests", UQFF_NAME_DIGESTS, 1},
        {"a.b", UQFF_NAME_OTHER, 3},
        {"", UQFF_NAME_OTHER, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct uqff_entry_name parsed;
        uqff_container_name_parse(cases[i].name, strlen(cases[i].name), &parsed);
        assert_int_equal(parsed.kind, cases[i].kind);
        assert_int_equal(parsed.base_length, cases[i].base_length);
    }
}

static void test_module_order(void **state) {
    (void)state;
    static const char *const sorted[] = {
        "lm_head",           "model.embed_tokens",   "model.layers.0.a",
        "model.layers.0.b",  "model.layers.2.a",     "vision.blocks.2.a",
        "model.layers.10.a", "model.layers.010.a.b", "model.layers.99999999999999999999999.a",
    };
    for (size_t i = 0; i < COUNT(sorted); i++) {
        for (size_t k = 0; k < COUNT(sorted); k++) {
            int order = uqff_module_order(sorted[i], sorted[k]);
            /* 010 and 10 are one layer: the name decides. */
            if ((i == 6 && k == 7) || (i == 7 && k == 6)) {
                continue;
            }
            assert_int_equal((order > 0) - (order < 0), (i > k) - (i < k));
        }
    }
}

/* ---- look-up, index, purity ------------------------------------------------------------------ */

static void test_find(void **state) {
    (void)state;
    struct uqff_container_spec spec = tiny_spec();
    struct uqff_container_plan *plan = plan_ok(&spec);
    for (size_t i = 0; i < uqff_container_plan_count(plan); i++) {
        const struct uqff_plan_entry *entry = uqff_container_plan_entry(plan, i);
        if (by_caller(entry)) {
            assert_int_equal(uqff_container_plan_find(plan, entry->kind, entry->index, entry->type),
                             i);
        }
    }
    assert_true(uqff_container_plan_find(plan, UQFF_PLAN_BLOB, 0, UQFF_TYPE_Q2_K) == UQFF_NONE);
    assert_true(uqff_container_plan_find(plan, UQFF_PLAN_BLOB, 99, UQFF_TYPE_Q8_0) == UQFF_NONE);
    assert_true(uqff_container_plan_find(plan, UQFF_PLAN_BIAS, 0, 0) == UQFF_NONE);
    uqff_container_plan_free(plan);
}

static void test_index(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_container_spec spec = tiny_spec();
    struct uqff_buffer text = {0};
    assert_ok(uqff_container_index_render(&spec, &text, &err), &err);
    assert_string_equal(
        text.data,
        "{\"default\":\"q4_k_m\",\"variants\":[{\"name\":\"q4_k_m\",\"recipe\":\"Q4_K_M\",\"type\":"
        "\"q4_k\",\"except\":{\"q6_k\":[\"model.embed_tokens\"],\"bf16\":[\"model.layers.0.self_"
        "attn.q_proj\"]},\"weights\":5120,\"bytes\":4984},{\"name\":\"q8_0\",\"recipe\":\"Q8_0\","
        "\"type\":\"q8_0\",\"except\":{},\"weights\":5120,\"bytes\":5440},{\"name\":\"iq4_xs\","
        "\"recipe\":\"IQ4_XS\",\"type\":\"iq4_xs\",\"except\":{\"f16\":[\"model.layers.0.self_attn."
        "q_proj\"],\"q6_k\":[\"model.embed_tokens\"],\"mxfp4\":[\"model.layers.1.self_attn.q_"
        "proj\"]"
        "},\"weights\":5120,\"bytes\":4896}]}");
    uqff_buffer_free(&text);
    spec.default_variant = UQFF_NONE;
    assert_ok(uqff_container_index_render(&spec, &text, &err), &err);
    assert_true(strncmp(text.data, "{\"default\":null,", 16) == 0);
    uqff_buffer_free(&text);
}

/* ---- what a plan refuses --------------------------------------------------------------------- */

struct refusal {
    void (*bend)(struct uqff_container_spec *spec);
    enum uqff_code code;
    const char *needle;
};

static struct uqff_spec_module bent_modules[TINY_MODULES];
static struct uqff_spec_variant bent_variants[3];
static struct uqff_spec_tensor bent_tensor;
static struct uqff_spec_asset bent_assets[2];
static struct uqff_spec_metadata bent_metadata;
static uint32_t bent_types[TINY_MODULES];

static void bend_module_at(struct uqff_container_spec *s) {
    bent_modules[1].name = "model.layers.0.a@b";
    s->modules = bent_modules;
}
static void bend_module_control(struct uqff_container_spec *s) {
    bent_modules[1].name = "model.layers.0.a\nb";
    s->modules = bent_modules;
}
static void bend_module_weight(struct uqff_container_spec *s) {
    bent_modules[1].name = "model.layers.0.a.weight.b";
    s->modules = bent_modules;
}
static void bend_module_prefix(struct uqff_container_spec *s) {
    bent_modules[3].name = "model.layers.0.self_attn.q_proj.weights_proj";
    s->modules = bent_modules;
}
static void bend_module_twice(struct uqff_container_spec *s) {
    bent_modules[3].name = bent_modules[2].name;
    s->modules = bent_modules;
}
static void bend_module_unsorted(struct uqff_container_spec *s) {
    bent_modules[3].name = "a";
    s->modules = bent_modules;
}
static void bend_module_zero(struct uqff_container_spec *s) {
    static const uint64_t shape[] = {0, 256};
    bent_modules[0].shape = shape;
    s->modules = bent_modules;
}
static void bend_module_large(struct uqff_container_spec *s) {
    static const uint64_t shape[] = {(uint64_t)1 << 32, 256};
    bent_modules[0].shape = shape;
    s->modules = bent_modules;
}
static void bend_module_row(struct uqff_container_spec *s) {
    static const uint64_t shape[] = {4, 128};
    bent_modules[0].shape = shape;
    s->modules = bent_modules;
}
static void bend_module_vector(struct uqff_container_spec *s) {
    static const uint64_t shape[] = {256};
    bent_modules[0].shape = shape;
    bent_modules[0].rank = 1;
    s->modules = bent_modules;
}
static void bend_no_modules(struct uqff_container_spec *s) {
    s->module_count = 0;
}
static void bend_bias(struct uqff_container_spec *s) {
    bent_modules[1].bias_type = UQFF_TYPE_Q8_0;
    s->modules = bent_modules;
}
static void bend_stem(struct uqff_container_spec *s) {
    s->stem = "llama-3";
}
static void bend_stem_path(struct uqff_container_spec *s) {
    s->stem = "../llama";
}
static void bend_default_iq(struct uqff_container_spec *s) {
    s->default_variant = 2;
}
static void bend_default_none_such(struct uqff_container_spec *s) {
    s->default_variant = 3;
}
static void bend_plain_iq(struct uqff_container_spec *s) {
    s->multi = false;
    s->residual_count = s->asset_count = s->metadata_count = 0;
    s->variants = &tiny_variants[2];
    s->variant_count = 1;
}
static void bend_plain_two(struct uqff_container_spec *s) {
    s->multi = false;
    s->residual_count = s->asset_count = s->metadata_count = 0;
}
static void bend_plain_residual(struct uqff_container_spec *s) {
    s->multi = false;
    s->variant_count = 1;
}
static void bend_q8_k(struct uqff_container_spec *s) {
    for (size_t i = 0; i < TINY_MODULES; i++) {
        bent_types[i] = UQFF_TYPE_Q8_K;
    }
    bent_variants[1].types = bent_types;
    s->variants = bent_variants;
}
static void bend_variant_twice(struct uqff_container_spec *s) {
    bent_variants[1].name = "Q4_K_M";
    s->variants = bent_variants;
}
static void bend_variant_name(struct uqff_container_spec *s) {
    bent_variants[1].name = "a#b";
    s->variants = bent_variants;
}
static void bend_no_variants(struct uqff_container_spec *s) {
    s->variant_count = 0;
}
static void bend_tensor(struct uqff_container_spec *s, const char *name, uint32_t type) {
    bent_tensor = (struct uqff_spec_tensor){.name = name, .type = type, .rank = 0};
    s->residual = &bent_tensor;
    s->residual_count = 1;
}
static void bend_residual_at(struct uqff_container_spec *s) {
    bend_tensor(s, "a@b", UQFF_TYPE_F32);
}
static void bend_residual_type(struct uqff_container_spec *s) {
    bend_tensor(s, "a", UQFF_TYPE_Q8_0);
}
static void bend_residual_module(struct uqff_container_spec *s) {
    bend_tensor(s, "model.embed_tokens.weight", UQFF_TYPE_F32);
}
static void bend_residual_bias(struct uqff_container_spec *s) {
    bend_tensor(s, "model.layers.1.self_attn.q_proj.bias", UQFF_TYPE_F32);
}
static void bend_asset(struct uqff_container_spec *s, const char *one, const char *two) {
    bent_assets[0] = (struct uqff_spec_asset){.path = one};
    bent_assets[1] = (struct uqff_spec_asset){.path = two, .compressed = true};
    s->assets = bent_assets;
    s->asset_count = 2;
}
static void bend_asset_twice(struct uqff_container_spec *s) {
    bend_asset(s, "config.json", "config.json");
}
static void bend_asset_up(struct uqff_container_spec *s) {
    bend_asset(s, "../x", "y");
}
static void bend_asset_deep(struct uqff_container_spec *s) {
    bend_asset(s, "a/b/c", "y");
}
static void bend_asset_root(struct uqff_container_spec *s) {
    bend_asset(s, "/a", "y");
}
static void bend_metadata(struct uqff_container_spec *s) {
    bent_metadata = (struct uqff_spec_metadata){"uqff.multi.index", "{}"};
    s->metadata = &bent_metadata;
    s->metadata_count = 1;
}
static void bend_alignment(struct uqff_container_spec *s) {
    s->alignment = 96;
}
static void bend_shards(struct uqff_container_spec *s) {
    static struct uqff_spec_asset many[10001];
    static char names[10001][16];
    for (size_t i = 0; i < COUNT(many); i++) {
        snprintf(names[i], sizeof names[i], "%zu.txt", i);
        many[i] = (struct uqff_spec_asset){.path = names[i], .size = 1};
    }
    s->assets = many;
    s->asset_count = COUNT(many);
    s->max_shard = 1;
}

static void test_refusals(void **state) {
    (void)state;
    static const struct refusal refusals[] = {
        {bend_module_at, UQFF_E_NAME, "a@b"},
        {bend_module_control, UQFF_E_NAME, "a\\x0ab"},
        {bend_module_weight, UQFF_E_NAME, ".weight"},
        {bend_module_prefix, UQFF_E_NAME, "weights_proj"},
        {bend_module_twice, UQFF_E_DUPLICATE, "twice"},
        {bend_module_unsorted, UQFF_E_ARGUMENT, "model order"},
        {bend_module_zero, UQFF_E_SHAPE, "dimension 0 is 0"},
        {bend_module_large, UQFF_E_SHAPE, "4294967296"},
        {bend_module_row, UQFF_E_SHAPE, "model.embed_tokens"},
        {bend_module_vector, UQFF_E_SHAPE, "rank 1"},
        {bend_no_modules, UQFF_E_ARGUMENT, "no module"},
        {bend_bias, UQFF_E_TYPE, "bias"},
        {bend_stem, UQFF_E_NAME, "llama_3.uqff"},
        {bend_stem_path, UQFF_E_NAME, "stem"},
        {bend_default_iq, UQFF_E_TYPE, "IQ4_XS"},
        {bend_default_none_such, UQFF_E_ARGUMENT, "variant 3 of 3"},
        {bend_plain_iq, UQFF_E_TYPE, "IQ4_XS"},
        {bend_plain_two, UQFF_E_LIMIT, "3 variants"},
        {bend_plain_residual, UQFF_E_ARGUMENT, "residual"},
        {bend_q8_k, UQFF_E_TYPE, "Q8_K"},
        {bend_variant_twice, UQFF_E_DUPLICATE, "Q4_K_M"},
        {bend_variant_name, UQFF_E_NAME, "a#b"},
        {bend_no_variants, UQFF_E_ARGUMENT, "0 variants"},
        {bend_residual_at, UQFF_E_NAME, "a@b"},
        {bend_residual_type, UQFF_E_TYPE, "Q8_0"},
        {bend_residual_module, UQFF_E_DUPLICATE, "model.embed_tokens.weight"},
        {bend_residual_bias, UQFF_E_DUPLICATE, "q_proj.bias"},
        {bend_asset_twice, UQFF_E_DUPLICATE, "config.json"},
        {bend_asset_up, UQFF_E_NAME, "../x"},
        {bend_asset_deep, UQFF_E_NAME, "a/b/c"},
        {bend_asset_root, UQFF_E_NAME, "/a"},
        {bend_metadata, UQFF_E_DUPLICATE, "uqff.multi.index"},
        {bend_alignment, UQFF_E_ARGUMENT, "96"},
        {bend_shards, UQFF_E_LIMIT, "10000"},
    };
    for (size_t i = 0; i < COUNT(refusals); i++) {
        struct uqff_error err;
        struct uqff_container_plan *plan;
        struct uqff_container_spec spec = tiny_spec();
        memcpy(bent_modules, tiny_modules, sizeof bent_modules);
        memcpy(bent_variants, tiny_variants, sizeof bent_variants);
        refusals[i].bend(&spec);
        assert_fails(uqff_container_plan_new(&spec, &plan, &err), refusals[i].code, &err,
                     refusals[i].needle);
    }
}

/* ---- types ----------------------------------------------------------------------------------- */

static void test_types(void **state) {
    (void)state;
    for (unsigned d = 0; d < UQFF_DTYPE_COUNT; d++) {
        enum uqff_dtype back;
        uint32_t type = uqff_type_from_dtype((enum uqff_dtype)d);
        assert_true(uqff_type_to_dtype(type, &back));
        assert_int_equal(back, d);
    }
    enum uqff_dtype dtype;
    assert_false(uqff_type_to_dtype(UQFF_TYPE_Q4_K, &dtype));
    assert_string_equal(uqff_type_label(UQFF_TYPE_IQ2_XXS), "iq2_xxs");
    assert_string_equal(uqff_type_label(UQFF_TYPE_BF16), "bf16");
    assert_true(uqff_type_is_mistralrs(UQFF_TYPE_Q6_K));
    assert_true(uqff_type_is_mistralrs(UQFF_TYPE_BF16));
    assert_false(uqff_type_is_mistralrs(UQFF_TYPE_Q8_1));
    assert_false(uqff_type_is_mistralrs(UQFF_TYPE_Q8_K));
    assert_false(uqff_type_is_mistralrs(UQFF_TYPE_IQ4_XS));
    assert_false(uqff_type_is_mistralrs(UQFF_TYPE_MXFP4));
    assert_false(uqff_type_is_mistralrs(UQFF_TYPE_F64));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_names_outside_the_default_are_ignored),
        cmocka_unit_test(test_names_parse_back),
        cmocka_unit_test(test_module_order),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_index),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
