/* report_text.c - curves and tables for a terminal. */
#include "report_impl.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Metrics whose curve is drawn large, in this order. */
static const char *const principal[] = {"loss", "rewards/accuracies", "rewards/margins", "objective/kl"};
enum { PRINCIPAL = sizeof principal / sizeof principal[0], ROWS = 5, LABEL = 10 };

static const char *tone(const report_data *d, const char *code) { return d->options->color ? code : ""; }
#define BOLD "\033[1m"
#define DIM "\033[2m"
#define CYAN "\033[36m"
#define OFF "\033[0m"

typedef struct bounds {
    double low, high;
    size_t finite;
} bounds;

static bounds bounds_of(const report_series *s)
{
    bounds b = {INFINITY, -INFINITY, 0};
    for (size_t i = 0; i < s->n; i++)
        if (isfinite(s->rows[i].value)) {
            b.low = fmin(b.low, s->rows[i].value);
            b.high = fmax(b.high, s->rows[i].value);
            b.finite++;
        }
    return b;
}

/* Mean of the finite values whose step lies in column i of n; NaN where there is none. */
static double column(const report_series *s, size_t i, size_t n)
{
    double first = (double)s->rows[0].step, span = (double)s->rows[s->n - 1].step - first, sum = 0;
    size_t count = 0;
    for (size_t k = 0; k < s->n; k++) {
        double at = span > 0 ? ((double)s->rows[k].step - first) / span * (double)(n - 1) : 0;
        if ((size_t)(at + 0.5) == i && isfinite(s->rows[k].value)) {
            sum += s->rows[k].value;
            count++;
        }
    }
    return count ? sum / (double)count : (double)NAN;
}

/* U+2800 + dots */
static void braille(sail_buf *out, unsigned dots)
{
    unsigned c = 0x2800 + dots;
    char text[4] = {(char)(0xe0 | c >> 12), (char)(0x80 | (c >> 6 & 63)), (char)(0x80 | (c & 63)), 0};
    sail__buf_str(out, text);
}

/* The value of dot column i, where the line between two known ones goes through; all in rows from the top. */
static void trace(const report_series *s, bounds b, size_t width, double *y)
{
    size_t last = SIZE_MAX, n = width * 2;
    double range = b.high > b.low ? b.high - b.low : 1;
    for (size_t i = 0; i < n; i++) {
        double v = column(s, i, n);
        y[i] = isnan(v) ? v : (b.high - v) / range * (ROWS * 4 - 1);
        if (isnan(v))
            continue;
        for (size_t k = last + 1; last != SIZE_MAX && k < i; k++)
            y[k] = y[last] + (y[i] - y[last]) * (double)(k - last) / (double)(i - last);
        last = i;
    }
}

static void curve(const report_data *d, const report_series *s, size_t width, sail_buf *out)
{
    static const unsigned char dot[2][4] = {{1, 2, 4, 64}, {8, 16, 32, 128}};
    bounds b = bounds_of(s);
    double *y = sail__arena_array(d->arena, width * 2 + 1, sizeof *y);
    unsigned char *cells = sail__arena_array(d->arena, ROWS * width + 1, 1);
    if (!y || !cells) {
        out->oom = true;
        return;
    }
    trace(s, b, width, y);
    for (size_t i = 0; i < width * 2; i++) {
        if (isnan(y[i]))
            continue;
        int at = (int)(y[i] + 0.5), from = at;
        if (i && !isnan(y[i - 1])) { /* a steep piece is joined */
            int before = (int)(y[i - 1] + 0.5);
            from = before < at ? before + 1 : before > at ? before - 1 : at;
        }
        for (int k = from < at ? from : at; k <= (from < at ? at : from); k++)
            cells[(size_t)(k / 4) * width + i / 2] |= dot[i & 1][k & 3];
    }
    sail__buf_printf(out, "\n%s%s%s\n", tone(d, BOLD), s->name, tone(d, OFF));
    for (int row = 0; row < ROWS; row++) {
        sail_buf label = {0};
        if (row == 0 || row == ROWS - 1)
            sail__report_number(&label, row ? b.low : b.high);
        sail__buf_printf(out, "%s%*s %s%s%s", tone(d, DIM), LABEL, label.data ? label.data : "", row == 0 || row == ROWS - 1 ? "┤" : "│",
                         tone(d, OFF), tone(d, CYAN));
        sail__buf_free(&label);
        for (size_t i = 0; i < width; i++)
            braille(out, cells[(size_t)row * width + i]);
        sail__buf_printf(out, "%s\n", tone(d, OFF));
    }
    sail__buf_printf(out, "%s%*s └", tone(d, DIM), LABEL, "");
    for (size_t i = 0; i < width; i++)
        sail__buf_str(out, "─");
    char last[32];
    int n = snprintf(last, sizeof last, "step %lld", (long long)s->rows[s->n - 1].step);
    sail__buf_printf(out, "\n%*s  %-*lld%s%s\n", LABEL, "", (int)width - n, (long long)s->rows[0].step, last, tone(d, OFF));
}

