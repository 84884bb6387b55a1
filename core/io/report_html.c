/* report_html.c - one self-contained page. Everything that comes from a run is escaped where it is written. */
#include "report_impl.h"
#include "../base/node.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A picture shows some hundred points; many pictures share a page that should open at once. */
enum { POINTS = 600, POINTS_LEAST = 50, POINTS_OF_PAGE = 24000, STAGES_MOST = 256 };

/* ---- escaping ---- */

void sail__report_escape_part(sail_buf *out, const char *text, size_t n)
{
    for (; n; n--, text++)
        switch (*text) {
        case '&': sail__buf_str(out, "&amp;"); break;
        case '<': sail__buf_str(out, "&lt;"); break;
        case '>': sail__buf_str(out, "&gt;"); break;
        case '"': sail__buf_str(out, "&quot;"); break;
        case '\'': sail__buf_str(out, "&#39;"); break;
        default: sail__buf_add(out, text, 1);
        }
}

void sail__report_escape(sail_buf *out, const char *text)
{
    if (text)
        sail__report_escape_part(out, text, strlen(text));
}

static void html(sail_buf *out, const char *text) { sail__report_escape(out, text); }

/* A JSON string that cannot end the script element around it, nor be taken for a comment. */
void sail__report_script_text(sail_buf *out, const char *text)
{
    sail_buf quoted = {0};
    sail__json_quote(&quoted, text, strlen(text));
    for (size_t i = 0; i < quoted.len; i++)
        if (strchr("<>&", quoted.data[i]))
            sail__buf_printf(out, "\\u%04x", (unsigned)quoted.data[i]);
        else
            sail__buf_add(out, quoted.data + i, 1);
    out->oom = out->oom || quoted.oom;
    sail__buf_free(&quoted);
}

/* ---- charts: names that belong on one picture ---- */

/* "rewards/chosen" and "rewards/rejected" are drawn together: base "rewards/", part "chosen". */
static const char *part_of(const char *name, size_t *base)
{
    static const char *const parts[] = {"chosen", "rejected"};
    const char *slash = strrchr(name, '/');
    *base = strlen(name);
    for (size_t i = 0; slash && i < 2; i++)
        if (!strcmp(slash + 1, parts[i])) {
            *base = (size_t)(slash - name);
            return parts[i];
        }
    return NULL;
}

static bool same_chart(const report_series *a, const report_series *b)
{
    size_t n, m;
    const char *p = part_of(a->name, &n), *q = part_of(b->name, &m);
    return !strcmp(a->stage, b->stage) && n == m && !strncmp(a->name, b->name, n) && !p == !q;
}

static void number(sail_buf *out, double v)
{
    if (isfinite(v))
        sail__buf_printf(out, "%.5g", v);
    else
        sail__buf_str(out, "null");
}

/* A long series as means, as many as a picture can show and the page has room for. */
static void points(sail_buf *out, const report_data *d, const report_series *s)
{
    size_t lines = 1;
    for (size_t i = 0; i < d->n; i++)
        lines += d->runs[i].n_series;
    size_t share = POINTS_OF_PAGE / lines, most = share < POINTS_LEAST ? POINTS_LEAST : share > POINTS ? POINTS : share;
    size_t every = (s->n + most - 1) / most;
    sail__buf_str(out, "\"x\":[");
    for (size_t i = 0; i < s->n; i += every) {
        size_t last = i + every - 1 < s->n ? i + every - 1 : s->n - 1;
        sail__buf_printf(out, "%s%lld", i ? "," : "", (long long)s->rows[last].step);
    }
    sail__buf_str(out, "],\"y\":[");
    for (size_t i = 0; i < s->n; i += every) {
        double sum = 0;
        size_t n = 0;
        for (size_t k = i; k < i + every && k < s->n; k++)
            if (isfinite(s->rows[k].value)) {
                sum += s->rows[k].value;
                n++;
            }
        sail__buf_str(out, i ? "," : "");
        number(out, n ? sum / (double)n : (double)NAN);
    }
    sail__buf_str(out, "]");
}

