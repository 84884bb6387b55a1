/* metrics.c - what a step reports about its pairs, summed over the step's parts. See batch.h. */
#include "batch.h"

#include "tape_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static sail_code find(sail__metrics *m, const char *name, sail__metric **out, sail_err *err)
{
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->items[i].name, name) == 0) {
            *out = &m->items[i];
            return SAIL_OK;
        }
    SAIL_TRY(sail__grow(&m->items, &m->cap, m->n + 1, sizeof *m->items, err));
    const char *copy = sail__arena_strdup(m->arena, name);
    if (!copy)
        return sail_fail(err, SAIL_E_NOMEM, "no memory for metric %s", name);
    m->items[m->n] = (sail__metric){.name = copy};
    *out = &m->items[m->n++];
    return SAIL_OK;
}

sail_code sail__metrics_mean(sail__metrics *m, const char *name, double sum, double count, sail_err *err)
{
    sail__metric *x;
    if (count == 0)
        return SAIL_OK;
    SAIL_TRY(find(m, name, &x, err));
    x->sum += sum;
    x->count += count;
    return SAIL_OK;
}

sail_code sail__metrics_total(sail__metrics *m, const char *name, double value, sail_err *err)
{
    sail__metric *x;
    SAIL_TRY(find(m, name, &x, err));
    x->sum += value;
    return SAIL_OK;
}

double sail__metric_value(const sail__metric *x)
{
    return x->count != 0 ? x->sum / x->count : x->sum;
}

double sail__metrics_get(const sail__metrics *m, const char *name)
{
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->items[i].name, name) == 0)
            return sail__metric_value(&m->items[i]);
    return NAN;
}

/* Winner and loser among the responses of pair i; false where nobody won. Of a ranking: first and last placed, or the
 * lowest slot that a truncated ranking left out. */
static bool sides_of(const sail_pairs *b, int64_t i, int64_t *winner, int64_t *loser)
{
    int64_t first = b->layout->response_of_pair[i];
    int k = sail__layout_compared(b->layout, i), o = b->outcome[i], order[SAIL_MAX_RESPONSES];
    if (k < 2 || o < 0 || (k == 2 && o > 1))
        return false;
    int top = sail__ranked_places(k == 2 ? 2 : b->preference.ops->outcomes(b->preference.self, k), k);
    if (!sail_outcome_ranking(o, k, top, order))
        return false;
    bool placed[SAIL_MAX_RESPONSES] = {false};
    int last = 0;
    for (int j = 0; j < top; j++)
        placed[order[j]] = true;
    while (last < k && placed[last])
        last++;
    if (last == k)
        last = order[top - 1];
    *winner = first + order[0];
    *loser = first + last;
    return true;
}

static sail_code add_rewards(sail__metrics *m, const sail_pairs *b, sail_err *err)
{
    const bool tokens = b->logp.id > 0;
    const double *score = sail_value_of(b->tape, b->scores), *logp = tokens ? sail_value_of(b->tape, b->logp) : NULL;
    double chosen = 0, rejected = 0, right = 0, logp_chosen = 0, logp_rejected = 0, n = 0;
    for (int64_t i = 0; i < b->n; i++) {
        int64_t w, l;
        if (!sides_of(b, i, &w, &l))
            continue;
        chosen += score[w];
        rejected += score[l];
        right += score[w] > score[l];
        logp_chosen += tokens ? logp[w] : 0;
        logp_rejected += tokens ? logp[l] : 0;
        n++;
    }
    SAIL_TRY(sail__metrics_mean(m, "rewards/chosen", chosen, n, err));
    SAIL_TRY(sail__metrics_mean(m, "rewards/rejected", rejected, n, err));
    SAIL_TRY(sail__metrics_mean(m, "rewards/accuracies", right, n, err));
    SAIL_TRY(sail__metrics_mean(m, "rewards/margins", chosen - rejected, n, err));
    if (!tokens)
        return SAIL_OK;
    SAIL_TRY(sail__metrics_mean(m, "logps/chosen", logp_chosen, n, err));
    return sail__metrics_mean(m, "logps/rejected", logp_rejected, n, err);
}

