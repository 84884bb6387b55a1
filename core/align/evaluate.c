/* evaluate.c - held-out pairs, fresh responses, win rates. */
#include "evaluate.h"

#include "calibration.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../sail/rng.h"

sail_code sail__evaluator_init(sail__evaluator *e, sail__stream *st, sail__learner *l, sail_err *err)
{
    *e = (sail__evaluator){.stream = st, .learner = l, .arena = sail__arena_new()};
    return e->arena ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

void sail__evaluator_free(sail__evaluator *e)
{
    if (e->arena)
        sail__arena_free(e->arena);
    memset(e, 0, sizeof *e);
}

/* A metric of a step under its name in evaluation. */
static sail_code prefixed(sail__metrics *out, const sail__metrics *in, bool reference, sail_err *err)
{
    char name[160];
    for (size_t i = 0; i < in->n; i++) {
        const sail__metric *x = &in->items[i];
        /* measured from nothing they would all be 0, or log 2 */
        if (!reference && (strncmp(x->name, "rewards/", 8) == 0 || strcmp(x->name, "loss") == 0 || strncmp(x->name, "sail/", 5) == 0))
            continue;
        /* routes mean nothing here; divergence and length are those of fresh responses, below */
        if (strncmp(x->name, "sail/route_", 11) == 0 || strcmp(x->name, "objective/kl") == 0 || strcmp(x->name, "completions/mean_length") == 0)
            continue;
        snprintf(name, sizeof name, "eval_%s", x->name);
        SAIL_TRY(x->count > 0 ? sail__metrics_mean(out, name, x->sum, x->count, err) : sail__metrics_total(out, name, x->sum, err));
    }
    return SAIL_OK;
}

/* How well the probabilities that a reward model's scores amount to are kept: of a pair, of a ranking's best and worst. */
static sail_code calibration(const sail__stage *live, const sail__step *s, sail__metrics *out, sail_err *err)
{
    const sail_preference_model m = sail__stage_preference(live);
    const int width = sail_preference_width(&m);
    sail__calibration c = {0};
    if (m.ops->outcomes(m.self, 2) <= 0) /* it ranks more places than a pair has */
        return SAIL_OK;
    for (int64_t i = 0; i < s->n; i++) {
        const sail__group *g = &s->groups[i];
        double p, scores[2 * SAIL_MAX_WIDTH];
        for (int d = 0; d < width && d < SAIL_MAX_WIDTH; d++) {
            scores[d] = g->r[0].head[d];
            scores[width + d] = g->r[g->k - 1].head[d];
        }
        SAIL_TRY(sail__win_probability(&m, scores, &p, err));
        sail__calibration_add(&c, p);
    }
    return sail__metrics_mean(out, "eval_calibration/error", sail__calibration_error(&c), c.n > 0, err);
}

static sail_code held_out_pairs(sail__evaluator *e, const sail__stage *live, sail__metrics *out, sail_err *err)
{
    const sail__rows *rows = &e->stream->held_out;
    int64_t want = live->eval.pairs, n = 0;
    sail_arena *a = sail__arena_new();
    if (!a)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    sail__step s = {.arena = a, .seed = e->stream->seed, .outcomes_given = true};
    s.groups = sail__arena_array(a, rows->n + 1, sizeof *s.groups);
    sail_code code = s.groups ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    const bool single = live->objective.loaded->plugin.caps & SAIL_CAP_UNPAIRED;
    for (size_t i = 0; code == SAIL_OK && i < rows->n && n < want; i++) {
        sail__group *g = &s.groups[n];
        *g = sail__group_of_row(rows, (int64_t)i, n * SAIL_MAX_RESPONSES);
        const int needed = sail__stage_has_pairs(live->kind) && !(single && rows->rows[i]->label) ? 2 : 1;
        if (g->k < needed)
            continue;
        g->prompt_id = n;
        g->route = "offline";
        if (needed == 1)
            g->k = 1;
        sail__stream_cached(&e->stream->held_ref, (int64_t)i, g);
        n++;
    }
    s.n = n;
    sail__metrics m = {.arena = a};
    double loss;
    bool known = !e->stream->session->reference_is_policy || e->stream->held_ref.values ||
                 !sail__stage_needs_reference(live);
    if (code == SAIL_OK && n > 0)
        code = sail__learner_evaluate(e->learner, live, &s, &m, &loss, err);
    if (code == SAIL_OK && n > 0)
        code = prefixed(out, &m, known, err);
    if (code == SAIL_OK && n > 0 && live->kind == SAIL__REWARD)
        code = calibration(live, &s, out, err);
    sail__free(m.items);
    sail__arena_free(a);
    return code;
}

/* ---- fresh responses ---- */

/* Mean of log pi(y|x) - log pi_0(y|x) over responses: an estimate of the KL divergence to the reference. *groups: [n], one response each, with
 * what both say of its tokens. */
static sail_code divergence(sail__evaluator *e, const sail__stage *live, const sail__written *w, size_t n, sail_arena *a,
                            const sail__group **groups, sail__metrics *out, sail_err *err)
{
    sail__step s = {.arena = a, .n = (int64_t)n};
    s.groups = sail__arena_array(a, n + 1, sizeof *s.groups);
    if (!s.groups)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        const sail__encoded *x = &e->stream->held_out.encoded[w[i].row];
        s.groups[i] = (sail__group){.prompt = x->prompt, .n_prompt = (int64_t)x->n_prompt, .k = 1};
        s.groups[i].r[0] = (sail__response){.ids = w[i].ids, .n = w[i].n};
    }
    sail__micro *m;
    int64_t parts;
    SAIL_TRY(sail__passes_plan(&s, 0, live->train.max_tokens, &m, &parts, err));
    *groups = s.groups;
    double sum = 0;
    for (int64_t i = 0; i < parts; i++) {
        SAIL_TRY(sail__passes_reference(&e->learner->passes, &s, &m[i], err));
        SAIL_TRY(sail__passes_forward(&e->learner->passes, &s, &m[i], 0, SAIL__PASS_EVAL, err));
    }
    for (size_t i = 0; i < n; i++) {
        const sail__response *r = &s.groups[i].r[0];
        for (int64_t t = 0; t < r->n; t++)
            sum += (double)r->logp[t] - r->ref[t];
    }
    return sail__metrics_mean(out, "eval_objective/kl", sum, (double)n, err);
}

