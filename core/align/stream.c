/* stream.c - data, routes, rollouts and judge labels: the pairs of a step. */
#include "stream.h"

#include <math.h>
#include <string.h>

#include "../nn/contrastive.h"
#include "../sail/rng.h"

#include "batch.h"
#include "routes.h"

/* ---- data ---- */

static sail_code string_list(sail_arena *a, const sail_node *n, const char *key, const char *const **strings, size_t *count, sail_err *err)
{
    size_t items = n->kind == SAIL_NODE_LIST ? n->list.n : 1;
    const char **p = sail__arena_array(a, items + 1, sizeof *p);
    if (!p)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; i < items; i++)
        SAIL_TRY(sail__node_as_string(n->kind == SAIL_NODE_LIST ? n->list.items[i] : n, key, &p[i], err));
    *strings = p;
    *count = items;
    return items ? SAIL_OK : sail_fail(err, SAIL_E_RECIPE, "%s is an empty list", key);
}

static void tell_drops(sail_ctx *ctx, const char *what, const sail__rows *r)
{
    sail_buf b = {0};
    sail__drops_print(&r->drops, r->records, &b);
    if (b.len)
        sail_log(ctx, SAIL_LOG_INFO, "%s: %s", what, b.data);
    sail__buf_free(&b);
}

static sail_code load_rows(sail__stream *st, const sail__stage *stage, const sail_node *files, const char *key, int split, sail__rows *out,
                           sail_err *err)
{
    const sail__data_section *d = &stage->data;
    sail__data_options o = {.reader = &stage->reader, .on_bad_row = d->on_bad_row, .held_out = d->held_out, .split = split,
                            .max_rows = d->max_rows, .fields = d->fields, .pairing = d->pairing};
    sail__encode_options e = {.tokenizer = st->session->tokenizer, .chat = st->session->chat, .max_prompt = d->max_prompt,
                              .max_response = d->max_response, .truncate = d->truncate};
    SAIL_TRY(sail__data_files(st->arena, files, key, &o, err));
    if (files == d->train && split != SAIL__SPLIT_HELD_OUT && sail__data_share(d->share, &o, err) != SAIL_OK)
        return sail_fail_in(err, "data.share");
    SAIL_TRY(sail__data_check_fields(d->fields, err));
    sail__ids closing = {0};
    if (stage->kind == SAIL__REWARD && st->session->tokenizer) /* whole conversations, as they will be scored */
        SAIL_TRY(sail__closing_ids(st->session->chat, st->session->tokenizer, &closing, err));
    e.closing = closing.items;
    e.n_closing = closing.n;
    sail_code code = sail__rows_load(&o, &e, out, err);
    sail__ids_free(&closing);
    return code;
}

static sail_code check_ids(const sail__stream *st, const sail__rows *r, sail_err *err)
{
    int32_t vocab = st->session->config->vocab;
    for (size_t i = 0; i < r->n; i++) {
        const sail__encoded *e = &r->encoded[i];
        sail__encoded_response part = {e->prompt, e->n_prompt, false};
        for (size_t k = 0; part.ids; part = sail__encoded_at(e, k++))
            for (size_t j = 0; j < part.n; j++)
                if (part.ids[j] < 0 || part.ids[j] >= vocab)
                    return sail_fail(err, SAIL_E_ARG, "%s:%lld: token id %d is outside the model's vocabulary of %d", r->rows[i]->file,
                                     (long long)r->rows[i]->line, part.ids[j], vocab);
    }
    return SAIL_OK;
}

/* Rankings of the data are for preference models that rank so many. */
static sail_code check_rankings(const sail__stage *stage, const sail__rows *r, sail_err *err)
{
    const sail_loaded *m = stage->preference.loaded;
    for (size_t i = 0; i < r->n && sail__stage_has_pairs(stage->kind); i++) {
        const int k = (int)sail__encoded_responses(&r->encoded[i]);
        if (k > 2 && ((const sail_preference *)m->ops)->outcomes(stage->preference.options, k) <= 0)
            return sail_fail(err, SAIL_E_RECIPE, "%s:%lld: the record ranks %d responses, and preference model %s is not for so many: data.pairing "
                             "best_worst, neighbours or all makes pairs, or name a model that ranks them, such as plackett_luce", r->rows[i]->file,
                             (long long)r->rows[i]->line, k, m->plugin.name);
    }
    return SAIL_OK;
}

