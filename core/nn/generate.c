/* generate.c - batched decoding with a paged key/value cache. */
#include <string.h>

#include "../sail/rng.h"
#include "generate_impl.h"
#include "long_rope.h"
#include "mixture.h"

/* ---- making and freeing ---- */

/* The graph, with a history of so many ids a row for the repetition penalty. */
static sail_code build(sail__generator *g, int64_t past, sail_err *err)
{
    sail_graph *graph;
    sail_exec *exec;
    sail__decoder_spec d = *g->view.spec;
    d.head = g->head;
    d.history = past;
    d.cached = true;
    d.first_cache = g->first_cache;
    d.cache_dtype = d.dtype;
    SAIL_TRY(sail__decoder_build(&d, &graph, err));
    if (sail__exec_new(g->view.rt, graph, &exec, err) != SAIL_OK) {
        sail_graph_free(graph);
        return err->code;
    }
    sail__exec_free(g->exec);
    sail_graph_free(g->graph);
    g->exec = exec;
    g->graph = graph;
    g->past = past;
    return SAIL_OK;
}

static sail_code generator_new(sail__model *m, sail__role_kind role, sail__head_kind head, int batch, sail__generator **out, sail_err *err)
{
    *out = NULL;
    sail__generator *g = sail__calloc(1, sizeof *g);
    if (!g)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    g->model = m;
    g->head = head;
    g->batch = batch < 1 ? 1 : batch;
    sail__model_view_of(m, role, &g->view);
    sail__inputs_init(&g->inputs, g->view.rt);
    sail__outputs_init(&g->outputs, g->view.rt);
    g->ahead = strcmp(g->view.rt->info.kind, "gpu") == 0 ? 8 : 1;
    g->first_cache = g->view.n_bind;
    g->n_bind = g->first_cache + 2 * g->view.config->layers;
    g->bind = sail__calloc((size_t)g->n_bind, sizeof *g->bind);
    g->live = sail__calloc((size_t)g->batch, sizeof *g->live);
    sail_code code = g->bind && g->live ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (code == SAIL_OK) {
        memcpy(g->bind, g->view.bind, (size_t)g->view.n_bind * sizeof *g->bind);
        code = build(g, 0, err);
    }
    if (code != SAIL_OK) {
        sail__generator_free(g);
        return code;
    }
    *out = g;
    return SAIL_OK;
}

sail_code sail__generator_new(sail__model *m, sail__role_kind role, int batch, sail__generator **out, sail_err *err)
{
    return generator_new(m, role, SAIL__HEAD_SAMPLE, batch, out, err);
}

sail_code sail__generator_new_mixture(sail__model *m, int batch, sail__generator **out, sail_err *err)
{
    sail__generator *g;
    *out = NULL;
    SAIL_TRY(generator_new(m, SAIL__POLICY, SAIL__HEAD_LOGITS, batch, &g, err));
    const size_t vocab = (size_t)g->view.config->vocab;
    g->mixed = sail__malloc(vocab * sizeof *g->mixed);
    g->order = sail__malloc(vocab * sizeof *g->order);
    sail_code code = g->mixed && g->order ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (code == SAIL_OK)
        code = generator_new(m, SAIL__REFERENCE, SAIL__HEAD_LOGITS, 1, &g->beside, err);
    if (code != SAIL_OK) {
        sail__generator_free(g);
        return code;
    }
    *out = g;
    return SAIL_OK;
}

void sail__generator_free(sail__generator *g)
{
    if (!g)
        return;
    sail__generator_free(g->beside);
    sail__free(g->logits[0]);
    sail__free(g->logits[1]);
    sail__free(g->mixed);
    sail__free(g->order);
    sail__exec_free(g->exec);
    sail_graph_free(g->graph);
    sail__cache_drop(g);
    sail__inputs_free(&g->inputs);
    sail__outputs_free(&g->outputs);
    sail__forest_free(&g->forest);
    sail__free(g->bind);
    sail__free(g->live);
    sail__free(g->row_of);
    sail__free(g->params);
    sail__free(g->keys);
    sail__free(g->logp);
    sail__free(g->drawn);
    sail__free(g->ids);
    sail__free(g->runs);
    sail__free(g->slots);
    sail__free(g->history);
    sail__free(g->kept);
    sail__free(g);
}

void sail__generator_keep(sail__generator *g) { g->keeps = true; }