/* Stages in the order in which the runs met them. */
typedef struct stage_list {
    const char *names[STAGES_MOST];
    size_t n;
} stage_list;

static void find_stages(const report_data *d, stage_list *l)
{
    l->n = 0;
    for (size_t i = 0; i < d->n; i++)
        for (size_t k = 0; k < d->runs[i].n_series; k++) {
            size_t j = 0;
            while (j < l->n && strcmp(l->names[j], d->runs[i].series[k].stage) != 0)
                j++;
            if (j == l->n && l->n < STAGES_MOST)
                l->names[l->n++] = d->runs[i].series[k].stage;
        }
}

static size_t stage_index(const stage_list *l, const char *stage)
{
    for (size_t i = 0; i < l->n; i++)
        if (!strcmp(l->names[i], stage))
            return i;
    return 0;
}

/* A picture of a single point says less than the table does. */
static bool drawn(const report_series *s)
{
    size_t finite = 0;
    for (size_t i = 0; i < s->n; i++)
        finite += isfinite(s->rows[i].value) != 0;
    return finite > 1;
}

static void chart(const report_data *d, const stage_list *stages, const report_series *first, sail_buf *out, bool *any)
{
    size_t base;
    const char *part = part_of(first->name, &base);
    char name[256];
    snprintf(name, sizeof name, "%.*s%s", (int)base, first->name, part ? ": chosen, rejected" : "");
    sail__buf_printf(out, "%s\n{\"at\":\"c%zu-%d\",\"name\":", *any ? "," : "", stage_index(stages, first->stage),
                     sail__report_section(first->name));
    sail__report_script_text(out, name);
    sail__buf_str(out, ",\"lines\":[");
    *any = true;
    bool comma = false;
    for (size_t i = 0; i < d->n; i++)
        for (size_t k = 0; k < d->runs[i].n_series; k++) {
            const report_series *s = &d->runs[i].series[k];
            if (!same_chart(first, s))
                continue;
            const char *p = part_of(s->name, &base);
            sail__buf_printf(out, "%s{\"run\":%zu,\"part\":\"%s\",\"dash\":%d,", comma ? "," : "", i, p ? p : "", p && !strcmp(p, "rejected"));
            points(out, d, s);
            sail__buf_str(out, "}");
            comma = true;
        }
    sail__buf_str(out, "]}");
}

/* What one looks at first stands first; the others follow by name. */
static const char *const ranked[] = {"loss", "rewards/accuracies", "rewards/margins", "rewards/chosen", "objective/kl", "logps/chosen",
                                     "eval_win_rate", "eval_rewards/accuracies", "eval_rewards/margins", "eval_objective/kl", "eval_loss"};
enum { RANKS = sizeof ranked / sizeof ranked[0] };

static int rank_of(const report_series *s)
{
    for (int i = 0; i < RANKS; i++) {
        report_series first = {s->stage, ranked[i], NULL, 0};
        if (same_chart(&first, s))
            return i;
    }
    return RANKS;
}

static bool charted_before(const report_data *d, size_t run, size_t series)
{
    const report_series *s = &d->runs[run].series[series];
    for (size_t i = 0; i <= run; i++)
        for (size_t k = 0; k < (i == run ? series : d->runs[i].n_series); k++)
            if (same_chart(&d->runs[i].series[k], s) && drawn(&d->runs[i].series[k]))
                return true;
    return false;
}

/* One chart for each group of names over all runs; has[stage][section] says which boxes are needed. */
static void charts(const report_data *d, const stage_list *stages, sail_buf *out, bool has[][4], bool any)
{
    for (int rank = 0; rank <= RANKS; rank++)
        for (size_t i = 0; i < d->n; i++)
            for (size_t k = 0; k < d->runs[i].n_series; k++) {
                const report_series *s = &d->runs[i].series[k];
                if (rank_of(s) != rank || !drawn(s) || charted_before(d, i, k))
                    continue;
                has[stage_index(stages, s->stage)][sail__report_section(s->name)] = true;
                chart(d, stages, s, out, &any);
            }
}

/* ---- methods: a line for each model of a comparison, the mean over its seeds ---- */