static sail_code check_rows(const sail__stream *st, const sail__stage *stage, const sail__rows *r, sail_err *err)
{
    SAIL_TRY(check_ids(st, r, err));
    return check_rankings(stage, r, err);
}

sail_code sail__stream_open(sail__session *s, const sail__stage *stage, sail__store *store, sail__stream *out, sail_err *err)
{
    memset(out, 0, sizeof *out);
    out->session = s;
    out->judging = (sail__judging){.ctx = s->ctx, .store = store};
    out->store = store;
    out->shuffle = stage->data.shuffle;
    out->seed = stage->seed;
    out->order_pass = -1;
    out->backoff = out->coef = 1;
    out->generator_batch = (int)stage->rollout.batch;
    out->arena = sail__arena_new();
    if (!out->arena)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    const sail__data_section *d = &stage->data;
    sail_code code = SAIL_OK;
    if (!d->train && !d->eval)
        code = sail_fail(err, SAIL_E_RECIPE, "data.train is not set: the file with the data of stage `%s`", stage->name);
    if (code == SAIL_OK && d->train)
        code = load_rows(out, stage, d->train, "data.train", d->eval ? SAIL__SPLIT_ALL : SAIL__SPLIT_TRAIN, &out->train, err);
    if (code == SAIL_OK && (d->eval || d->held_out > 0))
        code = load_rows(out, stage, d->eval ? d->eval : d->train, d->eval ? "data.eval" : "held out of data.train",
                         d->eval ? SAIL__SPLIT_ALL : SAIL__SPLIT_HELD_OUT, &out->held_out, err);
    if (code == SAIL_OK)
        code = check_rows(out, stage, &out->train, err);
    if (code == SAIL_OK && stage->strategy.loaded && ((const sail_strategy *)stage->strategy.loaded->ops)->prompts) {
        out->memory = sail__calloc(out->train.n + 1, sizeof *out->memory);
        code = out->memory ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory for %zu prompts", out->train.n);
    }
    if (code == SAIL_OK)
        code = check_rows(out, stage, &out->held_out, err);
    if (code != SAIL_OK)
        sail__stream_close(out);
    return code;
}

void sail__stream_tell_drops(const sail__stream *st, const sail__stage *stage)
{
    if (stage->data.train)
        tell_drops(st->session->ctx, "data.train", &st->train);
    tell_drops(st->session->ctx, stage->data.eval ? "data.eval" : "held out of data.train", &st->held_out);
}

void sail__stream_close(sail__stream *st)
{
    sail__judging_close(&st->judging);
    sail__generator_free(st->generator);
    sail__generator_free(st->rival);
    sail__replay_free(&st->replay);
    sail__free(st->memory);
    sail__rows_free(&st->train);
    sail__rows_free(&st->held_out);
    sail__free(st->order);
    sail__free(st->train_ref.values);
    sail__free(st->train_ref.first);
    sail__free(st->held_ref.values);
    sail__free(st->held_ref.first);
    sail__arena_free(st->arena);
    memset(st, 0, sizeof *st);
}

/* The row at a position of the endless stream: one pass after another, each in its own order. */
static sail_code row_at(sail__stream *st, int64_t position, int64_t *row, sail_err *err)
{
    int64_t n = (int64_t)st->train.n;
    if (n == 0)
        return sail_fail(err, SAIL_E_ARG, "data.train has no usable row");
    int64_t pass = position / n;
    if (!st->shuffle) {
        *row = position % n;
        return SAIL_OK;
    }
    if (pass != st->order_pass) {
        if (!st->order)
            st->order = sail__malloc((size_t)n * sizeof *st->order);
        if (!st->order)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        sail__shuffle(st->seed, (uint64_t)pass, st->order, (size_t)n);
        st->order_pass = pass;
    }
    *row = st->order[position % n];
    return SAIL_OK;
}