static void spark(const report_series *s, size_t width, sail_buf *out)
{
    static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    bounds b = bounds_of(s);
    double range = b.high > b.low ? b.high - b.low : 0;
    size_t n = s->n < width ? s->n : width;
    for (size_t i = 0; i < width; i++) {
        double v = i < n ? column(s, i, n) : (double)NAN;
        sail__buf_str(out, isnan(v) ? " " : range == 0 ? blocks[3] : blocks[(int)((v - b.low) / range * 7.999)]);
    }
}

static void cell(sail_buf *out, double v, int width)
{
    sail_buf text = {0};
    sail__report_number(&text, v);
    sail__buf_printf(out, " %*s", width, text.data ? text.data : "");
    sail__buf_free(&text);
}

static void row(const report_data *d, const char *name, const report_series *s, int name_width, size_t spark_width, sail_buf *out)
{
    bounds b = bounds_of(s);
    sail__buf_printf(out, "%-*s %s", name_width, name, tone(d, CYAN));
    spark(s, spark_width, out);
    sail__buf_str(out, tone(d, OFF));
    cell(out, s->rows[0].value, 9);
    cell(out, s->rows[s->n - 1].value, 9);
    cell(out, b.finite ? b.low : (double)NAN, 9);
    cell(out, b.finite ? b.high : (double)NAN, 9);
    sail__buf_str(out, "\n");
}

static void table_row(const report_data *d, const report_run *r, const report_series *s, int name_width, size_t spark_width, sail_buf *out)
{
    row(d, r ? r->name : s->name, s, name_width, spark_width, out);
}

static void head(const report_data *d, const char *title, int name_width, size_t spark_width, sail_buf *out)
{
    sail__buf_printf(out, "\n%s%-*s%s%s %*s %9s %9s %9s %9s%s\n", tone(d, BOLD), name_width, title, tone(d, OFF), tone(d, DIM), (int)spark_width,
                     "", "first", "last", "lowest", "highest", tone(d, OFF));
}

/* Curves of a comparison's methods, a line each: the mean over their seeds. */
static void methods(const report_data *d, const report_run *r, const report_comparison *c, int columns, sail_buf *out)
{
    int name_width = 22, left;
    for (size_t i = 0; i < c->n; i++)
        name_width = (int)strlen(c->c[i].name) > name_width ? (int)strlen(c->c[i].name) : name_width;
    name_width = name_width > 36 ? 36 : name_width;
    left = columns - name_width - 42;
    size_t spark_width = left < 8 ? 8 : left > 60 ? 60 : (size_t)left;
    for (const char *const *name = sail__report_principal; *name; name++) {
        bool begun = false;
        for (size_t i = 0; i < c->n; i++) {
            const report_series *s = sail__report_mean(d, r, &c->c[i], "rewards/accuracies") ? sail__report_mean(d, r, &c->c[i], *name) : NULL;
            if (!s || s->n < 2)
                continue;
            if (!begun)
                head(d, *name, name_width, spark_width, out);
            begun = true;
            row(d, c->c[i].name, s, name_width, spark_width, out);
        }
    }
}

