/* uqff completion: scripts for bash, zsh and fish, from the tables of options. */
#include "cmd.h"

#include <stdio.h>
#include <string.h>

#include "manual.h"
#include "options.h"

#include "uqff/pack.h"

static const char *const shells[] = {"bash", "zsh", "fish", NULL};

static const struct positional positionals[] = {
    {"SHELL", false, false, COMPLETE_NONE, "bash, zsh or fish"},
    {0},
};

static const struct option options[] = {{0}};

static const char *const description[] = {
    "Prints a script that completes commands, options and their values in a shell. Packages "
    "install "
    "the scripts where the shells look for them.",
    NULL,
};

static const struct example examples[] = {
    {"uqff completion bash > ~/.local/share/bash-completion/completions/uqff", "For bash:"},
    {"uqff completion zsh > ~/.zfunc/_uqff", "For zsh, with ~/.zfunc in fpath:"},
    {"uqff completion fish > ~/.config/fish/completions/uqff.fish", "For fish:"},
    {0},
};

/* Calls `emit` for each option that a command takes, common ones included, under its letter. */
static void each_option(struct uqff_buffer *out, const struct command *command,
                        void (*emit)(struct uqff_buffer *, const struct command *,
                                     const struct option *, char letter)) {
    for (const struct option *o = command->options; o->name != NULL; o++) {
        if (o->help != NULL) {
            emit(out, command, o, o->letter);
        }
    }
    for (const struct option *o = common_options; o->name != NULL; o++) {
        emit(out, command, o, common_letter(command, o));
    }
}

static void put_quants(struct uqff_buffer *out) {
    size_t count;
    const char *const *names = uqff_quant_names(&count);
    for (size_t i = 0; i < count; i++) {
        /* A colon separates words in bash: names with one are left to the typist. */
        if (strchr(names[i], ':') == NULL) {
            uqff_buffer_printf(out, "%s%s", i == 0 ? "" : " ", names[i]);
        }
    }
}

static void put_commands(struct uqff_buffer *out) {
    for (const struct command *const *c = commands; *c != NULL; c++) {
        uqff_buffer_printf(out, "%s%s", c == commands ? "" : " ", (*c)->name);
    }
}

/* The words that a value can be, separated by spaces; nothing for files and free text. */
static void put_values(struct uqff_buffer *out, const struct option *option) {
    if (option->complete == COMPLETE_QUANT) {
        put_quants(out);
    } else if (option->kind == OPTION_CHOICE) {
        const char *position = option->argument, *choice;
        size_t length;
        const char *space = "";
        while (option_next_choice(&position, &choice, &length)) {
            uqff_buffer_printf(out, "%s%.*s", space, (int)length, choice);
            space = " ";
        }
    }
}

/* ---- bash ------------------------------------------------------------------------------------ */

static void bash_word(struct uqff_buffer *out, const struct command *command,
                      const struct option *option, char letter) {
    (void)command;
    uqff_buffer_printf(out, " --%s", option->name);
    if (letter != 0) {
        uqff_buffer_printf(out, " -%c", letter);
    }
}

static void bash_value(struct uqff_buffer *out, const struct command *command,
                       const struct option *option, char letter) {
    if (option->kind == OPTION_FLAG) {
        return;
    }
    uqff_buffer_printf(out, "        %s:--%s", command->name, option->name);
    if (letter != 0) {
        uqff_buffer_printf(out, "|%s:-%c", command->name, letter);
    }
    if (complete_files(option->complete)) {
        uqff_buffer_printf(out, ") COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n");
        return;
    }
    uqff_buffer_printf(out, ") values=\"");
    put_values(out, option);
    uqff_buffer_printf(out, "\" ;;\n");
}