static sail_code add_responses(sail__metrics *m, const sail__batch *rows, const sail_pairs *b, sail_err *err)
{
    const sail_layout *l = b->layout;
    const double *rho = b->rho.id > 0 ? sail_value_of(b->tape, b->rho) : NULL;
    double written = 0, n_written = 0, all = 0;
    for (int64_t i = 0; rho && i < b->n; i++)
        for (int64_t k = l->response_of_pair[i]; k < l->response_of_pair[i + 1]; k++) {
            all += rho[k];
            if (b->writer[i] == SAIL_BY_POLICY) {
                written += rho[k];
                n_written++;
            }
        }
    if (b->token_entropy.id > 0) {
        const double *h = sail_value_of(b->tape, b->token_entropy);
        double sum = 0;
        for (int64_t i = 0; i < l->tokens; i++)
            sum += h[i];
        SAIL_TRY(sail__metrics_mean(m, "entropy", sum, (double)l->tokens, err));
    }
    SAIL_TRY(sail__metrics_mean(m, "completions/mean_length", (double)l->tokens, (double)l->responses, err));
    if (!rows->ref || !rho) /* there is nothing to be in a ratio to */
        return SAIL_OK;
    SAIL_TRY(sail__metrics_mean(m, "sail/log_ratio", all, (double)l->responses, err));
    return sail__metrics_mean(m, "objective/kl", written, n_written, err);
}

static sail_code add_routes(sail__metrics *m, const sail__batch *r, const sail_pairs *b, sail_err *err)
{
    double own = 0, flipped = 0;
    for (int64_t i = 0; i < b->n; i++) {
        bool data_by_policy = b->writer[i] == SAIL_BY_DATA && b->labeller[i] == SAIL_BY_POLICY;
        own += data_by_policy;
        flipped += data_by_policy && b->outcome[i] != 0;
    }
    SAIL_TRY(sail__metrics_mean(m, "sail/flip_rate", flipped, own, err));
    for (int k = 0; r->route && k < r->n_routes; k++) {
        char name[128];
        double n = 0;
        bool counted = false; /* under the same name, with another coefficient */
        for (int j = 0; j < k; j++)
            counted = counted || strcmp(r->routes[j].name, r->routes[k].name) == 0;
        if (counted)
            continue;
        for (int64_t i = 0; i < b->n; i++)
            n += strcmp(r->routes[r->route[i]].name, r->routes[k].name) == 0;
        snprintf(name, sizeof name, "sail/route_%s", r->routes[k].name);
        SAIL_TRY(sail__metrics_mean(m, name, n, (double)b->n, err));
    }
    return SAIL_OK;
}

static sail_code add_objective(sail__metrics *m, const sail_pairs *b, const sail_loss *loss, sail_err *err)
{
    SAIL_TRY(sail__metrics_total(m, "loss", *sail_value_of(b->tape, loss->loss), err));
    for (int k = 0; k < loss->n_metrics; k++) {
        char name[160];
        sail_var v = loss->metrics[k].value;
        const double *x = sail_value_of(b->tape, v);
        snprintf(name, sizeof name, "%s%s", strchr(loss->metrics[k].name, '/') ? "" : "sail/", loss->metrics[k].name);
        if (sail_domain_of(b->tape, v) == SAIL_SCALAR) {
            SAIL_TRY(sail__metrics_total(m, name, *x, err));
            continue;
        }
        double sum = 0;
        int64_t n = sail_length_of(b->tape, v);
        for (int64_t i = 0; i < n; i++)
            sum += x[i];
        SAIL_TRY(sail__metrics_mean(m, name, sum, (double)n, err));
    }
    return SAIL_OK;
}

sail_code sail__metrics_pairs(sail__metrics *m, const sail__batch *rows, const sail_pairs *b, const sail_loss *loss,
                              sail_err *err)
{
    if (loss)
        SAIL_TRY(add_objective(m, b, loss, err));
    SAIL_TRY(add_rewards(m, b, err));
    SAIL_TRY(add_responses(m, rows, b, err));
    return add_routes(m, rows, b, err);
}
