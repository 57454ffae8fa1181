/* quant: the names that a user may ask for, and what each stands for. */
#include "pack/recipe.h"

#include <string.h>

static const char MISTRALRS_PREFIX[] = "mistralrs:";

/* mistral.rs's spelling of the types. A row marked `bare` may be written without the prefix, since
 * llama.cpp has no file type of that name. */
struct mistralrs_type {
    const char *recipe; /* the prefix and mistral.rs's spelling */
    uint32_t type;
    bool bare;
};

static const struct mistralrs_type mistralrs_types[] = {
    {"mistralrs:Q4_0", UQFF_TYPE_Q4_0, false},     {"mistralrs:Q4_1", UQFF_TYPE_Q4_1, false},
    {"mistralrs:Q5_0", UQFF_TYPE_Q5_0, false},     {"mistralrs:Q5_1", UQFF_TYPE_Q5_1, false},
    {"mistralrs:Q8_0", UQFF_TYPE_Q8_0, false},     {"mistralrs:Q8_1", UQFF_TYPE_Q8_1, false},
    {"mistralrs:Q2K", UQFF_TYPE_Q2_K, true},       {"mistralrs:Q3K", UQFF_TYPE_Q3_K, true},
    {"mistralrs:Q4K", UQFF_TYPE_Q4_K, true},       {"mistralrs:Q5K", UQFF_TYPE_Q5_K, true},
    {"mistralrs:Q6K", UQFF_TYPE_Q6_K, true},       {"mistralrs:Q8K", UQFF_TYPE_Q8_K, true},
    {"mistralrs:MXFP4", UQFF_TYPE_MXFP4, false},   {"mistralrs:IQ4_NL", UQFF_TYPE_IQ4_NL, false},
    {"mistralrs:IQ4_XS", UQFF_TYPE_IQ4_XS, false}, {"mistralrs:TQ1_0", UQFF_TYPE_TQ1_0, false},
    {"mistralrs:TQ2_0", UQFF_TYPE_TQ2_0, false},   {"mistralrs:BF16", UQFF_TYPE_BF16, false},
    {"mistralrs:F16", UQFF_TYPE_F16, false},       {"mistralrs:F32", UQFF_TYPE_F32, false},
};

/* Types of mistral.rs that are no ggml types: known by name, but nothing here encodes them. */
static const char *const foreign_types[] = {"hqq4", "hqq8", "fp8",  "f8q8", "afq2",
                                            "afq3", "afq4", "afq6", "afq8"};

/* In the order in which help lists them: llama.cpp's file types from large to small, then uniform
 * types that llama.cpp has no file type for, then mistral.rs's. */
static const char *const quant_names[] = {
    "f32",
    "bf16",
    "f16",
    "q8_0",
    "q6_k",
    "q5_k_m",
    "q5_k",
    "q5_k_s",
    "q5_1",
    "q5_0",
    "q4_k_m",
    "q4_k",
    "q4_k_s",
    "q4_1",
    "q4_0",
    "iq4_nl",
    "iq4_xs",
    "q3_k_l",
    "q3_k_m",
    "q3_k",
    "q3_k_s",
    "q2_k",
    "q2_k_s",
    "tq2_0",
    "tq1_0",
    "mxfp4_moe",
    "q8_1",
    "mxfp4",
    "q6k",
    "q5k",
    "q4k",
    "q3k",
    "q2k",
    "mistralrs:q8_0",
    "mistralrs:q8_1",
    "mistralrs:q6k",
    "mistralrs:q5k",
    "mistralrs:q5_1",
    "mistralrs:q5_0",
    "mistralrs:q4k",
    "mistralrs:q4_1",
    "mistralrs:q4_0",
    "mistralrs:q3k",
    "mistralrs:q2k",
    "mistralrs:mxfp4",
    "mistralrs:iq4_nl",
    "mistralrs:iq4_xs",
    "mistralrs:tq2_0",
    "mistralrs:tq1_0",
    "mistralrs:bf16",
    "mistralrs:f16",
    "mistralrs:f32",
};

const char *const *uqff_quant_names(size_t *count) {
    *count = sizeof quant_names / sizeof quant_names[0];
    return quant_names;
}

bool uqff_type_is_packable(uint32_t type) {
    const struct uqff_type_info *info = uqff_type_info(type);
    return info != NULL && (info->flags & UQFF_TYPE_CAN_ENCODE) != 0 &&
           (info->flags & UQFF_TYPE_ACTIVATIONS_ONLY) == 0;
}