sail_code sail__stream_cache_new(const sail__rows *rows, sail__ref_cache *out, sail_err *err)
{
    int64_t n = 0;
    out->first = sail__calloc(rows->n + 1, sizeof *out->first);
    for (size_t i = 0; out->first && i < rows->n; i++) {
        out->first[i] = n;
        for (size_t k = 0; k < sail__encoded_responses(&rows->encoded[i]); k++)
            n += (int64_t)sail__encoded_at(&rows->encoded[i], k).n;
    }
    if (out->first)
        out->first[rows->n] = n;
    out->values = sail__calloc((size_t)n + 1, sizeof *out->values);
    return out->first && out->values ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory for the reference of %zu rows", rows->n);
}

void sail__stream_cached(const sail__ref_cache *c, int64_t row, sail__group *g)
{
    if (!c->values)
        return;
    float *at = c->values + c->first[row];
    for (int k = 0; k < g->k; at += g->r[k++].n)
        g->r[k].ref = at;
    g->ref_known = true;
}

/* ---- writing ---- */

typedef struct stopper { /* stop strings: looked for in the text of the last tokens */
    const sail__tokenizer *tokenizer;
    const char **strings;
    size_t n, longest;
} stopper;

static bool stops(void *user, const sail__gen_response *r)
{
    const stopper *s = user;
    char text[512];
    size_t len = 0;
    int64_t i = r->n;
    /* enough bytes from the end for the longest string and the newest token */
    while (i > 0 && len < s->longest + 64) {
        size_t n;
        const char *b = sail__tokenizer_bytes(s->tokenizer, r->ids[--i], &n);
        if (!b || n + len >= sizeof text)
            break;
        memmove(text + n, text, len);
        memcpy(text, b, n);
        len += n;
    }
    text[len] = 0;
    for (size_t k = 0; k < s->n; k++)
        if (memmem(text, len, s->strings[k], strlen(s->strings[k])))
            return true;
    return false;
}

static sail_code stop_strings(sail__stream *st, const sail_node *n, sail_arena *a, stopper *out, sail_err *err)
{
    memset(out, 0, sizeof *out);
    if (!n || n->kind == SAIL_NODE_NULL)
        return SAIL_OK;
    if (!st->session->tokenizer)
        return sail_fail(err, SAIL_E_RECIPE, "data.stop needs a tokenizer");
    SAIL_TRY(string_list(a, n, "data.stop", (const char *const **)&out->strings, &out->n, err));
    out->tokenizer = st->session->tokenizer;
    for (size_t i = 0; i < out->n; i++) {
        size_t len = strlen(out->strings[i]);
        if (len == 0 || len > 256)
            return sail_fail(err, SAIL_E_RECIPE, "data.stop: a string must have 1 to 256 bytes");
        out->longest = len > out->longest ? len : out->longest;
    }
    return SAIL_OK;
}

static sail_code generator_for(sail__stream *st, sail__role_kind role, sail__generator **out, bool *own, sail_err *err)
{
    *own = role != SAIL__POLICY;
    if (!*own && st->generator) {
        *out = st->generator;
        return SAIL_OK;
    }
    SAIL_TRY(sail__generator_new(st->session->model, role, st->generator_batch, out, err));
    if (!*own)
        st->generator = *out;
    return SAIL_OK;
}

static const char *text_of(sail__stream *st, sail_arena *a, const int32_t *ids, int64_t n)
{
    sail_buf b = {0};
    sail_err err;
    const char *text = "";
    if (st->session->tokenizer &&
        sail__decode(st->session->tokenizer, ids, (size_t)n, SAIL__SKIP_SPECIAL | SAIL__DECODE_CONTINUATION, &b, &err) == SAIL_OK && b.data)
        text = sail__arena_strndup(a, b.data, b.len);
    sail__buf_free(&b);
    return text ? text : "";
}