static uint8_t kind_of(int32_t outcome, int32_t winner)
{
    return outcome == SAIL_ABSTAIN ? SAIL__NO_VERDICT : outcome == SAIL_TIE ? SAIL__TIE : outcome == winner ? SAIL__WIN : SAIL__LOSS;
}

static double authors_convention(const sail__verdicts *v, int64_t n, uint64_t seed, sail_arena *a)
{
    uint8_t *order = sail__arena_array(a, (size_t)n + 1, 1);
    for (int64_t i = 0; order && i < n; i++)
        order[i] = sail_rng_uniform(seed, SAIL_RNG_BOOTSTRAP, (uint64_t)i, 0, 3) < 0.5;
    return order ? sail__win_rate_authors(v, n, order) : (double)NAN;
}

sail_code sail__compare(sail__stream *st, const sail_slot *judge, const sail__rows *rows, const sail__written *a, const sail__written *b,
                        int64_t n, int64_t resamples, double *score, sail__compared *out, sail_err *err)
{
    sail_arena *m = sail__arena_new();
    if (!m)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    sail_judge_item *items = sail__arena_array(m, (size_t)(2 * n) + 1, sizeof *items);
    sail_verdict *v = sail__arena_array(m, (size_t)(2 * n) + 1, sizeof *v);
    sail__verdicts *both = sail__arena_array(m, (size_t)n + 1, sizeof *both);
    double *scores = sail__arena_array(m, (size_t)n + 1, sizeof *scores), *y = sail__arena_array(m, (size_t)n + 1, sizeof *y);
    double *d = sail__arena_array(m, (size_t)n + 1, sizeof *d);
    sail_code code = items && v && both && scores && y && d ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (int64_t i = 0; code == SAIL_OK && i < 2 * n; i++) {
        const sail__written *w[2] = {&a[i / 2], &b[i / 2]};
        bool second = i & 1; /* the model's response shown second */
        const char **texts = sail__arena_array(m, 2, sizeof *texts);
        int64_t *tokens = sail__arena_array(m, 2, sizeof *tokens);
        if (!texts || !tokens) {
            code = sail_fail(err, SAIL_E_NOMEM, "out of memory");
            break;
        }
        for (int k = 0; k < 2; k++) {
            texts[k] = w[k ^ (int)second]->text;
            tokens[k] = w[k ^ (int)second]->n;
        }
        code = sail__judging_item(rows->rows[w[0]->row], 2, texts, tokens, m, &items[i], err);
    }
    if (code == SAIL_OK)
        code = sail__judging_ask_as_shown(&st->judging, judge, items, 2 * n, v, err);
    int64_t judged = 0;
    for (int64_t i = 0; code == SAIL_OK && i < n; i++) {
        both[i].order[0] = kind_of(v[2 * i].outcome, 0);
        both[i].order[1] = kind_of(v[2 * i + 1].outcome, 1);
    }
    if (code == SAIL_OK) {
        sail__win_rate_of(both, n, scores, &out->rate);
        for (int64_t i = 0; i < n; i++) {
            if (score)
                score[i] = scores[i];
            if (isnan(scores[i]))
                continue;
            d[judged] = (double)(a[i].n - b[i].n);
            y[judged++] = scores[i];
        }
        if (!judged)
            sail_log(st->session->ctx, SAIL_LOG_WARN, "judge %s gave no verdict on any of %lld pairs: there is no win rate",
                     judge->loaded->plugin.name, (long long)n);
        out->low = out->high = out->length_controlled = NAN;
        out->authors = authors_convention(both, n, st->seed, m);
        if (judged > 0)
            code = sail__bootstrap(y, judged, NULL, resamples, st->seed, NULL, &out->low, &out->high, err);
        sail__length_control lc;
        sail_err ignored;
        if (judged > 1 && sail__length_controlled(y, d, NULL, judged, 0.01, &lc, &ignored) == SAIL_OK)
            out->length_controlled = lc.win_rate;
    }
    sail__arena_free(m);
    return code;
}

