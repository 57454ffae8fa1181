/* output: the manners of the terminal, in one place. */
#include "output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "json.h"
#include "options.h"

static bool is_set(const char *name) {
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0';
}

static unsigned terminal_columns(void) {
    const char *text = getenv("COLUMNS");
    unsigned long columns = text == NULL ? 0 : strtoul(text, NULL, 10);
    struct winsize size;
    if (columns == 0 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) {
        columns = size.ws_col;
    }
    if (columns == 0) {
        return 80;
    }
    return columns < 40 ? 40 : columns > 1000 ? 1000 : (unsigned)columns;
}

void output_setup(struct cli *cli) {
    const char *term = getenv("TERM");
    const bool dumb = term != NULL && strcmp(term, "dumb") == 0;
    const bool plain =
        cli->color == COLOR_NEVER || (cli->color != COLOR_ALWAYS && (dumb || is_set("NO_COLOR")));
    cli->color_out = !plain && (cli->color == COLOR_ALWAYS || isatty(STDOUT_FILENO) == 1);
    cli->color_err = !plain && (cli->color == COLOR_ALWAYS || isatty(STDERR_FILENO) == 1);
    cli->bar = isatty(STDERR_FILENO) == 1 && !dumb && !is_set("CI");
    cli->columns = terminal_columns();
}

int output_exit_code(enum uqff_code code) {
    if (code == UQFF_E_LIMIT) {
        return EXIT_INPUT; /* a documented limit is a property of the input */
    }
    switch (uqff_code_family(code)) {
    case UQFF_FAMILY_OK:
        return EXIT_OK;
    case UQFF_FAMILY_USAGE:
        return EXIT_USAGE;
    case UQFF_FAMILY_RESOURCE:
    case UQFF_FAMILY_IO:
        return EXIT_IO;
    case UQFF_FAMILY_INPUT:
        return EXIT_INPUT;
    case UQFF_FAMILY_NETWORK:
        return EXIT_NETWORK;
    case UQFF_FAMILY_INTERNAL:
        break;
    }
    return EXIT_BUG;
}

void output_error(const struct cli *cli, enum uqff_code code, const struct uqff_error *err) {
    fflush(stdout);
    if (cli->json) {
        struct uqff_buffer text = {0};
        uqff_buffer_printf(&text, "{\"error\":{\"code\":\"%s\",\"message\":", uqff_code_name(code));
        json_quote(&text, err->text, strlen(err->text));
        uqff_buffer_printf(&text, ",\"file\":");
        if (cli->file != NULL) {
            json_quote(&text, cli->file, strlen(cli->file));
        } else {
            uqff_buffer_printf(&text, "null");
        }
        if (err->offset != UQFF_NO_OFFSET) {
            uqff_buffer_printf(&text, ",\"offset\":%llu}}\n", (unsigned long long)err->offset);
        } else {
            uqff_buffer_printf(&text, ",\"offset\":null}}\n");
        }
        if (!text.failed) {
            fwrite(text.data, 1, text.size, stderr);
            uqff_buffer_free(&text);
            return;
        }
        uqff_buffer_free(&text);
    }
    const char *red = cli->color_err ? "\x1b[31m" : "", *end = cli->color_err ? "\x1b[0m" : "";
    char message[UQFF_ERROR_TEXT + 64];
    fprintf(stderr, "%suqff:%s %s", red, end,
            output_shorten(message, sizeof message, 0, err->text));
    if (cli->verbose) {
        fprintf(stderr, " (%s", uqff_code_name(code));
        if (err->offset != UQFF_NO_OFFSET) {
            fprintf(stderr, " at byte %llu", (unsigned long long)err->offset);
        }
        fprintf(stderr, ")");
    }
    fprintf(stderr, "\n");
}

static void warn(void *context, const char *text) {
    struct cli *cli = context;
    if (cli->json) {
        const char *copy = uqff_arena_copy(&cli->arena, text, strlen(text));
        /* Out of memory, the warning is lost, and the document will fail for the same reason. */
        if (copy == NULL || list_append(&cli->warnings, &cli->arena, copy, NULL) != UQFF_OK) {
            return;
        }
    } else if (!cli->quiet) {
        char line[2048];
        fflush(stdout);
        fprintf(stderr, "%swarning:%s %s\n", cli->color_err ? "\x1b[33m" : "",
                cli->color_err ? "\x1b[0m" : "", output_shorten(line, sizeof line, 0, text));
    }
}

struct uqff_warner output_warner(struct cli *cli) {
    return (struct uqff_warner){warn, cli};
}

void output_made(const struct cli *cli, const char *path) {
    char text[5000];
    if (!cli->quiet) {
        printf("%s\n", output_cut(text, sizeof text, 0, path, strlen(path)));
    }
}

enum uqff_code output_check_directory(const char *path, struct uqff_error *err) {
    char *directory = uqff_path_directory(path);
    enum uqff_code code = UQFF_OK;
    if (directory == NULL) {
        code = uqff_fail_memory(err);
    } else if (!uqff_path_is_directory(directory)) {
        code = uqff_fail(err, UQFF_E_NOT_FOUND, UQFF_NO_OFFSET,
                         "%s: cannot be written: there is no directory '%s'", path, directory);
    }
    uqff_free(directory);
    return code;
}

enum uqff_code output_check_folder(const char *output, const char *format, struct uqff_error *err) {
    static const char *const endings[] = {".gguf", ".uqff", ".safetensors"};
    const size_t length = output == NULL ? 0 : strlen(output);
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        const size_t n = strlen(endings[i]);
        if (length > n && strcmp(output + length - n, endings[i]) == 0 &&
            !uqff_path_is_directory(output)) {
            return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                             "option '--output': '%s' is a file's name, but --format %s makes a "
                             "directory",
                             output, format);
        }
    }
    return UQFF_OK;
}

