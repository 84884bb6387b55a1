/* passes.c - packing groups into forests and running the model over them. */
#include "passes.h"

#include <string.h>

void sail__passes_init(sail__passes *p, sail__model *m)
{
    memset(p, 0, sizeof *p);
    sail__model_view view;
    sail__model_view_of(m, SAIL__POLICY, &view);
    p->model = m;
    p->labels = view.config->labels;
}

void sail__passes_free(sail__passes *p)
{
    sail__forest_free(&p->forest);
    sail__free(p->at);
    for (int i = 0; i < 3; i++) {
        sail__free(p->rows[i]);
        sail__free(p->grads[i]);
    }
    memset(p, 0, sizeof *p);
}

/* The group before i, not before `first`, that holds response r too; -1: none. */
static int64_t seen_in(const sail__step *s, int64_t first, int64_t i, const sail__response *r, int *slot)
{
    const sail__group *g = &s->groups[i];
    for (int64_t j = i - 1; g->shared && j >= first && s->groups[j].shared == g->shared; j--)
        for (int k = 0; k < s->groups[j].k; k++)
            if (s->groups[j].r[k].id == r->id) {
                *slot = k;
                return j;
            }
    return -1;
}

static bool prompt_seen(const sail__step *s, int64_t first, int64_t i)
{
    return i > first && s->groups[i].shared && s->groups[i - 1].shared == s->groups[i].shared;
}

/* What group i adds to a micro-batch that begins at `first`. */
static int64_t tokens_of(const sail__step *s, int64_t first, int64_t i)
{
    const sail__group *g = &s->groups[i];
    int slot;
    int64_t n = prompt_seen(s, first, i) ? 0 : g->n_prompt;
    for (int k = 0; k < g->k; k++)
        n += seen_in(s, first, i, &g->r[k], &slot) < 0 ? g->r[k].n : 0;
    return n + (g->mismatched ? g->mismatched->n : 0);
}

sail_code sail__passes_plan(const sail__step *s, int64_t groups, int64_t max_tokens, sail__micro **out, int64_t *n, sail_err *err)
{
    *out = sail__arena_array(s->arena, (size_t)s->n + 1, sizeof **out);
    *n = 0;
    if (!*out)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (int64_t i = 0; i < s->n; i++) {
        sail__micro *m = *n ? &(*out)[*n - 1] : NULL;
        int64_t t = m ? tokens_of(s, m->first, i) : 0;
        if (!m || (groups > 0 && m->n == groups) || m->tokens + t > max_tokens) {
            m = &(*out)[(*n)++];
            *m = (sail__micro){.first = i};
            t = tokens_of(s, i, i);
        }
        m->n++;
        m->tokens += t;
    }
    return SAIL_OK;
}

/* A response without a prompt has no log-probability for its first token: it counts 0. */
static int64_t skipped(const sail__group *g) { return g->n_prompt > 0 ? 0 : 1; }

/* Rows before a group's responses: its prompt's tokens but the first, where they are scored. */
static int64_t prompt_rows(const sail__passes *p, const sail__group *g)
{
    return p->prompts && g->n_prompt > 0 ? g->n_prompt - 1 : 0;
}

/* What passes.at holds of a group: the first row of each response, of that of another prompt behind them, and of its prompt. */
enum { AT_PROMPT = SAIL_MAX_RESPONSES + 1, AT_ROWS };

