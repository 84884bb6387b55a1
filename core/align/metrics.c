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

/* Winner and loser among the responses of pair i; false where nobody won. */
static bool sides_of(const sail_pairs *b, int64_t i, int64_t *winner, int64_t *loser)
{
    const int64_t first = b->layout->response_of_pair[i];
    int slot[2];
    if (!sail__outcome_sides(&b->preference, b->outcome[i], sail__layout_compared(b->layout, i), &slot[0], &slot[1]))
        return false;
    *winner = first + slot[0];
    *loser = first + slot[1];
    return true;
}

/* Of single responses: desirable ones are the chosen, the others the rejected; there are as many of each as there happen to be. */
static sail_code add_single(sail__metrics *m, const sail_pairs *b, sail_err *err)
{
    static const char *const names[][2] = {{"rewards/chosen", "logps/chosen"}, {"rewards/rejected", "logps/rejected"}};
    const double *rho = sail_value_of(b->tape, b->rho), *logp = sail_value_of(b->tape, b->logp);
    for (int side = 0; side < 2; side++) {
        double reward = 0, sum = 0, n = 0;
        for (int64_t i = 0; i < b->layout->responses; i++)
            if (b->desirable[i] == (side ? SAIL_UNDESIRABLE : SAIL_DESIRABLE)) {
                reward += b->beta * rho[i];
                sum += logp[i];
                n++;
            }
        SAIL_TRY(sail__metrics_mean(m, names[side][0], reward, n, err));
        SAIL_TRY(sail__metrics_mean(m, names[side][1], sum, n, err));
    }
    const double margin = sail__metrics_get(m, names[0][0]) - sail__metrics_get(m, names[1][0]);
    sail__metric *x; /* of the parts so far: the last one's stays */
    if (isnan(margin))
        return SAIL_OK;
    SAIL_TRY(find(m, "rewards/margins", &x, err));
    *x = (sail__metric){.name = x->name, .sum = margin, .count = 1};
    return SAIL_OK;
}

static sail_code add_rewards(sail__metrics *m, const sail_pairs *b, sail_err *err)
{
    const bool tokens = b->logp.id > 0;
    if (tokens && b->layout->responses == b->n)
        return add_single(m, b, err);
    /* of a language model beta times the log-ratio, whatever divergence the scores come from; of a head its scores */
    const double *score = sail_value_of(b->tape, tokens ? b->rho : b->scores), scale = tokens ? b->beta : 1;
    const double *logp = tokens ? sail_value_of(b->tape, b->logp) : NULL;
    double chosen = 0, rejected = 0, right = 0, logp_chosen = 0, logp_rejected = 0, n = 0;
    for (int64_t i = 0; i < b->n; i++) {
        int64_t w, l;
        if (!sides_of(b, i, &w, &l))
            continue;
        chosen += scale * score[w];
        rejected += scale * score[l];
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
    const double *rho = b->rho.id > 0 ? sail_value_of(b->tape, b->rho) : NULL, *logp = sail_value_of(b->tape, b->whole_logp);
    double written = 0, n_written = 0, all = 0, surprise = 0;
    for (int64_t k = 0; rho && k < l->responses; k++) {
        double ratio = rho[k];
        if (rows->modifiers.length) { /* of all tokens alike: a divergence knows no weights */
            ratio = logp[k];
            for (int64_t j = l->token_of_response[k]; rows->ref && j < l->token_of_response[k + 1]; j++)
                ratio -= rows->ref[j];
        }
        all += ratio;
        if (b->response_writer[k] == SAIL_BY_POLICY) {
            written += ratio;
            surprise -= logp[k];
            n_written++;
        }
    }
    SAIL_TRY(sail__metrics_mean(m, "objective/entropy", surprise, n_written, err));
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

/* Scores of the judge: of all responses that have one, and between the best and the worst of a group. */
static sail_code add_scores(sail__metrics *m, const sail_pairs *b, sail_err *err)
{
    const double *score = sail_value_of(b->tape, b->judge_scores);
    double sum = 0, n = 0, spread = 0, groups = 0;
    for (int64_t i = 0; b->judge_scores.id > 0 && i < b->n; i++) {
        double low = INFINITY, high = -INFINITY;
        if (b->labeller[i] != SAIL_BY_JUDGE)
            continue;
        for (int64_t k = b->layout->response_of_pair[i]; k < b->layout->response_of_pair[i + 1]; k++)
            if (!isnan(score[k])) {
                sum += score[k];
                n++;
                low = fmin(low, score[k]);
                high = fmax(high, score[k]);
            }
        if (high >= low) {
            spread += high - low;
            groups++;
        }
    }
    SAIL_TRY(sail__metrics_mean(m, "objective/scores", sum, n, err));
    return sail__metrics_mean(m, "objective/scores_margin", spread, groups, err);
}

static sail_code add_routes(sail__metrics *m, const sail__batch *r, const sail_pairs *b, sail_err *err)
{
    double own = 0, flipped = 0, whole = 0;
    const double *weight = r->layout.pair_weight;
    for (int64_t i = 0; i < b->n; i++) {
        whole += weight ? weight[i] : 1;
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
            n += strcmp(r->routes[r->route[i]].name, r->routes[k].name) == 0 ? (weight ? weight[i] : 1) : 0;
        snprintf(name, sizeof name, "sail/route_%s", r->routes[k].name);
        SAIL_TRY(sail__metrics_mean(m, name, n, whole, err));
    }
    return SAIL_OK;
}

static void reported_as(const char *given, char *name, size_t size)
{
    snprintf(name, size, "%s%s", strchr(given, '/') ? "" : "sail/", given + (*given == '/'));
}

static bool reports(const sail_loss *loss, const char *prefix)
{
    for (int k = 0; loss && k < loss->n_metrics; k++)
        if (strncmp(loss->metrics[k].name, prefix, strlen(prefix)) == 0)
            return true;
    return false;
}

static sail_code add_objective(sail__metrics *m, const sail_pairs *b, const sail_loss *loss, sail_err *err)
{
    for (int k = 0; k < loss->n_metrics; k++) {
        char name[160];
        sail_var v = loss->metrics[k].value;
        const double *x = sail_value_of(b->tape, v);
        reported_as(loss->metrics[k].name, name, sizeof name);
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
    if (loss) {
        SAIL_TRY(sail__metrics_total(m, "loss", *sail_value_of(b->tape, loss->loss), err));
        SAIL_TRY(add_objective(m, b, loss, err));
    }
    if (!reports(loss, "rewards/"))
        SAIL_TRY(add_rewards(m, b, err));
    SAIL_TRY(add_responses(m, rows, b, err));
    SAIL_TRY(add_scores(m, b, err));
    return add_routes(m, rows, b, err);
}
