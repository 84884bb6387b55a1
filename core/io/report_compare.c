/* report_compare.c - models compared: win rates with their intervals, and curves of methods as means over seeds. */
#include "report_impl.h"
#include "../base/node.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SEEDS_MOST = 64 };

/* The loss last: that of a method with extra terms is a surrogate, on a scale of its own. */
const char *const sail__report_principal[] = {"rewards/accuracies", "rewards/margins", "objective/kl", "completions/mean_length", "entropy",
                                              "loss", NULL};

/* Of the last evaluation, as means over seeds. */
static const char *const kept[] = {"eval_rewards/accuracies", "eval_rewards/margins", "eval_objective/kl", NULL};

double sail__report_value(const report_run *r, const char *stage, const char *name)
{
    for (size_t i = 0; i < r->n_series; i++)
        if (!strcmp(r->series[i].stage, stage) && !strcmp(r->series[i].name, name))
            return r->series[i].rows[r->series[i].n - 1].value;
    return NAN;
}

/* ---- which models, made by which stages ---- */

static report_contender *contender_named(report_comparison *c, const char *name, size_t n)
{
    for (size_t i = 0; i < c->n; i++)
        if (strlen(c->c[i].name) == n && !strncmp(c->c[i].name, name, n))
            return &c->c[i];
    return NULL;
}

/* What the run says of the comparison's models; nothing where it says nothing sensible. */
static bool told(const report_data *d, const report_run *r, report_comparison *c)
{
    const char *key = sail__arena_printf(d->arena, "comparison/%s", c->stage), *text = key ? sail__report_fact(r, key) : NULL;
    sail_node *list;
    sail_err ignored;
    if (!text)
        return key != NULL;
    if (sail__json_parse(d->arena, text, strlen(text), key, 1, &list, &ignored) != SAIL_OK || list->kind != SAIL_NODE_LIST)
        return true;
    c->c = sail__arena_array(d->arena, list->list.n + 1, sizeof *c->c);
    for (size_t i = 0; c->c && i < list->list.n; i++) {
        const sail_node *x = list->list.items[i];
        if (x->kind != SAIL_NODE_MAP)
            continue;
        const sail_node *name = sail__node_get(x, "name"), *stages = sail__node_get(x, "stages"), *base = sail__node_get(x, "baseline");
        report_contender *one = &c->c[c->n];
        if (!name || name->kind != SAIL_NODE_STRING)
            continue;
        one->name = name->string.data;
        one->baseline = base && base->kind == SAIL_NODE_BOOL && base->boolean;
        size_t n = stages && stages->kind == SAIL_NODE_LIST ? stages->list.n : 0;
        one->stages = sail__arena_array(d->arena, n + 1, sizeof *one->stages);
        for (size_t k = 0; one->stages && k < n && one->n < SEEDS_MOST; k++)
            if (stages->list.items[k]->kind == SAIL_NODE_STRING)
                one->stages[one->n++] = stages->list.items[k]->string.data;
        c->n++;
    }
    return c->c != NULL;
}

/* win_rate/A_vs_B, without /low and the like: where "_vs_B" begins. */
static const char *versus(const report_series *s)
{
    return strncmp(s->name, "win_rate/", 9) == 0 && !strchr(s->name + 9, '/') ? strstr(s->name + 9, "_vs_") : NULL;
}

/* Models that only the names of metrics tell of. */
static bool named(const report_data *d, const report_run *r, report_comparison *c)
{
    report_contender *more = sail__arena_array(d->arena, c->n + 2 * r->n_series + 1, sizeof *more);
    if (!more)
        return false;
    if (c->n)
        memcpy(more, c->c, c->n * sizeof *more);
    c->c = more;
    for (size_t i = 0; i < r->n_series; i++) {
        const report_series *s = &r->series[i];
        const char *vs = strcmp(s->stage, c->stage) == 0 ? versus(s) : NULL;
        for (int side = 0; vs && side < 2; side++) {
            const char *name = side ? vs + 4 : s->name + 9;
            size_t n = side ? strlen(name) : (size_t)(vs - name);
            report_contender *one = contender_named(c, name, n);
            if (!one) {
                one = &c->c[c->n++];
                *one = (report_contender){.name = sail__arena_strndup(d->arena, name, n)};
                if (!one->name)
                    return false;
            }
            one->baseline = one->baseline || side;
        }
    }
    return true;
}

