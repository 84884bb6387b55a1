/* tables.h - tables that a recipe makes of what its stages measured: what one says, and how they are shown.
 *
 * As JSON, under the run's fact "tables/STAGE": a list of
 *   {"title": text, "note": text, "columns": [text, …], "rows": [[number, text, bool or null, …], …],
 *    "shade": [column, …],                                  cells coloured from the least to the largest of the column
 *    "plot": {"x": column, "y": [column, …], "log": "x" | "y" | "xy"}}
 * of which columns and rows must be there. Infinities and NaN are the strings "inf", "-inf", "nan".
 *
 * Floor: io. Threads: any. */
#ifndef SAIL_TABLES_H
#define SAIL_TABLES_H

#include "../base/node.h"

enum { SAIL__TABLE_COLUMNS = 64, SAIL__TABLE_ROWS = 10000, SAIL__TABLES_MOST = 64 };

typedef struct sail__table {
    const char *title, *note; /* "" where there is none */
    const char *columns[SAIL__TABLE_COLUMNS];
    bool shaded[SAIL__TABLE_COLUMNS], numeric[SAIL__TABLE_COLUMNS]; /* numeric: holds numbers, and no words beside them */
    size_t n_columns, n_rows;
    const sail_node *const *rows; /* [n_rows] lists of n_columns */
    size_t x, y[SAIL__TABLE_COLUMNS], n_y; /* of the plot; n_y 0: none */
    bool log_x, log_y;
} sail__table;

/* Read the i-th of the list, or say what is wrong with it and where (SAIL_E_RECIPE). */
sail_code sail__table_read(const sail_node *list, size_t i, sail__table *out, sail_err *err);
/* The number in a cell; NaN where it is none. */
double sail__table_number(const sail__table *t, size_t row, size_t column);
/* A cell's text: numbers in four digits. */
void sail__table_cell(const sail__table *t, size_t row, size_t column, sail_buf *out);
/* The table in Markdown, as a README takes it. */
void sail__table_markdown(const sail__table *t, sail_buf *out);

#endif