void sail__generator_ahead(sail__generator *g, int tokens) { g->ahead = tokens < 1 ? 1 : tokens > MOST_AHEAD ? MOST_AHEAD : tokens; }

void sail__generator_counters(sail__generator *g, sail__gen_counters *out) { *out = g->counters; }

/* ---- one step ---- */

/* Runs of consecutive cache rows for the first n tokens of pages, joined to those before where they touch. */
static int64_t add_runs(int32_t *runs, int64_t n_runs, const int32_t *pages, int64_t n, int64_t position)
{
    for (int64_t done = 0; done < n; done += PAGE) {
        int32_t row = pages[done / PAGE] * PAGE, len = (int32_t)(n - done < PAGE ? n - done : PAGE);
        int32_t *last = n_runs ? runs + 3 * (n_runs - 1) : NULL;
        if (last && last[0] + last[1] == row && last[2] + last[1] == position + done) {
            last[1] += len;
        } else {
            int32_t *r = runs + 3 * n_runs++;
            r[0] = row;
            r[1] = len;
            r[2] = (int32_t)(position + done);
        }
    }
    return n_runs;
}

static sail_code rows_room(sail__generator *g, size_t n, sail_err *err)
{
    if (n <= g->cap_rows)
        return SAIL_OK;
    size_t cap = 0;
    SAIL_TRY(sail__grow(&g->row_of, &cap, n, sizeof *g->row_of, err));
    size_t each = cap;
#define ROOM(array, count)                                                                                             \
    do {                                                                                                               \
        size_t c = 0;                                                                                                  \
        SAIL_TRY(sail__grow(&(array), &c, each, (count) * sizeof *(array), err));                                      \
    } while (0)
    ROOM(g->params, SAIL_SAMPLE_PARAMS);
    ROOM(g->keys, 6);
    ROOM(g->logp, MOST_AHEAD);
    ROOM(g->drawn, MOST_AHEAD);
    ROOM(g->ids, MOST_AHEAD);
#undef ROOM
    g->cap_rows = each;
    return SAIL_OK;
}

static bool penalised(const sail__gen_request *r) { return r->sampling.penalty > 0 && r->sampling.penalty != 1; }

/* What stands before each row's token to come, for those with a repetition penalty; -1 is no id. */
static sail_code fill_history(sail__generator *g, size_t rows, sail_err *err)
{
    SAIL_TRY(sail__grow(&g->history, &g->cap_history, rows * (size_t)g->past, sizeof *g->history, err));
    for (size_t i = 0; i < rows; i++) {
        const sail__gen_request *r = g->row_of[i]->group->request;
        const sail__gen_response *own = g->row_of[i]->response;
        int32_t *to = g->history + i * (size_t)g->past;
        const int64_t n = penalised(r) ? r->n_prompt + own->n : 0;
        if (n > 0)
            memcpy(to, r->prompt, (size_t)r->n_prompt * sizeof *to);
        if (n > r->n_prompt)
            memcpy(to + r->n_prompt, own->ids, (size_t)own->n * sizeof *to);
        for (int64_t k = n; k < g->past; k++)
            to[k] = -1;
    }
    return SAIL_OK;
}

/* ahead: tokens that were drawn and that the host does not know yet. */
static sail_code add_row(sail__generator *g, size_t *n, sequence *s, int ahead, uint64_t seed, sail_err *err)
{
    SAIL_TRY(rows_room(g, *n + 1, err));
    const sail__gen_request *r = s->group->request;
    float *p = g->params + SAIL_SAMPLE_PARAMS * *n;
    memset(p, 0, SAIL_SAMPLE_PARAMS * sizeof *p);
    p[SAIL_SAMPLE_TEMPERATURE] = (float)r->sampling.temperature;
    p[SAIL_SAMPLE_TOP_K] = (float)r->sampling.top_k;
    p[SAIL_SAMPLE_TOP_P] = (float)r->sampling.top_p;
    p[SAIL_SAMPLE_MIN_P] = (float)r->sampling.min_p;
    p[SAIL_SAMPLE_TYPICAL] = (float)r->sampling.typical;
    p[SAIL_SAMPLE_PENALTY] = (float)r->sampling.penalty;
    int32_t *k = g->keys + 6 * *n;
    k[0] = (int32_t)(uint32_t)seed;
    k[1] = (int32_t)(uint32_t)(seed >> 32);
    k[2] = (int32_t)(uint32_t)r->key;
    k[3] = (int32_t)(uint32_t)(r->key >> 32);
    k[4] = s->response->child;
    k[5] = (int32_t)s->response->n + ahead;
    g->row_of[(*n)++] = s;
    return SAIL_OK;
}

