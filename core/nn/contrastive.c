/* contrastive.c - see contrastive.h. */
#include "contrastive.h"

#include <math.h>
#include <string.h>

#include "inputs.h"
#include "long_rope.h"

typedef struct sequence {
    const sail__gen_request *request;
    sail__gen_response *response;
    int index;          /* of the request */
    int64_t base, len;  /* first cache row; tokens in the cache */
    int32_t pending;    /* chosen, not yet in the cache; -1: none */
    float *states;      /* [n_prompt + max_new][width] of unit length, of all but candidates */
    int64_t n_states;
    int32_t ids[SAIL__MOST_CANDIDATES + 1]; /* candidates for the next token, likeliest first, and the first left out */
    double p[SAIL__MOST_CANDIDATES + 1];
    bool done;
} sequence;

typedef struct pass { /* a graph of one head */
    sail_graph *graph;
    sail_exec *exec;
} pass;

typedef struct search {
    const sail__contrastive_options *o;
    sail__model_view view;
    pass states, choice; /* hidden states alone; logits with them */
    sail_tensor *bind;
    int n_bind, first_cache;
    sail__inputs inputs;
    sail__forest forest;
    int64_t width, vocab, keys, positions;
    sequence *live;
    float *hidden, *logits; /* of a pass's rows */
    const int32_t *ends;
    int n_ends;
    sail__gen_token on_token;
    void *user;
    sail_arena *arena; /* of the search */
} search;

/* ---- passes ---- */

static sail_code make_pass(search *s, sail__head_kind head, pass *out, sail_err *err)
{
    sail__decoder_spec d = *s->view.spec;
    d.head = head;
    d.cached = true;
    d.first_cache = s->first_cache;
    d.cache_dtype = d.dtype;
    SAIL_TRY(sail__decoder_build(&d, &out->graph, err));
    return sail__exec_new(s->view.rt, out->graph, &out->exec, err);
}

static sail_code run(search *s, pass *p, sail_err *err)
{
    sail__inputs *in = &s->inputs;
    sail_tensor out[SAIL__OUT_COUNT] = {{0}};
    s->forest.n_keys = s->keys;
    sail__inputs_begin(in);
    sail__inputs_forest(in, &s->forest);
    SAIL_TRY(sail__inputs_send(in, 0, 0, err));
    sail_binding b = {.dims = sail__forest_dims(&s->forest), .params = s->bind, .n_params = s->n_bind, .inputs = in->tensors,
                      .n_inputs = SAIL__IN_COUNT, .outputs = out, .n_outputs = SAIL__OUT_COUNT};
    SAIL_TRY(sail__exec_run(p->exec, &b, SAIL_RUN_FORWARD, err));
    SAIL_TRY(sail__tensor_get_f32(s->view.rt, &out[SAIL__OUT_HIDDEN], s->hidden, err));
    return p == &s->choice ? sail__tensor_get_f32(s->view.rt, &out[SAIL__OUT_LOGITS], s->logits, err) : SAIL_OK;
}

/* n tokens of a sequence at `position`, in its own cache rows; their keys follow those of the first `before`. */
static sail_code add(search *s, const sequence *q, const int32_t *ids, int64_t n, int64_t position, int64_t before, int64_t slot,
                     enum sail__forest_head head, sail_err *err)
{
    int32_t *slots = sail__arena_array(s->arena, (size_t)n, sizeof *slots);
    int32_t runs[6] = {(int32_t)q->base, (int32_t)before, 0, (int32_t)(q->base + slot), (int32_t)n, (int32_t)position};
    bool joined = slot == before;
    if (!slots)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (joined || before == 0)
        memcpy(runs, (int32_t[]){(int32_t)(q->base + slot - before), (int32_t)(before + n), 0}, 3 * sizeof *runs);
    for (int64_t i = 0; i < n; i++)
        slots[i] = (int32_t)(q->base + slot + i);
    const int64_t first = s->forest.n_tokens, most = sail__short_length(s->view.config);
    SAIL_TRY(sail__forest_add_cached(&s->forest, ids, n, position, slots, runs, joined || before == 0 ? 1 : 2, head, 1, err));
    if (most > 0 && q->request->n_prompt > most)
        sail__forest_long_form(&s->forest, first, s->positions);
    return SAIL_OK;
}

/* ---- choosing ---- */

static void keep_state(search *s, sequence *q, const float *h)
{
    double sum = 0;
    float *to = q->states + q->n_states++ * s->width;
    for (int64_t i = 0; i < s->width; i++)
        sum += (double)h[i] * h[i];
    double scale = sum > 0 ? 1 / sqrt(sum) : 0;
    for (int64_t i = 0; i < s->width; i++)
        to[i] = (float)(scale * h[i]);
}