static void one_run(const report_data *d, const report_run *r, int columns, sail_buf *out)
{
    report_comparison *compared;
    size_t n_compared;
    if (!sail__report_comparisons(d, r, &compared, &n_compared)) {
        out->oom = true;
        return;
    }
    const char *stage = NULL;
    const char *title = sail__report_fact(r, "title");
    int name_width = 12;
    for (size_t i = 0; i < r->n_series; i++)
        if ((int)strlen(r->series[i].name) > name_width)
            name_width = (int)strlen(r->series[i].name);
    name_width = name_width > 36 ? 36 : name_width;
    int left = columns - name_width - 42;
    size_t spark_width = left < 8 ? 8 : left > 40 ? 40 : (size_t)left;
    sail__buf_printf(out, "%s%s%s%s%s\n", tone(d, BOLD), r->name, tone(d, OFF), title && *title ? ": " : "", title ? title : "");
    sail__report_tables_text(d, (size_t)(r - d->runs), out);
    for (size_t i = 0; i < n_compared; i++)
        sail__report_win_rates_text(d, r, &compared[i], out);
    for (size_t i = 0; i < n_compared; i++)
        if (!compared[i].again)
            methods(d, r, &compared[i], columns, out);
    for (size_t i = 0; i < r->n_series; i++) {
        const report_series *s = &r->series[i];
        if (sail__report_compared(compared, n_compared, s->stage)) /* told above; csv and json hold each seed */
            continue;
        if (!stage || strcmp(stage, s->stage) != 0) {
            stage = s->stage;
            sail__buf_printf(out, "\n%s── %s ──%s\n", tone(d, BOLD), stage, tone(d, OFF));
            size_t width = columns - LABEL - 3 > 72 ? 72 : (size_t)(columns - LABEL - 3);
            for (size_t p = 0; p < PRINCIPAL; p++)
                for (size_t k = i; k < r->n_series && !strcmp(r->series[k].stage, stage); k++)
                    if (!strcmp(r->series[k].name, principal[p]) && r->series[k].n > 1 && bounds_of(&r->series[k]).finite > 1)
                        curve(d, &r->series[k], width, out);
            head(d, "metric", name_width, spark_width, out);
        }
        table_row(d, NULL, s, name_width, spark_width, out);
    }
    for (size_t i = 0; i < r->n_events; i++)
        if (!strcmp(r->events[i].kind, "guard") || !strcmp(r->events[i].kind, "warning"))
            sail__buf_printf(out, "%s step %lld: %s: %s\n", r->events[i].stage, (long long)r->events[i].step, r->events[i].kind,
                             r->events[i].message);
}

/* The same metric of the same stage in another run; NULL if it has none. */
static const report_series *same(const report_run *r, const report_series *s)
{
    for (size_t i = 0; i < r->n_series; i++)
        if (!strcmp(r->series[i].stage, s->stage) && !strcmp(r->series[i].name, s->name))
            return &r->series[i];
    return NULL;
}

static void several(const report_data *d, int columns, sail_buf *out)
{
    int name_width = 12;
    for (size_t i = 0; i < d->n; i++)
        if ((int)strlen(d->runs[i].name) > name_width)
            name_width = (int)strlen(d->runs[i].name);
    int left = columns - name_width - 42;
    size_t spark_width = left < 8 ? 8 : left > 40 ? 40 : (size_t)left;
    for (size_t i = 0; i < d->n; i++)
        for (size_t k = 0; k < d->runs[i].n_series; k++) {
            const report_series *s = &d->runs[i].series[k];
            bool seen = false;
            for (size_t before = 0; before < i; before++)
                seen = seen || same(&d->runs[before], s);
            if (seen || sail__report_section(s->name) == 3)
                continue;
            sail_buf title = {0};
            sail__buf_printf(&title, "%s · %s", s->stage, s->name);
            sail__buf_printf(out, "\n%s%s%s\n", tone(d, BOLD), title.data ? title.data : "", tone(d, OFF));
            sail__buf_free(&title);
            sail__buf_printf(out, "%s%-*s %*s %9s %9s %9s %9s%s\n", tone(d, DIM), name_width, "run", (int)spark_width, "", "first", "last",
                             "lowest", "highest", tone(d, OFF));
            for (size_t r = i; r < d->n; r++) {
                const report_series *other = same(&d->runs[r], s);
                if (other)
                    table_row(d, &d->runs[r], other, name_width, spark_width, out);
            }
        }
}

/* Control characters of names and messages must not reach a terminal. */
static void disarm(sail_buf *out, size_t from, bool color)
{
    static const char *const tones[] = {BOLD, DIM, CYAN, OFF};
    for (size_t i = from; i < out->len; i++) {
        unsigned char c = (unsigned char)out->data[i];
        bool ours = false;
        for (size_t k = 0; color && c == 27 && k < sizeof tones / sizeof tones[0]; k++)
            ours = ours || !strncmp(out->data + i, tones[k], strlen(tones[k]));
        if ((c < 32 && c != '\n' && !ours) || c == 127)
            out->data[i] = '?';
    }
}

sail_code sail__report_text(const report_data *d, sail_buf *out, sail_err *err)
{
    (void)err;
    int columns = d->options->width ? d->options->width : 100;
    size_t from = out->len;
    columns = columns < 60 ? 60 : columns;
    if (d->n == 1)
        one_run(d, &d->runs[0], columns, out);
    else
        several(d, columns, out);
    if (!out->oom)
        disarm(out, from, d->options->color);
    return SAIL_OK;
}
