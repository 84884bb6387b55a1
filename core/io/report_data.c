/* report_data.c - what the writers of a report share, and those for scripts: JSON and CSV. */
#include "report_impl.h"
#include "../base/node.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

bool sail__report_is_eval(const char *name) { return !strncmp(name, "eval_", 5); }

int sail__report_section(const char *name)
{
    if (sail__report_is_eval(name))
        return 0;
    if (!strncmp(name, "sail/", 5))
        return 2;
    return !strncmp(name, "time/", 5) || !strncmp(name, "memory/", 7) ? 3 : 1;
}

const char *sail__report_fact(const report_run *r, const char *key)
{
    for (size_t i = 0; i < r->n_facts; i++)
        if (!strcmp(r->keys[i], key))
            return r->values[i];
    return NULL;
}

void sail__report_number(sail_buf *out, double v)
{
    if (isnan(v))
        sail__buf_str(out, "nan");
    else if (isinf(v))
        sail__buf_str(out, v > 0 ? "inf" : "-inf");
    else if (v != 0 && (fabs(v) >= 1e6 || fabs(v) < 1e-3))
        sail__buf_printf(out, "%.3g", v);
    else if (v == floor(v) && fabs(v) < 1e6)
        sail__buf_printf(out, "%.0f", v + 0.0);
    else
        sail__buf_printf(out, "%.4g", v);
}

static void json_number(sail_buf *out, double v)
{
    if (isnan(v))
        sail__buf_str(out, "\"nan\"");
    else if (isinf(v))
        sail__buf_str(out, v > 0 ? "\"inf\"" : "\"-inf\"");
    else
        sail__buf_printf(out, "%.17g", v);
}

static void json_text(sail_buf *out, const char *text)
{
    if (text)
        sail__json_quote(out, text, strlen(text));
    else
        sail__buf_str(out, "null");
}

static void json_member(sail_buf *out, const char *key, const char *text)
{
    sail__buf_printf(out, "\"%s\":", key);
    json_text(out, text);
    sail__buf_str(out, ",");
}

static void json_ids(sail_buf *out, const int32_t *ids, size_t n)
{
    sail__buf_str(out, "[");
    for (size_t i = 0; ids && i < n; i++)
        sail__buf_printf(out, "%s%d", i ? "," : "", ids[i]);
    sail__buf_str(out, "]");
}

static void json_metrics(sail_buf *out, const report_run *r)
{
    const char *stage = NULL;
    sail__buf_str(out, "\"metrics\":{");
    for (size_t i = 0; i < r->n_series; i++) {
        const report_series *s = &r->series[i];
        if (!stage || strcmp(stage, s->stage) != 0) {
            sail__buf_str(out, stage ? "}," : "");
            json_text(out, s->stage);
            sail__buf_str(out, ":{");
        } else {
            sail__buf_str(out, ",");
        }
        stage = s->stage;
        json_text(out, s->name);
        sail__buf_str(out, ":[");
        for (size_t k = 0; k < s->n; k++) {
            sail__buf_printf(out, "%s[%lld,", k ? "," : "", (long long)s->rows[k].step);
            json_number(out, s->rows[k].value);
            sail__buf_str(out, "]");
        }
        sail__buf_str(out, "]");
    }
    sail__buf_str(out, stage ? "}}" : "}");
}

static void json_floats(sail_buf *out, const float *x, size_t n)
{
    sail__buf_str(out, "[");
    for (size_t i = 0; x && i < n; i++) {
        sail__buf_str(out, i ? "," : "");
        json_number(out, (double)x[i]);
    }
    sail__buf_str(out, "]");
}