static sail_code pack(sail__passes *p, const sail__step *s, const sail__micro *m, sail_err *err)
{
    if (p->forest_n == m->n && p->forest_first == m->first && p->forest.n_tokens == m->tokens)
        return SAIL_OK;
    p->forest_n = 0;
    sail__forest_reset(&p->forest);
    SAIL_TRY(sail__grow(&p->at, &p->at_cap, (size_t)m->n * AT_ROWS, sizeof *p->at, err));
    int parent = -1;
    int64_t row = 0;
    for (int64_t i = m->first; i < m->first + m->n; i++) {
        const sail__group *g = &s->groups[i];
        int64_t *at = p->at + (i - m->first) * AT_ROWS;
        const int32_t key = (int32_t)(s->step * 1000003 + (g->shared ? g->prompt_id : i) * SAIL_MAX_RESPONSES);
        if (!prompt_seen(s, m->first, i)) {
            parent = -1;
            at[AT_PROMPT] = row;
            if (g->n_prompt > 0)
                SAIL_TRY(sail__forest_add(&p->forest, -1, g->prompt, g->n_prompt, p->prompts ? SAIL__HEAD_EACH : SAIL__HEAD_NONE, key, &parent, err));
            row += prompt_rows(p, g);
        } else {
            at[AT_PROMPT] = at[AT_PROMPT - AT_ROWS];
        }
        for (int k = 0; k < g->k; k++) {
            int slot = 0;
            const int64_t j = seen_in(s, m->first, i, &g->r[k], &slot);
            if (j >= 0) {
                at[k] = p->at[(j - m->first) * AT_ROWS + slot];
                continue;
            }
            const int32_t own = g->shared ? (int32_t)(g->r[k].id % SAIL_MAX_RESPONSES) : k;
            SAIL_TRY(sail__forest_add(&p->forest, parent, g->r[k].ids, g->r[k].n, p->labels ? SAIL__HEAD_LAST : SAIL__HEAD_EACH, key + 1 + own, NULL, err));
            at[k] = row;
            row += g->r[k].n - skipped(g);
        }
        if (g->mismatched) {
            SAIL_TRY(sail__forest_add(&p->forest, parent, g->mismatched->ids, g->mismatched->n, SAIL__HEAD_EACH, key + 1 + g->k, NULL, err));
            at[g->k] = row;
            row += g->mismatched->n - skipped(g);
        }
    }
    int64_t rows = p->forest.n_rows * (p->labels > 1 ? p->labels : 1);
    if (rows > (int64_t)p->cap) {
        size_t need = (size_t)rows, cap = 0;
        for (int i = 0; i < 3; i++) {
            cap = 0;
            SAIL_TRY(sail__grow(&p->rows[i], &cap, need, sizeof(float), err));
            cap = 0;
            SAIL_TRY(sail__grow(&p->grads[i], &cap, need, sizeof(float), err));
        }
        p->cap = need;
    }
    p->forest_first = m->first;
    p->forest_n = m->n;
    return SAIL_OK;
}

static int64_t row_of(const sail__passes *p, int64_t group, int slot) { return p->at[(group - p->forest_first) * AT_ROWS + slot]; }

/* A step's groups are new: what was packed before is of no use. */
static void forget(sail__passes *p) { p->forest_n = 0; }

static sail_code array(sail__step *s, float **out, int64_t n, sail_err *err)
{
    if (!*out)
        *out = sail__arena_array(s->arena, (size_t)n + 1, sizeof **out);
    return *out ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory for log-probabilities");
}

/* The k-th response that is scored: those of the group, then the one of another prompt. NULL: no more. */
static sail__response *scored(sail__group *g, int k)
{
    if (k == g->k && g->mismatched) {
        g->beside.ids = g->mismatched->ids;
        g->beside.n = g->mismatched->n;
        return &g->beside;
    }
    return k < g->k ? &g->r[k] : NULL;
}

static void spread(float *to, const float *from, const sail__group *g, int64_t n)
{
    int64_t skip = skipped(g);
    memset(to, 0, (size_t)skip * sizeof *to);
    memcpy(to + skip, from, (size_t)(n - skip) * sizeof *to);
}

sail_code sail__passes_reference(sail__passes *p, sail__step *s, const sail__micro *m, sail_err *err)
{
    bool known = true;
    for (int64_t i = m->first; i < m->first + m->n; i++)
        known = known && s->groups[i].ref_known && !(s->groups[i].mismatched && !s->groups[i].beside.ref);
    if (known)
        return SAIL_OK;
    forget(p);
    SAIL_TRY(pack(p, s, m, err));
    SAIL_TRY(sail__model_logprobs(p->model, SAIL__REFERENCE, &p->forest, false, p->rows[0], NULL, NULL, err));
    p->flops += sail__model_flops(p->model, SAIL__REFERENCE, &p->forest, false);
    for (int64_t i = m->first; i < m->first + m->n; i++) {
        sail__group *g = &s->groups[i];
        for (int k = 0; scored(g, k); k++) {
            sail__response *r = scored(g, k);
            if (!g->ref_known || k == g->k) {
                SAIL_TRY(array(s, &r->ref, r->n, err));
                spread(r->ref, p->rows[0] + row_of(p, i, k), g, r->n);
            }
        }
        g->ref_known = true;
    }
    return SAIL_OK;
}

static sail_code forward_scores(sail__passes *p, sail__step *s, const sail__micro *m, bool keep, sail_err *err)
{
    SAIL_TRY(sail__model_scores(p->model, &p->forest, keep, p->rows[0], err));
    const float *from = p->rows[0];
    for (int64_t i = m->first; i < m->first + m->n; i++)
        for (int k = 0; k < s->groups[i].k; k++, from += p->labels) {
            SAIL_TRY(array(s, &s->groups[i].r[k].head, p->labels, err));
            memcpy(s->groups[i].r[k].head, from, (size_t)p->labels * sizeof *from);
        }
    return SAIL_OK;
}