typedef struct run_comparisons {
    report_comparison *c;
    size_t n;
    int *charts; /* of each comparison */
} run_comparisons;

static sail_code find_comparisons(const report_data *d, run_comparisons **out, bool *any, sail_err *err)
{
    *out = sail__arena_array(d->arena, d->n + 1, sizeof **out);
    *any = false;
    for (size_t i = 0; *out && i < d->n; i++) {
        run_comparisons *r = &(*out)[i];
        if (!sail__report_comparisons(d, &d->runs[i], &r->c, &r->n) || !(r->charts = sail__arena_array(d->arena, r->n + 1, sizeof *r->charts)))
            return sail_fail(err, SAIL_E_NOMEM, "report: out of memory");
        *any = *any || r->n > 0;
    }
    return *out ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "report: out of memory");
}

/* Fine-tuning has a loss of another kind: only what learned from preferences is on one picture. */
static bool aligned(const report_data *d, const report_run *r, const report_contender *c)
{
    return sail__report_mean(d, r, c, "rewards/accuracies") != NULL;
}

static bool method_chart(const report_data *d, size_t run, const report_comparison *c, size_t index, const char *name, sail_buf *out, bool *any)
{
    bool begun = false;
    for (size_t k = 0; k < c->n; k++) {
        const report_series *s = aligned(d, &d->runs[run], &c->c[k]) ? sail__report_mean(d, &d->runs[run], &c->c[k], name) : NULL;
        if (!s || !drawn(s))
            continue;
        if (!begun) {
            sail__buf_printf(out, "%s\n{\"at\":\"m%zu-%zu\",\"name\":", *any ? "," : "", run, index);
            sail__report_script_text(out, name);
            sail__buf_str(out, ",\"lines\":[");
        }
        sail__buf_printf(out, "%s{\"run\":%zu,\"color\":%zu,\"part\":\"\",\"dash\":0,\"label\":", begun ? "," : "", run, k);
        sail__report_script_text(out, c->c[k].name);
        sail__buf_str(out, ",");
        points(out, d, s);
        sail__buf_str(out, "}");
        begun = *any = true;
    }
    if (begun)
        sail__buf_str(out, "]}");
    return begun;
}

static void method_charts(const report_data *d, run_comparisons *all, sail_buf *out, bool *any)
{
    for (size_t i = 0; i < d->n; i++)
        for (size_t k = 0; k < all[i].n; k++)
            for (const char *const *name = sail__report_principal; *name && !all[i].c[k].again; name++)
                all[i].charts[k] += method_chart(d, i, &all[i].c[k], k, *name, out, any);
}

static void methods_part(const report_data *d, const run_comparisons *all, sail_buf *out)
{
    for (size_t i = 0; i < d->n; i++)
        for (size_t k = 0; k < all[i].n; k++)
            if (all[i].charts[k])
                sail__buf_printf(out, "<section><h2>Training, by step%s</h2><div class='charts' id='m%zu-%zu'></div></section>\n",
                                 d->n == 1 ? "; the mean over a method's seeds" : "", i, k);
}

/* ---- the top: runs and their facts ---- */

static void fact(sail_buf *out, const char *key, const char *value)
{
    if (!value || !*value)
        return;
    sail__buf_str(out, "<dt>");
    html(out, key);
    sail__buf_str(out, "</dt><dd>");
    html(out, value);
    sail__buf_str(out, "</dd>");
}

