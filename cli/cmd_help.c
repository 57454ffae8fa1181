/* uqff help: the manual, as text and as man pages. */
#include "cmd.h"

#include <stdio.h>
#include <string.h>

#include "manual.h"
#include "output.h"

struct values {
    bool man, list;
};

static const struct option options[] = {
    {"man", 0, NULL, OPTION_FLAG, offsetof(struct values, man), COMPLETE_NONE, NULL, NULL},
    {"list", 0, NULL, OPTION_FLAG, offsetof(struct values, list), COMPLETE_NONE, NULL, NULL},
    {0},
};

static const struct positional positionals[] = {
    {"COMMAND", true, false, COMPLETE_COMMAND, "a command; \"uqff\" for the program's own page"},
    {0},
};

static const char *const description[] = {
    "Prints all there is to know about a command: the text of its man page. Without COMMAND, it "
    "lists "
    "the commands.",
    NULL,
};

static const struct example examples[] = {
    {"uqff help pack", "How to make quantizations:"},
    {"uqff help uqff", "What a model and a quant are, exit codes, environment:"},
    {0},
};

/* One line an option, as the tables have it: what tests compare every listing with. */
static void list_options(struct uqff_buffer *out, const struct command *command,
                         const struct option *set) {
    for (const struct option *o = set; o->name != NULL; o++) {
        if (o->help != NULL) {
            char head[128];
            uqff_buffer_printf(
                out, "%s\n", manual_option_head(head, sizeof head, command, o) + strspn(head, " "));
        }
    }
}

static enum uqff_code run(struct cli *cli, const void *arguments, struct uqff_error *err) {
    const struct values *values = arguments;
    const struct command *command = NULL;
    const char *name = cli->arguments.count > 0 ? cli->arguments.items[0] : NULL;
    if (name != NULL && strcmp(name, "uqff") != 0) {
        command = command_find(name);
        if (command == NULL) {
            return command_unknown(name, err);
        }
    }
    struct uqff_buffer text = {0};
    if (values->list) {
        if (command != NULL) {
            list_options(&text, command, command->options);
            list_options(&text, command, common_options);
        } else {
            for (const struct command *const *c = commands; *c != NULL; c++) {
                uqff_buffer_printf(&text, "%s\n", (*c)->name);
            }
        }
    } else {
        struct renderer r = values->man ? renderer_roff(&text) : renderer_text(&text, cli->columns);
        if (name == NULL && !values->man) {
            manual_short(&r, NULL);
        } else {
            manual_full(&r, command);
        }
    }
    enum uqff_code code = text.failed ? uqff_fail_memory(err) : UQFF_OK;
    if (code == UQFF_OK) {
        fwrite(text.data, 1, text.size, stdout);
    }
    uqff_buffer_free(&text);
    return code;
}

const struct command command_help = {
    .name = "help",
    .summary = "Tell about a command",
    .positionals = positionals,
    .options = options,
    .values_size = sizeof(struct values),
    .description = description,
    .examples = examples,
    .run = run,
};