/* Who writes what the policy leaves to a rival; kept, since every step needs it. */
static sail_code rival_for(sail__stream *st, int kind, sail__generator **out, sail_err *err)
{
    if (st->rival && st->rival_kind != kind) {
        sail__generator_free(st->rival);
        st->rival = NULL;
    }
    if (!st->rival && kind == SAIL__RIVAL_MIXTURE)
        SAIL_TRY(sail__generator_new_mixture(st->session->model, st->generator_batch, &st->rival, err));
    else if (!st->rival)
        SAIL_TRY(sail__generator_new(st->session->model, SAIL__REFERENCE, st->generator_batch, &st->rival, err));
    st->rival_kind = kind;
    *out = st->rival;
    return SAIL_OK;
}

/* Adds to the step's counters. */
static sail_code generate_with(sail__stream *st, sail__generator *g, const sail__gen_request *requests, size_t n, uint64_t seed,
                               stopper *stop, sail_arena *a, sail__gen_response **out, size_t *n_out, sail_err *err)
{
    int n_ends;
    const int32_t *ends = sail__session_ends(st->session, &n_ends);
    sail__gen_counters before, after;
    sail__traffic traffic, now;
    sail__generator_counters(g, &before);
    sail__traffic_now(st->session->rt, &traffic);
    sail_code code = sail__generate(g, seed, requests, n, ends, n_ends, stop->n ? stops : NULL, stop, a, out, n_out, err);
    sail__generator_counters(g, &after);
    st->rollout.prompt_tokens += after.prompt_tokens - before.prompt_tokens;
    st->rollout.new_tokens += after.new_tokens - before.new_tokens;
    st->rollout.steps += after.steps - before.steps;
    st->rollout.seconds += after.seconds - before.seconds;
    st->rollout.prefill_seconds += after.prefill_seconds - before.prefill_seconds;
    sail__traffic_now(st->session->rt, &now);
    sail__traffic_add(&st->rollout_traffic, &traffic, &now);
    return code;
}

static void forget_counters(sail__stream *st)
{
    memset(&st->rollout, 0, sizeof st->rollout);
    memset(&st->rollout_traffic, 0, sizeof st->rollout_traffic);
}

static sail_code generate(sail__stream *st, sail__role_kind role, const sail__gen_request *requests, size_t n, uint64_t seed,
                          stopper *stop, sail_arena *a, sail__gen_response **out, size_t *n_out, sail_err *err)
{
    sail__generator *g;
    bool own;
    forget_counters(st);
    if (n > 0 && requests[0].penalty_alpha > 0) {
        sail__contrastive_options o = {.alpha = requests[0].penalty_alpha, .k = (int)requests[0].sampling.top_k, .batch = st->generator_batch};
        int n_ends;
        const int32_t *ends = sail__session_ends(st->session, &n_ends);
        return sail__contrastive_search(st->session->model, role, &o, requests, n, ends, n_ends, stop->n ? stops : NULL, stop, a, out, n_out, err);
    }
    SAIL_TRY(generator_for(st, role, &g, &own, err));
    sail_code code = generate_with(st, g, requests, n, seed, stop, a, out, n_out, err);
    if (own)
        sail__generator_free(g);
    return code;
}

/* The same number for a response wherever it occurs: in several pairs of the step, or again from the buffer. */
static int64_t response_id(const sail__step *step, int64_t prompt, int slot) { return ((step->step << 24) + prompt) * SAIL_MAX_RESPONSES + slot; }

/* Put responses into their groups. What the reference gave its own response is not the policy's log-probability. */
static void place(const sail__step *step, sail__group *const *of, const sail__gen_response *r, size_t n, int writer)
{
    for (size_t i = 0; i < n; i++)
        of[r[i].request]->r[r[i].child] =
            (sail__response){.ids = r[i].ids, .n = r[i].n, .old_logp = writer == SAIL_BY_REFERENCE ? NULL : r[i].logp, .drawn = r[i].drawn,
                             .score = NAN, .writer = writer, .id = response_id(step, of[r[i].request]->prompt_id, r[i].child)};
}

/* What the model's positions leave for a response; a prompt that leaves nothing is refused where responses are written. */
static int64_t room_for(const sail__stream *st, int64_t n_prompt, int64_t max_new)
{
    const int64_t room = sail__model_positions(st->session->model) - n_prompt;
    return room > 0 && room < max_new ? room : max_new;
}

