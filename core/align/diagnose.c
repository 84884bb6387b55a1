/* diagnose.c - what the terms of a step's gradient are worth in the model: norms, angles, variance, shares. See learner.h. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "parts.h"

enum { T1, T2, T3, TERMS };

typedef struct look {
    sail__learner *l;
    const sail__stage *live;
    sail__step *s;
    sail__metrics *metrics;
    sail__flat *flat;
    size_t n;             /* numbers of a gradient */
    float *kept, *g[TERMS]; /* the step's own; the terms' (NULL: nothing of it in this step) */
    double *d[TERMS][3];  /* derivatives by token, of each term */
    sail__step_part part;      /* of the whole step; d: of the objective as it is */
} look;

/* ---- gradients on the host ---- */

static sail_code read_gradient(const look *k, float *out, sail_err *err)
{
    for (int i = 0; i < k->flat->n_segments; i++) {
        const sail__flat_segment *s = &k->flat->segments[i];
        SAIL_TRY(sail__tensor_get(k->flat->rt, &s->gradient, out, err));
        out += s->n;
    }
    return SAIL_OK;
}

static sail_code write_gradient(const look *k, const float *from, sail_err *err)
{
    for (int i = 0; i < k->flat->n_segments; i++) {
        const sail__flat_segment *s = &k->flat->segments[i];
        SAIL_TRY(sail__tensor_put(k->flat->rt, &s->gradient, from, err));
        from += s->n;
    }
    return SAIL_OK;
}

