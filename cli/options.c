/* options: parses a command line by tables. */
#include "options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manual.h"

enum uqff_code list_append(struct list *list, struct uqff_arena *arena, const char *item,
                           struct uqff_error *err) {
    /* Room is made whenever the count reaches a power of two. */
    if ((list->count & (list->count - 1)) == 0) {
        size_t capacity = list->count == 0 ? 1 : list->count * 2;
        const char **items = uqff_arena_array(arena, capacity, sizeof *items);
        if (items == NULL) {
            return uqff_fail_memory(err);
        }
        if (list->count > 0) {
            memcpy(items, list->items, list->count * sizeof *items);
        }
        list->items = items;
    }
    list->items[list->count++] = item;
    return UQFF_OK;
}

bool option_next_choice(const char **position, const char **choice, size_t *length) {
    if (**position == '\0') {
        return false;
    }
    *choice = *position;
    *length = strcspn(*position, "|");
    *position += *length;
    if (**position == '|') {
        ++*position;
    }
    return true;
}

struct parser {
    const struct option_set *sets;
    size_t set_count;
    struct uqff_arena *arena;
    struct uqff_error *err;
};

static enum uqff_code append_commas(const struct parser *parser, struct list *list,
                                    const char *value, const char *shown) {
    while (true) {
        size_t length = strcspn(value, ",");
        if (length == 0) {
            return uqff_fail(parser->err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                             "option '%s': an item of the list is empty", shown);
        }
        const char *item = uqff_arena_copy(parser->arena, value, length);
        if (item == NULL) {
            return uqff_fail_memory(parser->err);
        }
        enum uqff_code code = list_append(list, parser->arena, item, parser->err);
        if (code != UQFF_OK || value[length] == '\0') {
            return code;
        }
        value += length + 1;
    }
}

static enum uqff_code parse_choice(const struct parser *parser, const struct option *option,
                                   const char *value, const char *shown, unsigned *out) {
    const char *position = option->argument, *choice;
    size_t length;
    for (unsigned i = 1; option_next_choice(&position, &choice, &length); i++) {
        if (strlen(value) == length && memcmp(value, choice, length) == 0) {
            *out = i;
            return UQFF_OK;
        }
    }
    return uqff_fail(parser->err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                     "option '%s': found '%.64s', expected %s", shown, value, option->argument);
}

static enum uqff_code parse_count(const struct parser *parser, const char *value, const char *shown,
                                  uint64_t *out) {
    char *end;
    errno = 0;
    unsigned long long number = strtoull(value, &end, 10);
    if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0 || number == 0) {
        return uqff_fail(parser->err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "option '%s': found '%.64s', expected a whole number from 1", shown,
                         value);
    }
    *out = number;
    return UQFF_OK;
}

static enum uqff_code parse_real(const struct parser *parser, const char *value, const char *shown,
                                 double *out) {
    char *end;
    double number = strtod(value, &end);
    if (value[0] == '\0' || *end != '\0' || !isfinite(number) || number < 0) {
        return uqff_fail(parser->err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "option '%s': found '%.64s', expected a number, not negative", shown,
                         value);
    }
    *out = number;
    return UQFF_OK;
}

/* Stores one occurrence of an option. `value` is NULL for a flag. */
static enum uqff_code store(const struct parser *parser, const struct option *option, void *values,
                            const char *value, const char *shown) {
    void *target = (char *)values + option->offset;
    switch (option->kind) {
    case OPTION_FLAG:
        *(bool *)target = true;
        return UQFF_OK;
    case OPTION_TEXT:
        *(const char **)target = value;
        return UQFF_OK;
    case OPTION_LIST:
        return list_append(target, parser->arena, value, parser->err);
    case OPTION_COMMAS:
        return append_commas(parser, target, value, shown);
    case OPTION_COUNT:
        return parse_count(parser, value, shown, target);
    case OPTION_SIZE: {
        enum uqff_code code = uqff_parse_bytes(value, target, parser->err);
        if (code == UQFF_OK && *(uint64_t *)target == 0) {
            /* Nothing could be of that size, and 0 is what an option that is not given has. */
            code = uqff_fail(parser->err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                             "found '%.64s', expected a size of at least one byte", value);
        }
        if (code != UQFF_OK) {
            uqff_error_prefix(parser->err, "option '%s'", shown);
        }
        return code;
    }
    case OPTION_REAL:
        return parse_real(parser, value, shown, target);
    case OPTION_CHOICE:
        return parse_choice(parser, option, value, shown, target);
    }
    return UQFF_E_INTERNAL;
}

