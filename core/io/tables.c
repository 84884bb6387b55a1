/* tables.c - tables that a recipe makes: read and checked; Markdown. */
#include "tables.h"

#include <math.h>
#include <string.h>

#include "report_impl.h"

static sail_code text_of(const sail_node *t, const char *key, const char **out, sail_err *err)
{
    const sail_node *n = sail__node_get(t, key);
    *out = n && n->kind == SAIL_NODE_STRING ? n->string.data : "";
    return !n || n->kind == SAIL_NODE_STRING || n->kind == SAIL_NODE_NULL
               ? SAIL_OK
               : sail_fail(err, SAIL_E_RECIPE, "%s must be text", key);
}

static sail_code column_of(const sail__table *t, const sail_node *n, const char *what, size_t *out, sail_err *err)
{
    for (*out = 0; n && n->kind == SAIL_NODE_STRING && *out < t->n_columns; ++*out)
        if (!strcmp(t->columns[*out], n->string.data))
            return SAIL_OK;
    return sail_fail(err, SAIL_E_RECIPE, "%s must name a column; there is no column `%s`", what,
                     n && n->kind == SAIL_NODE_STRING ? n->string.data : n ? sail__node_kind_name(n->kind) : "(nothing)");
}

static bool is_list(const sail_node *n, size_t most)
{
    return n && n->kind == SAIL_NODE_LIST && n->list.n > 0 && n->list.n <= most;
}

static sail_code read_rows(const sail_node *rows, sail__table *t, sail_err *err)
{
    if (!is_list(rows, SAIL__TABLE_ROWS))
        return sail_fail(err, SAIL_E_RECIPE, "rows must be a list of 1 to %d lists of cells", SAIL__TABLE_ROWS);
    t->rows = (const sail_node *const *)rows->list.items;
    t->n_rows = rows->list.n;
    for (size_t r = 0; r < t->n_rows; r++) {
        if (t->rows[r]->kind != SAIL_NODE_LIST || t->rows[r]->list.n != t->n_columns)
            return sail_fail(err, SAIL_E_RECIPE, "row %zu must be a list of %zu cells, one for each column; it has %zu "
                             "(nil is no cell: sail.null is an empty one)", r + 1, t->n_columns,
                             t->rows[r]->kind == SAIL_NODE_LIST ? t->rows[r]->list.n : (size_t)0);
        for (size_t c = 0; c < t->n_columns; c++) {
            sail_node_kind kind = t->rows[r]->list.items[c]->kind;
            if (kind == SAIL_NODE_LIST || kind == SAIL_NODE_MAP || kind == SAIL_NODE_FUNCTION)
                return sail_fail(err, SAIL_E_RECIPE, "row %zu, column `%s`: a cell is a number, text, true or false, or nothing; "
                                                     "this is %s", r + 1, t->columns[c], sail__node_kind_name(kind));
        }
    }
    return SAIL_OK;
}

static sail_code read_plot(const sail_node *plot, sail__table *t, sail_err *err)
{
    if (!plot || plot->kind == SAIL_NODE_NULL)
        return SAIL_OK;
    const sail_node *y = sail__node_get(plot, "y"), *axes = sail__node_get(plot, "log");
    SAIL_TRY(column_of(t, sail__node_get(plot, "x"), "plot.x", &t->x, err));
    if (!is_list(y, SAIL__TABLE_COLUMNS))
        return sail_fail(err, SAIL_E_RECIPE, "plot.y must be a list of columns");
    for (size_t k = 0; k < y->list.n; k++)
        SAIL_TRY(column_of(t, y->list.items[k], "plot.y", &t->y[t->n_y++], err));
    if (axes && (axes->kind != SAIL_NODE_STRING || (strcmp(axes->string.data, "x") && strcmp(axes->string.data, "y") && strcmp(axes->string.data, "xy"))))
        return sail_fail(err, SAIL_E_RECIPE, "plot.log must be \"x\", \"y\" or \"xy\"");
    t->log_x = axes && strchr(axes->string.data, 'x');
    t->log_y = axes && strchr(axes->string.data, 'y');
    return SAIL_OK;
}

static bool is_numeric(const sail__table *t, size_t column)
{
    bool some = false;
    for (size_t r = 0; r < t->n_rows; r++) {
        const sail_node *n = t->rows[r]->list.items[column];
        const bool number = !isnan(sail__table_number(t, r, column)) || (n->kind == SAIL_NODE_STRING && !strcmp(n->string.data, "nan"));
        if (!number && n->kind != SAIL_NODE_NULL && !(n->kind == SAIL_NODE_STRING && n->string.len == 0))
            return false;
        some = some || number;
    }
    return some;
}