static bool same_models(const report_comparison *a, const report_comparison *b)
{
    bool same = a->n == b->n;
    for (size_t i = 0; same && i < a->n; i++) {
        same = a->c[i].n == b->c[i].n && !strcmp(a->c[i].name, b->c[i].name);
        for (size_t s = 0; same && s < a->c[i].n; s++)
            same = !strcmp(a->c[i].stages[s], b->c[i].stages[s]);
    }
    return same;
}

bool sail__report_comparisons(const report_data *d, const report_run *r, report_comparison **out, size_t *n)
{
    *n = 0;
    *out = sail__arena_array(d->arena, r->n_series + 1, sizeof **out);
    for (size_t i = 0; *out && i < r->n_series; i++) {
        const char *stage = r->series[i].stage;
        if (!versus(&r->series[i]) || (*n && !strcmp((*out)[*n - 1].stage, stage)))
            continue;
        report_comparison *c = &(*out)[(*n)++];
        *c = (report_comparison){.stage = stage, .prompts = sail__report_value(r, stage, "completions/prompts")};
        if (!told(d, r, c) || !named(d, r, c))
            return false;
        for (size_t k = 0; k + 1 < *n; k++)
            c->again = c->again || same_models(&(*out)[k], c);
    }
    for (size_t i = 0; *out && i < *n; i++)
        (*out)[i].alone = *n == 1;
    return *out != NULL;
}

bool sail__report_compared(const report_comparison *c, size_t n, const char *stage)
{
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(c[i].stage, stage))
            return true;
        for (size_t k = 0; k < c[i].n; k++)
            for (size_t s = 0; c[i].c[k].n > 1 && s < c[i].c[k].n; s++)
                if (!strcmp(c[i].c[k].stages[s], stage))
                    return true;
    }
    return false;
}

const report_series *sail__report_mean(const report_data *d, const report_run *r, const report_contender *c, const char *name)
{
    const report_series *one[SEEDS_MOST];
    size_t n = 0, all = 0, at[SEEDS_MOST] = {0};
    for (size_t s = 0; s < c->n; s++)
        for (size_t i = 0; i < r->n_series && n < SEEDS_MOST; i++)
            if (!strcmp(r->series[i].stage, c->stages[s]) && !strcmp(r->series[i].name, name)) {
                all += r->series[i].n;
                one[n++] = &r->series[i];
            }
    report_series *out = n ? sail__arena_alloc(d->arena, sizeof *out) : NULL;
    sail__metric_row *rows = out ? sail__arena_array(d->arena, all + 1, sizeof *rows) : NULL;
    if (!rows)
        return NULL;
    *out = (report_series){c->name, name, rows, 0};
    for (;;) { /* a seed may lack a step, where nothing of the kind happened */
        int64_t step = INT64_MAX;
        double sum = 0;
        size_t count = 0;
        for (size_t i = 0; i < n; i++)
            if (at[i] < one[i]->n && one[i]->rows[at[i]].step < step)
                step = one[i]->rows[at[i]].step;
        if (step == INT64_MAX)
            return out;
        for (size_t i = 0; i < n; i++)
            if (at[i] < one[i]->n && one[i]->rows[at[i]].step == step) {
                double v = one[i]->rows[at[i]++].value;
                sum += isfinite(v) ? v : 0;
                count += isfinite(v) != 0;
            }
        rows[out->n++] = (sail__metric_row){c->name, name, step, count ? sum / (double)count : (double)NAN, 0};
    }
}

/* ---- win rates ---- */

typedef struct rate {
    double mean, low, high;
} rate;

static rate rate_of(const report_run *r, const report_comparison *c, size_t a, size_t b)
{
    static const char *const parts[] = {"", "/low", "/high"};
    double v[3];
    for (int i = 0; i < 3; i++) {
        char name[600];
        snprintf(name, sizeof name, "win_rate/%s_vs_%s%s", c->c[a].name, c->c[b].name, parts[i]);
        v[i] = sail__report_value(r, c->stage, name);
    }
    return (rate){v[0], v[1], v[2]};
}