/* The tokens from `first` on belong to a sequence of n: the form that they turn by. */
static void turn(sail__generator *g, int64_t first, int64_t n)
{
    const int64_t most = sail__short_length(g->view.config);
    if (most > 0 && n > most)
        sail__forest_long_form(&g->forest, first, sail__model_positions(g->model));
}

/* Tokens `from` .. n - 1 of a sequence whose pages hold it from its start. */
static sail_code add_span(sail__generator *g, const int32_t *ids, int64_t from, int64_t n, const int32_t *pages, int n_pages, int copies,
                          sail_err *err)
{
    const int64_t first = g->forest.n_tokens;
    SAIL_TRY(sail__grow(&g->slots, &g->cap_slots, (size_t)(n - from), sizeof *g->slots, err));
    SAIL_TRY(sail__grow(&g->runs, &g->cap_runs, (size_t)n_pages + 1, 3 * sizeof *g->runs, err));
    for (int64_t i = from; i < n; i++)
        g->slots[i - from] = pages[i / PAGE] * PAGE + (int32_t)(i % PAGE);
    g->counters.prompt_tokens += n - from;
    SAIL_TRY(sail__forest_add_cached(&g->forest, ids + from, n - from, from, g->slots, g->runs, add_runs(g->runs, 0, pages, n, 0),
                                     SAIL__HEAD_LAST, copies, err));
    turn(g, first, n);
    return SAIL_OK;
}

/* The prompt of a new group, computed once for those of its children that are live; not what the cache has kept of it. */
static sail_code add_prompt(sail__generator *g, const group *q, const sequence *child, int copies, sail_err *err)
{
    const sail__gen_request *r = q->request;
    const int64_t known = g->keeps ? sail__cache_known(g, r) : 0;
    g->n_kept = 0; /* until it is whole again */
    return child->whole ? add_span(g, r->prompt, known, r->n_prompt, child->pages, child->n_pages, copies, err)
                        : add_span(g, r->prompt, known, r->n_prompt, q->pages, q->n_pages, copies, err);
}

/* Prompt and response so far once more, when they have become too long for the short form. */
static sail_code add_whole(sail__generator *g, sequence *s, sail_err *err)
{
    const sail__gen_request *r = s->group->request;
    const int64_t own = s->response->n, n = r->n_prompt + own;
    int32_t *ids = sail__malloc((size_t)n * sizeof *ids);
    if (!ids)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for %lld tokens", (long long)n);
    memcpy(ids, r->prompt, (size_t)r->n_prompt * sizeof *ids);
    memcpy(ids + r->n_prompt, s->response->ids, (size_t)own * sizeof *ids);
    s->whole = s->again = true;
    sail_code code = add_span(g, ids, 0, n, s->pages, s->n_pages, 1, err);
    sail__free(ids);
    return code;
}

/* One token of a sequence: its newest (which only the device knows when `ahead`), or the prompt's last again where a child came too late
 * for the prompt. */
static sail_code add_token(sail__generator *g, sequence *s, int ahead, sail_err *err)
{
    const sail__gen_request *r = s->group->request;
    int64_t own = s->response->n + ahead, at = own - 1;
    const int64_t before = s->whole ? r->n_prompt : 0, first = g->forest.n_tokens; /* of the sequence's own pages */
    if (!s->again && sail__may_outgrow(g, r) && r->n_prompt + own > sail__short_length(g->view.config))
        return add_whole(g, s, err);
    int32_t id = ahead ? 0 : own ? s->response->ids[at] : r->prompt[r->n_prompt - 1];
    int64_t slot_at = own ? before + at : r->n_prompt - 1;
    const int32_t *pages = own ? s->pages : s->group->pages;
    int32_t slot = pages[slot_at / PAGE] * PAGE + (int32_t)(slot_at % PAGE);
    SAIL_TRY(sail__grow(&g->runs, &g->cap_runs, (size_t)(s->group->n_pages + s->n_pages + 2), 3 * sizeof *g->runs, err));
    int64_t runs = s->whole ? 0 : add_runs(g->runs, 0, s->group->pages, r->n_prompt, 0);
    runs = add_runs(g->runs, runs, s->pages, before + own, r->n_prompt - before);
    SAIL_TRY(sail__forest_add_cached(&g->forest, &id, 1, own ? r->n_prompt + at : r->n_prompt - 1, &slot, g->runs, runs, SAIL__HEAD_LAST, 1,
                                     err));
    turn(g, first, r->n_prompt + own);
    return SAIL_OK;
}

