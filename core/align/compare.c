/* compare.c - models side by side: responses, win rates over seeds, samples. */
#include "compare.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../sail/rng.h"

/* The answers of one model, kept when the model is closed. */
typedef struct answers {
    sail__written *items;
    size_t n;
} answers;

typedef struct comparison {
    sail_ctx *ctx;
    const sail__stage *stage;
    const sail__contender *c;
    size_t n;
    sail__store *store;
    sail_arena *arena;
    answers **by; /* [contender][seed] */
    sail__session *session; /* of the last model: its rows and texts serve the judge */
    sail__stream stream;
    bool open, told;
} comparison;

/* ---- answers ---- */

static void close_model(comparison *x)
{
    if (x->open)
        sail__stream_close(&x->stream);
    sail__session_close(x->session);
    x->session = NULL;
    x->open = false;
}

static sail_code answer(comparison *x, const sail__model_section *m, answers *out, sail_err *err)
{
    const sail__stage *s = x->stage;
    close_model(x);
    sail__session_spec spec = {.model = m, .backend = &s->backend, .train = SAIL__TRAIN_NOTHING, .need_tokenizer = true, .seed = s->seed};
    SAIL_TRY(sail__session_open(x->ctx, &spec, &x->session, err));
    SAIL_TRY(sail__stream_open(x->session, s, x->store, &x->stream, err));
    x->open = true;
    if (!x->told) /* the same data for all */
        sail__stream_tell_drops(&x->stream, s);
    x->told = true;
    const sail__rows *rows = &x->stream.held_out;
    int64_t n = s->eval.generate > 0 && s->eval.generate < (int64_t)rows->n ? s->eval.generate : (int64_t)rows->n;
    if (n < 1)
        return sail_fail(err, SAIL_E_ARG, "there is no prompt to answer: data.eval has no usable row");
    sail__writing how = sail__evaluation_writing(s, 0);
    return sail__stream_write(&x->stream, SAIL__POLICY, rows, 0, n, &how, x->arena, &out->items, &out->n, err);
}

static sail_code all_answers(comparison *x, sail_err *err)
{
    size_t total = 0, done = 0;
    for (size_t i = 0; i < x->n; i++)
        total += x->c[i].n;
    x->by = sail__arena_array(x->arena, x->n, sizeof *x->by);
    if (!x->by)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; i < x->n; i++) {
        x->by[i] = sail__arena_array(x->arena, x->c[i].n + 1, sizeof **x->by);
        if (!x->by[i])
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        for (size_t s = 0; s < x->c[i].n; s++) {
            if (sail_cancelled(x->ctx))
                return sail_fail(err, SAIL_E_CANCEL, "stopped while answering prompts");
            if (answer(x, &x->c[i].models[s], &x->by[i][s], err) != SAIL_OK)
                return sail_fail_in(err, "model `%s`", x->c[i].name);
            if (x->by[i][s].n != x->by[0][0].n)
                return sail_fail(err, SAIL_E_STATE, "model `%s` can use %zu of the prompts, `%s` %zu: their tokenizers differ too much",
                                 x->c[i].name, x->by[i][s].n, x->c[0].name, x->by[0][0].n);
            sail_progress(x->ctx, "answers", ++done, total);
        }
    }
    return SAIL_OK;
}

/* ---- win rates ---- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool mean_of(const double *const *scores, size_t seeds, int64_t n, const uint64_t *which, const int64_t *prompts, double *out)
{
    double sum = 0;
    int64_t count = 0;
    for (size_t s = 0; s < seeds; s++)
        for (int64_t i = 0; i < n; i++) {
            double v = scores[which ? which[s] : s][prompts ? prompts[i] : i];
            if (isnan(v))
                continue;
            sum += v;
            count++;
        }
    *out = count ? sum / (double)count : NAN;
    return count > 0;
}

sail_code sail__seeds_interval(const double *const *scores, size_t seeds, int64_t n, int64_t resamples, uint64_t seed, double *mean,
                               double *low, double *high, sail_err *err)
{
    *low = *high = NAN;
    if (!mean_of(scores, seeds, n, NULL, NULL, mean))
        return SAIL_OK;
    double *means = sail__malloc((size_t)resamples * sizeof *means);
    uint64_t *which = sail__malloc(seeds * sizeof *which);
    int64_t *prompts = sail__malloc((size_t)n * sizeof *prompts), m = 0;
    sail_code code = means && which && prompts ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (int64_t r = 0; code == SAIL_OK && r < resamples; r++) {
        for (size_t s = 0; s < seeds; s++)
            which[s] = sail_rng_below(seed, SAIL_RNG_BOOTSTRAP, (uint64_t)r, s, 1, seeds);
        for (int64_t i = 0; i < n; i++)
            prompts[i] = (int64_t)sail_rng_below(seed, SAIL_RNG_BOOTSTRAP, (uint64_t)r, (uint64_t)i, 2, (uint64_t)n);
        m += mean_of(scores, seeds, n, which, prompts, &means[m]);
    }
    if (code == SAIL_OK && m > 0) {
        qsort(means, (size_t)m, sizeof *means, ascending);
        *low = sail__quantile(means, m, 0.025);
        *high = sail__quantile(means, m, 0.975);
    }
    sail__free(means);
    sail__free(which);
    sail__free(prompts);
    return code;
}

static sail_code metric(comparison *x, sail__metrics *out, double v, sail_err *err, const char *fmt, ...) SAIL_PRINTF(5, 6);
static sail_code metric(comparison *x, sail__metrics *out, double v, sail_err *err, const char *fmt, ...)
{
    char name[200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    return isnan(v) ? SAIL_OK : sail__metrics_mean(out, sail__arena_strdup(x->arena, name), v, 1, err);
}

/* The scores of one contender against one baseline, by seed. */
typedef struct meeting {
    const double **scores; /* [seeds]; NULL: they did not meet */
    size_t seeds;
} meeting;