static double penalty_of(const search *s, const sequence *q, const float *h)
{
    double sum = 0, most = -1;
    for (int64_t i = 0; i < s->width; i++)
        sum += (double)h[i] * h[i];
    for (int64_t j = 0; j < q->n_states; j++) {
        const float *x = q->states + j * s->width;
        double dot = 0;
        for (int64_t i = 0; i < s->width; i++)
            dot += (double)h[i] * x[i];
        most = fmax(most, sum > 0 ? dot / sqrt(sum) : 0);
    }
    return most;
}

/* The k likeliest tokens, and one more; among equals the lower id. */
static sail_code candidates(search *s, sequence *q, float *z, sail_err *err)
{
    double cap = s->view.config->final_softcap, top = -INFINITY, sum = 0;
    int n = 0, k = s->o->k < s->vocab ? s->o->k + 1 : (int)s->vocab;
    for (int64_t i = 0; i < s->vocab; i++) {
        z[i] = cap > 0 ? (float)(cap * tanh(z[i] / cap)) : z[i];
        top = fmax(top, z[i]);
        if (isnan(z[i]))
            return sail_fail(err, SAIL_E_NUMERIC, "contrastive search: a logit is not a number");
        int at = n < k ? n++ : z[i] > z[q->ids[n - 1]] ? n - 1 : -1;
        for (; at > 0 && z[i] > z[q->ids[at - 1]]; at--)
            q->ids[at] = q->ids[at - 1];
        if (at >= 0)
            q->ids[at] = (int32_t)i;
    }
    for (int64_t i = 0; i < s->vocab; i++)
        sum += exp(z[i] - top);
    for (int c = 0; c < n; c++)
        q->p[c] = exp(z[q->ids[c]] - top) / sum;
    return SAIL_OK;
}

static bool is_end(const search *s, int32_t id)
{
    for (int i = 0; i < s->n_ends; i++)
        if (s->ends[i] == id)
            return true;
    return false;
}

/* Candidates of q begin at row `row` of the pass. */
static sail_code choose(search *s, sequence *q, int64_t row, sail_err *err)
{
    double penalty[SAIL__MOST_CANDIDATES], score[SAIL__MOST_CANDIDATES];
    int k = s->o->k < s->vocab ? s->o->k : (int)s->vocab, best = 0;
    for (int c = 0; c < k; c++) {
        penalty[c] = penalty_of(s, q, s->hidden + (row + c) * s->width);
        score[c] = (1 - s->o->alpha) * q->p[c] - s->o->alpha * penalty[c];
        best = score[c] > score[best] ? c : best;
    }
    if (s->o->on_choice)
        s->o->on_choice(s->o->choice_user, q->index, k, q->ids, q->p, penalty, score, k < s->vocab ? q->p[k - 1] - q->p[k] : q->p[k - 1]);
    sail__gen_response *r = q->response;
    r->ids[r->n] = q->pending = q->ids[best];
    r->logp[r->n] = (float)log(q->p[best]);
    r->drawn[r->n++] = 0;
    keep_state(s, q, s->hidden + (row + best) * s->width);
    bool told = s->on_token && s->on_token(s->user, r), stop = told || (!q->request->ignore_end && is_end(s, q->pending));
    r->finish = stop ? SAIL__FINISH_STOP : SAIL__FINISH_LENGTH;
    q->done = stop || r->n >= q->request->max_new;
    return q->done ? SAIL_OK : candidates(s, q, s->logits + (row + best) * s->vocab, err);
}

/* ---- the search ---- */

/* Prompts: their states, then the candidates for what comes first. */
static sail_code begin(search *s, int n, sail_err *err)
{
    for (int i = 0; i < n; i++) {
        sequence *q = &s->live[i];
        const sail__gen_request *r = q->request;
        sail__forest_reset(&s->forest);
        SAIL_TRY(add(s, q, r->prompt, r->n_prompt, 0, 0, 0, SAIL__HEAD_NEXT, err));
        SAIL_TRY(run(s, &s->states, err));
        for (int64_t t = 0; t < r->n_prompt; t++)
            keep_state(s, q, s->hidden + t * s->width);
        q->len = r->n_prompt;
    }
    sail__forest_reset(&s->forest);
    for (int i = 0; i < n; i++) {
        const sail__gen_request *r = s->live[i].request;
        SAIL_TRY(add(s, &s->live[i], &r->prompt[r->n_prompt - 1], 1, r->n_prompt - 1, r->n_prompt - 1, r->n_prompt - 1, SAIL__HEAD_LAST, err));
    }
    SAIL_TRY(run(s, &s->choice, err));
    for (int i = 0; i < n; i++)
        SAIL_TRY(candidates(s, &s->live[i], s->logits + i * s->vocab, err));
    return SAIL_OK;
}