static void run_card(const report_run *r, size_t index, sail_buf *out)
{
    char text[64];
    int64_t steps = 0;
    double begin = INFINITY, end = 0;
    for (size_t i = 0; i < r->n_metrics; i++) {
        begin = fmin(begin, r->metrics[i].time);
        end = fmax(end, r->metrics[i].time);
        if (r->metrics[i].step > steps)
            steps = r->metrics[i].step;
    }
    sail__buf_printf(out, "<div class='card run'><h3><span class='dot' style='background:var(--s%zu)'></span>", index % 8);
    html(out, r->name);
    sail__buf_str(out, "</h3><dl>");
    fact(out, "title", sail__report_fact(r, "title"));
    /* shown elsewhere, or nobody's; so is what a program reads: KIND/STAGE */
    static const char *const machinery[] = {"title", "name", "synced", "directory", "recipe_hash"};
    for (size_t i = 0; i < r->n_facts; i++) {
        const bool other = strchr(r->keys[i], '/') || sail__among(r->keys[i], machinery, sizeof machinery / sizeof machinery[0]);
        if (!other && strlen(r->values[i]) < 400 && strcmp(r->values[i], "[]") != 0)
            fact(out, r->keys[i], r->values[i]);
    }
    snprintf(text, sizeof text, "%lld", (long long)steps);
    fact(out, "last step", text);
    if (end > begin) {
        long seconds = (long)(end - begin);
        snprintf(text, sizeof text, "%ld:%02ld:%02ld", seconds / 3600, seconds / 60 % 60, seconds % 60);
        fact(out, "time", text);
    }
    sail__buf_str(out, "</dl></div>\n");
}

/* ---- tables ---- */

static const report_series *series_of(const report_run *r, const char *stage, const char *name)
{
    for (size_t i = 0; i < r->n_series; i++)
        if (!strcmp(r->series[i].stage, stage) && !strcmp(r->series[i].name, name))
            return &r->series[i];
    return NULL;
}

static void cell(sail_buf *out, const char *class_name, double v)
{
    sail__buf_printf(out, "<td class='%s'>", class_name);
    sail__report_number(out, v);
    sail__buf_str(out, "</td>");
}

/* Larger is better, smaller is better, or neither: only where the name says it. */
static int better(const char *name)
{
    static const char *const up[] = {"accuracies", "accuracy", "margins", "margin", "win_rate", "score"};
    static const char *const down[] = {"loss"};
    for (size_t i = 0; i < sizeof up / sizeof up[0]; i++)
        if (strstr(name, up[i]))
            return 1;
    for (size_t i = 0; i < sizeof down / sizeof down[0]; i++)
        if (strstr(name, down[i]))
            return -1;
    return 0;
}

static void before_after(sail_buf *out, const report_series *s)
{
    if (!s) {
        sail__buf_str(out, "<td class='n g'></td><td class='n'></td><td class='n'></td>");
        return;
    }
    double first = s->rows[0].value, last = s->rows[s->n - 1].value, change = last - first;
    /* of a single evaluation its step says which side it is */
    if (s->n > 1 || s->rows[0].step <= 0)
        cell(out, "n g", first);
    else
        sail__buf_str(out, "<td class='n g'></td>");
    if (s->n > 1 || s->rows[0].step > 0)
        cell(out, "n", last);
    else
        sail__buf_str(out, "<td class='n'></td>");
    int good = better(s->name);
    bool moved = isfinite(change) && change != 0 && s->n > 1;
    sail__buf_printf(out, "<td class='n %s'>", !moved || !good ? "soft" : (change > 0) == (good > 0) ? "up" : "down");
    if (s->n > 1 && isfinite(change)) {
        sail__buf_str(out, change >= 0 ? "+" : "\xe2\x88\x92");
        sail__report_number(out, fabs(change));
    }
    sail__buf_str(out, "</td>");
}

static void first_last(sail_buf *out, const report_series *s)
{
    double low = INFINITY, high = -INFINITY;
    if (!s) {
        sail__buf_str(out, "<td class='n g'></td><td class='n'></td><td class='n'></td>");
        return;
    }
    for (size_t i = 0; i < s->n; i++)
        if (isfinite(s->rows[i].value)) {
            low = fmin(low, s->rows[i].value);
            high = fmax(high, s->rows[i].value);
        }
    cell(out, "n g", s->rows[s->n - 1].value);
    cell(out, "n", low <= high ? low : (double)NAN);
    cell(out, "n", low <= high ? high : (double)NAN);
}