/* Contender a against baseline b. */
static sail_code meet(comparison *x, size_t a, size_t b, meeting *kept, sail__metrics *out, sail_err *err)
{
    const sail__contender *ca = &x->c[a], *cb = &x->c[b];
    int64_t n = (int64_t)x->by[0][0].n;
    size_t seeds = ca->n > cb->n ? ca->n : cb->n;
    const double **scores = sail__arena_array(x->arena, seeds, sizeof *scores);
    if (!scores)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    double ties = 0, controlled = 0, authors = 0;
    for (size_t s = 0; s < seeds; s++) {
        double *own = sail__arena_array(x->arena, (size_t)n, sizeof *own);
        sail__compared c;
        if (!own)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        SAIL_TRY(sail__compare(&x->stream, &x->stage->eval_judge, &x->stream.held_out, x->by[a][s % ca->n].items, x->by[b][s % cb->n].items, n,
                               x->stage->eval.bootstrap, own, &c, err));
        scores[s] = own;
        ties += isnan(c.rate.tie_rate) ? 0 : c.rate.tie_rate / (double)seeds;
        controlled += c.length_controlled / (double)seeds; /* unknown for one seed: unknown */
        authors += c.authors / (double)seeds;
    }
    double mean, low, high;
    SAIL_TRY(sail__seeds_interval((const double *const *)scores, seeds, n, x->stage->eval.bootstrap, x->stage->seed, &mean, &low, &high, err));
    *kept = (meeting){scores, seeds};
    SAIL_TRY(metric(x, out, mean, err, "win_rate/%s_vs_%s", ca->name, cb->name));
    SAIL_TRY(metric(x, out, low, err, "win_rate/%s_vs_%s/low", ca->name, cb->name));
    SAIL_TRY(metric(x, out, high, err, "win_rate/%s_vs_%s/high", ca->name, cb->name));
    SAIL_TRY(metric(x, out, controlled, err, "win_rate/%s_vs_%s/length_controlled", ca->name, cb->name));
    if (x->stage->eval.one_order)
        SAIL_TRY(metric(x, out, authors, err, "win_rate/%s_vs_%s/one_order", ca->name, cb->name));
    return metric(x, out, ties, err, "win_rate/%s_vs_%s/ties", ca->name, cb->name);
}

/* How much more often a1 wins over baseline b than a2 does, on the same prompts with the same seeds: what they have in common (hard prompts, a
 * lucky seed of the baseline) cancels. */
static sail_code differ(comparison *x, size_t a1, size_t a2, size_t b, const meeting *m, sail__metrics *out, sail_err *err)
{
    int64_t n = (int64_t)x->by[0][0].n;
    size_t seeds = m[a1].seeds > m[a2].seeds ? m[a1].seeds : m[a2].seeds;
    const double **d = sail__arena_array(x->arena, seeds, sizeof *d);
    double mean, low, high;
    if (!d)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t s = 0; s < seeds; s++) {
        double *own = sail__arena_array(x->arena, (size_t)n + 1, sizeof *own);
        if (!own)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        for (int64_t i = 0; i < n; i++)
            own[i] = m[a1].scores[s % m[a1].seeds][i] - m[a2].scores[s % m[a2].seeds][i];
        d[s] = own;
    }
    SAIL_TRY(sail__seeds_interval(d, seeds, n, x->stage->eval.bootstrap, x->stage->seed, &mean, &low, &high, err));
    const char *names[] = {x->c[a1].name, x->c[a2].name, x->c[b].name};
    SAIL_TRY(metric(x, out, mean, err, "win_rate_difference/%s_minus_%s_vs_%s", names[0], names[1], names[2]));
    SAIL_TRY(metric(x, out, low, err, "win_rate_difference/%s_minus_%s_vs_%s/low", names[0], names[1], names[2]));
    return metric(x, out, high, err, "win_rate_difference/%s_minus_%s_vs_%s/high", names[0], names[1], names[2]);
}