static sail_code win_rate_metrics(const sail__compared *c, bool one_order, sail__metrics *out, sail_err *err)
{
    if (isnan(c->rate.win_rate))
        return SAIL_OK;
    SAIL_TRY(sail__metrics_mean(out, "eval_win_rate", c->rate.win_rate, 1, err));
    SAIL_TRY(sail__metrics_mean(out, "eval_win_rate/low", c->low, 1, err));
    SAIL_TRY(sail__metrics_mean(out, "eval_win_rate/high", c->high, 1, err));
    SAIL_TRY(sail__metrics_mean(out, "eval_win_rate/ties", c->rate.tie_rate, 1, err));
    SAIL_TRY(sail__metrics_mean(out, "eval_win_rate/abstentions", c->rate.abstention_rate, 1, err));
    if (one_order && !isnan(c->authors))
        SAIL_TRY(sail__metrics_mean(out, "eval_win_rate/one_order", c->authors, 1, err));
    if (!isnan(c->length_controlled))
        SAIL_TRY(sail__metrics_mean(out, "eval_win_rate/length_controlled", c->length_controlled, 1, err));
    return SAIL_OK;
}

/* Prompts with both responses side by side, for the report. known: what divergence left; NULL: nothing. */
static sail_code keep_samples(sail__evaluator *e, const sail__stage *live, int64_t step, const sail__written *w, const double *score,
                              const sail__group *known, int64_t n, sail_arena *a, sail_err *err)
{
    enum { MOST = 24 };
    sail__sample samples[MOST] = {0};
    sail__sample_response r[MOST][2] = {0};
    char *prompts[MOST] = {0};
    int64_t m = n < MOST ? n : MOST;
    if (!e->stream->store)
        return SAIL_OK;
    for (int64_t i = 0; i < m; i++) {
        const sail__written *ref = e->reference ? &e->reference[i] : NULL;
        sail_buf text = {0};
        sail__row_conversation(e->stream->held_out.rows[w[i].row], &text);
        prompts[i] = text.data;
        r[i][0] = (sail__sample_response){.ids = w[i].ids, .n = (size_t)w[i].n, .text = w[i].text, .logps = w[i].logp, .writer = "policy",
                                          .score = score ? score[i] : NAN, .ref = known ? known[i].r[0].ref : NULL,
                                          .ends = sail__sample_ends(e->stream->session->tokenizer, w[i].ids, (size_t)w[i].n, w[i].text, a)};
        if (ref)
            r[i][1] = (sail__sample_response){.ids = ref->ids, .n = (size_t)ref->n, .text = ref->text, .logps = ref->logp,
                                              .writer = "reference", .score = NAN};
        const sail__encoded *x = &e->stream->held_out.encoded[w[i].row];
        samples[i] = (sail__sample){.stage = live->name, .step = step, .index = i, .kind = "eval", .route = "", .prompt_ids = x->prompt,
                                    .n_prompt = x->n_prompt, .prompt = prompts[i] ? prompts[i] : "", .outcome = -1, .k = ref ? 2 : 1,
                                    .responses = r[i]};
    }
    sail_code code = sail__store_add_samples(e->stream->store, samples, (size_t)m, err);
    for (int64_t i = 0; i < m; i++)
        sail__free(prompts[i]);
    return code;
}