static sail_code read_table(const sail_node *n, sail__table *t, sail_err *err)
{
    static const char *const keys[] = {"title", "note", "columns", "rows", "shade", "plot"};
    enum { KEYS = sizeof keys / sizeof *keys };
    memset(t, 0, sizeof *t);
    if (n->kind != SAIL_NODE_MAP)
        return sail_fail(err, SAIL_E_RECIPE, "must be {title = …, columns = {…}, rows = {{…}, …}}");
    for (size_t k = 0; k < n->list.n; k++) {
        const char *near = sail__nearest(n->list.keys[k], keys, KEYS);
        if (!sail__among(n->list.keys[k], keys, KEYS))
            return sail_fail(err, SAIL_E_RECIPE, "there is no `%s`%s%s%s", n->list.keys[k], near ? "; did you mean `" : "",
                             near ? near : "", near ? "`?" : "");
    }
    SAIL_TRY(text_of(n, "title", &t->title, err));
    SAIL_TRY(text_of(n, "note", &t->note, err));
    const sail_node *columns = sail__node_get(n, "columns"), *shade = sail__node_get(n, "shade");
    if (!is_list(columns, SAIL__TABLE_COLUMNS))
        return sail_fail(err, SAIL_E_RECIPE, "columns must be a list of 1 to %d names", SAIL__TABLE_COLUMNS);
    for (size_t c = 0; c < columns->list.n; c++) {
        if (columns->list.items[c]->kind != SAIL_NODE_STRING)
            return sail_fail(err, SAIL_E_RECIPE, "the names of columns must be text");
        t->columns[t->n_columns++] = columns->list.items[c]->string.data;
    }
    SAIL_TRY(read_rows(sail__node_get(n, "rows"), t, err));
    for (size_t c = 0; c < t->n_columns; c++)
        t->numeric[c] = is_numeric(t, c);
    if (shade && !is_list(shade, SAIL__TABLE_COLUMNS))
        return sail_fail(err, SAIL_E_RECIPE, "shade must be a list of columns");
    for (size_t k = 0, c; shade && k < shade->list.n; k++) {
        SAIL_TRY(column_of(t, shade->list.items[k], "shade", &c, err));
        t->shaded[c] = true;
    }
    return read_plot(sail__node_get(n, "plot"), t, err);
}

sail_code sail__table_read(const sail_node *list, size_t i, sail__table *t, sail_err *err)
{
    return read_table(list->list.items[i], t, err) == SAIL_OK ? SAIL_OK : sail_fail_in(err, "table %zu", i + 1);
}

double sail__table_number(const sail__table *t, size_t row, size_t column)
{
    const sail_node *n = t->rows[row]->list.items[column];
    const char *s = n->kind == SAIL_NODE_STRING ? n->string.data : "";
    return n->kind == SAIL_NODE_INT     ? (double)n->integer
           : n->kind == SAIL_NODE_FLOAT ? n->number
           : !strcmp(s, "inf")          ? (double)INFINITY
           : !strcmp(s, "-inf")         ? -(double)INFINITY
                                        : (double)NAN;
}

void sail__table_cell(const sail__table *t, size_t row, size_t column, sail_buf *out)
{
    const sail_node *n = t->rows[row]->list.items[column];
    if (n->kind == SAIL_NODE_STRING)
        sail__buf_str(out, n->string.data);
    else if (n->kind == SAIL_NODE_BOOL)
        sail__buf_str(out, n->boolean ? "yes" : "no");
    else if (n->kind != SAIL_NODE_NULL)
        sail__report_number(out, sail__table_number(t, row, column));
}

/* A bar would end the cell, a line's end the row. */
static void cell_text(sail_buf *out, const char *text)
{
    for (; *text; text++)
        if (*text == '|')
            sail__buf_str(out, "\\|");
        else
            sail__buf_add(out, *text == '\n' || *text == '\r' ? " " : text, 1);
}

void sail__table_markdown(const sail__table *t, sail_buf *out)
{
    for (const char *p = t->title; *p; p++) {
        sail__buf_str(out, p == t->title ? "## " : "");
        sail__buf_add(out, *p == '\n' || *p == '\r' ? " " : p, 1);
    }
    sail__buf_str(out, *t->title ? "\n\n" : "");
    for (size_t c = 0; c < t->n_columns; c++) {
        sail__buf_str(out, c ? " | " : "| ");
        cell_text(out, t->columns[c]);
    }
    sail__buf_str(out, " |\n|");
    for (size_t c = 0; c < t->n_columns; c++)
        sail__buf_str(out, t->numeric[c] ? "--:|" : "---|");
    sail__buf_str(out, "\n");
    for (size_t r = 0; r < t->n_rows; r++) {
        for (size_t c = 0; c < t->n_columns; c++) {
            sail_buf cell = {0};
            sail__table_cell(t, r, c, &cell);
            sail__buf_str(out, c ? " | " : "| ");
            cell_text(out, cell.data ? cell.data : "");
            sail__buf_free(&cell);
        }
        sail__buf_str(out, " |\n");
    }
    if (*t->note)
        sail__buf_printf(out, "\n%s\n", t->note);
    sail__buf_str(out, "\n");
}