static enum uqff_code unknown_long(const struct parser *parser, const char *name, size_t length) {
    const char *names[64];
    size_t count = 0;
    for (size_t s = 0; s < parser->set_count; s++) {
        for (const struct option *o = parser->sets[s].options; o->name != NULL; o++) {
            if (o->help != NULL && count < sizeof names / sizeof names[0]) {
                names[count++] = o->name;
            }
        }
    }
    const char *word = uqff_arena_copy(parser->arena, name, length);
    const char *nearest = word == NULL ? NULL : uqff_nearest(word, names, count);
    if (nearest != NULL) {
        return uqff_fail(parser->err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "unknown option '--%.*s'; did you mean '--%s'?", (int)length, name,
                         nearest);
    }
    return uqff_fail(parser->err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET, "unknown option '--%.*s'",
                     (int)length, name);
}

/* "--name", "--name=value" or "--name" "value". *next is moved past a value that is taken. */
static enum uqff_code parse_long(const struct parser *parser, const char *word, int argc,
                                 char **argv, int *next) {
    size_t length = strcspn(word, "=");
    const char *value = word[length] == '=' ? word + length + 1 : NULL;
    const struct option *option = NULL;
    void *values = NULL;
    for (size_t s = 0; s < parser->set_count && option == NULL; s++) {
        for (const struct option *o = parser->sets[s].options; o->name != NULL; o++) {
            if (strlen(o->name) == length && memcmp(o->name, word, length) == 0) {
                option = o;
                values = parser->sets[s].values;
                break;
            }
        }
    }
    if (option == NULL) {
        return unknown_long(parser, word, length);
    }
    char shown[80] = "--";
    strncat(shown, option->name, sizeof shown - 3);
    if (option->kind == OPTION_FLAG) {
        if (value != NULL) {
            return uqff_fail(parser->err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                             "option '%s' takes no value", shown);
        }
    } else if (value == NULL) {
        if (*next >= argc) {
            return uqff_fail(parser->err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                             "option '%s' needs a value: %s", shown, option->argument);
        }
        value = argv[(*next)++];
    }
    return store(parser, option, values, value, shown);
}

/* "-x", "-xyz", "-ovalue" or "-o" "value". */
static enum uqff_code parse_letters(const struct parser *parser, const char *word, int argc,
                                    char **argv, int *next) {
    for (; *word != '\0'; word++) {
        const struct option *option = NULL;
        void *values = NULL;
        for (size_t s = 0; s < parser->set_count && option == NULL; s++) {
            for (const struct option *o = parser->sets[s].options; o->name != NULL; o++) {
                if (o->letter == *word) {
                    option = o;
                    values = parser->sets[s].values;
                    break;
                }
            }
        }
        if (option == NULL) {
            return uqff_fail(parser->err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET, "unknown option '-%c'",
                             *word);
        }
        const char shown[3] = {'-', *word, '\0'}, *value = NULL;
        if (option->kind != OPTION_FLAG) {
            if (word[1] != '\0') {
                value = word + 1;
            } else if (*next < argc) {
                value = argv[(*next)++];
            } else {
                return uqff_fail(parser->err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                                 "option '%s' needs a value: %s", shown, option->argument);
            }
        }
        enum uqff_code code = store(parser, option, values, value, shown);
        if (code != UQFF_OK || value != NULL) {
            return code;
        }
    }
    return UQFF_OK;
}