enum uqff_code output_finish(struct uqff_error *err) {
    const bool failed_before = ferror(stdout) != 0;
    errno = 0;
    if (fflush(stdout) == 0 && !failed_before) {
        return UQFF_OK;
    }
    /* A reader that has gone is the same whether or not this process inherited an ignored SIGPIPE.
     */
    return uqff_fail(err, errno == ENOSPC ? UQFF_E_NO_SPACE : UQFF_E_WRITE, UQFF_NO_OFFSET,
                     "standard output: %s", errno == 0 ? "cannot write" : strerror(errno));
}

static const char *const sequences[] = {"\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m"};

const char *style(const struct cli *cli, enum style style) {
    return cli->color_out ? sequences[style] : "";
}

const char *style_end(const struct cli *cli) {
    return cli->color_out ? "\x1b[0m" : "";
}

const char *output_count(char out[32], uint64_t n) {
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    char *to = out;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) {
            *to++ = ' ';
        }
        *to++ = digits[i];
    }
    *to = '\0';
    return out;
}

/* Bytes of the longest beginning of printable text that takes at most `columns` columns and does
 * not end within an escape. */
static size_t fit(const char *text, unsigned columns) {
    size_t i = 0, good = 0;
    unsigned used = 0;
    while (text[i] != '\0') {
        size_t length = 1;
        if (text[i] == '\\') {
            length = text[i + 1] == 'x' ? 4 : text[i + 1] == 'u' ? strcspn(text + i, "}") + 1 : 2;
            used += (unsigned)length;
        } else {
            while (((unsigned char)text[i + length] & 0xC0) == 0x80) {
                length++;
            }
            used++;
        }
        if (used > columns) {
            return good;
        }
        i += length;
        good = i;
    }
    return good;
}

/* How many source bytes printable text stands for: an escape is one byte or one character of `raw`.
 */
static size_t source_bytes(const char *text, size_t length, const unsigned char *raw, size_t n) {
    size_t source = 0, i = 0;
    while (i < length) {
        if (text[i] == '\\' && text[i + 1] == 'u') {
            i += strcspn(text + i, "}") + 1;
            source++;
            while (source < n && (raw[source] & 0xC0) == 0x80) {
                source++;
            }
        } else {
            i += text[i] == '\\' ? (text[i + 1] == 'x' ? 4 : 2) : 1;
            source++;
        }
    }
    return source;
}

/* A line that begins with "::", and "##[" anywhere, are commands to a runner of GitHub Actions.
 * Their first character is written as an escape, where there is room. */
static void defuse(char *text, size_t capacity) {
    size_t length = strlen(text);
    for (char *at = text; *at != '\0' && length + 4 <= capacity; at++) {
        const bool command =
            (at == text && strncmp(at, "::", 2) == 0) || strncmp(at, "##[", 3) == 0;
        if (command) {
            const char escape[5] = {'\\', 'x', *at == ':' ? '3' : '2', *at == ':' ? 'a' : '3',
                                    '\0'};
            memmove(at + 4, at + 1, strlen(at + 1) + 1);
            memcpy(at, escape, 4);
            length += 3;
            at += 3;
        }
    }
}

/* Room for "… +18 446 744 073 709 551 615 bytes", which is 37 bytes at most. */
enum { COUNT_ROOM = 48 };

/* The length at which text of `whole` bytes in out[capacity] is cut; `whole` when it is not. */
static size_t cut_at(const char *out, size_t capacity, size_t whole, unsigned columns) {
    size_t kept = fit(out, columns == 0 ? UINT32_MAX : columns);
    if (whole < capacity && kept == whole) {
        return whole;
    }
    while (kept > 0 && kept + COUNT_ROOM > capacity) {
        kept = fit(out, (unsigned)kept / 2);
    }
    return kept;
}

const char *output_cut(char *out, size_t capacity, unsigned columns, const void *bytes, size_t n) {
    const size_t whole = uqff_printable(out, capacity, bytes, n);
    const size_t kept = cut_at(out, capacity, whole, columns);
    if (kept < whole) {
        char count[32];
        output_count(count, n - source_bytes(out, kept, bytes, n));
        snprintf(out + kept, capacity - kept, "… +%s bytes", count);
    }
    defuse(out, capacity);
    return out;
}

const char *output_shorten(char *out, size_t capacity, unsigned columns, const char *printable) {
    const size_t whole = strlen(printable);
    snprintf(out, capacity, "%s", printable);
    const size_t kept = cut_at(out, capacity, whole, columns);
    if (kept < whole) {
        char count[32];
        snprintf(out + kept, capacity - kept, "… +%s bytes", output_count(count, whole - kept));
    }
    defuse(out, capacity);
    return out;
}

const char *output_bits(char out[16], uint64_t bytes, uint64_t weights) {
    if (weights == 0) {
        return strcpy(out, "-");
    }
    snprintf(out, 16, "%.2f", (double)bytes * 8 / (double)weights);
    return out;
}

const char *output_shape(char *out, size_t capacity, const uint64_t *shape, unsigned rank) {
    size_t used = 0;
    out[used++] = '[';
    for (unsigned i = 0; i < rank && used + 32 < capacity; i++) {
        used += (size_t)snprintf(out + used, capacity - used, "%s%llu", i == 0 ? "" : ", ",
                                 (unsigned long long)shape[i]);
    }
    snprintf(out + used, capacity - used, "]");
    return out;
}