/* One token of every sequence: what was chosen last enters the cache, the candidates stand behind it. */
static sail_code step(search *s, int n, int *left, sail_err *err)
{
    int k = s->o->k < s->vocab ? s->o->k : (int)s->vocab;
    int64_t row = 0;
    sail__forest_reset(&s->forest);
    for (int i = 0; i < n; i++) {
        sequence *q = &s->live[i];
        if (q->done)
            continue;
        if (q->pending >= 0) {
            SAIL_TRY(add(s, q, &q->pending, 1, q->len, q->len, q->len, SAIL__HEAD_NONE, err));
            q->len++;
        }
        for (int c = 0; c < k; c++)
            SAIL_TRY(add(s, q, &q->ids[c], 1, q->len, q->len, q->len + c, SAIL__HEAD_LAST, err));
    }
    SAIL_TRY(run(s, &s->choice, err));
    for (int i = 0; i < n; i++) {
        sequence *q = &s->live[i];
        if (q->done)
            continue;
        SAIL_TRY(choose(s, q, row, err));
        row += k;
        *left -= q->done;
    }
    return SAIL_OK;
}

static sail_code search_chunk(search *s, int n, sail_err *err)
{
    int left = n;
    SAIL_TRY(begin(s, n, err));
    while (left > 0) {
        if (sail_cancelled(s->view.rt->ctx))
            return sail_fail(err, SAIL_E_CANCEL, "stopped while generating");
        sail_arena *whole = s->arena, *a = sail__arena_new(); /* what a step needs goes with it */
        s->arena = a;
        sail_code code = a ? step(s, n, &left, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
        s->arena = whole;
        if (a)
            sail__arena_free(a);
        SAIL_TRY(code);
    }
    return SAIL_OK;
}

/* ---- making room ---- */

static int64_t rows_of(const search *s, const sail__gen_request *r) { return r->n_prompt + r->max_new + s->o->k; }

static sail_code make_room(search *s, const sail__gen_request *requests, size_t n, sail_err *err)
{
    const sail__model_config *c = s->view.config;
    int64_t longest = 0, batch = s->o->batch < 1 ? 1 : s->o->batch;
    batch = batch < (int64_t)n ? batch : (int64_t)n;
    for (size_t i = 0; i < n; i++) {
        const sail__gen_request *r = &requests[i];
        if (r->n_prompt < 1 || r->max_new < 1 || r->children != 1)
            return sail_fail(err, SAIL_E_ARG, "prompt %zu: contrastive search writes one response, of at least one token, to a prompt of at least one", i);
        longest = rows_of(s, r) > longest ? rows_of(s, r) : longest;
    }
    s->keys = batch * longest;
    s->bind = sail__arena_array(s->arena, (size_t)s->n_bind, sizeof *s->bind);
    s->live = sail__arena_array(s->arena, (size_t)batch, sizeof *s->live);
    int64_t rows = batch * s->o->k > longest ? batch * s->o->k : longest;
    s->hidden = sail__arena_array(s->arena, (size_t)(rows * s->width), sizeof *s->hidden);
    s->logits = sail__arena_array(s->arena, (size_t)(batch * s->o->k * s->vocab), sizeof *s->logits);
    if (!s->bind || !s->live || !s->hidden || !s->logits)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    memcpy(s->bind, s->view.bind, (size_t)s->view.n_bind * sizeof *s->bind);
    for (int64_t i = 0; i < batch; i++) {
        s->live[i].base = i * longest;
        s->live[i].states = sail__arena_array(s->arena, (size_t)(longest * s->width), sizeof *s->live[i].states);
        if (!s->live[i].states)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    }
    for (int i = s->first_cache; i < s->n_bind; i++)
        if (sail__tensor_alloc(s->view.rt, s->view.spec->dtype, s->keys, (int64_t)c->kv_heads * c->head_dim, &s->bind[i], err) != SAIL_OK)
            return sail_fail_in(err, "key/value cache of %lld tokens", (long long)s->keys);
    return SAIL_OK;
}

static sail_code search_all(search *s, const sail__gen_request *requests, size_t n, sail__gen_response *responses, sail_err *err)
{
    int batch = s->o->batch < 1 ? 1 : s->o->batch;
    SAIL_TRY(make_room(s, requests, n, err));
    SAIL_TRY(make_pass(s, SAIL__HEAD_HIDDEN, &s->states, err));
    SAIL_TRY(make_pass(s, SAIL__HEAD_CONTRAST, &s->choice, err));
    for (size_t first = 0; first < n; first += (size_t)batch) {
        int m = n - first < (size_t)batch ? (int)(n - first) : batch;
        for (int i = 0; i < m; i++) {
            sequence *q = &s->live[i];
            *q = (sequence){.request = &requests[first + (size_t)i], .response = &responses[first + (size_t)i], .index = (int)first + i, .base = q->base,
                            .pending = -1, .states = q->states};
        }
        SAIL_TRY(search_chunk(s, m, err));
    }
    return SAIL_OK;
}

sail_code sail__contrastive_search(sail__model *m, sail__role_kind role, const sail__contrastive_options *o, const sail__gen_request *requests,
                                   size_t n, const int32_t *ends, int n_ends, sail__gen_token on_token, void *user, sail_arena *a,
                                   sail__gen_response **out, size_t *n_out, sail_err *err)
{
    search s = {.o = o, .on_token = on_token, .user = user, .arena = sail__arena_new()};
    if (!s.arena)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    sail__model_view_of(m, role, &s.view);
    sail__inputs_init(&s.inputs, s.view.rt);
    s.ends = ends ? ends : s.view.config->end_ids;
    s.n_ends = ends ? n_ends : s.view.config->n_end_ids;
    s.width = s.view.config->width;
    s.vocab = s.view.config->vocab;
    s.positions = sail__model_positions(m);
    s.first_cache = s.view.n_bind;
    s.n_bind = s.first_cache + 2 * s.view.config->layers;
    const int64_t most = sail__short_length(s.view.config);
    sail_code code = SAIL_OK;
    if (!(o->alpha > 0 && o->alpha <= 1) || o->k < 1 || o->k > SAIL__MOST_CANDIDATES)
        code = sail_fail(err, SAIL_E_OPTION, "contrastive search needs penalty_alpha above 0 and up to 1 and top_k from 1 to %d; it got %g and %d",
                         SAIL__MOST_CANDIDATES, o->alpha, o->k);
    sail__gen_response *r = sail__arena_array(a, n + 1, sizeof *r);
    for (size_t i = 0; code == SAIL_OK && i < n; i++) {
        size_t len = (size_t)(requests[i].max_new > 0 ? requests[i].max_new : 1);
        if (r)
            r[i] = (sail__gen_response){.request = (int)i, .child = requests[i].first_child, .ids = sail__arena_array(a, len, sizeof(int32_t)),
                                        .logp = sail__arena_array(a, len, sizeof(float)), .drawn = sail__arena_array(a, len, sizeof(float))};
        if (!r || !r[i].ids || !r[i].logp || !r[i].drawn)
            code = sail_fail(err, SAIL_E_NOMEM, "out of memory for %zu responses", n);
        else if (requests[i].n_prompt + requests[i].max_new > sail__model_positions(m))
            code = sail_fail(err, SAIL_E_LIMIT, "prompt %zu: %lld tokens and %lld new ones are more than the model's %lld positions", i,
                             (long long)requests[i].n_prompt, (long long)requests[i].max_new, (long long)sail__model_positions(m));
        else if (requests[i].n_prompt <= most && requests[i].n_prompt + requests[i].max_new > most)
            code = sail_fail(err, SAIL_E_LIMIT, "prompt %zu: %lld tokens and %lld new ones cross %lld, from where this model's rotary factors are "
                             "others; contrastive search stays on one side: ask for at most %lld new tokens, or sample", i,
                             (long long)requests[i].n_prompt, (long long)requests[i].max_new, (long long)most,
                             (long long)(most - requests[i].n_prompt));
    }
    if (code == SAIL_OK && n > 0)
        code = search_all(&s, requests, n, r, err);
    for (int i = s.first_cache; s.bind && i < s.n_bind; i++)
        sail__tensor_free(s.view.rt, &s.bind[i]);
    pass *all[] = {&s.states, &s.choice};
    for (int i = 0; i < 2; i++) {
        sail__exec_free(all[i]->exec);
        sail_graph_free(all[i]->graph);
    }
    sail__inputs_free(&s.inputs);
    sail__forest_free(&s.forest);
    sail__arena_free(s.arena);
    *out = r;
    *n_out = code == SAIL_OK ? n : 0;
    return code;
}