static sail_code roll_out(sail__stream *st, const sail__stage *live, int responses, sail__step *step, sail_err *err)
{
    const sail__rollout_section *o = &live->rollout;
    sail__gen_request *req = sail__arena_array(step->arena, (size_t)step->n + 1, sizeof *req);
    sail__group **of = sail__arena_array(step->arena, (size_t)step->n + 1, sizeof *of);
    stopper stop;
    size_t n = 0, n_out;
    if (!req || !of)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    SAIL_TRY(stop_strings(st, live->data.stop, step->arena, &stop, err));
    for (int64_t i = 0; i < step->n; i++) {
        sail__group *g = &step->groups[i];
        if (g->writer != SAIL_BY_POLICY || g->replayed)
            continue;
        of[n] = g;
        req[n++] = (sail__gen_request){.prompt = g->prompt, .n_prompt = g->n_prompt, .children = responses - (o->rival != SAIL__RIVAL_POLICY),
                                       .max_new = room_for(st, g->n_prompt, o->max_new ? o->max_new : live->data.max_response),
                                       .key = (uint64_t)step->step << 24 | (uint64_t)g->prompt_id,
                                       .sampling = {.temperature = o->temperature, .top_p = o->top_p, .min_p = o->min_p,
                                                    .top_k = o->top_k, .typical = 1, .penalty = 1}};
    }
    forget_counters(st);
    if (n == 0)
        return SAIL_OK;
    for (size_t i = 0; i < n; i++)
        of[i]->k = responses;
    sail__gen_response *r;
    SAIL_TRY(generate(st, SAIL__POLICY, req, n, step->seed, &stop, step->arena, &r, &n_out, err));
    place(step, of, r, n_out, SAIL_BY_POLICY);
    if (o->rival == SAIL__RIVAL_POLICY)
        return SAIL_OK;
    for (size_t i = 0; i < n; i++) { /* the last response, by the rival; its random numbers are those of that child */
        req[i].children = 1;
        req[i].first_child = responses - 1;
        req[i].mixture = o->mixture;
    }
    sail__generator *g;
    SAIL_TRY(rival_for(st, o->rival, &g, err));
    SAIL_TRY(generate_with(st, g, req, n, step->seed, &stop, step->arena, &r, &n_out, err));
    place(step, of, r, n_out, sail__rival_writer(o->rival));
    return SAIL_OK;
}

sail_code sail__stream_write(sail__stream *st, sail__role_kind role, const sail__rows *rows, int64_t first, int64_t n_rows,
                             const sail__writing *how, sail_arena *a, sail__written **out, size_t *n, sail_err *err)
{
    sail__gen_request *req = sail__arena_array(a, (size_t)n_rows + 1, sizeof *req);
    stopper stop;
    if (!req)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    SAIL_TRY(stop_strings(st, how->stop, a, &stop, err));
    for (int64_t i = 0; i < n_rows; i++) {
        const sail__encoded *x = &rows->encoded[first + i];
        req[i] = (sail__gen_request){.prompt = x->prompt, .n_prompt = (int64_t)x->n_prompt, .children = how->k,
                                     .max_new = room_for(st, (int64_t)x->n_prompt, how->max_new),
                                     .key = how->key ^ (uint64_t)(first + i), .sampling = how->sampling,
                                     .penalty_alpha = how->penalty_alpha};
    }
    sail__gen_response *r;
    SAIL_TRY(generate(st, role, req, (size_t)n_rows, st->seed, &stop, a, &r, n, err));
    *out = sail__arena_array(a, *n + 1, sizeof **out);
    if (!*out)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; i < *n; i++)
        (*out)[i] = (sail__written){first + r[i].request, r[i].child, r[i].ids, r[i].logp, r[i].n, text_of(st, a, r[i].ids, r[i].n), r[i].finish};
    return SAIL_OK;
}

/* ---- judging ---- */