static size_t seeds_of(const report_comparison *c)
{
    size_t most = 0;
    for (size_t i = 0; i < c->n; i++)
        most = c->c[i].n > most ? c->c[i].n : most;
    return most;
}

static double length_of(const report_run *r, const report_comparison *c, size_t i)
{
    char name[300];
    snprintf(name, sizeof name, "completions/mean_length/%s", c->c[i].name);
    return sail__report_value(r, c->stage, name);
}

static void rate_cell(rate x, size_t color, sail_buf *out)
{
    if (isnan(x.mean)) {
        sail__buf_str(out, "<td class='soft'>\xe2\x80\x93</td>");
        return;
    }
    sail__buf_printf(out, "<td><b class='v%s'>%.3f</b>", x.low > 0.5 ? " up" : x.high < 0.5 ? " down" : "", x.mean);
    if (!isnan(x.low))
        sail__buf_printf(out, " <span class='soft'>%.3f to %.3f</span><div class='ci'><i style='left:%.1f%%;width:%.1f%%;background:var(--s%zu)'></i>"
                              "<u style='left:%.1f%%;background:var(--s%zu)'></u></div>",
                         x.low, x.high, 100 * x.low, 100 * (x.high - x.low), color % 8, 100 * x.mean, color % 8);
    sail__buf_str(out, "</td>");
}

void sail__report_win_rates_html(const report_data *d, const report_run *r, const report_comparison *c, sail_buf *out)
{
    sail__buf_str(out, "<section><h2>Win rates");
    if (d->n > 1) {
        sail__buf_str(out, ": ");
        sail__report_escape(out, r->name);
    }
    if (!c->alone) {
        sail__buf_str(out, d->n > 1 ? ", " : ": ");
        sail__report_escape(out, c->stage);
    }
    sail__buf_str(out, "</h2>\n<div class='card wide rates'><table><thead><tr><th>model</th>");
    for (size_t b = 0; b < c->n; b++)
        if (c->c[b].baseline) {
            sail__buf_str(out, "<th>against ");
            sail__report_escape(out, c->c[b].name);
            sail__buf_str(out, "</th>");
        }
    sail__buf_str(out, "<th class='n'>tokens</th></tr></thead><tbody>\n");
    for (size_t a = 0; a < c->n; a++) {
        sail__buf_printf(out, "<tr><th><span class='dot' style='background:var(--s%zu)'></span>", a % 8);
        sail__report_escape(out, c->c[a].name);
        sail__buf_str(out, "</th>");
        for (size_t b = 0; b < c->n; b++)
            if (c->c[b].baseline)
                rate_cell(rate_of(r, c, a, b), a, out);
        double tokens = length_of(r, c, a);
        if (isnan(tokens))
            sail__buf_str(out, "<td></td></tr>\n");
        else
            sail__buf_printf(out, "<td class='n'>%.1f</td></tr>\n", tokens);
    }
    sail__buf_str(out, "</tbody></table></div><p class='note'>Share of prompts on which the judge prefers the row's response to the column's; every "
                       "pair is judged in both orders, a tie counts one half. ");
    if (!isnan(c->prompts))
        sail__buf_printf(out, "%.0f prompts; ", c->prompts);
    if (seeds_of(c) > 1)
        sail__buf_printf(out, "mean over %zu seeds, 95%% interval over seeds and prompts. ", seeds_of(c));
    else
        sail__buf_str(out, "95% interval over prompts. ");
    sail__buf_str(out, "Coloured where the interval leaves out one half; tokens: mean length of a response.</p></section>\n");
}