sail_code sail__passes_forward(sail__passes *p, sail__step *s, const sail__micro *m, int want, sail__pass pass, sail_err *err)
{
    bool keep = pass == SAIL__PASS_TRAIN || (pass == SAIL__PASS_PROBE && sail__model_has_dropout(p->model));
    forget(p);
    SAIL_TRY(pack(p, s, m, err));
    if (p->labels) {
        SAIL_TRY(forward_scores(p, s, m, keep, err));
        p->flops += sail__model_flops(p->model, SAIL__POLICY, &p->forest, pass == SAIL__PASS_TRAIN);
        return SAIL_OK;
    }
    SAIL_TRY(sail__model_logprobs(p->model, SAIL__POLICY, &p->forest, keep, p->rows[0], want & SAIL_WANT_ENTROPY ? p->rows[1] : NULL,
                                  want & SAIL_WANT_LSS ? p->rows[2] : NULL, err));
    p->flops += sail__model_flops(p->model, SAIL__POLICY, &p->forest, pass == SAIL__PASS_TRAIN);
    for (int64_t i = m->first; i < m->first + m->n; i++) {
        sail__group *g = &s->groups[i];
        if (p->prompts && g->n_prompt > 0) {
            SAIL_TRY(array(s, &g->prompt_logp, g->n_prompt, err));
            g->prompt_logp[0] = 0;
            memcpy(g->prompt_logp + 1, p->rows[0] + row_of(p, i, AT_PROMPT), (size_t)(g->n_prompt - 1) * sizeof *g->prompt_logp);
        }
        for (int k = 0; scored(g, k); k++) {
            sail__response *r = scored(g, k);
            const int64_t at = row_of(p, i, k);
            SAIL_TRY(array(s, &r->logp, r->n, err));
            spread(r->logp, p->rows[0] + at, g, r->n);
            if (want & SAIL_WANT_ENTROPY) {
                SAIL_TRY(array(s, &r->entropy, r->n, err));
                spread(r->entropy, p->rows[1] + at, g, r->n);
            }
            if (want & SAIL_WANT_LSS) {
                SAIL_TRY(array(s, &r->lss, r->n, err));
                spread(r->lss, p->rows[2] + at, g, r->n);
            }
        }
    }
    return SAIL_OK;
}

sail_code sail__passes_backward(sail__passes *p, sail__step *s, const sail__micro *m, const double *d_logp, const double *d_entropy,
                                const double *d_lss, const double *d_prompt, sail_err *err)
{
    if (p->forest_first != m->first || p->forest_n != m->n)
        return sail_fail(err, SAIL_E_BUG, "passes: backward of another micro-batch than the last forward's");
    const double *from[3] = {d_logp, d_entropy, d_lss};
    int64_t token = 0;
    for (int part = 0; part < 3; part++) /* a response of several pairs gets what each of them asks for */
        if (from[part])
            memset(p->grads[part], 0, (size_t)p->forest.n_rows * sizeof *p->grads[part]);
    for (int64_t i = m->first; i < m->first + m->n; i++) {
        const sail__group *g = &s->groups[i];
        const int64_t before = prompt_rows(p, g), prompt = row_of(p, i, AT_PROMPT);
        for (int64_t t = 0; d_prompt && t < before; t++)
            p->grads[0][prompt + t] += (float)*d_prompt++;
        for (int k = 0; k < g->k; k++) {
            int64_t skip = skipped(g), n = g->r[k].n, at = row_of(p, i, k);
            for (int part = 0; part < 3; part++)
                for (int64_t t = skip; from[part] && t < n; t++)
                    p->grads[part][at + t - skip] += (float)from[part][token + t];
            token += n;
        }
    }
    return sail__model_backward(p->model, &p->forest, d_logp ? p->grads[0] : NULL, d_entropy ? p->grads[1] : NULL,
                                d_lss ? p->grads[2] : NULL, err);
}

sail_code sail__passes_scores_backward(sail__passes *p, const sail__micro *m, const double *d_head, sail_err *err)
{
    if (p->forest_first != m->first || p->forest_n != m->n)
        return sail_fail(err, SAIL_E_BUG, "passes: backward of another micro-batch than the last forward's");
    for (int64_t i = 0; i < p->forest.n_rows * p->labels; i++)
        p->grads[0][i] = (float)d_head[i];
    return sail__model_scores_backward(p->model, &p->forest, p->grads[0], err);
}
