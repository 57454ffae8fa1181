/* What reaches the terminal: colour, warnings, errors, cut values, and the end of standard output.
 */
#ifndef UQFF_CLI_OUTPUT_H
#define UQFF_CLI_OUTPUT_H

#include "command.h"

enum exit_code {
    EXIT_OK = 0,
    EXIT_NO = 1, /* the command ran, and its answer is no */
    EXIT_USAGE = 2,
    EXIT_INPUT = 3,
    EXIT_IO = 4,
    EXIT_NETWORK = 5,
    EXIT_BUG = 70,
};

/* Reads NO_COLOR, TERM, CI and COLUMNS, and decides colours, width and the form of progress. */
void output_setup(struct cli *cli);

int output_exit_code(enum uqff_code code);

/* Prints an error: "uqff: text", or under --json one line {"error":{...}}; both on stderr. */
void output_error(const struct cli *cli, enum uqff_code code, const struct uqff_error *err);

/* A warner that prints "warning: text" on stderr, collects under --json, and is silent under -q. */
struct uqff_warner output_warner(struct cli *cli);

/* Refuses, as a slip, the name of a file for what will be a new directory: "x.gguf" where the
 * format that was asked for is not a GGUF. `output` may be NULL. */
enum uqff_code output_check_folder(const char *output, const char *format,
                                   struct uqff_error *err) UQFF_MUST_CHECK;

/* Fails when the directory is not there in which `path` would be written. For what is written
 * behind long work. */
enum uqff_code output_check_directory(const char *path, struct uqff_error *err) UQFF_MUST_CHECK;

/* Flushes standard output: UQFF_E_WRITE or UQFF_E_NO_SPACE when some of it was lost. */
enum uqff_code output_finish(struct uqff_error *err) UQFF_MUST_CHECK;

enum style { STYLE_BOLD, STYLE_DIM, STYLE_RED, STYLE_GREEN, STYLE_YELLOW };
/* The escape sequence that begins a style on standard output, and the one that ends it; "" without
 * colour. */
const char *style(const struct cli *cli, enum style style);
const char *style_end(const struct cli *cli);

/* Writes bytes from a file into out[capacity] as printable text of at most `columns` columns (0: no
 * limit); what is cut is told as "… +298 812 bytes". What a CI runner would take for a command of
 * its own is escaped too. Returns out. */
const char *output_cut(char *out, size_t capacity, unsigned columns, const void *bytes, size_t n);

/* The same for text that is printable already. */
const char *output_shorten(char *out, size_t capacity, unsigned columns, const char *printable);

/* Prints the name of a file or directory that was made, unless -q asked for silence. */
void output_made(const struct cli *cli, const char *path);

/* "2 884 864" */
const char *output_count(char out[32], uint64_t n);

/* "4.85": bits a weight; "-" when there are none. */
const char *output_bits(char out[16], uint64_t bytes, uint64_t weights);

/* "[1024, 256]", "[]" for a scalar. */
const char *output_shape(char *out, size_t capacity, const uint64_t *shape, unsigned rank);

#endif
