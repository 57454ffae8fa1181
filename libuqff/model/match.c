/* Matching names against the rules of an architecture. Numbers are exact decimals: "00", "-1" or
 * 2^32 are no layers, so that no two names can mean one. */
#include <stdio.h>
#include <string.h>

#include "model/internal.h"

/* Longest name that rules are tried on; longer ones match nothing. */
#define NAME_MAX_BYTES 1100u

size_t uqff_model_parse_number(const char *text, uint64_t *out) {
    size_t n = 0;
    uint64_t value = 0;
    while (text[n] >= '0' && text[n] <= '9') {
        value = value * 10 + (uint64_t)(text[n] - '0');
        if (++n > 9) {
            return 0;
        }
    }
    if (n > 1 && text[0] == '0') {
        return 0;
    }
    *out = value;
    return n;
}

bool uqff_model_match_pattern(const char *pattern, const char *name, size_t n,
                              struct rule_match *out) {
    size_t at = 0;
    out->layer = UINT64_MAX;
    out->expert = UINT64_MAX;
    while (*pattern != 0) {
        if (*pattern != '{') {
            if (at >= n || name[at] != *pattern) {
                return false;
            }
            at++;
            pattern++;
            continue;
        }
        bool is_expert = pattern[1] == 'e';
        uint64_t *number = is_expert ? &out->expert : &out->layer;
        size_t digits = uqff_model_parse_number(name + at, number);
        if (digits == 0 || digits > n - at) {
            return false;
        }
        if (is_expert) {
            out->expert_begin = at;
            out->expert_end = at + digits;
        }
        at += digits;
        pattern += is_expert ? 3 : 2;
    }
    return at == n;
}

/* Walks a list of rules and those it includes; `accept` decides. Lists nest three deep at most. */
typedef bool accept_rule(const struct uqff_arch_rule *rule, const char *name, size_t n,
                         struct rule_match *out);

static bool walk(const struct uqff_arch_rule *rules, accept_rule *accept, const char *name,
                 size_t n, struct rule_match *out) {
    for (const struct uqff_arch_rule *rule = rules; rule->kind != RULE_END; rule++) {
        if (rule->kind == RULE_INCLUDE) {
            if (walk(rule->list, accept, name, n, out)) {
                return true;
            }
        } else if (accept(rule, name, n, out)) {
            out->rule = rule;
            return true;
        }
    }
    return false;
}

static bool ends_with(const char *name, size_t n, const char *ending, size_t *stem) {
    size_t m = strlen(ending);
    if (n < m || memcmp(name + n - m, ending, m) != 0) {
        return false;
    }
    *stem = n - m;
    return true;
}

/* A pattern with one of the endings that a weight or bias of it may have. */
static bool accept_endings(const char *pattern, bool bare, const char *name, size_t n,
                           struct rule_match *out) {
    size_t stem;
    out->is_bias = false;
    if (ends_with(name, n, ".weight", &stem)) {
        return uqff_model_match_pattern(pattern, name, stem, out);
    }
    if (bare && uqff_model_match_pattern(pattern, name, n, out)) {
        return true;
    }
    out->is_bias = true;
    if (ends_with(name, n, ".bias", &stem) || (bare && ends_with(name, n, "_bias", &stem))) {
        return uqff_model_match_pattern(pattern, name, stem, out);
    }
    return false;
}

static bool accept_hf(const struct uqff_arch_rule *rule, const char *name, size_t n,
                      struct rule_match *out) {
    if (rule->kind == RULE_RESIDUAL) {
        out->is_bias = false;
        return uqff_model_match_pattern(rule->hf, name, n, out);
    }
    return accept_endings(rule->hf, (rule->flags & RULE_BARE) != 0, name, n, out);
}