static sail_code judge_item(sail__stream *st, const sail__group *g, sail_arena *a, sail_judge_item *out, sail_err *err)
{
    const int n = sail__group_compared(g);
    const char **texts = sail__arena_array(a, (size_t)n, sizeof *texts);
    int64_t *tokens = sail__arena_array(a, (size_t)n, sizeof *tokens);
    if (!texts || !tokens)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (int k = 0; k < n; k++) {
        texts[k] = text_of(st, a, g->r[k].ids, g->r[k].n);
        tokens[k] = g->r[k].n;
    }
    return sail__judging_item(st->train.rows[g->row], n, texts, tokens, a, out, err);
}

/* Ask about the groups that a judge labels and has not been asked about. To choose from: the ranking is noted. Else: the winner goes to
 * slot 0, and groups without a verdict leave. */
static sail_code label(sail__stream *st, const sail__stage *live, sail__step *step, bool to_choose, sail_err *err)
{
    sail_judge_item *items = sail__arena_array(step->arena, (size_t)step->n + 1, sizeof *items);
    sail_verdict *v = sail__arena_array(step->arena, (size_t)step->n + 1, sizeof *v);
    int64_t n = 0, kept = 0;
    if (!items || !v)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (int64_t i = 0; i < step->n; i++)
        if (step->groups[i].labeller == SAIL_BY_JUDGE && !step->groups[i].labelled)
            SAIL_TRY(judge_item(st, &step->groups[i], step->arena, &items[n++], err));
    SAIL_TRY(sail__judging_ask(&st->judging, &live->judge, items, n, v, err));
    n = 0;
    for (int64_t i = 0; i < step->n; i++) {
        sail__group *g = &step->groups[i];
        if (g->labeller == SAIL_BY_JUDGE && !g->labelled) {
            const sail_verdict *w = &v[n++];
            const int n_compared = sail__group_compared(g);
            for (int k = 0; k < n_compared; k++)
                g->r[k].score = w->score[k];
            g->labelled = true;
            step->judged++;
            st->asked++;
            st->answered += w->outcome != SAIL_ABSTAIN;
            if (to_choose && g->writer == SAIL_BY_POLICY) {
                sail__places(w, g->k, g->place);
            } else {
                step->tied += n_compared == 2 && w->outcome == SAIL_TIE;
                sail__settle(live, step, i, w->outcome, g);
                if (w->outcome == SAIL_ABSTAIN) {
                    step->abstained++;
                    continue;
                }
            }
        }
        step->groups[kept++] = *g;
    }
    step->n = kept;
    return SAIL_OK;
}

/* ---- a step ---- */

/* What the strategy offers at this step, and from it the route of each prompt. */
typedef struct offer {
    sail_route routes[SAIL_MAX_ROUTES];
    int n;
    sail_plan plan;
    int64_t *rows; /* of the prompts of the step */
} offer;

static double gap_of(const sail_row *row)
{
    return row->score[0] - row->score[1]; /* NaN where either is missing */
}

/* The rows of the step: the next ones of the data, or those of the next that the strategy chooses. */
static sail_code take_rows(sail__stream *st, const sail__stage *live, sail__step *step, offer *o, sail_err *err)
{
    const int64_t want = live->train.batch, n = want * o->plan.pool;
    int64_t *rows = sail__arena_array(step->arena, (size_t)n + 1, sizeof *rows);
    int64_t *chosen = sail__arena_array(step->arena, (size_t)want + 1, sizeof *chosen);
    sail_prompt *p = o->plan.pool > 1 ? sail__arena_array(step->arena, (size_t)n, sizeof *p) : NULL;
    if (!rows || !chosen || (o->plan.pool > 1 && !p))
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for %lld prompts", (long long)n);
    for (int64_t i = 0; i < n; i++) {
        SAIL_TRY(row_at(st, st->position + i, &rows[i], err));
        if (!p)
            continue;
        const sail__memory *m = st->memory ? &st->memory[rows[i]] : NULL;
        p[i] = (sail_prompt){.id = st->train.rows[rows[i]]->hash, .tokens = (int64_t)st->train.encoded[rows[i]].n_prompt,
                             .visits = m ? m->visits : 0, .margin = m && m->visits ? (double)m->margin : (double)NAN,
                             .gap = gap_of(st->train.rows[rows[i]])};
    }
    st->position += n;
    o->rows = rows;
    if (!p)
        return SAIL_OK;
    SAIL_TRY(sail__choose_prompts(live, step, p, n, want, chosen, err));
    for (int64_t i = 0; i < want; i++)
        chosen[i] = rows[chosen[i]];
    o->rows = chosen;
    return SAIL_OK;
}