static void table_head(const report_data *d, const char *const columns[3], sail_buf *out)
{
    sail__buf_str(out, "<thead>");
    if (d->n > 1) {
        sail__buf_str(out, "<tr><th></th>");
        for (size_t i = 0; i < d->n; i++) {
            sail__buf_printf(out, "<th class='g' colspan='3'><span class='dot' style='background:var(--s%zu)'></span> ", i % 8);
            html(out, d->runs[i].name);
            sail__buf_str(out, "</th>");
        }
        sail__buf_str(out, "</tr>");
    }
    sail__buf_str(out, "<tr><th>metric</th>");
    for (size_t i = 0; i < d->n; i++)
        for (int k = 0; k < 3; k++)
            sail__buf_printf(out, "<th class='n%s'>%s</th>", k ? "" : " g", columns[k]);
    sail__buf_str(out, "</tr></thead><tbody>\n");
}

static bool seen_before(const report_data *d, size_t run, const report_series *s)
{
    for (size_t i = 0; i < run; i++)
        if (series_of(&d->runs[i], s->stage, s->name))
            return true;
    return false;
}

static void table(const report_data *d, const char *stage, bool eval, sail_buf *out)
{
    static const char *const eval_columns[] = {"before", "after", "change"}, *const train_columns[] = {"last", "lowest", "highest"};
    bool begun = false;
    for (size_t i = 0; i < d->n; i++)
        for (size_t k = 0; k < d->runs[i].n_series; k++) {
            const report_series *s = &d->runs[i].series[k];
            if (strcmp(s->stage, stage) != 0 || sail__report_is_eval(s->name) != eval || seen_before(d, i, s))
                continue;
            if (!begun) {
                sail__buf_printf(out, "<h3>%s</h3><div class='card wide'><table>", eval ? "Evaluation, before and after" : "Training, last value and range");
                table_head(d, eval ? eval_columns : train_columns, out);
            }
            begun = true;
            sail__buf_str(out, "<tr><th>");
            html(out, s->name);
            sail__buf_str(out, "</th>");
            for (size_t r = 0; r < d->n; r++)
                (eval ? before_after : first_last)(out, series_of(&d->runs[r], stage, s->name));
            sail__buf_str(out, "</tr>\n");
        }
    if (begun)
        sail__buf_str(out, "</tbody></table></div>\n");
}

static void stage_part(const report_data *d, const stage_list *stages, size_t index, const bool has[4], bool folded, sail_buf *out)
{
    static const char *const titles[] = {"Evaluation", "Training", "Routes and terms", "Time and memory"};
    static const int order[] = {0, 1, 2, 3};
    sail__buf_str(out, folded ? "<details class='stage'><summary>" : "<section><h2>");
    html(out, stages->names[index]);
    sail__buf_str(out, folded ? "</summary>\n" : "</h2>\n");
    table(d, stages->names[index], true, out);
    for (int i = 0; i < 4; i++)
        if (has[order[i]])
            sail__buf_printf(out, "<h3>%s, by step</h3><div class='charts' id='c%zu-%d'></div>\n", titles[order[i]], index, order[i]);
    table(d, stages->names[index], false, out);
    sail__buf_str(out, folded ? "</details>\n" : "</section>\n");
}

/* ---- samples ---- */

/* Whether it is known what both models say of each token, and where in the text it stands. */
static bool has_ratios(const sail__sample_response *a)
{
    if (!a->text || !a->ends || !a->logps || !a->ref)
        return false;
    for (size_t i = 1; i < a->n; i++)
        if (a->ends[i] < a->ends[i - 1])
            return false;
    return a->n > 0 && a->ends[a->n - 1] == strlen(a->text);
}

/* Each token on a ground that says how much likelier (green) or less likely (red) the policy finds it than the reference: full at e^3. */
static void coloured_text(const sail__sample_response *a, size_t skip, sail_buf *out)
{
    for (size_t i = 0, from = skip; i < a->n; i++) {
        const double ratio = (double)a->logps[i] - (double)a->ref[i];
        if (a->ends[i] <= from)
            continue;
        if (isfinite(ratio))
            sail__buf_printf(out, "<i class='t' title='%+.2f' style='--c:var(--%s);--w:%.0f%%'>", ratio, ratio < 0 ? "bad" : "good",
                             45 * fmin(1, fabs(ratio) / 3));
        sail__report_escape_part(out, a->text + from, a->ends[i] - from);
        sail__buf_str(out, isfinite(ratio) ? "</i>" : "");
        from = a->ends[i];
    }
}

