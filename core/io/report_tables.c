/* report_tables.c - the tables that a recipe's stages `tables` made, on the page and in the terminal; a run in Markdown. */
#include "report_impl.h"

#include <math.h>
#include <string.h>

#include "tables.h"

/* The tables of one stage; NULL: the fact is no list of tables. */
static const sail_node *tables_of(const report_data *d, const report_run *r, size_t fact)
{
    sail_node *list;
    sail_err ignored;
    if (strncmp(r->keys[fact], "tables/", 7) != 0)
        return NULL;
    if (sail__json_parse(d->arena, r->values[fact], strlen(r->values[fact]), r->keys[fact], 1, &list, &ignored) != SAIL_OK)
        return NULL;
    return list->kind == SAIL_NODE_LIST ? list : NULL;
}

typedef void (*write_table)(const report_data *d, size_t run, size_t fact, size_t index, const sail__table *t, sail_buf *out);

/* Each table of a run, in the order of the stages' names. */
static void each(const report_data *d, size_t run, write_table write, sail_buf *out)
{
    const report_run *r = &d->runs[run];
    sail__table t;
    sail_err ignored;
    for (size_t i = 0; i < r->n_facts; i++) {
        const sail_node *list = tables_of(d, r, i);
        for (size_t k = 0; list && k < list->list.n; k++)
            if (sail__table_read(list, k, &t, &ignored) == SAIL_OK)
                write(d, run, i, k, &t, out);
    }
}

/* ---- the page ---- */

typedef struct range {
    double low, high;
} range;

static range range_of(const sail__table *t, size_t column)
{
    range x = {INFINITY, -INFINITY};
    for (size_t r = 0; r < t->n_rows; r++) {
        double v = sail__table_number(t, r, column);
        if (isfinite(v)) {
            x.low = fmin(x.low, v);
            x.high = fmax(x.high, v);
        }
    }
    return x;
}

static void html_cell(const sail__table *t, size_t r, size_t c, const range *of, sail_buf *out)
{
    double v = sail__table_number(t, r, c);
    sail_buf text = {0};
    sail__table_cell(t, r, c, &text);
    sail__buf_printf(out, "<td%s", t->numeric[c] ? " class='n'" : "");
    if (t->shaded[c] && isfinite(v) && of->high > of->low)
        sail__buf_printf(out, " style='background:color-mix(in srgb,var(--accent) %.0f%%,transparent)'",
                         55 * (v - of->low) / (of->high - of->low));
    sail__buf_str(out, ">");
    sail__report_escape(out, text.data ? text.data : "");
    sail__buf_str(out, "</td>");
    out->oom = out->oom || text.oom;
    sail__buf_free(&text);
}

static void html_table(const report_data *d, size_t run, size_t fact, size_t index, const sail__table *t, sail_buf *out)
{
    range ranges[SAIL__TABLE_COLUMNS];
    sail__buf_str(out, "<section><h2>");
    sail__report_escape(out, *t->title ? t->title : d->runs[run].keys[fact] + 7);
    sail__buf_str(out, "</h2>\n");
    if (t->n_y)
        sail__buf_printf(out, "<div class='charts one' id='t%zu-%zu-%zu'></div>\n", run, fact, index);
    sail__buf_str(out, "<div class='card wide fit'><table><thead><tr>");
    for (size_t c = 0; c < t->n_columns; c++) {
        ranges[c] = range_of(t, c);
        sail__buf_str(out, t->numeric[c] ? "<th class='n'>" : "<th>");
        sail__report_escape(out, t->columns[c]);
        sail__buf_str(out, "</th>");
    }
    sail__buf_str(out, "</tr></thead><tbody>\n");
    for (size_t r = 0; r < t->n_rows; r++) {
        sail__buf_str(out, "<tr>");
        for (size_t c = 0; c < t->n_columns; c++)
            html_cell(t, r, c, &ranges[c], out);
        sail__buf_str(out, "</tr>\n");
    }
    sail__buf_str(out, "</tbody></table></div>");
    if (*t->note) {
        sail__buf_str(out, "<p class='note'>");
        sail__report_escape(out, t->note);
        sail__buf_str(out, "</p>");
    }
    sail__buf_str(out, "</section>\n");
}

void sail__report_tables_html(const report_data *d, sail_buf *out)
{
    for (size_t i = 0; i < d->n; i++)
        each(d, i, html_table, out);
}

static double at(const sail__table *t, size_t row, size_t column, bool logarithmic)
{
    double v = sail__table_number(t, row, column);
    return logarithmic ? log10(v) : v;
}

/* The rows' values of a column, null where there is none; rows that have no place on the axis x are left out. */
static void values(const sail__table *t, size_t column, bool logarithmic, sail_buf *out)
{
    bool some = false;
    for (size_t r = 0; r < t->n_rows; r++) {
        if (!isfinite(at(t, r, t->x, t->log_x)))
            continue;
        double v = at(t, r, column, logarithmic);
        sail__buf_str(out, some ? "," : "");
        some = true;
        if (isfinite(v))
            sail__buf_printf(out, "%.6g", v);
        else
            sail__buf_str(out, "null");
    }
}