void sail__report_win_rates_text(const report_data *d, const report_run *r, const report_comparison *c, sail_buf *out)
{
    const char *bold = d->options->color ? "\033[1m" : "", *dim = d->options->color ? "\033[2m" : "", *off = d->options->color ? "\033[0m" : "";
    int width = 9;
    for (size_t i = 0; i < c->n; i++)
        width = (int)strlen(c->c[i].name) > width ? (int)strlen(c->c[i].name) : width;
    width = width > 30 ? 30 : width;
    if (!c->alone)
        sail__buf_printf(out, "\n%s%s%s", dim, c->stage, off);
    sail__buf_printf(out, "\n%s%-*s%s", bold, width, "win rates", off);
    for (size_t b = 0; b < c->n; b++)
        if (c->c[b].baseline)
            sail__buf_printf(out, "  %sagainst %-16.16s%s", dim, c->c[b].name, off);
    sail__buf_printf(out, "  %stokens%s\n", dim, off);
    for (size_t a = 0; a < c->n; a++) {
        sail__buf_printf(out, "%-*.*s", width, width, c->c[a].name);
        for (size_t b = 0; b < c->n; b++) {
            rate x = rate_of(r, c, a, b);
            if (!c->c[b].baseline)
                continue;
            bool told_apart = x.low > 0.5 || x.high < 0.5;
            if (isnan(x.mean))
                sail__buf_printf(out, "  %-24s", "-");
            else
                sail__buf_printf(out, "  %s%.3f%s [%.3f, %.3f] %c ", told_apart ? bold : "", x.mean, told_apart ? off : "", x.low, x.high,
                                 !told_apart ? ' ' : x.low > 0.5 ? '+' : '-');
        }
        sail__buf_printf(out, "  %6.1f\n", length_of(r, c, a));
    }
    sail__buf_str(out, dim);
    if (!isnan(c->prompts))
        sail__buf_printf(out, "%.0f prompts, ", c->prompts);
    sail__buf_printf(out, "%zu seed%s; judged in both orders, a tie counts 1/2; 95%% intervals, + and -: they leave out 1/2%s\n",
                     seeds_of(c), seeds_of(c) == 1 ? "" : "s", off);
}

void sail__report_win_rates_markdown(const report_data *d, const report_run *r, const report_comparison *c, sail_buf *out)
{
    sail__buf_printf(out, "## Win rates: %s\n\n| model |", c->stage);
    for (size_t b = 0; b < c->n; b++)
        if (c->c[b].baseline)
            sail__buf_printf(out, " against %s | at equal length |", c->c[b].name);
    for (const char *const *p = kept; *p; p++)
        sail__buf_printf(out, " %s |", *p);
    sail__buf_str(out, " tokens |\n|---|");
    for (size_t b = 0; b < c->n; b++)
        sail__buf_str(out, c->c[b].baseline ? "---|--:|" : "");
    for (const char *const *p = kept; *p; p++)
        sail__buf_str(out, "--:|");
    sail__buf_str(out, "--:|\n");
    for (size_t a = 0; a < c->n; a++) {
        sail__buf_printf(out, "| %s |", c->c[a].name);
        for (size_t b = 0; b < c->n; b++) {
            if (!c->c[b].baseline)
                continue;
            rate x = rate_of(r, c, a, b);
            char name[600];
            snprintf(name, sizeof name, "win_rate/%s_vs_%s/length_controlled", c->c[a].name, c->c[b].name);
            double controlled = sail__report_value(r, c->stage, name);
            if (isnan(x.mean))
                sail__buf_str(out, " |");
            else
                sail__buf_printf(out, " %.3f [%.3f, %.3f] |", x.mean, x.low, x.high);
            if (isnan(controlled))
                sail__buf_str(out, " |");
            else
                sail__buf_printf(out, " %.3f |", controlled);
        }
        for (const char *const *p = kept; *p; p++) {
            const report_series *s = sail__report_mean(d, r, &c->c[a], *p);
            sail__buf_str(out, " ");
            if (s && s->n)
                sail__report_number(out, s->rows[s->n - 1].value);
            sail__buf_str(out, " |");
        }
        sail__buf_printf(out, " %.1f |\n", length_of(r, c, a));
    }
    sail__buf_str(out, "\nShare of prompts on which the judge prefers the row's response, with a 95 % interval; both orders, a tie counts one half. ");
    if (!isnan(c->prompts))
        sail__buf_printf(out, "%.0f prompts, ", c->prompts);
    sail__buf_printf(out, "%zu seed%s.\n\n", seeds_of(c), seeds_of(c) == 1 ? "" : "s");
}