static void answer(const report_data *d, const report_run *r, const sail__sample *p, int k, sail_buf *out)
{
    const sail__sample_response *a = &p->responses[k];
    sail__buf_str(out, "<div class='answer'><header>");
    if (d->n > 1)
        sail__buf_printf(out, "<span class='dot' style='background:var(--s%zu)'></span>", (size_t)(r - d->runs) % 8);
    sail__buf_str(out, "<b>");
    html(out, d->n > 1 ? r->name : a->writer && *a->writer ? a->writer : "response");
    sail__buf_str(out, "</b>");
    if (d->n > 1 && a->writer && *a->writer) {
        sail__buf_str(out, "<span>");
        html(out, a->writer);
        sail__buf_str(out, "</span>");
    }
    if (p->k < 3) { /* more than two are models side by side, after their last step */
        sail__buf_str(out, "<span>");
        html(out, p->stage);
        sail__buf_printf(out, ", step %lld</span>", (long long)p->step);
    }
    if (*p->route) {
        sail__buf_str(out, "<span class='badge'>");
        html(out, p->route);
        sail__buf_str(out, "</span>");
    }
    if (p->k > 2 && (a->score == 0 || a->score == 0.5 || a->score == 1)) {
        sail__buf_printf(out, "<span class='badge%s'>%s</span>", a->score == 1 ? " win" : "", a->score == 1 ? "wins" : a->score == 0 ? "loses" : "tie");
    } else if (isfinite(a->score)) {
        sail__buf_str(out, "<span class='badge'>score ");
        sail__report_number(out, a->score);
        sail__buf_str(out, "</span>");
    }
    if (p->k == 2 && (p->outcome == k || p->outcome == 2))
        sail__buf_str(out, p->outcome == 2 ? "<span class='badge'>tie</span>" : "<span class='badge win'>preferred</span>");
    sail__buf_printf(out, "<span>%zu tokens</span></header><p>", a->n);
    const size_t skip = a->text && a->text[0] == ' ' && a->text[1] > ' '; /* the space before a continuation's first word */
    if (has_ratios(a) && *a->text)
        coloured_text(a, skip, out);
    else if (a->text && *a->text)
        html(out, a->text + skip);
    else
        sail__buf_str(out, a->text ? "<span class='soft'>(empty)</span>" : "<span class='soft'>(token ids only)</span>");
    sail__buf_str(out, "</p></div>");
}

static bool same_prompt(const sail__sample *a, const sail__sample *b)
{
    if (a->prompt && b->prompt)
        return !strcmp(a->prompt, b->prompt);
    return !a->prompt && !b->prompt && a->n_prompt == b->n_prompt &&
           (!a->n_prompt || !memcmp(a->prompt_ids, b->prompt_ids, a->n_prompt * sizeof *a->prompt_ids));
}

/* The first and the last of a run's samples of this prompt in each stage: before and after. */
static bool at_the_ends(const report_run *r, const sail__sample *p)
{
    int64_t first = INT64_MAX, last = INT64_MIN;
    for (size_t i = 0; i < r->n_samples; i++) {
        const sail__sample *q = &r->samples[i];
        if (!strcmp(q->stage, p->stage) && same_prompt(q, p)) {
            first = q->step < first ? q->step : first;
            last = q->step > last ? q->step : last;
        }
    }
    return p->step == first || p->step == last;
}

/* The reference says the same before and after: once is enough. */
static bool said_before(const report_run *r, size_t at, int k)
{
    const sail__sample *p = &r->samples[at];
    const sail__sample_response *a = &p->responses[k];
    for (size_t i = 0; i < at && a->text && a->writer; i++) {
        const sail__sample *q = &r->samples[i];
        for (int j = 0; same_prompt(p, q) && at_the_ends(r, q) && j < q->k; j++) {
            const sail__sample_response *b = &q->responses[j];
            if (b->text && b->writer && !strcmp(a->text, b->text) && !strcmp(a->writer, b->writer) && q->step != p->step)
                return true;
        }
    }
    return false;
}