/* A response that is labelled by itself is for objectives that take such, and no route labels it anew. */
static sail_code check_single(const sail__stage *live, const sail_row *row, bool single, const sail_route *route, sail_err *err)
{
    const sail_plugin *o = &live->objective.loaded->plugin;
    if (single && !(o->caps & SAIL_CAP_UNPAIRED))
        return sail_fail(err, SAIL_E_RECIPE, "%s:%lld: the row is one response with a label, which objective %s does not take: use objective kto, or "
                         "a data.reader of pairs", row->file, (long long)row->line, o->name);
    if (single && route->labeller != SAIL_BY_DATA)
        return sail_fail(err, SAIL_E_RECIPE, "%s:%lld: route `%s` labels pairs anew, and the row is one response with its label: leave the route out",
                         row->file, (long long)row->line, route->name);
    return SAIL_OK;
}

static sail_code fill_group(sail__stream *st, const sail__stage *live, const offer *o, sail__step *step, int64_t i, sail__group *g,
                            sail_err *err)
{
    sail_route route = o->routes[sail__routes_draw(o->routes, o->n, step->seed, step->step, i)];
    const int64_t row = o->rows[i];
    const bool written = route.writer == SAIL_BY_POLICY;
    *g = written ? sail__group_of_prompt(&st->train, row) : sail__group_of_row(&st->train, row, response_id(step, i, 0));
    g->prompt_id = i;
    g->route = route.name;
    g->writer = route.writer;
    g->labeller = route.labeller;
    g->coef = route.coefficient * st->backoff * st->coef;
    if (written)
        return SAIL_OK;
    const bool single = g->k == 1 && g->desirable != SAIL_UNLABELLED;
    const int want = sail__stage_has_pairs(live->kind) && !single ? 2 : 1;
    SAIL_TRY(check_single(live, st->train.rows[row], single, &route, err));
    if (g->k < want)
        return sail_fail(err, SAIL_E_ARG, "%s:%lld: the row has no pair of responses, which route `%s` needs", st->train.rows[row]->file,
                         (long long)st->train.rows[row]->line, route.name);
    if (want == 1)
        g->k = 1;
    sail__stream_cached(&st->train_ref, row, g);
    return SAIL_OK;
}

/* In place of some prompts that the policy would answer, what it answered before. */
static sail_code replay(sail__stream *st, sail__step *step, const offer *o, sail_err *err)
{
    sail__replay_age(&st->replay, step->step, &o->plan);
    if (o->plan.replay <= 0 || st->replay.n == 0)
        return SAIL_OK;
    sail__group *out = sail__arena_array(step->arena, (size_t)step->n * SAIL__REPLAY_GROUPS, sizeof *out);
    uint8_t *used = sail__arena_alloc(step->arena, st->replay.n);
    int64_t n = 0;
    if (!out || !used)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for %lld prompts", (long long)step->n);
    memset(used, 0, st->replay.n);
    for (int64_t i = 0; i < step->n; i++) {
        sail__group *g = &step->groups[i];
        const sail_route route = {.name = g->route, .writer = g->writer, .labeller = g->labeller};
        const bool wanted = g->writer == SAIL_BY_POLICY &&
                            sail_rng_uniform(step->seed, SAIL_RNG_CHOICE, (uint64_t)step->step, (uint64_t)i, 1ull << 32) < o->plan.replay;
        const int64_t e = wanted ? sail__replay_pick(&st->replay, &route, step->seed, step->step, i, used) : -1;
        if (e < 0) {
            out[n++] = *g;
            continue;
        }
        const sail__encoded *x = &st->train.encoded[sail__replay_row(&st->replay, e)];
        g->prompt = x->prompt;
        g->n_prompt = (int64_t)x->n_prompt;
        n += sail__replay_groups(&st->replay, e, g, step->step, out + n);
        step->replayed++;
    }
    step->groups = out;
    step->n = n;
    return SAIL_OK;
}