static void bash_script(struct uqff_buffer *out) {
    uqff_buffer_printf(
        out, "# bash completion for uqff\n"
             "_uqff() {\n"
             "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
             "    local command='' options='' values='-' i\n"
             "    COMPREPLY=()\n"
             "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
             "        case ${COMP_WORDS[i]} in\n"
             "        -*) ;;\n"
             "        *) command=${COMP_WORDS[i]}; break ;;\n"
             "        esac\n"
             "    done\n"
             "    case $command in\n");
    uqff_buffer_printf(out, "        '') COMPREPLY=($(compgen -W '");
    put_commands(out);
    for (const struct option *o = common_options; o->name != NULL; o++) {
        bash_word(out, NULL, o, o->letter);
    }
    uqff_buffer_printf(out, "' -- \"$word\")); return ;;\n");
    for (const struct command *const *c = commands; *c != NULL; c++) {
        uqff_buffer_printf(out, "        %s) options='", (*c)->name);
        each_option(out, *c, bash_word);
        uqff_buffer_printf(out, "' ;;\n");
    }
    uqff_buffer_printf(out, "    esac\n"
                            "    case $command:$before in\n");
    for (const struct command *const *c = commands; *c != NULL; c++) {
        each_option(out, *c, bash_value);
    }
    uqff_buffer_printf(
        out, "    esac\n"
             "    if [[ $values != - ]]; then\n"
             "        # A list: what stands before the last comma stays.\n"
             "        local head=''\n"
             "        [[ $word == *,* ]] && head=${word%%,*},\n"
             "        COMPREPLY=($(compgen -P \"$head\" -W \"$values\" -- \"${word##*,}\"))\n"
             "        return\n"
             "    fi\n"
             "    if [[ $word == -* ]]; then\n"
             "        COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n"
             "        return\n"
             "    fi\n"
             "    case $command in\n"
             "        completion) COMPREPLY=($(compgen -W 'bash zsh fish' -- \"$word\")) ;;\n"
             "        help) COMPREPLY=($(compgen -W 'uqff ");
    put_commands(out);
    uqff_buffer_printf(out, "' -- \"$word\")) ;;\n"
                            "        *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n"
                            "    esac\n"
                            "}\n"
                            "complete -o filenames -F _uqff uqff\n");
}

/* ---- zsh ------------------------------------------------------------------------------------- */

/* Text within '…[…]' of an _arguments specification. */
static void zsh_text(struct uqff_buffer *out, const char *text) {
    for (; *text != '\0'; text++) {
        if (*text == '\'') {
            uqff_buffer_printf(out, "'\\''");
            continue;
        }
        if (*text == '[' || *text == ']' || *text == ':' || *text == '\\') {
            uqff_buffer_append(out, "\\", 1);
        }
        uqff_buffer_append(out, text, 1);
    }
}

static void zsh_spelling(struct uqff_buffer *out, const struct option *option, const char *dashes,
                         const char *name) {
    uqff_buffer_printf(out, "            '*%s%s%s[", dashes, name,
                       option->kind == OPTION_FLAG ? ""
                       : dashes[1] == '-'          ? "="
                                                   : "+");
    zsh_text(out, option->help);
    uqff_buffer_append(out, "]", 1);
    if (option->kind != OPTION_FLAG) {
        uqff_buffer_append(out, ":", 1);
        zsh_text(out, option->argument);
        uqff_buffer_append(out, ":", 1);
        if (complete_files(option->complete)) {
            uqff_buffer_printf(out, "_files");
        } else if (option->complete == COMPLETE_QUANT) {
            uqff_buffer_printf(out, "_sequence -s , compadd - ");
            put_values(out, option);
        } else if (option->kind == OPTION_CHOICE) {
            uqff_buffer_append(out, "(", 1);
            put_values(out, option);
            uqff_buffer_append(out, ")", 1);
        }
    }
    uqff_buffer_printf(out, "' \\\n");
}

static void zsh_option(struct uqff_buffer *out, const struct command *command,
                       const struct option *option, char letter) {
    (void)command;
    zsh_spelling(out, option, "--", option->name);
    if (letter != 0) {
        const char name[2] = {letter, '\0'};
        zsh_spelling(out, option, "-", name);
    }
}

static const char *zsh_positional(const struct command *command) {
    if (command == &command_completion) {
        return "'1:shell:(bash zsh fish)'";
    }
    if (command == &command_help) {
        return "'1:command:_uqff_commands'";
    }
    return "'*:file:_files'";
}