static bool shown_before(const report_data *d, size_t run, size_t at)
{
    const sail__sample *p = &d->runs[run].samples[at];
    for (size_t i = 0; i <= run; i++)
        for (size_t k = 0; k < (i == run ? at : d->runs[i].n_samples); k++)
            if (same_prompt(&d->runs[i].samples[k], p))
                return true;
    return false;
}

static void samples(const report_data *d, sail_buf *out)
{
    size_t left = d->options->samples ? d->options->samples : 12;
    bool begun = false, ratios = false;
    for (size_t i = 0; i < d->n && left; i++)
        for (size_t k = 0; k < d->runs[i].n_samples && left; k++) {
            const sail__sample *p = &d->runs[i].samples[k];
            if (shown_before(d, i, k))
                continue;
            left--;
            sail__buf_printf(out, "%s<div class='card sample'><p class='prompt'>", begun ? "" : "<section><h2>Samples</h2>\n");
            begun = true;
            if (p->prompt)
                html(out, p->prompt);
            else
                sail__buf_printf(out, "<span class='soft'>(a prompt of %zu token ids)</span>", p->n_prompt);
            sail__buf_str(out, "</p><div class='answers'>");
            for (size_t r = i; r < d->n; r++)
                for (size_t j = 0; j < d->runs[r].n_samples; j++) {
                    const sail__sample *q = &d->runs[r].samples[j];
                    for (int a = 0; same_prompt(p, q) && at_the_ends(&d->runs[r], q) && a < q->k; a++)
                        if (!said_before(&d->runs[r], j, a)) {
                            answer(d, &d->runs[r], q, a, out);
                            ratios = ratios || has_ratios(&q->responses[a]);
                        }
                }
            sail__buf_str(out, "</div></div>\n");
        }
    if (begun)
        sail__buf_printf(out, "%s</section>\n", !ratios ? "" : "<p class='note'>Words on a ground: their log-ratio, green where the policy finds them "
                                                               "likelier than the reference, red where less; point at one for the number.</p>");
}

/* ---- events ---- */

static void events(const report_data *d, sail_buf *out)
{
    bool begun = false;
    for (size_t i = 0; i < d->n; i++)
        for (size_t k = 0; k < d->runs[i].n_events; k++) {
            const sail__event_row *e = &d->runs[i].events[k];
            if (!begun)
                sail__buf_str(out, "<section><h2>Events</h2><details class='stage'><summary>start, checkpoints, guards, warnings, end</summary><div class='card wide'><table><thead><tr><th>run</th><th>stage</th>"
                                   "<th class='n'>step</th><th>what</th><th></th></tr></thead><tbody>\n");
            begun = true;
            sail__buf_str(out, "<tr><td>");
            html(out, d->runs[i].name);
            sail__buf_str(out, "</td><td>");
            html(out, e->stage);
            sail__buf_printf(out, "</td><td class='n'>%lld</td><td>", (long long)e->step);
            html(out, e->kind);
            sail__buf_str(out, "</td><td>");
            html(out, e->message);
            sail__buf_str(out, "</td></tr>\n");
        }
    if (begun)
        sail__buf_str(out, "</tbody></table></div></details></section>\n");
}

/* ---- the page ---- */

static void title_text(const report_data *d, sail_buf *out)
{
    const char *title = d->options->title ? d->options->title : d->n == 1 ? sail__report_fact(&d->runs[0], "title") : NULL;
    if (title && *title)
        html(out, title);
    else if (d->n == 1)
        html(out, d->runs[0].name);
    else
        sail__buf_printf(out, "%zu runs compared", d->n);
}

static void head(const report_data *d, sail_buf *out)
{
    sail__buf_str(out, "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>\n"
                       "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'; "
                       "script-src 'unsafe-inline'\">\n"
                       "<meta name='viewport' content='width=device-width,initial-scale=1'>\n<meta name='color-scheme' content='light dark'>\n"
                       "<title>sail: ");
    title_text(d, out);
    sail__buf_printf(out, "</title>\n<style>%s</style></head><body><main>\n<h1>", sail__report_css);
    title_text(d, out);
    sail__buf_str(out, "</h1>\n");
}

