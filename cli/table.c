/* table: collects cells, then prints them aligned. */
#include "table.h"

#include <stdio.h>
#include <string.h>

#include "output.h"

void table_column(struct table *table, const char *title, enum align align) {
    size_t i = table->column_count++;
    table->columns[i].title = title;
    table->columns[i].align = align;
    table->columns[i].width = (unsigned)uqff_text_width(title);
}

/* Records the text behind `offset`, to which a NUL is added, as the next cell. */
static void finish_cell(struct table *table, size_t offset) {
    uqff_buffer_append(&table->text, "", 1);
    if (table->failed || table->text.failed) {
        table->failed = true;
        return;
    }
    void *cells = table->cells;
    if (uqff_grow(&cells, &table->cell_capacity, table->cell_count + 1, sizeof *table->cells,
                  NULL) != UQFF_OK) {
        table->failed = true;
        return;
    }
    table->cells = cells;
    unsigned width = (unsigned)uqff_text_width(table->text.data + offset);
    size_t column = table->cell_count % table->column_count;
    if (width > table->columns[column].width) {
        table->columns[column].width = width;
    }
    table->cells[table->cell_count].offset = offset;
    table->cells[table->cell_count++].width = width;
}

void table_cell(struct table *table, const char *format, ...) {
    size_t offset = table->text.size;
    char text[256];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t n = length < 0 ? 0 : (size_t)length < sizeof text ? (size_t)length : sizeof text - 1;
    uqff_buffer_append(&table->text, text, n);
    finish_cell(table, offset);
}

void table_text(struct table *table, const char *printable) {
    size_t offset = table->text.size;
    uqff_buffer_append(&table->text, printable, strlen(printable));
    finish_cell(table, offset);
}

void table_bytes(struct table *table, unsigned columns, const void *bytes, size_t n) {
    char text[5000];
    table_text(table, output_cut(text, sizeof text, columns, bytes, n));
}

void table_size(struct table *table, uint64_t bytes) {
    char text[16];
    uqff_format_bytes(text, bytes);
    table_text(table, text);
}

void table_total(struct table *table) {
    table->total_row = table->cell_count / table->column_count + 1;
}

static void put_spaces(unsigned n) {
    static const char spaces[] = "                                ";
    while (n > 0) {
        unsigned now = n < sizeof spaces - 1 ? n : (unsigned)sizeof spaces - 1;
        fwrite_unlocked(spaces, 1, now, stdout);
        n -= now;
    }
}

/* Prints one cell; nothing is padded behind the `last` one of a row. */
static void put_cell(const struct table *table, size_t column, size_t last, const char *text,
                     unsigned width) {
    const unsigned missing = table->columns[column].width - width;
    if (column > last) {
        return;
    }
    if (table->columns[column].align == ALIGN_RIGHT) {
        put_spaces(missing);
    }
    fputs_unlocked(text, stdout);
    if (column < last) {
        put_spaces(table->columns[column].align == ALIGN_LEFT ? missing + 2 : 2);
    }
}

/* The last column of a row that is not empty: so no line ends in spaces. */
static size_t last_column(const struct table *table, size_t first_cell) {
    size_t last = table->column_count - 1;
    while (last > 0 && table->cells[first_cell + last].width == 0) {
        last--;
    }
    return last;
}

static void put_rule(const struct table *table, unsigned indent) {
    unsigned width = 0;
    for (size_t c = 0; c < table->column_count; c++) {
        width += table->columns[c].width + (c + 1 < table->column_count ? 2 : 0);
    }
    put_spaces(indent);
    for (unsigned i = 0; i < width; i++) {
        fputs_unlocked("─", stdout);
    }
    fputs_unlocked("\n", stdout);
}

enum uqff_code table_print(struct table *table, const struct cli *cli, unsigned indent,
                           struct uqff_error *err) {
    if (table->failed) {
        table_free(table);
        return uqff_fail_memory(err);
    }
    put_spaces(indent);
    fputs_unlocked(style(cli, STYLE_BOLD), stdout);
    size_t titled = table->column_count - 1;
    while (titled > 0 && table->columns[titled].title[0] == '\0') {
        titled--;
    }
    for (size_t c = 0; c < table->column_count; c++) {
        put_cell(table, c, titled, table->columns[c].title,
                 (unsigned)uqff_text_width(table->columns[c].title));
    }
    fputs_unlocked(style_end(cli), stdout);
    fputs_unlocked("\n", stdout);
    size_t last = 0;
    for (size_t i = 0; i < table->cell_count; i++) {
        const size_t column = i % table->column_count;
        if (column == 0) {
            last = last_column(table, i);
            if (i / table->column_count + 1 == table->total_row) {
                put_rule(table, indent);
            }
            put_spaces(indent);
        }
        put_cell(table, column, last, table->text.data + table->cells[i].offset,
                 table->cells[i].width);
        if (column + 1 == table->column_count) {
            fputs_unlocked("\n", stdout);
        }
    }
    table_free(table);
    return UQFF_OK;
}

void table_free(struct table *table) {
    uqff_buffer_free(&table->text);
    uqff_free(table->cells);
    table->cells = NULL;
    table->cell_count = table->cell_capacity = table->column_count = 0;
}