/* One forward pass over the step's forest with the weights and cache of e: g itself, or what stands beside it. */
static sail_code execute(sail__generator *g, const sail__generator *e, sail_tensor *out, sail_err *err)
{
    sail_binding b = {.dims = sail__forest_dims(&g->forest),
                      .params = e->bind,
                      .n_params = e->n_bind,
                      .inputs = g->inputs.tensors,
                      .n_inputs = SAIL__IN_COUNT,
                      .outputs = out,
                      .n_outputs = SAIL__OUT_COUNT};
    return sail__exec_run(e->exec, &b, SAIL_RUN_FORWARD, err);
}

static uint64_t key_of(const int32_t *k) { return (uint32_t)k[0] | (uint64_t)(uint32_t)k[1] << 32; }

/* The same random number that the device would draw the token with. */
static sail_code draw_mixed(sail__generator *g, size_t row, sail_err *err)
{
    const int64_t vocab = g->view.config->vocab;
    const float *p = g->params + SAIL_SAMPLE_PARAMS * row, *const z[2] = {g->logits[0] + (int64_t)row * vocab, g->logits[1] + (int64_t)row * vocab};
    const int32_t *k = g->keys + 6 * row;
    const sail_filter_params f = {.temperature = p[SAIL_SAMPLE_TEMPERATURE], .top_k = (int64_t)p[SAIL_SAMPLE_TOP_K], .top_p = p[SAIL_SAMPLE_TOP_P],
                                  .min_p = p[SAIL_SAMPLE_MIN_P], .typical = p[SAIL_SAMPLE_TYPICAL], .penalty = 1};
    const double u = sail_rng_uniform(key_of(k), SAIL_RNG_TOKEN, key_of(k + 2), (uint32_t)k[4], (uint32_t)k[5]);
    return sail__mixture_draw(z, vocab, g->view.config->final_softcap, g->row_of[row]->group->request->mixture, &f, u, g->mixed, g->order,
                              &g->ids[row], &g->logp[row], &g->drawn[row], err);
}

static sail_code run_mixture(sail__generator *g, size_t rows, sail_err *err)
{
    sail__generator *const both[2] = {g, g->beside};
    for (int i = 0; i < 2; i++) {
        sail_tensor out[SAIL__OUT_COUNT] = {{0}};
        SAIL_TRY(sail__grow(&g->logits[i], &g->cap_logits[i], rows, (size_t)g->view.config->vocab * sizeof **g->logits, err));
        SAIL_TRY(execute(g, both[i], out, err));
        SAIL_TRY(sail__tensor_get_f32(g->view.rt, &out[SAIL__OUT_LOGITS], g->logits[i], err));
    }
    for (size_t r = 0; r < rows; r++)
        SAIL_TRY(draw_mixed(g, r, err));
    return SAIL_OK;
}

/* The pass for what is in the forest; what it draws is kept on the device, for the host's place number `ahead`. */
static sail_code run_step(sail__generator *g, size_t rows, int ahead, sail_err *err)
{
    const size_t to = (size_t)ahead * rows;
    sail__inputs *in = &g->inputs;
    g->forest.n_keys = g->pages * PAGE;
    sail__inputs_begin(in);
    sail__inputs_forest(in, &g->forest);
    if (!g->beside) {
        sail__inputs_put(in, SAIL__IN_SAMPLE_PARAMS, SAIL_F32, g->params, (int64_t)rows, SAIL_SAMPLE_PARAMS);
        sail__inputs_put(in, SAIL__IN_SAMPLE_KEYS, SAIL_I32, g->keys, (int64_t)rows, 6);
    }
    if (g->past) {
        SAIL_TRY(fill_history(g, rows, err));
        sail__inputs_put(in, SAIL__IN_HISTORY, SAIL_I32, g->history, (int64_t)rows, g->past);
    }
    SAIL_TRY(sail__inputs_send(in, 0, 0, err));
    if (g->beside)
        return run_mixture(g, rows, err);
    if (ahead) /* the tokens drawn last, row by row as the forest has them */
        SAIL_TRY(sail__outputs_copy(&g->outputs, 3 * (size_t)(ahead - 1), in->block, in->tensors[SAIL__IN_IDS].offset, err));
    sail_tensor out[SAIL__OUT_COUNT] = {{0}};
    SAIL_TRY(execute(g, g, out, err));
    SAIL_TRY(sail__outputs_take(&g->outputs, &out[SAIL__OUT_IDS], g->ids + to, err));
    SAIL_TRY(sail__outputs_take(&g->outputs, &out[SAIL__OUT_LOGP], g->logp + to, err));
    return sail__outputs_take(&g->outputs, &out[SAIL__OUT_SAMPLED], g->drawn + to, err);
}

