/* objective.c - what objectives are given beside the tape's operators. */
#include "tape_internal.h"

#include "../sail/objective.h"

void sail_loss_metric(sail_loss *out, const char *name, sail_var value)
{
    if (out->n_metrics >= SAIL_MAX_METRICS)
        return; /* reports only: the loss is not touched */
    out->metrics[out->n_metrics].name = name;
    out->metrics[out->n_metrics++].value = value;
}

/* A reward model's sides have no log-probabilities. */
static sail_var one_of(sail_tape *t, const uint8_t *mask, sail_var a, sail_var b)
{
    return a.id > 0 || b.id > 0 ? sail_select(t, mask, a, b) : a;
}

static sail_side choose(sail_tape *t, const uint8_t *mask, const sail_side *a, const sail_side *b)
{
    return (sail_side){.logp = one_of(t, mask, a->logp, b->logp),
                       .ref = one_of(t, mask, a->ref, b->ref),
                       .rho = one_of(t, mask, a->rho, b->rho),
                       .score = sail_select(t, mask, a->score, b->score),
                       .length = sail_select(t, mask, a->length, b->length)};
}

void sail_labelled_sides(sail_tape *t, const sail_pairs *b, sail_side *winner, sail_side *loser, sail_var *decided)
{
    sail_var none = {-1}, yes = none;
    sail_side nothing = {none, none, none, none, none};
    if (!b->has_sides)
        sail_tape_fail(t, SAIL_E_SHAPE, "this objective takes pairs of two responses; the batch has other groups: data.pairing and rollout.pairing make pairs of "
                       "more (best_worst, all)");
    uint8_t *second = sail__arena_alloc(t->arena, (size_t)b->n + 1),
            *first = sail__arena_alloc(t->arena, (size_t)b->n + 1);
    if (!second || !first)
        sail_tape_fail(t, SAIL_E_NOMEM, "no memory for %lld pairs", (long long)b->n);
    sail__tape_node *n = sail__tape_push(t, SAIL_PAIR, b->n, none, none, NULL, &yes);
    for (int64_t i = 0; n && i < b->n; i++) {
        second[i] = b->outcome[i] == 1;
        first[i] = !second[i];
        n->value[i] = b->outcome[i] == 0 || b->outcome[i] == 1;
    }
    if (winner)
        *winner = n ? choose(t, first, &b->chosen, &b->rejected) : nothing;
    if (loser)
        *loser = n ? choose(t, second, &b->chosen, &b->rejected) : nothing;
    if (decided)
        *decided = yes;
}

static bool share_a_response(const sail_pairs *b, int64_t i, int64_t j)
{
    const int64_t *first = b->layout->response_of_pair;
    if (!b->response_id)
        return i == j;
    for (int64_t k = first[i]; k < first[i + 1]; k++)
        for (int64_t m = first[j]; m < first[j + 1]; m++)
            if (b->response_id[k] == b->response_id[m])
                return true;
    return false;
}

void sail_baselines(const sail_pairs *b, const uint8_t *counts, const double *v, bool leave_one_out, double decay, double *state, double *baseline)
{
    double all = 0, counted = 0;
    for (int64_t i = 0; i < b->n; i++) {
        double sum = 0, n = 0;
        for (int64_t j = 0; leave_one_out && j < b->n; j++)
            if (counts[j] && !share_a_response(b, i, j)) { /* it shares its own, too */
                sum += v[j];
                n++;
            }
        baseline[i] = n > 0 ? sum / n : state[0];
        all += counts[i] ? v[i] : 0;
        counted += counts[i] != 0;
    }
    if (counted > 0) {
        state[0] = state[1] != 0 ? decay * state[0] + (1 - decay) * (all / counted) : all / counted;
        state[1] = 1;
    }
}

sail_var sail_chosen_nll(sail_tape *t, const sail_pairs *b)
{
    if (b->step_chosen_tokens <= 0)
        sail_tape_fail(t, SAIL_E_SHAPE, "the step has no response whose likelihood could be learned");
    sail_var chosen = sail_slot_of(t, sail_sum_tokens(t, b->token_logp), 0);
    return sail_mul(t, sail_sum(t, chosen), sail_number(t, -1 / (double)b->step_chosen_tokens));
}

void sail_loss_rewards(sail_tape *t, sail_loss *out, double beta, const sail_var reward[2], const sail_var logp[2])
{
    sail_var scale = sail_number(t, beta);
    sail_var chosen = sail_mul(t, sail_detach(t, reward[0]), scale), rejected = sail_mul(t, sail_detach(t, reward[1]), scale);
    sail_var margin = sail_sub(t, chosen, rejected);
    /* 1 where the margin is above 0, however little */
    sail_var right = sail_min(t, sail_mul(t, sail_relu(t, margin), sail_number(t, 1e300)), sail_number(t, 1));
    sail_loss_metric(out, "rewards/chosen", chosen);
    sail_loss_metric(out, "rewards/rejected", rejected);
    sail_loss_metric(out, "rewards/margins", margin);
    sail_loss_metric(out, "rewards/accuracies", right);
    sail_loss_metric(out, "logps/chosen", logp[0]);
    sail_loss_metric(out, "logps/rejected", logp[1]);
}
