/* What a command is: a row of data and one function. The table of options feeds the parser, --help,
 * the man page and the completions, so that none of them can forget one. */
#ifndef UQFF_CLI_COMMAND_H
#define UQFF_CLI_COMMAND_H

#include "uqff/base.h"

struct cJSON;

/* A list of strings; the items live in the arena of the program. */
struct list {
    const char **items;
    size_t count;
};

enum option_kind {
    OPTION_FLAG,   /* bool */
    OPTION_TEXT,   /* const char *, NULL when not given */
    OPTION_LIST,   /* struct list: one item each time it is given */
    OPTION_COMMAS, /* struct list: as above, and commas separate items */
    OPTION_COUNT,  /* uint64_t: a whole number from 1; 0 when not given */
    OPTION_SIZE,   /* uint64_t: bytes from 1, "256M"; 0 when not given */
    OPTION_REAL,   /* double: finite, not negative; 0 when not given */
    OPTION_CHOICE, /* unsigned: place in `argument`, which reads "a|b|c", from 1; 0: not given */
};

/* What a shell offers for a value. */
enum complete {
    COMPLETE_NONE,
    COMPLETE_FILE,
    COMPLETE_OUTPUT, /* a file too, which is written; "-" is refused */
    COMPLETE_QUANT,
    COMPLETE_COMMAND,
};

struct option {
    const char *name;     /* long form without dashes; NULL ends a table */
    char letter;          /* short form, or 0 */
    const char *argument; /* "FILE"; NULL for a flag */
    enum option_kind kind;
    size_t offset; /* of the value in the command's struct of values */
    enum complete complete;
    const char *fallback; /* the default, as help shows it; NULL when that goes without saying */
    const char *help;     /* NULL hides the option from all listings */
};

/* Rows that several commands have; `offset` as above. */
#define NO_TOKENIZER_OPTION(offset)                                                                \
    {                                                                                              \
        "no-tokenizer", 0, NULL, OPTION_FLAG, offset, COMPLETE_NONE, NULL,                         \
            "leave the tokenizer out of a GGUF"                                                    \
    }
#define MAX_SHARD_OPTION(offset)                                                                   \
    {                                                                                              \
        "max-shard", 0, "SIZE", OPTION_SIZE, offset, COMPLETE_NONE, "none",                        \
            "largest file; what is larger is cut into shards"                                      \
    }
#define MEMORY_OPTION(offset)                                                                      \
    {                                                                                              \
        "memory", 0, "SIZE", OPTION_SIZE, offset, COMPLETE_NONE, "256M",                           \
            "memory for weights in work"                                                           \
    }

/* True when a shell offers names of files. */
static inline bool complete_files(enum complete complete) {
    return complete == COMPLETE_FILE || complete == COMPLETE_OUTPUT;
}

struct positional {
    const char *name; /* NULL ends a table */
    bool optional, many;
    enum complete complete;
    const char *help;
};

struct example {
    const char *command; /* a real one; NULL ends a table */
    const char *text;
};

struct cli;

struct command {
    const char *name;
    const char *summary; /* one line, no full stop */
    const char *needs;   /* options without which it does nothing, as in "-q QUANT"; or NULL */
    const struct positional *positionals;
    const struct option *options;
    size_t values_size; /* of the struct that `offset` of the options points into */
    /* Paragraphs, NULL-terminated. One that begins with two spaces is printed as it stands. */
    const char *const *description;
    const char *const *json; /* what --json prints, in the same form; NULL: it prints none */
    const struct example *examples;
    enum uqff_code (*run)(struct cli *cli, const void *values, struct uqff_error *err);
};

extern const struct command *const commands[]; /* NULL-terminated, in the order of help */
extern const struct option common_options[];   /* their values lie in struct cli */

/* NULL when there is no such command. */
const struct command *command_find(const char *name);

enum color_choice { COLOR_UNSET, COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };

/* What the program knows while it runs one command. */
struct cli {
    struct uqff_arena arena; /* freed when the program ends */
    const struct command *command;
    struct list arguments; /* positional ones */

    bool help, version; /* common options, as given */
    bool quiet, verbose, json, no_progress, force;
    uint64_t threads; /* 0: all that this process may use */
    unsigned color;   /* enum color_choice */

    bool color_out, color_err; /* decided from the above and the environment */
    bool bar;                  /* progress as a bar that is drawn again and again */
    unsigned columns;          /* of the terminal, or 80 */

    const char *file;     /* the input that an error is about, for --json */
    enum uqff_code told;  /* an error that was printed while the command went on */
    bool answer_no;       /* the command ran, and its answer is no: exit code 1 */
    struct list warnings; /* under --json: they go into the document */
};

#endif