/* ---- the whole job ---- */

typedef struct job {
    sail__generator *g;
    uint64_t seed;
    const sail__gen_request *requests;
    size_t n_requests, next; /* next request to admit */
    size_t left;             /* responses not finished */
    const int32_t *ends;
    int n_ends;
    sail__gen_token on_token;
    void *user;
    sail_arena *arena;
    sail__gen_response *responses;
    size_t *first; /* of each request */
    group *groups;
} job;

static sail_code admit_child(job *j, group *q, sail_err *err)
{
    sail__generator *g = j->g;
    sequence *s = &g->live[g->n_live];
    const sail__gen_request *r = q->request;
    memset(s, 0, sizeof *s);
    s->group = q;
    s->response = &j->responses[j->first[q->index] + (size_t)q->next_child];
    s->n_pages = sail__child_pages(g, r);
    s->whole = g->keeps;
    s->pages = sail__arena_array(j->arena, (size_t)s->n_pages + 1, sizeof *s->pages);
    if (!s->pages)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    sail__take_pages(g, s->pages, s->n_pages);
    q->next_child++;
    q->live++;
    g->n_live++;
    return SAIL_OK;
}

/* Children of groups already begun (only where a prompt has more children than the batch holds). */
static sail_code admit_late(job *j, sail_err *err)
{
    sail__generator *g = j->g;
    for (size_t i = 0; i < j->next; i++) {
        group *q = &j->groups[i];
        while (q->next_child < q->request->children && g->n_live < g->batch && g->n_free >= sail__child_pages(g, q->request))
            SAIL_TRY(admit_child(j, q, err));
    }
    return SAIL_OK;
}

static bool fits(const job *j, const sail__gen_request *r, int64_t tokens)
{
    const sail__generator *g = j->g;
    int want = r->children < g->batch ? r->children : g->batch;
    return g->batch - g->n_live >= want && (tokens == 0 || tokens + r->n_prompt <= PREFILL_TOKENS) &&
           g->n_free >= sail__prompt_pages(g, r) + (int64_t)want * sail__child_pages(g, r);
}

/* New groups while there is room; their prompts go into this step. */
static sail_code admit_new(job *j, size_t *rows, sail_err *err)
{
    sail__generator *g = j->g;
    int64_t tokens = 0;
    while (j->next < j->n_requests && fits(j, &j->requests[j->next], tokens)) {
        group *q = &j->groups[j->next];
        const sail__gen_request *r = &j->requests[j->next];
        q->request = r;
        q->index = (int)j->next++;
        q->n_pages = sail__prompt_pages(g, r);
        q->pages = sail__arena_array(j->arena, (size_t)q->n_pages + 1, sizeof *q->pages);
        if (!q->pages)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        sail__take_pages(g, q->pages, q->n_pages);
        int first = g->n_live;
        while (q->next_child < r->children && g->n_live < g->batch)
            SAIL_TRY(admit_child(j, q, err));
        SAIL_TRY(add_prompt(g, q, &g->live[first], g->n_live - first, err));
        for (int i = first; i < g->n_live; i++)
            SAIL_TRY(add_row(g, rows, &g->live[i], 0, j->seed, err));
        tokens += r->n_prompt;
    }
    return SAIL_OK;
}

static bool is_end(const job *j, int32_t id)
{
    for (int i = 0; i < j->n_ends; i++)
        if (j->ends[i] == id)
            return true;
    return false;
}

/* Take in a sampled token; true when the response is complete. */
static bool take_token(job *j, sequence *s, int32_t id, float logp, float drawn)
{
    sail__gen_response *r = s->response;
    const sail__gen_request *q = s->group->request;
    r->ids[r->n] = id;
    r->logp[r->n] = logp;
    r->drawn[r->n++] = drawn;
    bool told = j->on_token && j->on_token(j->user, r);
    if ((!q->ignore_end && is_end(j, id)) || told) {
        r->finish = SAIL__FINISH_STOP;
        return true;
    }
    r->finish = SAIL__FINISH_LENGTH;
    return r->n >= q->max_new;
}