static void json_sample(sail_buf *out, const sail__sample *p)
{
    sail__buf_printf(out, "{\"step\":%lld,\"index\":%lld,", (long long)p->step, (long long)p->index);
    json_member(out, "stage", p->stage);
    json_member(out, "kind", p->kind);
    json_member(out, "route", p->route);
    json_member(out, "prompt", p->prompt);
    sail__buf_str(out, "\"prompt_ids\":");
    json_ids(out, p->prompt_ids, p->n_prompt);
    sail__buf_printf(out, ",\"outcome\":%d,\"responses\":[", p->outcome);
    for (int k = 0; k < p->k; k++) {
        const sail__sample_response *r = &p->responses[k];
        sail__buf_str(out, k ? ",{" : "{");
        json_member(out, "writer", r->writer);
        json_member(out, "text", r->text);
        sail__buf_str(out, "\"ids\":");
        json_ids(out, r->ids, r->n);
        sail__buf_str(out, ",\"logprobs\":");
        json_floats(out, r->logps, r->n);
        sail__buf_str(out, ",\"reference_logprobs\":");
        json_floats(out, r->ref, r->n);
        sail__buf_str(out, ",\"score\":");
        if (isnan(r->score))
            sail__buf_str(out, "null");
        else
            json_number(out, r->score);
        sail__buf_str(out, "}");
    }
    sail__buf_str(out, "]}");
}

sail_code sail__report_json(const report_data *d, sail_buf *out, sail_err *err)
{
    (void)err;
    sail__buf_str(out, "{\"runs\":[");
    for (size_t i = 0; i < d->n; i++) {
        const report_run *r = &d->runs[i];
        sail__buf_str(out, i ? ",{" : "{");
        json_member(out, "name", r->name);
        json_member(out, "path", r->path);
        sail__buf_str(out, "\"info\":{");
        for (size_t k = 0; k < r->n_facts; k++) {
            sail__buf_str(out, k ? "," : "");
            json_text(out, r->keys[k]);
            sail__buf_str(out, ":");
            json_text(out, r->values[k]);
        }
        sail__buf_str(out, "},");
        json_metrics(out, r);
        sail__buf_str(out, ",\"samples\":[");
        for (size_t k = 0; k < r->n_samples; k++) {
            sail__buf_str(out, k ? "," : "");
            json_sample(out, &r->samples[k]);
        }
        sail__buf_str(out, "],\"events\":[");
        for (size_t k = 0; k < r->n_events; k++) {
            const sail__event_row *e = &r->events[k];
            sail__buf_printf(out, "%s{\"step\":%lld,\"time\":%.3f,", k ? "," : "", (long long)e->step, e->time);
            json_member(out, "stage", e->stage);
            json_member(out, "kind", e->kind);
            sail__buf_str(out, "\"message\":");
            json_text(out, e->message);
            sail__buf_str(out, "}");
        }
        sail__buf_str(out, "]}");
    }
    sail__buf_str(out, "]}\n");
    return SAIL_OK;
}

/* ---- CSV ---- */

static void csv_text(sail_buf *out, const char *text)
{
    /* a leading = + - @ would be a formula to a spreadsheet; names begin with letters, so only a strange run name is changed */
    const char *guard = strchr("=+-@", *text) && *text ? "'" : "";
    if (!*guard && !strpbrk(text, ",\"\r\n")) {
        sail__buf_str(out, text);
        return;
    }
    sail__buf_printf(out, "\"%s", guard);
    for (; *text; text++)
        sail__buf_add(out, *text == '"' ? "\"\"" : text, *text == '"' ? 2 : 1);
    sail__buf_str(out, "\"");
}

sail_code sail__report_csv(const report_data *d, sail_buf *out, sail_err *err)
{
    (void)err;
    sail__buf_str(out, "run,stage,step,name,value\n");
    for (size_t i = 0; i < d->n; i++)
        for (size_t k = 0; k < d->runs[i].n_metrics; k++) {
            const sail__metric_row *m = &d->runs[i].metrics[k];
            csv_text(out, d->runs[i].name);
            sail__buf_str(out, ",");
            csv_text(out, m->stage);
            sail__buf_printf(out, ",%lld,", (long long)m->step);
            csv_text(out, m->name);
            sail__buf_printf(out, ",%.17g\n", m->value);
        }
    return SAIL_OK;
}
