/* recipe: from options to uqff_recipe_options. */
#include "recipe.h"

#include <string.h>

#include "options.h"

enum { RULE_FILE_LIMIT = 16 << 20 };

static enum uqff_code parse_type(const char *option, const char *text,
                                 const struct uqff_type_info **out, struct uqff_error *err) {
    const struct uqff_type_info *type = uqff_type_by_name(text);
    if (type != NULL) {
        *out = type;
        return UQFF_OK;
    }
    const char *names[128];
    size_t count, known = 0;
    const struct uqff_type_info *table = uqff_type_table(&count);
    for (size_t i = 0; i < count && known < 128; i++) {
        if (table[i].flags & UQFF_TYPE_CAN_ENCODE) {
            names[known++] = table[i].name;
        }
    }
    const char *nearest = uqff_nearest(text, names, known);
    if (nearest != NULL) {
        return uqff_fail(err, UQFF_E_UNKNOWN, UQFF_NO_OFFSET,
                         "%s: unknown type '%.64s'; did you mean '%s'?", option, text, nearest);
    }
    return uqff_fail(err, UQFF_E_UNKNOWN, UQFF_NO_OFFSET, "%s: unknown type '%.64s'", option, text);
}

/* A pattern may hold '=', a type does not: the last one separates them. */
static enum uqff_code parse_rule(struct cli *cli, const char *option, const char *text,
                                 struct uqff_type_rule *out, struct uqff_error *err) {
    const char *equals = strrchr(text, '=');
    if (equals == NULL || equals == text) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "%s: found '%.200s', expected REGEX=TYPE", option, text);
    }
    out->pattern = uqff_arena_copy(&cli->arena, text, (size_t)(equals - text));
    if (out->pattern == NULL) {
        return uqff_fail_memory(err);
    }
    const struct uqff_type_info *type = NULL;
    enum uqff_code code = parse_type(option, equals + 1, &type, err);
    if (code == UQFF_OK) {
        out->type = type->id;
    }
    return code;
}

/* Appends the rules of a file to `rules`, as texts. */
static enum uqff_code read_rules(struct cli *cli, const char *path, struct list *rules,
                                 struct uqff_error *err) {
    static const char white[] = " \t\r\n\v\f";
    struct uqff_source *source = NULL;
    char *text = NULL;
    size_t size;
    enum uqff_code code = uqff_source_open(path, &source, err);
    if (code == UQFF_OK) {
        code = uqff_source_read_all(source, RULE_FILE_LIMIT, &text, &size, err);
    }
    if (code == UQFF_OK && (memchr(text, '\0', size) != NULL)) {
        code =
            uqff_fail(err, UQFF_E_ENCODING, UQFF_NO_OFFSET, "%s: holds a NUL, expected text", path);
    }
    const char *word = text;
    while (code == UQFF_OK && *(word += strspn(word, white)) != '\0') {
        const size_t length = strcspn(word, white);
        const char *copy = uqff_arena_copy(&cli->arena, word, length);
        code = copy == NULL ? uqff_fail_memory(err) : list_append(rules, &cli->arena, copy, err);
        word += length;
    }
    uqff_free(text);
    uqff_source_close(source);
    return code;
}

/* Rules of the command line first, then those of the file: the first that matches wins. */
static enum uqff_code apply_rules(struct cli *cli, const struct recipe_values *values,
                                  struct uqff_recipe_options *recipe, struct uqff_error *err) {
    struct list from_file = {0};
    if (values->tensor_type_file != NULL) {
        enum uqff_code code = read_rules(cli, values->tensor_type_file, &from_file, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    const size_t given = values->tensor_types.count, count = given + from_file.count;
    struct uqff_type_rule *rules = uqff_arena_array(&cli->arena, count, sizeof *rules);
    if (rules == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        const bool here = i < given;
        enum uqff_code code = parse_rule(
            cli, here ? "option '--tensor-type'" : values->tensor_type_file,
            here ? values->tensor_types.items[i] : from_file.items[i - given], &rules[i], err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    recipe->rules = rules;
    recipe->rule_count = count;
    return UQFF_OK;
}

enum uqff_code recipe_apply(struct cli *cli, const struct recipe_values *values,
                            struct uqff_pack_options *options, struct uqff_error *err) {
    if (values->imatrix == NULL &&
        (values->include_weights.count > 0 || values->exclude_weights.count > 0)) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "option '--%s' goes with --imatrix FILE",
                         values->include_weights.count > 0 ? "include-weights" : "exclude-weights");
    }
    options->imatrix = values->imatrix;
    options->include_weights = values->include_weights.items;
    options->include_count = values->include_weights.count;
    options->exclude_weights = values->exclude_weights.items;
    options->exclude_count = values->exclude_weights.count;
    options->recipe.pure = values->pure;
    options->recipe.no_fallback = values->no_fallback;
    enum uqff_code code = UQFF_OK;
    if (values->output_type != NULL) {
        code = parse_type("option '--output-type'", values->output_type,
                          &options->recipe.output_type, err);
    }
    if (code == UQFF_OK && values->embedding_type != NULL) {
        code = parse_type("option '--embedding-type'", values->embedding_type,
                          &options->recipe.embedding_type, err);
    }
    return code == UQFF_OK ? apply_rules(cli, values, &options->recipe, err) : code;
}

enum uqff_code recipe_check_quants(const struct list *quants, struct uqff_error *err) {
    for (size_t i = 0; i < quants->count; i++) {
        struct uqff_quant quant;
        enum uqff_code code = uqff_quant_parse(quants->items[i], &quant, err);
        if (code == UQFF_E_UNKNOWN && strchr(err->text, ';') == NULL) {
            /* Nothing was like it, so that nothing was proposed. */
            static const char hint[] = "; \"uqff help uqff\" lists them";
            strncat(err->text, hint, sizeof err->text - strlen(err->text) - 1);
        }
        if (code != UQFF_OK) {
            return uqff_code_family(code) == UQFF_FAMILY_INPUT ? UQFF_E_UNKNOWN : code;
        }
    }
    return UQFF_OK;
}

enum uqff_code recipe_metadata(struct cli *cli, const struct list *texts,
                               const struct uqff_metadata_pair **out, size_t *count,
                               struct uqff_error *err) {
    struct uqff_metadata_pair *pairs = uqff_arena_array(&cli->arena, texts->count, sizeof *pairs);
    if (pairs == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < texts->count; i++) {
        const char *equals = strchr(texts->items[i], '=');
        if (equals == NULL || equals == texts->items[i]) {
            return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                             "option '--set': found '%.200s', expected KEY=VALUE", texts->items[i]);
        }
        pairs[i].key =
            uqff_arena_copy(&cli->arena, texts->items[i], (size_t)(equals - texts->items[i]));
        pairs[i].value = equals + 1;
        if (pairs[i].key == NULL) {
            return uqff_fail_memory(err);
        }
    }
    *out = pairs;
    *count = texts->count;
    return UQFF_OK;
}