static bool accept_gguf(const struct uqff_arch_rule *rule, const char *name, size_t n,
                        struct rule_match *out) {
    if (rule->gguf == NULL) {
        return false;
    }
    if (rule->kind == RULE_RESIDUAL) {
        out->is_bias = false;
        return uqff_model_match_pattern(rule->gguf, name, n, out);
    }
    return accept_endings(rule->gguf, false, name, n, out);
}

static bool accept_module(const struct uqff_arch_rule *rule, const char *name, size_t n,
                          struct rule_match *out) {
    out->is_bias = false;
    return rule->kind == RULE_MODULE && uqff_model_match_pattern(rule->hf, name, n, out);
}

/* Wrappers put the text model under a prefix, and embedding models leave "model." away. */
static const struct {
    const char *prefix, *means;
} prefixes[] = {
    {"language_model.", ""},      {"model.language_model.", "model."},
    {"layers.", "model.layers."}, {"embed_tokens.", "model.embed_tokens."},
    {"norm.", "model.norm."},
};

static bool match_prefixed(const struct uqff_arch *arch, accept_rule *accept, const char *name,
                           struct rule_match *out) {
    char canonical[NAME_MAX_BYTES];
    size_t n = strlen(name);
    if (n > NAME_MAX_BYTES - 32) {
        return false;
    }
    if (walk(arch->rules, accept, name, n, out)) {
        return true;
    }
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t prefix = strlen(prefixes[i].prefix);
        if (strncmp(name, prefixes[i].prefix, prefix) != 0) {
            continue;
        }
        snprintf(canonical, sizeof canonical, "%s%s", prefixes[i].means, name + prefix);
        size_t length = strlen(canonical);
        if (walk(arch->rules, accept, canonical, length, out)) {
            /* Positions count in the name as it is: both names share their ends. */
            out->expert_begin = out->expert_begin + n - length;
            out->expert_end = out->expert_end + n - length;
            return true;
        }
    }
    return false;
}

bool uqff_model_match_hf(const struct uqff_arch *arch, const char *name, struct rule_match *out) {
    *out = (struct rule_match){0};
    return match_prefixed(arch, accept_hf, name, out);
}

bool uqff_model_match_module(const struct uqff_arch *arch, const char *name,
                             struct rule_match *out) {
    *out = (struct rule_match){0};
    return match_prefixed(arch, accept_module, name, out);
}

bool uqff_model_match_gguf(const struct uqff_arch *arch, const char *name, struct rule_match *out) {
    *out = (struct rule_match){0};
    return walk(arch->rules, accept_gguf, name, strlen(name), out);
}

char *uqff_model_expand(struct uqff_arena *arena, const char *pattern,
                        const struct rule_match *match, const char *ending) {
    char text[NAME_MAX_BYTES];
    size_t n = 0;
    while (*pattern != 0) {
        if (*pattern != '{') {
            text[n++] = *pattern++;
            continue;
        }
        bool is_expert = pattern[1] == 'e';
        int digits = snprintf(text + n, sizeof text - n, "%llu",
                              (unsigned long long)(is_expert ? match->expert : match->layer));
        n += (size_t)digits;
        pattern += is_expert ? 3 : 2;
    }
    text[n] = 0;
    return uqff_arena_printf(arena, "%s%s", text, ending);
}

int64_t uqff_model_guess_layer(const char *name) {
    static const char *const lists[] = {"layers", "layer", "blk", "blocks", "block", "h"};
    for (const char *begin = name; begin != NULL; begin = strchr(begin, '.')) {
        begin += *begin == '.' ? 1 : 0;
        for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
            size_t n = strlen(lists[i]);
            uint64_t number;
            if (strncmp(begin, lists[i], n) != 0 || begin[n] != '.') {
                continue;
            }
            size_t digits = uqff_model_parse_number(begin + n + 1, &number);
            if (digits > 0 && (begin[n + 1 + digits] == '.' || begin[n + 1 + digits] == 0)) {
                return (int64_t)number;
            }
        }
    }
    return -1;
}