static void run_cards(const report_data *d, sail_buf *out)
{
    sail__buf_str(out, "<div class='runs'>\n");
    for (size_t i = 0; i < d->n; i++)
        run_card(&d->runs[i], i, out);
    sail__buf_str(out, "</div>\n");
}

static void bar(sail_buf *out)
{
    sail__buf_str(out, "<div class='bar'><span id='legend' style='display:contents'></span><label>smoothing "
                       "<input id='smooth' type='range' min='0' max='0.98' step='0.02' value='0.8'></label></div>\n");
}

/* With a comparison its result stands first, then the methods' curves and responses; what each stage did is unfolded on demand. */
static void compared_page(const report_data *d, const run_comparisons *all, const stage_list *stages, const bool has[][4], bool drawings,
                          sail_buf *out)
{
    for (size_t i = 0; i < d->n; i++)
        for (size_t k = 0; k < all[i].n; k++)
            sail__report_win_rates_html(d, &d->runs[i], &all[i].c[k], out);
    if (drawings)
        bar(out);
    methods_part(d, all, out);
    samples(d, out);
    sail__buf_str(out, "<p class='note'>Wins, ties and losses of a sample are against the first other model of the table.</p>\n");
    sail__buf_str(out, "<section><h2>The run</h2>\n");
    run_cards(d, out);
    sail__buf_str(out, "</section>\n<section><h2>Stage by stage</h2>\n");
    for (size_t i = 0; i < stages->n; i++)
        stage_part(d, stages, i, has[i], true, out);
    sail__buf_str(out, "</section>\n");
}

static void plain_page(const report_data *d, const stage_list *stages, const bool has[][4], bool tables, bool drawings, sail_buf *out)
{
    run_cards(d, out);
    if (drawings)
        bar(out);
    for (size_t i = 0; i < stages->n; i++)
        stage_part(d, stages, i, has[i], false, out);
    if (!stages->n && !tables)
        sail__buf_str(out, "<p class='soft'>No metric was recorded yet.</p>\n");
    samples(d, out);
}

sail_code sail__report_html(const report_data *d, sail_buf *out, sail_err *err)
{
    stage_list *stages = sail__arena_alloc(d->arena, sizeof *stages);
    bool(*has)[4] = sail__arena_array(d->arena, STAGES_MOST, sizeof *has), compared = false, any = false;
    sail_buf drawings = {0};
    run_comparisons *all;
    if (!stages || !has)
        return sail_fail(err, SAIL_E_NOMEM, "report: out of memory");
    find_stages(d, stages);
    SAIL_TRY(find_comparisons(d, &all, &compared, err));
    sail__report_tables_charts(d, &drawings);
    const size_t before = drawings.len;
    any = before > 0;
    method_charts(d, all, &drawings, &any);
    charts(d, stages, &drawings, has, any);
    head(d, out);
    const size_t top = out->len;
    sail__report_tables_html(d, out);
    if (compared)
        compared_page(d, all, stages, (const bool(*)[4])has, drawings.len > before, out);
    else
        plain_page(d, stages, (const bool(*)[4])has, out->len > top, drawings.len > before, out);
    events(d, out);
    SAIL_TRY(sail__report_recipes_html(d, compared, out, err));
    sail__buf_str(out, "<footer>Made by <span class='mono'>sail report</span>. Curves of more than 1200 steps are drawn through means; "
                       "<span class='mono'>--format csv</span> holds every value.</footer>\n</main>\n<script type='application/json' id='data'>"
                       "{\"runs\":[");
    for (size_t i = 0; i < d->n; i++) {
        sail__buf_str(out, i ? "," : "");
        sail__report_script_text(out, d->runs[i].name);
    }
    sail__buf_str(out, "],\"charts\":[");
    if (drawings.len)
        sail__buf_add(out, drawings.data, drawings.len);
    sail__buf_printf(out, "]}</script>\n<script>%s</script>\n</body></html>\n", sail__report_js);
    out->oom = out->oom || drawings.oom;
    sail__buf_free(&drawings);
    return SAIL_OK;
}