/* A picture as the page's script draws it; logarithmic axes are given as powers of ten. */
static void chart(const report_data *d, size_t run, size_t fact, size_t index, const sail__table *t, sail_buf *out)
{
    (void)d;
    if (!t->n_y)
        return;
    sail__buf_printf(out, "%s\n{\"at\":\"t%zu-%zu-%zu\",\"name\":", out->len ? "," : "", run, fact, index);
    sail_buf name = {0};
    sail__buf_printf(&name, "by %s", t->columns[t->x]);
    sail__report_script_text(out, name.data ? name.data : "");
    sail__buf_free(&name);
    sail__buf_str(out, ",\"axis\":");
    sail__report_script_text(out, t->columns[t->x]);
    sail__buf_printf(out, ",\"lx\":%d,\"ly\":%d,\"lines\":[", t->log_x, t->log_y);
    for (size_t k = 0; k < t->n_y; k++) {
        sail__buf_printf(out, "%s{\"run\":%zu,\"color\":%zu,\"part\":\"\",\"dash\":0,\"label\":", k ? "," : "", run, k);
        sail__report_script_text(out, t->columns[t->y[k]]);
        sail__buf_str(out, ",\"x\":[");
        values(t, t->x, t->log_x, out);
        sail__buf_str(out, "],\"y\":[");
        values(t, t->y[k], t->log_y, out);
        sail__buf_str(out, "]}");
    }
    sail__buf_str(out, "]}");
}

void sail__report_tables_charts(const report_data *d, sail_buf *out)
{
    for (size_t i = 0; i < d->n; i++)
        each(d, i, chart, out);
}

/* ---- the terminal ---- */

/* Columns on a screen, not bytes. */
static size_t width_of(const char *s)
{
    size_t n = 0;
    for (; s && *s; s++)
        n += ((unsigned char)*s & 0xC0) != 0x80;
    return n;
}

static void pad(sail_buf *out, const char *text, size_t width, bool right)
{
    const size_t n = width_of(text), left = width > n ? width - n : 0;
    if (right)
        sail__buf_printf(out, "%*s", (int)left, "");
    sail__buf_str(out, text);
    if (!right)
        sail__buf_printf(out, "%*s", (int)left, "");
}

/* What would end the line, or move the cursor, is a space. */
static void flatten(sail_buf *text, size_t from)
{
    for (size_t i = from; i < text->len; i++)
        if ((unsigned char)text->data[i] < ' ')
            text->data[i] = ' ';
}

static void text_table(const report_data *d, size_t run, size_t fact, size_t index, const sail__table *t, sail_buf *out)
{
    (void)index;
    const bool color = d->options->color;
    size_t width[SAIL__TABLE_COLUMNS];
    sail_buf cell = {0};
    for (size_t c = 0; c < t->n_columns; c++) {
        width[c] = width_of(t->columns[c]);
        for (size_t r = 0; r < t->n_rows; r++) {
            cell.len = 0;
            sail__buf_str(&cell, "");
            sail__table_cell(t, r, c, &cell);
            size_t n = cell.len ? width_of(cell.data) : 0;
            width[c] = n > width[c] ? n : width[c];
        }
    }
    sail__buf_str(out, color ? "\n\033[1m" : "\n");
    const size_t title = out->len;
    sail__buf_str(out, *t->title ? t->title : d->runs[run].keys[fact] + 7);
    flatten(out, title);
    sail__buf_str(out, color ? "\033[0m\n\033[2m" : "\n");
    for (size_t r = 0; r <= t->n_rows; r++) {
        for (size_t c = 0; c < t->n_columns; c++) {
            cell.len = 0;
            sail__buf_str(&cell, r ? "" : t->columns[c]);
            if (r)
                sail__table_cell(t, r - 1, c, &cell);
            flatten(&cell, 0);
            sail__buf_str(out, c ? "  " : "");
            pad(out, cell.len ? cell.data : "", width[c], t->numeric[c]);
        }
        sail__buf_printf(out, "%s\n", !r && color ? "\033[0m" : "");
    }
    if (*t->note)
        sail__buf_printf(out, "%s%s%s\n", color ? "\033[2m" : "", t->note, color ? "\033[0m" : "");
    out->oom = out->oom || cell.oom;
    sail__buf_free(&cell);
}

void sail__report_tables_text(const report_data *d, size_t run, sail_buf *out) { each(d, run, text_table, out); }

/* ---- Markdown ---- */

static void markdown_table(const report_data *d, size_t run, size_t fact, size_t index, const sail__table *t, sail_buf *out)
{
    (void)d, (void)run, (void)fact, (void)index;
    sail__table_markdown(t, out);
}

static void plain(sail_buf *out, const char *text)
{
    for (; *text; text++)
        sail__buf_add(out, *text == '\n' ? " " : text, 1);
}

static void when(const report_run *r, sail_buf *out)
{
    const char *const facts[] = {"began", "version"}, *const before[] = {", ", ", sail "};
    sail__buf_str(out, "Run `");
    plain(out, r->name);
    sail__buf_str(out, "`");
    for (int i = 0; i < 2; i++) {
        const char *fact = sail__report_fact(r, facts[i]);
        sail__buf_str(out, fact ? before[i] : "");
        plain(out, fact ? fact : "");
    }
    sail__buf_str(out, ".\n\n");
}

sail_code sail__report_markdown(const report_data *d, sail_buf *out, sail_err *err)
{
    for (size_t i = 0; i < d->n; i++) {
        const report_run *r = &d->runs[i];
        const char *title = sail__report_fact(r, "title");
        report_comparison *c;
        size_t n;
        sail__buf_str(out, "# ");
        plain(out, title && *title ? title : r->name);
        sail__buf_str(out, "\n\n");
        when(r, out);
        each(d, i, markdown_table, out);
        if (!sail__report_comparisons(d, r, &c, &n))
            return sail_fail(err, SAIL_E_NOMEM, "report: out of memory");
        for (size_t k = 0; k < n; k++)
            sail__report_win_rates_markdown(d, r, &c[k], out);
    }
    return SAIL_OK;
}