static void retire(job *j, bool *done)
{
    sail__generator *g = j->g;
    int kept = 0;
    for (int i = 0; i < g->n_live; i++) {
        sequence *s = &g->live[i];
        if (!done[i]) {
            g->live[kept++] = *s;
            continue;
        }
        sail__give_pages(g, s->pages, s->n_pages);
        j->left--;
        s->group->live--;
        if (s->group->live == 0 && s->group->next_child == s->group->request->children)
            sail__give_pages(g, s->group->pages, s->group->n_pages);
    }
    g->n_live = kept;
}

/* Tokens of every live sequence that can be decoded before the host has to look. */
static int tokens_ahead(const job *j)
{
    int64_t n = j->on_token || j->g->beside ? 1 : j->g->ahead;
    for (int i = 0; i < j->g->n_live; i++) {
        const sequence *s = &j->g->live[i];
        const int64_t left = s->group->request->max_new - s->response->n;
        n = s->response->n == 0 ? 1 : left < n ? left : n; /* 0: a prompt is in the pass */
        if ((sail__may_outgrow(j->g, s->group->request) && !s->again) || penalised(s->group->request))
            n = 1; /* what becomes too long is computed again, and a penalty is due, for ids that the host knows */
    }
    return (int)n;
}

/* The sequences' next tokens but the first, which is in work. */
static sail_code go_ahead(job *j, int tokens, sail_err *err)
{
    sail__generator *g = j->g;
    for (int ahead = 1; ahead < tokens; ahead++) {
        size_t rows = 0;
        sail__forest_reset(&g->forest);
        for (int i = 0; i < g->n_live; i++) {
            SAIL_TRY(add_token(g, &g->live[i], ahead, err));
            SAIL_TRY(add_row(g, &rows, &g->live[i], ahead, j->seed, err));
        }
        SAIL_TRY(run_step(g, rows, ahead, err));
    }
    return SAIL_OK;
}

static sail_code step(job *j, bool *done, sail_err *err)
{
    sail__generator *g = j->g;
    double start = sail__now();
    int64_t prompts = g->counters.prompt_tokens;
    size_t rows = 0;
    sail__forest_reset(&g->forest);
    SAIL_TRY(admit_late(j, err));
    for (int i = 0; i < g->n_live; i++) {
        SAIL_TRY(add_token(g, &g->live[i], 0, err));
        SAIL_TRY(add_row(g, &rows, &g->live[i], 0, j->seed, err));
    }
    SAIL_TRY(admit_new(j, &rows, err));
    if (rows == 0)
        return sail_fail(err, SAIL_E_BUG, "generate: nothing fits the cache of %lld pages", (long long)g->pages);
    const int tokens = tokens_ahead(j);
    SAIL_TRY(sail__outputs_begin(&g->outputs, (uint64_t)(3 * tokens) * sail__outputs_room(&g->outputs, SAIL_F32, (int64_t)rows, 1),
                                 (size_t)(3 * tokens), err));
    SAIL_TRY(run_step(g, rows, 0, err));
    SAIL_TRY(go_ahead(j, tokens, err));
    SAIL_TRY(sail__outputs_get(&g->outputs, err));
    for (int i = 0; i < tokens; i++)
        for (size_t r = 0; r < rows; r++) {
            sequence *s = g->row_of[r];
            const size_t at = (size_t)i * rows + r;
            if (done[s - g->live]) /* drawn beyond its end */
                continue;
            done[s - g->live] = take_token(j, s, g->ids[at], g->logp[at], g->drawn[at]);
            g->counters.new_tokens++;
        }
    retire(j, done);
    double spent = sail__now() - start;
    g->counters.steps += tokens;
    g->counters.seconds += spent;
    if (g->counters.prompt_tokens > prompts)
        g->counters.prefill_seconds += spent;
    return SAIL_OK;
}