static double dot(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* ---- derivatives of the loss, with some of its coefficients set to 0 ---- */

static sail_code weights(look *k, bool written, bool labelled, double *const d[3], sail_err *err)
{
    sail__learner *l = k->l;
    const sail__objective o = sail__stage_objective(k->live);
    double *zeros = sail__arena_array(k->s->arena, (size_t)k->s->n + 1, sizeof *zeros);
    sail_pairs pairs;
    sail_loss out;
    if (!zeros)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for a look at the terms");
    SAIL_TRY(sail__pairs_build(k->s->arena, l->tape, &k->part.batch, &pairs, err));
    if (!written)
        pairs.coef_written = zeros;
    if (!labelled)
        pairs.coef_labelled = zeros;
    SAIL_TRY(sail__objective_loss(&o, l->tape, &pairs, &out, err));
    return sail__pairs_weights(&pairs, d[0], l->grad_want & SAIL_WANT_ENTROPY ? d[1] : NULL, l->grad_want & SAIL_WANT_LSS ? d[2] : NULL, err);
}

/* T2 is what is left without coefficients; the others what one of them adds. */
static sail_code split(look *k, bool *there, sail_err *err)
{
    const size_t tokens = (size_t)k->part.batch.layout.tokens;
    for (int t = 0; t < TERMS; t++)
        for (int i = 0; i < 3; i++)
            if (!(k->d[t][i] = sail__arena_array(k->s->arena, tokens + 1, sizeof ***k->d)))
                return sail_fail(err, SAIL_E_NOMEM, "out of memory for a look at the terms");
    SAIL_TRY(weights(k, true, true, k->part.d, err));
    SAIL_TRY(weights(k, false, false, k->d[T2], err));
    SAIL_TRY(weights(k, true, false, k->d[T1], err));
    SAIL_TRY(weights(k, false, true, k->d[T3], err));
    for (int t = 0; t < TERMS; t++) {
        there[t] = false;
        for (int i = 0; i < 3; i++)
            for (size_t j = 0; j < tokens; j++) {
                if (t != T2)
                    k->d[t][i][j] -= k->d[T2][i][j];
                there[t] = there[t] || k->d[t][i][j] != 0;
            }
    }
    return SAIL_OK;
}

/* ---- backward passes ---- */

static sail_code pass(look *k, const sail__micro *m, double *const d[3], sail_err *err)
{
    const sail_layout *l = &k->part.batch.layout;
    const int64_t at = l->token_of_response[l->response_of_pair[m->first]];
    const int want = k->l->grad_want;
    SAIL_TRY(sail__passes_forward(&k->l->passes, k->s, m, k->l->want, SAIL__PASS_TRAIN, err));
    return sail__passes_backward(&k->l->passes, k->s, m, d[0] + at, want & SAIL_WANT_ENTROPY ? d[1] + at : NULL, want & SAIL_WANT_LSS ? d[2] + at : NULL,
                                 NULL, err);
}

static sail_code look_at_terms(look *k, const bool *there, sail_err *err)
{
    static const char *const norm[] = {"sail/T1_norm", "sail/T2_norm", "sail/T3_norm"};
    static const struct {
        const char *name;
        int a, b;
    } angle[] = {{"sail/cos_T1_T2", T1, T2}, {"sail/cos_T1_T3", T1, T3}, {"sail/cos_T2_T3", T2, T3}};
    sail__micro *m;
    int64_t parts;
    double size[TERMS] = {0};
    SAIL_TRY(sail__passes_plan(k->s, k->live->train.micro_batch, k->live->train.max_tokens, &m, &parts, err));
    for (int t = 0; t < TERMS; t++) {
        if (there[t]) {
            if (!(k->g[t] = sail__malloc(k->n * sizeof(float))))
                return sail_fail(err, SAIL_E_NOMEM, "out of memory for a look at the terms: %zu numbers each", k->n);
            SAIL_TRY(sail__flat_zero_gradients(k->flat, err));
            for (int64_t i = 0; i < parts; i++)
                SAIL_TRY(pass(k, &m[i], k->d[t], err));
            SAIL_TRY(read_gradient(k, k->g[t], err));
            size[t] = sqrt(dot(k->g[t], k->g[t], k->n));
        }
        SAIL_TRY(sail__metrics_mean(k->metrics, norm[t], size[t], 1, err));
    }
    for (size_t i = 0; i < sizeof angle / sizeof *angle; i++)
        if (size[angle[i].a] > 0 && size[angle[i].b] > 0)
            SAIL_TRY(sail__metrics_mean(k->metrics, angle[i].name, dot(k->g[angle[i].a], k->g[angle[i].b], k->n) / (size[angle[i].a] * size[angle[i].b]), 1,
                                        err));
    return SAIL_OK;
}

/* Each prompt's own gradient: how far they differ is what the step's is uncertain by. */
static sail_code look_at_prompts(look *k, sail_err *err)
{
    sail__micro *m;
    int64_t parts, prompts = 0;
    double squares = 0, sizes = 0;
    SAIL_TRY(sail__passes_plan(k->s, 1, k->live->train.max_tokens, &m, &parts, err));
    double *by_route = sail__arena_array(k->s->arena, (size_t)parts + 1, sizeof *by_route);
    float *g = sail__malloc(k->n * sizeof *g);
    if (!by_route || !g) {
        sail__free(g);
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for a look at the terms: %zu numbers", k->n);
    }
    sail_code code = SAIL_OK;
    for (int64_t i = 0; i < parts && code == SAIL_OK; prompts++) {
        const int64_t first = i;
        code = sail__flat_zero_gradients(k->flat, err);
        do
            code = code == SAIL_OK ? pass(k, &m[i], k->part.d, err) : code;
        while (++i < parts && k->s->groups[i].shared && k->s->groups[i].shared == k->s->groups[first].shared);
        if (code == SAIL_OK)
            code = read_gradient(k, g, err);
        const double square = code == SAIL_OK ? dot(g, g, k->n) : 0;
        squares += square;
        sizes += sqrt(square);
        by_route[first] = sqrt(square);
    }
    sail__free(g);
    SAIL_TRY(code);
    const double whole = dot(k->kept, k->kept, k->n), n = (double)prompts;
    const double variance = prompts > 1 ? n / (n - 1) * fmax(squares - whole / n, 0) : NAN;
    if (isfinite(variance)) {
        SAIL_TRY(sail__metrics_mean(k->metrics, "sail/variance", variance, 1, err));
        if (variance > 0)
            SAIL_TRY(sail__metrics_mean(k->metrics, "sail/snr", whole / variance, 1, err));
    }
    for (int r = 0; r < k->part.batch.n_routes && sizes > 0; r++) {
        const char *route = k->part.batch.routes[r].name;
        double share = 0;
        char name[128];
        bool told = false; /* under the same name, with another coefficient */
        for (int q = 0; q < r; q++)
            told = told || strcmp(k->part.batch.routes[q].name, route) == 0;
        for (int64_t i = 0; i < parts && !told; i++)
            share += strcmp(k->s->groups[i].route, route) == 0 ? by_route[i] : 0;
        snprintf(name, sizeof name, "sail/share_%s", route);
        if (!told)
            SAIL_TRY(sail__metrics_mean(k->metrics, name, share / sizes, 1, err));
    }
    return SAIL_OK;
}

static sail_code take_a_look(look *k, sail_err *err)
{
    bool there[TERMS];
    SAIL_TRY(sail__step_part_make(k->l, k->live, k->s, 0, k->s->n, false, &k->part, err));
    k->part.batch.baseline = k->l->baseline;
    SAIL_TRY(split(k, there, err));
    SAIL_TRY(look_at_terms(k, there, err));
    return look_at_prompts(k, err);
}

sail_code sail__learner_diagnose(sail__learner *l, const sail__stage *live, sail__step *s, sail__metrics *metrics, sail_err *err)
{
    look k = {.l = l, .live = live, .s = s, .metrics = metrics, .flat = sail__model_flat(l->passes.model)};
    if (s->n == 0 || l->passes.labels || l->passes.prompts)
        return SAIL_OK;
    for (int i = 0; i < k.flat->n_segments; i++)
        k.n += (size_t)k.flat->segments[i].n;
    if (!(k.kept = sail__malloc(k.n * sizeof *k.kept)))
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for a look at the terms: %zu numbers each", k.n);
    sail_code code = read_gradient(&k, k.kept, err);
    if (code == SAIL_OK)
        code = take_a_look(&k, err);
    if (code == SAIL_OK)
        code = write_gradient(&k, k.kept, err);
    sail__free(k.kept);
    for (int t = 0; t < TERMS; t++)
        sail__free(k.g[t]);
    return code == SAIL_OK ? code : sail_fail_in(err, "train.diagnostics");
}