/* The reference of all that the step holds, where a choice reads it. */
static sail_code reference(sail__stream *st, const sail__stage *live, sail__step *step, sail_err *err)
{
    sail__micro *m;
    int64_t n;
    bool any = false;
    for (int64_t i = 0; i < step->n; i++)
        any = any || (step->groups[i].writer == SAIL_BY_POLICY && !step->groups[i].replayed);
    if (!any || !st->passes)
        return SAIL_OK;
    SAIL_TRY(sail__passes_plan(step, live->train.micro_batch, live->train.max_tokens, &m, &n, err));
    for (int64_t i = 0; i < n; i++)
        SAIL_TRY(sail__passes_reference(st->passes, step, &m[i], err));
    return SAIL_OK;
}

static sail_code next(sail__stream *st, const sail__stage *live, sail__step *step, sail_err *err)
{
    offer o;
    step->n = live->train.batch;
    step->judged = step->tied = step->abstained = step->replayed = 0;
    step->groups = sail__arena_array(step->arena, (size_t)step->n, sizeof *step->groups);
    if (!step->groups)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for %lld pairs", (long long)step->n);
    SAIL_TRY(sail__plan_of(live, step->step, &o.plan, err));
    SAIL_TRY(take_rows(st, live, step, &o, err));
    SAIL_TRY(sail__routes_of(live, step->step, o.routes, &o.n, err));
    for (int64_t i = 0; i < step->n; i++)
        SAIL_TRY(fill_group(st, live, &o, step, i, &step->groups[i], err));
    SAIL_TRY(replay(st, step, &o, err));
    SAIL_TRY(roll_out(st, live, o.plan.responses, step, err));
    if (live->kind == SAIL__ALIGN) {
        if (sail__choice_reads_verdicts(live, &o.plan))
            SAIL_TRY(label(st, live, step, true, err));
        if (sail__choice_reads_rewards(live))
            SAIL_TRY(reference(st, live, step, err));
        SAIL_TRY(sail__choose(live, step, err));
    }
    return label(st, live, step, false, err);
}

sail_code sail__stream_next(sail__stream *st, const sail__stage *live, sail__step *step, sail_err *err)
{
    const int64_t position = st->position;
    sail_code code = next(st, live, step, err);
    /* stopped while writing, or waiting for a judge: the step is taken again from here; but not from prompts at which numbers break */
    if (code != SAIL_OK && code != SAIL_E_NUMERIC)
        st->position = position;
    return code;
}

/* Implicit reward of the winner less that of the loser; NAN where nobody won. */
static double margin_of(const sail__stage *live, const sail__group *g)
{
    const sail_preference_model m = sail__stage_preference(live);
    int winner, loser;
    if (!sail__outcome_sides(&m, g->outcome, sail__group_compared(g), &winner, &loser))
        return NAN;
    return live->method.beta * (sail__log_ratio(&g->r[winner]) - sail__log_ratio(&g->r[loser]));
}

sail_code sail__stream_learned(sail__stream *st, const sail__stage *live, const sail__step *step, sail_err *err)
{
    sail_plan plan;
    for (int64_t i = 0; st->memory && i < step->n; i++) {
        const sail__group *g = &step->groups[i];
        sail__memory *m = &st->memory[g->row];
        const bool another = i > 0 && g->shared && step->groups[i - 1].shared == g->shared; /* pair of the same responses */
        m->visits += !another && m->visits < INT32_MAX;
        m->margin = (float)margin_of(live, g);
    }
    SAIL_TRY(sail__plan_of(live, step->step, &plan, err));
    return sail__replay_put(&st->replay, step, &plan, err);
}

const uint32_t *sail__sample_ends(const sail__tokenizer *t, const int32_t *ids, size_t n, const char *text, sail_arena *a)
{
    uint32_t *ends = t && text && n ? sail__arena_array(a, n, sizeof *ends) : NULL;
    return ends && sail__token_ends(t, ids, n, SAIL__SKIP_SPECIAL | SAIL__DECODE_CONTINUATION, text, ends) ? ends : NULL;
}