/* Quant names are ASCII; the C library's functions follow the locale. */
static char lower(char c) {
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

bool uqff_quant_same_name(const char *a, const char *b) {
    while (*a != '\0' && lower(*a) == lower(*b)) {
        a++;
        b++;
    }
    return lower(*a) == lower(*b);
}

/* The part behind "mistralrs:", or NULL. */
static const char *behind_prefix(const char *text) {
    for (size_t i = 0; MISTRALRS_PREFIX[i] != '\0'; i++) {
        if (lower(text[i]) != MISTRALRS_PREFIX[i]) {
            return NULL;
        }
    }
    return text + sizeof MISTRALRS_PREFIX - 1;
}

/* Passes over underscores: "Q4_K" and "q4k" are the same. */
static bool same_spelling(const char *a, const char *b) {
    for (;;) {
        while (*a == '_') {
            a++;
        }
        while (*b == '_') {
            b++;
        }
        if (*a == '\0' || lower(*a) != lower(*b)) {
            return lower(*a) == lower(*b);
        }
        a++;
        b++;
    }
}

static const struct mistralrs_type *find_mistralrs(const char *text) {
    const char *spelling = behind_prefix(text);
    for (size_t i = 0; i < sizeof mistralrs_types / sizeof mistralrs_types[0]; i++) {
        const struct mistralrs_type *row = &mistralrs_types[i];
        const char *own = row->recipe + sizeof MISTRALRS_PREFIX - 1;
        /* Without the prefix an underscore matters: "q4_k" is llama.cpp's. */
        if (spelling != NULL ? same_spelling(spelling, own)
                             : row->bare && uqff_quant_same_name(text, own)) {
            return row;
        }
    }
    return NULL;
}

static bool is_foreign(const char *text) {
    const char *spelling = behind_prefix(text);
    spelling = spelling != NULL ? spelling : text;
    for (size_t i = 0; i < sizeof foreign_types / sizeof foreign_types[0]; i++) {
        if (uqff_quant_same_name(spelling, foreign_types[i])) {
            return true;
        }
    }
    return false;
}

/* Finds what `text` stands for; false when nobody knows it. */
static bool resolve(const char *text, struct uqff_quant *out) {
    const struct file_type *file_type = uqff_file_type_by_name(text);
    if (file_type != NULL) {
        out->recipe = file_type->name;
        out->family = UQFF_QUANT_LLAMACPP;
        out->type = file_type->type;
        out->file_type = file_type->id;
        return true;
    }
    out->file_type = -1;
    const struct mistralrs_type *mistralrs = find_mistralrs(text);
    if (mistralrs != NULL) {
        out->recipe = mistralrs->recipe;
        out->family = UQFF_QUANT_MISTRALRS;
        out->type = mistralrs->type;
        return true;
    }
    const struct uqff_type_info *info = uqff_type_by_name(text);
    if (info != NULL) {
        out->recipe = info->name;
        out->family = UQFF_QUANT_UNIFORM;
        out->type = info->id;
        return true;
    }
    return false;
}

static enum uqff_code fail_unknown(const char *text, struct uqff_error *err) {
    const char *nearest =
        uqff_nearest(text, quant_names, sizeof quant_names / sizeof quant_names[0]);
    if (nearest == NULL) {
        return uqff_fail(err, UQFF_E_UNKNOWN, UQFF_NO_OFFSET, "unknown quant '%.64s'", text);
    }
    return uqff_fail(err, UQFF_E_UNKNOWN, UQFF_NO_OFFSET,
                     "unknown quant '%.64s'; did you mean '%s'?", text, nearest);
}

enum uqff_code uqff_quant_parse(const char *text, struct uqff_quant *out, struct uqff_error *err) {
    struct uqff_quant quant;
    memset(&quant, 0, sizeof quant);
    if (strlen(text) >= sizeof quant.name) {
        return fail_unknown(text, err);
    }
    if (!resolve(text, &quant)) {
        if (is_foreign(text)) {
            return uqff_fail(err, UQFF_E_TYPE, UQFF_NO_OFFSET,
                             "quant '%s': a type of mistral.rs that cannot be encoded here", text);
        }
        return fail_unknown(text, err);
    }
    if (!uqff_type_is_packable(quant.type)) {
        const struct uqff_type_info *info = uqff_type_info(quant.type);
        const bool unstored = info != NULL && (info->flags & UQFF_TYPE_ACTIVATIONS_ONLY) != 0;
        return uqff_fail(err, UQFF_E_TYPE, UQFF_NO_OFFSET, "quant '%s': type %s %s", text,
                         uqff_type_name(quant.type),
                         unstored ? "is for activations and is never stored" : "cannot be encoded");
    }
    for (size_t i = 0; text[i] != '\0'; i++) {
        quant.name[i] = lower(text[i]);
    }
    *out = quant;
    return UQFF_OK;
}
