/* Tables of aligned columns for human output. */
#ifndef UQFF_CLI_TABLE_H
#define UQFF_CLI_TABLE_H

#include "command.h"

enum { TABLE_COLUMNS = 160 };

enum align { ALIGN_LEFT, ALIGN_RIGHT };

/* Zero-initialise, then declare columns, then give cells row by row. All cells are printable text:
 * what comes from a file goes through table_bytes(). */
struct table {
    struct {
        const char *title;
        enum align align;
        unsigned width; /* of the widest cell */
    } columns[TABLE_COLUMNS];
    size_t column_count;
    struct uqff_buffer text; /* all cells, each with its NUL */
    struct {
        size_t offset;
        unsigned width;
    } * cells;
    size_t cell_count, cell_capacity;
    size_t total_row; /* 1 + the row that a rule sets off, or 0 */
    bool failed;
};

void table_column(struct table *table, const char *title, enum align align);
void table_cell(struct table *table, const char *format, ...) UQFF_PRINTF(2, 3);
void table_text(struct table *table, const char *printable);
/* Bytes from a file, cut to `columns` columns (0: whole). */
void table_bytes(struct table *table, unsigned columns, const void *bytes, size_t n);
void table_size(struct table *table, uint64_t bytes); /* "1.50 GiB" */
/* The row that begins now is a total: a line is drawn above it. */
void table_total(struct table *table);
/* Prints the table indented by `indent` and frees it. */
enum uqff_code table_print(struct table *table, const struct cli *cli, unsigned indent,
                           struct uqff_error *err) UQFF_MUST_CHECK;
void table_free(struct table *table);

#endif
