/* Names of single experts, for who takes a stack apart again. */
#include <stdio.h>
#include <string.h>

#include "model/internal.h"

/* The rest of a module's name behind "layers.N."; NULL when it is in no layer. */
static const char *behind_layer(const char *name) {
    static const char word[] = "layers.";
    for (const char *at = strstr(name, word); at != NULL; at = strstr(at + 1, word)) {
        uint64_t layer;
        const char *number = at + sizeof word - 1;
        size_t digits = uqff_model_parse_number(number, &layer);
        if (digits > 0 && number[digits] == '.') {
            return number + digits + 1;
        }
    }
    return NULL;
}

/* The rule whose experts are stacked as `rest`: "mlp.experts." before the number, `leaf` at the
 * end. */
static const struct uqff_arch_rule *find_rule(const struct uqff_arch_rule *rules, const char *rest,
                                              size_t folder) {
    for (const struct uqff_arch_rule *rule = rules; rule->kind != RULE_END; rule++) {
        if (rule->kind == RULE_INCLUDE) {
            const struct uqff_arch_rule *found = find_rule(rule->list, rest, folder);
            if (found != NULL) {
                return found;
            }
        }
        if (rule->kind != RULE_EXPERT || strcmp(rule->leaf, rest + folder) != 0) {
            continue;
        }
        const char *pattern = strstr(rule->hf, "{}.");
        if (pattern != NULL && strncmp(pattern + 3, rest, folder) == 0 &&
            strncmp(pattern + 3 + folder, "{e}", 3) == 0) {
            return rule;
        }
    }
    return NULL;
}

size_t uqff_arch_expert_name(const struct uqff_arch *arch, const char *module, uint64_t expert,
                             char *out, size_t size) {
    const char *rest = behind_layer(module);
    const char *leaf = rest != NULL ? strrchr(rest, '.') : NULL;
    if (arch == NULL || leaf == NULL) {
        return 0;
    }
    size_t folder = (size_t)(leaf + 1 - rest);
    const struct uqff_arch_rule *rule = find_rule(arch->rules, rest, folder);
    if (rule == NULL) {
        return 0;
    }
    int length = snprintf(out, size, "%.*s%llu%s", (int)(leaf + 1 - module), module,
                          (unsigned long long)expert, strstr(rule->hf, "{e}") + 3);
    return length > 0 ? (size_t)length : 0;
}