static sail_code lengths(comparison *x, sail__metrics *out, sail_err *err)
{
    for (size_t i = 0; i < x->n; i++) {
        double tokens = 0, count = 0;
        for (size_t s = 0; s < x->c[i].n; s++)
            for (size_t k = 0; k < x->by[i][s].n; k++, count++)
                tokens += (double)x->by[i][s].items[k].n;
        SAIL_TRY(metric(x, out, tokens / count, err, "completions/mean_length/%s", x->c[i].name));
    }
    return SAIL_OK;
}

/* The first prompts with the first seed's response of each model; score: the win score against the first baseline. */
static sail_code samples(comparison *x, const double *const *score, sail_err *err)
{
    enum { MOST = 16 };
    size_t n = x->by[0][0].n < MOST ? x->by[0][0].n : MOST, k = x->n < SAIL_MAX_RESPONSES ? x->n : SAIL_MAX_RESPONSES;
    for (size_t i = 0; i < n; i++) {
        sail__sample_response r[SAIL_MAX_RESPONSES];
        const sail__written *first = &x->by[0][0].items[i];
        const sail__encoded *row = &x->stream.held_out.encoded[first->row];
        sail_buf prompt = {0};
        sail__row_conversation(x->stream.held_out.rows[first->row], &prompt);
        for (size_t j = 0; j < k; j++) {
            const sail__written *w = &x->by[j][0].items[i];
            r[j] = (sail__sample_response){.ids = w->ids, .n = (size_t)w->n, .text = w->text, .logps = w->logp, .writer = x->c[j].name,
                                           .score = score[j] ? score[j][i] : NAN};
        }
        sail__sample one = {.stage = x->stage->name, .step = 0, .index = (int64_t)i, .kind = "eval", .route = "", .prompt_ids = row->prompt,
                            .n_prompt = row->n_prompt, .prompt = prompt.data ? prompt.data : "", .outcome = -1, .k = (int)k, .responses = r};
        sail_code code = sail__store_add_samples(x->store, &one, 1, err);
        sail__buf_free(&prompt);
        SAIL_TRY(code);
    }
    return SAIL_OK;
}

static sail_code compare_all(comparison *x, sail__metrics *out, sail_err *err)
{
    SAIL_TRY(all_answers(x, err));
    SAIL_TRY(lengths(x, out, err));
    const double **score = sail__arena_array(x->arena, x->n, sizeof *score);
    if (!score)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t b = 0; x->stage->eval_judge.loaded && b < x->n; b++) {
        meeting *m = sail__arena_array(x->arena, x->n, sizeof *m);
        if (!m)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        for (size_t a = 0; x->c[b].baseline && a < x->n; a++) {
            if (a == b)
                continue;
            SAIL_TRY(meet(x, a, b, &m[a], out, err));
            score[a] = score[a] ? score[a] : m[a].scores[0];
        }
        for (size_t a1 = 0; x->c[b].baseline && a1 < x->n; a1++)
            for (size_t a2 = 0; a2 < x->n; a2++)
                if (m[a1].scores && m[a2].scores && a2 < a1 && !x->c[a2].baseline)
                    SAIL_TRY(differ(x, a1, a2, b, m, out, err));
    }
    SAIL_TRY(metric(x, out, (double)x->by[0][0].n, err, "completions/prompts"));
    return x->store ? samples(x, (const double *const *)score, err) : SAIL_OK;
}

static sail_code record(comparison *x, const sail__metrics *m, sail_err *err)
{
    const char **names = sail__arena_array(x->arena, m->n + 1, sizeof *names);
    double *values = sail__arena_array(x->arena, m->n + 1, sizeof *values);
    if (!names || !values)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; i < m->n; i++) {
        names[i] = m->items[i].name;
        values[i] = sail__metric_value(&m->items[i]);
    }
    return sail__store_add_metrics(x->store, x->stage->name, 0, names, values, m->n, err);
}

sail_code sail__compare_models(sail_ctx *ctx, const sail__stage *stage, const sail__contender *c, size_t n, sail__store *store,
                               sail__metrics *out, sail_err *err)
{
    comparison x = {.ctx = ctx, .stage = stage, .c = c, .n = n, .store = store, .arena = sail__arena_new()};
    if (!x.arena)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    double start = sail__now();
    sail_code code = store ? sail__store_cut(store, stage->name, -1, err) : SAIL_OK;
    if (code == SAIL_OK)
        code = compare_all(&x, out, err);
    if (code == SAIL_OK)
        code = sail__metrics_mean(out, "time/evaluation", sail__now() - start, 1, err);
    if (code == SAIL_OK && store)
        code = record(&x, out, err);
    close_model(&x);
    sail__arena_free(x.arena);
    return code;
}