static void zsh_script(struct uqff_buffer *out) {
    uqff_buffer_printf(out, "#compdef uqff\n"
                            "_uqff_commands() {\n"
                            "    local -a names=(\n");
    for (const struct command *const *c = commands; *c != NULL; c++) {
        uqff_buffer_printf(out, "        '%s:", (*c)->name);
        zsh_text(out, (*c)->summary);
        uqff_buffer_printf(out, "'\n");
    }
    uqff_buffer_printf(out, "    )\n"
                            "    _describe -t commands 'uqff command' names\n"
                            "}\n"
                            "_uqff() {\n"
                            "    local curcontext=$curcontext state line\n"
                            "    if ((CURRENT == 2)); then\n"
                            "        _arguments \\\n");
    for (const struct option *o = common_options; o->name != NULL; o++) {
        zsh_option(out, NULL, o, o->letter);
    }
    uqff_buffer_printf(out, "            '1:command:_uqff_commands'\n"
                            "        return\n"
                            "    fi\n"
                            "    local command=$words[2]\n"
                            "    shift words\n"
                            "    ((CURRENT--))\n"
                            "    case $command in\n");
    for (const struct command *const *c = commands; *c != NULL; c++) {
        uqff_buffer_printf(out, "    %s)\n        _arguments \\\n", (*c)->name);
        each_option(out, *c, zsh_option);
        uqff_buffer_printf(out, "            %s\n        ;;\n", zsh_positional(*c));
    }
    uqff_buffer_printf(out, "    esac\n"
                            "}\n"
                            "if [ \"$funcstack[1]\" = \"_uqff\" ]; then\n"
                            "    _uqff \"$@\"\n"
                            "else\n"
                            "    compdef _uqff uqff\n"
                            "fi\n");
}

/* ---- fish ------------------------------------------------------------------------------------ */

/* Text within single quotes. */
static void fish_text(struct uqff_buffer *out, const char *text) {
    for (; *text != '\0'; text++) {
        if (*text == '\'' || *text == '\\') {
            uqff_buffer_append(out, "\\", 1);
        }
        uqff_buffer_append(out, text, 1);
    }
}

static void fish_option(struct uqff_buffer *out, const struct command *command,
                        const struct option *option, char letter) {
    uqff_buffer_printf(out, "complete -c uqff -n '%s %s' -l %s",
                       command == NULL ? "__fish_use_subcommand" : "__fish_seen_subcommand_from",
                       command == NULL ? "" : command->name, option->name);
    if (letter != 0) {
        uqff_buffer_printf(out, " -s %c", letter);
    }
    if (complete_files(option->complete)) {
        uqff_buffer_printf(out, " -r -F");
    } else if (option->kind != OPTION_FLAG) {
        /* __fish_append goes on behind a comma. */
        const bool list = option->kind == OPTION_COMMAS && option->complete == COMPLETE_QUANT;
        uqff_buffer_printf(out, " -x -a '%s", list ? "(__fish_append , " : "");
        put_values(out, option);
        uqff_buffer_printf(out, "%s'", list ? ")" : "");
    }
    uqff_buffer_printf(out, " -d '");
    fish_text(out, option->help);
    uqff_buffer_printf(out, "'\n");
}

static void fish_script(struct uqff_buffer *out) {
    uqff_buffer_printf(out, "# fish completion for uqff\n");
    for (const struct command *const *c = commands; *c != NULL; c++) {
        uqff_buffer_printf(out, "complete -c uqff -n __fish_use_subcommand -f -a %s -d '",
                           (*c)->name);
        fish_text(out, (*c)->summary);
        uqff_buffer_printf(out, "'\n");
    }
    for (const struct option *o = common_options; o->name != NULL; o++) {
        fish_option(out, NULL, o, o->letter);
    }
    for (const struct command *const *c = commands; *c != NULL; c++) {
        each_option(out, *c, fish_option);
    }
    uqff_buffer_printf(out,
                       "complete -c uqff -n '__fish_seen_subcommand_from completion' -f -a 'bash "
                       "zsh fish'\n"
                       "complete -c uqff -n '__fish_seen_subcommand_from help' -f -a 'uqff ");
    put_commands(out);
    uqff_buffer_printf(out, "'\n");
}

static enum uqff_code run(struct cli *cli, const void *values, struct uqff_error *err) {
    static void (*const scripts[])(struct uqff_buffer *) = {bash_script, zsh_script, fish_script};
    (void)values;
    const char *shell = cli->arguments.items[0];
    for (size_t i = 0; shells[i] != NULL; i++) {
        if (strcmp(shell, shells[i]) != 0) {
            continue;
        }
        struct uqff_buffer text = {0};
        scripts[i](&text);
        enum uqff_code code = text.failed ? uqff_fail_memory(err) : UQFF_OK;
        if (code == UQFF_OK) {
            fwrite(text.data, 1, text.size, stdout);
        }
        uqff_buffer_free(&text);
        return code;
    }
    return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                     "unknown shell '%.64s', expected bash, zsh or fish", shell);
}

const struct command command_completion = {
    .name = "completion",
    .summary = "Print a completion script for a shell",
    .positionals = positionals,
    .options = options,
    .description = description,
    .examples = examples,
    .run = run,
};
