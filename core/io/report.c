/* report.c - reading runs for a report; JSON and CSV. */
#include "report_impl.h"

#include <string.h>

enum { RECIPE_MOST = 1 << 24 };

/* ---- reading ---- */

static sail_code group(sail_arena *a, report_run *r, sail_err *err)
{
    r->series = sail__arena_array(a, r->n_metrics + 1, sizeof *r->series);
    if (!r->series)
        return sail_fail(err, SAIL_E_NOMEM, "%s: out of memory", r->path);
    for (size_t i = 0; i < r->n_metrics; i++) {
        report_series *last = r->n_series ? &r->series[r->n_series - 1] : NULL;
        const sail__metric_row *m = &r->metrics[i];
        if (!last || strcmp(last->stage, m->stage) != 0 || strcmp(last->name, m->name) != 0)
            r->series[r->n_series++] = (report_series){m->stage, m->name, m, 1};
        else
            last->n++;
    }
    return SAIL_OK;
}

static sail_code read_samples(sail__store *s, sail_arena *a, const report_data *d, report_run *r, sail_err *err)
{
    /* a few more than are shown: before and after, several responses to one prompt */
    size_t most = d->options->samples ? d->options->samples * 64 : 768;
    sail__sample *more;
    size_t n;
    SAIL_TRY(sail__store_samples(s, a, NULL, "eval", INT64_MIN, INT64_MAX, most, &r->samples, &r->n_samples, err));
    SAIL_TRY(sail__store_samples(s, a, NULL, "generate", INT64_MIN, INT64_MAX, most, &more, &n, err));
    if (n > 0) {
        sail__sample *both = sail__arena_array(a, r->n_samples + n, sizeof *both);
        if (!both)
            return sail_fail(err, SAIL_E_NOMEM, "%s: out of memory", r->path);
        if (r->n_samples)
            memcpy(both, r->samples, r->n_samples * sizeof *both);
        memcpy(both + r->n_samples, more, n * sizeof *both);
        r->samples = both;
        r->n_samples += n;
    }
    if (r->n_samples)
        return SAIL_OK;
    SAIL_TRY(sail__store_samples(s, a, NULL, "train", INT64_MIN, INT64_MAX, 0, &r->samples, &r->n_samples, err));
    if (r->n_samples > most) { /* of training the last ones */
        r->samples += r->n_samples - most;
        r->n_samples = most;
    }
    return SAIL_OK;
}

static sail_code read_store(sail__store *s, const report_data *d, report_run *r, sail_err *err)
{
    sail_arena *a = d->arena;
    SAIL_TRY(sail__store_infos(s, a, &r->keys, &r->values, &r->n_facts, err));
    SAIL_TRY(sail__store_metrics(s, a, NULL, NULL, &r->metrics, &r->n_metrics, err));
    SAIL_TRY(sail__store_events(s, a, &r->events, &r->n_events, err));
    SAIL_TRY(read_samples(s, a, d, r, err));
    return group(a, r, err);
}

static sail_code read_run(const report_data *d, const char *path, report_run *r, sail_err *err)
{
    sail_arena *a = d->arena;
    sail__store *s;
    char *clean = sail__arena_strdup(a, path);
    if (!clean)
        return sail_fail(err, SAIL_E_NOMEM, "%s: out of memory", path);
    for (size_t n = strlen(clean); n > 1 && clean[n - 1] == '/'; n--)
        clean[n - 1] = '\0';
    r->path = clean;
    r->name = sail__path_base(clean);
    r->recipe = "";
    const char *db = sail__path_join(a, clean, "run.db"), *recipe = sail__path_join(a, clean, "recipe.resolved.yaml");
    if (!db || !recipe)
        return sail_fail(err, SAIL_E_NOMEM, "%s: out of memory", path);
    if (!sail__is_dir(clean))
        return sail_fail(err, SAIL_E_NOTFOUND, "%s: no such run: a directory with run.db is wanted", clean);
    SAIL_TRY(sail__store_open(db, SAIL__STORE_READ, &s, err));
    sail_code code = read_store(s, d, r, err);
    sail__store_close(s);
    SAIL_TRY(code);
    if (sail__file_exists(recipe)) {
        char *text = NULL;
        size_t size = 0;
        SAIL_TRY(sail__file_read(recipe, RECIPE_MOST, &text, &size, err));
        r->recipe = sail__arena_strndup(a, text, size);
        sail__free(text);
        if (!r->recipe)
            return sail_fail(err, SAIL_E_NOMEM, "%s: out of memory", path);
    }
    return SAIL_OK;
}

/* Runs of one name are told apart by their paths. */
static void tell_apart(report_data *d)
{
    for (size_t i = 0; i < d->n; i++)
        for (size_t k = 0; k < d->n; k++)
            if (k != i && !strcmp(sail__path_base(d->runs[i].path), sail__path_base(d->runs[k].path)))
                d->runs[i].name = d->runs[i].path;
}

sail_code sail__report(const char *const *runs, size_t n, const sail__report_options *o, sail_buf *out, sail_err *err)
{
    report_data d = {.arena = sail__arena_new(), .n = n, .options = o};
    sail_code code = SAIL_OK;
    if (!d.arena || !(d.runs = sail__arena_array(d.arena, n + 1, sizeof *d.runs)))
        code = sail_fail(err, SAIL_E_NOMEM, "report: out of memory");
    for (size_t i = 0; code == SAIL_OK && i < n; i++)
        code = read_run(&d, runs[i], &d.runs[i], err);
    if (code == SAIL_OK) {
        static sail_code (*const writers[])(const report_data *, sail_buf *, sail_err *) = {sail__report_json, sail__report_csv,
                                                                                            sail__report_html, sail__report_text, sail__report_markdown};
        tell_apart(&d);
        code = writers[o->format](&d, out, err);
    }
    if (code == SAIL_OK && out->oom)
        code = sail_fail(err, SAIL_E_NOMEM, "report: out of memory");
    sail__arena_free(d.arena);
    return code;
}

/* ---- JSON ---- */