sail__writing sail__evaluation_writing(const sail__stage *s, uint64_t key)
{
    bool contrastive = s->eval.penalty_alpha > 0;
    return (sail__writing){.k = 1, .max_new = s->rollout.max_new ? s->rollout.max_new : s->data.max_response, .stop = s->data.stop,
                           .sampling = {.temperature = s->eval.temperature, .top_p = 1, .typical = 1, .penalty = 1, .top_k = contrastive ? s->eval.top_k : 0},
                           .penalty_alpha = s->eval.penalty_alpha, .key = key};
}

static sail_code fresh_responses(sail__evaluator *e, const sail__stage *live, int64_t step, sail_arena *a, sail__metrics *out, sail_err *err)
{
    const sail__rows *rows = &e->stream->held_out;
    int64_t n = live->eval.generate < (int64_t)rows->n ? live->eval.generate : (int64_t)rows->n;
    sail__writing how = sail__evaluation_writing(live, 0xE7A1000000000000u);
    bool reference = !e->stream->session->reference_is_policy;
    sail__written *w;
    size_t count;
    if (n < 1)
        return SAIL_OK;
    if (!e->reference && reference)
        SAIL_TRY(sail__stream_write(e->stream, SAIL__REFERENCE, rows, 0, n, &how, e->arena, &e->reference, &e->n_reference, err));
    SAIL_TRY(sail__stream_write(e->stream, SAIL__POLICY, rows, 0, n, &how, a, &w, &count, err));
    const sail__group *known = NULL;
    if (reference)
        SAIL_TRY(divergence(e, live, w, count, a, &known, out, err));
    for (size_t i = 0; i < count; i++)
        SAIL_TRY(sail__metrics_mean(out, "eval_completions/mean_length", (double)w[i].n, 1, err));
    double *score = NULL;
    if (live->eval_judge.loaded && reference) {
        sail__compared c;
        score = sail__arena_array(a, count + 1, sizeof *score);
        if (!score)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        SAIL_TRY(sail__compare(e->stream, &live->eval_judge, rows, w, e->reference, (int64_t)count, live->eval.bootstrap, score, &c, err));
        SAIL_TRY(win_rate_metrics(&c, live->eval.one_order, out, err));
    }
    return keep_samples(e, live, step, w, score, known, (int64_t)count, a, err);
}

sail_code sail__evaluate(sail__evaluator *e, const sail__stage *live, int64_t step, sail__metrics *out, sail_err *err)
{
    if (live->eval.pairs > 0)
        SAIL_TRY(held_out_pairs(e, live, out, err));
    if (live->eval.generate < 1 || e->stream->held_out.n == 0)
        return SAIL_OK;
    sail_arena *a = sail__arena_new();
    if (!a)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    sail_code code = fresh_responses(e, live, step, a, out, err);
    sail__arena_free(a);
    return code;
}