static sail_code plan(job *j, sail_err *err)
{
    sail__generator *g = j->g;
    int64_t total = 0, pages = 0, largest = 0, past = g->past;
    for (size_t i = 0; i < j->n_requests; i++) {
        const sail__gen_request *r = &j->requests[i];
        if (r->n_prompt < 1 || r->max_new < 1 || r->children < 1)
            return sail_fail(err, SAIL_E_ARG, "prompt %zu: at least one prompt token, one new token and one response are needed", i);
        if (r->n_prompt + r->max_new > sail__model_positions(g->model))
            return sail_fail(err, SAIL_E_LIMIT, "prompt %zu: %lld tokens and %lld new ones are more than the model's %lld positions", i,
                             (long long)r->n_prompt, (long long)r->max_new, (long long)sail__model_positions(g->model));
        if (penalised(r) && g->beside)
            return sail_fail(err, SAIL_E_ARG, "prompt %zu: a mixture is drawn from without a repetition penalty", i);
        while (penalised(r) && past < r->n_prompt + r->max_new)
            past = past ? 2 * past : PAGE;
        int want = r->children < g->batch ? r->children : g->batch;
        int64_t need = sail__prompt_pages(g, r) + (int64_t)want * sail__child_pages(g, r);
        int64_t groups = g->batch / want + 1;
        largest = need > largest ? need : largest;
        pages = need * groups > pages ? need * groups : pages;
        total += sail__prompt_pages(g, r) + (int64_t)r->children * sail__child_pages(g, r);
    }
    if (past > g->past)
        SAIL_TRY(build(g, past, err));
    return sail__cache_make(g, pages < total ? pages : total, err);
}

static sail_code prepare(job *j, size_t *n_out, sail_err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < j->n_requests; i++)
        n += (size_t)(j->requests[i].children > 0 ? j->requests[i].children : 0);
    j->responses = sail__arena_array(j->arena, n + 1, sizeof *j->responses);
    j->first = sail__arena_array(j->arena, j->n_requests + 1, sizeof *j->first);
    j->groups = sail__arena_array(j->arena, j->n_requests + 1, sizeof *j->groups);
    if (!j->responses || !j->first || !j->groups)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for %zu responses", n);
    size_t k = 0;
    for (size_t i = 0; i < j->n_requests; i++) {
        j->first[i] = k;
        for (int c = 0; c < j->requests[i].children; c++, k++) {
            sail__gen_response *r = &j->responses[k];
            size_t len = (size_t)j->requests[i].max_new;
            r->request = (int)i;
            r->child = j->requests[i].first_child + c;
            r->ids = sail__arena_array(j->arena, len, sizeof *r->ids);
            r->logp = sail__arena_array(j->arena, len, sizeof *r->logp);
            r->drawn = sail__arena_array(j->arena, len, sizeof *r->drawn);
            if (!r->ids || !r->logp || !r->drawn)
                return sail_fail(err, SAIL_E_NOMEM, "out of memory for %zu responses", n);
        }
    }
    *n_out = n;
    return SAIL_OK;
}

sail_code sail__generate(sail__generator *g, uint64_t seed, const sail__gen_request *requests, size_t n, const int32_t *ends,
                         int n_ends, sail__gen_token on_token, void *user, sail_arena *a, sail__gen_response **out,
                         size_t *n_out, sail_err *err)
{
    job j = {.g = g, .seed = seed, .requests = requests, .n_requests = n, .ends = ends ? ends : g->view.config->end_ids,
             .n_ends = ends ? n_ends : g->view.config->n_end_ids, .on_token = on_token, .user = user, .arena = a};
    if (g->keeps && (g->beside || n != 1 || requests->children != 1))
        return sail_fail(err, SAIL_E_ARG, "a generator that keeps its cache writes one response to one prompt at a time, and of no mixture");
    SAIL_TRY(plan(&j, err));
    SAIL_TRY(prepare(&j, n_out, err));
    bool *done = sail__arena_array(a, (size_t)g->batch, sizeof *done);
    if (!done)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    sail_code code = SAIL_OK;
    j.left = *n_out;
    while (code == SAIL_OK && j.left > 0) {
        code = sail_cancelled(g->view.rt->ctx) ? sail_fail(err, SAIL_E_CANCEL, "stopped while generating") : step(&j, done, err);
        memset(done, 0, (size_t)g->batch * sizeof *done);
    }
    if (code != SAIL_OK) { /* leave a whole generator behind */
        g->n_live = 0;
        sail__cache_reset(g);
        return code;
    }
    *out = j.responses;
    return g->keeps ? sail__cache_keep(g, requests, j.responses, err) : SAIL_OK;
}
