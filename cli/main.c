/* uqff: the program. Finds the command, parses its options, runs it, and turns what comes of it
 * into an exit code. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "manual.h"
#include "options.h"
#include "output.h"
#include "progress.h"
#include "version.h"

#include "uqff/quant.h"

/* More threads than this is a slip of the finger, and would end in the threading library. */
enum { MOST_THREADS = 1024 };

/* ---- standard streams ------------------------------------------------------------------------ */

/* The first file that is opened would take the place of a stream that was closed by who started the
 * program: a model would be read as what was typed, or a warning written into an output. What takes
 * the place here fails as the closed one would: input can only be written, outputs only be read. */
static bool hold_streams(void) {
    for (int stream = 0; stream <= STDERR_FILENO; stream++) {
        if (fcntl(stream, F_GETFD) == -1 &&
            open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY) != stream) {
            return false;
        }
    }
    return true;
}

/* ---- signals --------------------------------------------------------------------------------- */

/* Removes what is half written, then dies by the same signal, so that a caller sees the truth. */
static void on_signal(int number) {
    uqff_sink_remove_all_temporary();
    if (number == SIGINT || number == SIGTERM) {
        progress_interrupted();
    }
    signal(number, SIG_DFL);
    raise(number);
}

static void setup_signals(void) {
    static const int numbers[] = {SIGHUP, SIGINT, SIGTERM, SIGPIPE};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct sigaction action, old;
        memset(&action, 0, sizeof action);
        sigemptyset(&action.sa_mask);
        action.sa_handler = on_signal;
        action.sa_flags = (int)SA_RESETHAND;
        /* What nohup and shells ignore stays ignored; a reader that has gone always ends the
         * program. */
        if (numbers[i] != SIGPIPE && sigaction(numbers[i], NULL, &old) == 0 &&
            old.sa_handler == SIG_IGN) {
            continue;
        }
        sigaction(numbers[i], &action, NULL);
    }
}

/* ---- the environment ------------------------------------------------------------------------- */

static enum uqff_code setup_kernels(struct uqff_error *err) {
    const char *name = getenv("UQFF_CPU");
    if (name == NULL || name[0] == '\0') {
        return UQFF_OK;
    }
    static const enum uqff_cpu_level levels[] = {UQFF_CPU_REF, UQFF_CPU_AVX2, UQFF_CPU_NEON,
                                                 UQFF_CPU_AVX512};
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (strcmp(name, uqff_cpu_level_name(levels[i])) == 0) {
            enum uqff_code code = uqff_cpu_set_level(levels[i], err);
            if (code != UQFF_OK) {
                uqff_error_prefix(err, "UQFF_CPU");
            }
            return code;
        }
    }
    return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                     "UQFF_CPU: found '%.32s', expected ref, avx2, neon or avx512", name);
}

/* ---- dispatch -------------------------------------------------------------------------------- */

static enum uqff_code print_short_help(const struct cli *cli, struct uqff_error *err) {
    struct uqff_buffer text = {0};
    struct renderer r = renderer_text(&text, cli->columns);
    manual_short(&r, cli->command);
    enum uqff_code code = text.failed ? uqff_fail_memory(err) : UQFF_OK;
    if (code == UQFF_OK) {
        fwrite(text.data, 1, text.size, stdout);
    }
    uqff_buffer_free(&text);
    return code;
}

/* True when --json stands among the arguments: errors in the others are then told as JSON too. */
static bool wants_json(int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            return true;
        }
    }
    return false;
}

static enum uqff_code run_command(struct cli *cli, int argc, char **argv, struct uqff_error *err) {
    void *values = uqff_arena_alloc(&cli->arena, cli->command->values_size);
    if (values == NULL) {
        return uqff_fail_memory(err);
    }
    const struct option_set sets[] = {{cli->command->options, values}, {common_options, cli}};
    enum uqff_code code =
        options_parse(sets, 2, argc, argv, &cli->arena, &cli->arguments, NULL, err);
    if (code != UQFF_OK) {
        return code;
    }
    output_setup(cli);
    if (cli->help) {
        return print_short_help(cli, err);
    }
    if (cli->version) {
        return version_print(cli, err);
    }
    code = options_check_positionals(cli->command, cli->arguments.count, &cli->arguments, err);
    if (code == UQFF_OK && cli->threads > MOST_THREADS) {
        code = uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "option '--threads': found %llu, expected at most %d",
                         (unsigned long long)cli->threads, MOST_THREADS);
    }
    if (code == UQFF_OK && cli->json && cli->command->json == NULL) {
        code = uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET, "option '--json': %s prints no JSON",
                         cli->command->name);
    }
    if (code == UQFF_OK) {
        code = options_check_references(cli, values, err);
    }
    if (code == UQFF_OK) {
        code = cli->command->run(cli, values, err);
    }
    return code;
}

static enum uqff_code dispatch(struct cli *cli, int argc, char **argv, struct uqff_error *err) {
    enum uqff_code code = setup_kernels(err);
    if (code != UQFF_OK) {
        return code;
    }
    const struct option_set set = {common_options, cli};
    int first = 0;
    code = options_parse(&set, 1, argc - 1, argv + 1, &cli->arena, &cli->arguments, &first, err);
    if (code != UQFF_OK) {
        return code;
    }
    first++; /* its index was counted from argv[1] */
    output_setup(cli);
    if (first < argc) {
        cli->command = command_find(argv[first]);
        return cli->command == NULL ? command_unknown(argv[first], err)
                                    : run_command(cli, argc - first - 1, argv + first + 1, err);
    }
    if (cli->version) {
        return version_print(cli, err);
    }
    if (cli->help) {
        return print_short_help(cli, err);
    }
    return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                     "a command is missing; \"uqff help\" lists them");
}

int main(int argc, char **argv) {
    static char buffer[1 << 16];
    if (!hold_streams()) {
        return output_exit_code(UQFF_E_READ);
    }
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    setup_signals();
    struct cli cli = {0};
    struct uqff_error err = {UQFF_OK, UQFF_NO_OFFSET, ""};
    output_setup(&cli);
    enum uqff_code code = dispatch(&cli, argc, argv, &err);
    int status = cli.told != UQFF_OK ? output_exit_code(cli.told)
                 : cli.answer_no     ? EXIT_NO
                                     : EXIT_OK;
    if (code == UQFF_OK) {
        code = output_finish(&err);
    } else if (output_finish(NULL) != UQFF_OK) {
        /* The command's own error says more than the lost output. */
        clearerr(stdout);
    }
    if (code != UQFF_OK) {
        cli.json = cli.json || wants_json(argc, argv);
        if (code == UQFF_E_EXISTS) {
            strncat(err.text, "; --force overwrites it", sizeof err.text - strlen(err.text) - 1);
        }
        output_error(&cli, code, &err);
        status = output_exit_code(code);
    }
    uqff_arena_free(&cli.arena);
    return status;
}