enum uqff_code options_parse(const struct option_set *sets, size_t set_count, int argc, char **argv,
                             struct uqff_arena *arena, struct list *positionals, int *stop,
                             struct uqff_error *err) {
    const struct parser parser = {sets, set_count, arena, err};
    bool options_ended = false;
    int i = 0;
    while (i < argc) {
        const char *word = argv[i++];
        enum uqff_code code;
        if (options_ended || word[0] != '-' || word[1] == '\0') {
            if (stop != NULL) {
                *stop = i - 1;
                return UQFF_OK;
            }
            code = list_append(positionals, arena, word, err);
        } else if (strcmp(word, "--") == 0) {
            options_ended = true;
            code = UQFF_OK;
        } else if (word[1] == '-') {
            code = parse_long(&parser, word + 2, argc, argv, &i);
        } else {
            code = parse_letters(&parser, word + 1, argc, argv, &i);
        }
        if (code != UQFF_OK) {
            return code;
        }
    }
    if (stop != NULL) {
        *stop = argc;
    }
    return UQFF_OK;
}

/* A reference to something in the network, unless it happens to be a path. */
static enum uqff_code check_reference(struct cli *cli, const char *text, struct uqff_error *err) {
    static const char *const schemes[] = {"hf://", "https://", "http://"};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        if (strncmp(text, schemes[i], strlen(schemes[i])) == 0 && !uqff_path_exists(text)) {
            cli->file = text;
            return uqff_fail(err, UQFF_E_NETWORK, UQFF_NO_OFFSET,
                             "%s: this version does not support references that begin with %s; "
                             "download the files and name them",
                             text, schemes[i]);
        }
    }
    return UQFF_OK;
}

/* Outputs are written at many places and read back before they get their names, which a stream does
 * not let one do; a file called "-" would be a surprise. */
static enum uqff_code check_output(const char *text, const char *shown, struct uqff_error *err) {
    return strcmp(text, "-") != 0
               ? UQFF_OK
               : uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                           "%s: '-' stands for standard output, which will not do here; call a "
                           "file of that name './-'",
                           shown);
}

static enum uqff_code check_file(struct cli *cli, enum complete complete, const char *text,
                                 const char *shown, struct uqff_error *err) {
    enum uqff_code code = complete_files(complete) ? check_reference(cli, text, err) : UQFF_OK;
    return code == UQFF_OK && complete == COMPLETE_OUTPUT ? check_output(text, shown, err) : code;
}

enum uqff_code options_check_references(struct cli *cli, const void *values,
                                        struct uqff_error *err) {
    const struct positional *p = cli->command->positionals;
    for (size_t i = 0; i < cli->arguments.count && p->name != NULL; i++) {
        char shown[80];
        snprintf(shown, sizeof shown, "%s: %s", cli->command->name, p->name);
        enum uqff_code code = check_file(cli, p->complete, cli->arguments.items[i], shown, err);
        if (code != UQFF_OK) {
            return code;
        }
        p += !p->many;
    }
    for (const struct option *o = cli->command->options; o->name != NULL; o++) {
        if (o->kind != OPTION_TEXT) {
            continue;
        }
        char shown[80];
        const char *value = *(const char *const *)((const char *)values + o->offset);
        snprintf(shown, sizeof shown, "option '--%s'", o->name);
        enum uqff_code code =
            value == NULL ? UQFF_OK : check_file(cli, o->complete, value, shown, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    return UQFF_OK;
}

enum uqff_code options_check_positionals(const struct command *command, size_t count,
                                         const struct list *arguments, struct uqff_error *err) {
    size_t wanted = 0;
    bool many = false;
    for (const struct positional *p = command->positionals; p->name != NULL; p++) {
        if (!p->optional && wanted >= count) {
            char usage[256];
            return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET, "%s: %s is missing; usage: %s",
                             command->name, p->name, manual_usage(usage, sizeof usage, command));
        }
        wanted++;
        many = many || p->many;
    }
    if (count > wanted && !many) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "%s: '%.200s' is one argument too many", command->name,
                         arguments->items[wanted]);
    }
    return UQFF_OK;
}
