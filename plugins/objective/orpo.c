/* orpo.c - odds ratio preference optimisation: the likelihood of the chosen responses and the odds of both, without a reference.
 * Source : arXiv 2403.07691, eq. 6, with the likelihood of TRL: over the prompt's tokens as well.
 * Needs  : pairs of two; the prompts' log-probabilities.
 * Loss   : mean -log p of a token + mean over pairs of -beta log s(o(x_w) - o(x_l)), o(x) = x - log(1 - e^x), x = log pi(y|x) / |y|; pairs
 *          that nobody won count 0 in the second. beta is the paper's lambda. */
#include <math.h>
#include <sail/objective.h>
#include <sail/plugin.h>
#include <stdlib.h>

struct orpo {
    bool likelihood_over_prompt;
};

static const sail_opt opts[] = {
    SAIL_OPT_BOOL(struct orpo, likelihood_over_prompt, .def = 1,
                  .help = "the likelihood is that of prompts and chosen responses; false: of the responses alone, as in the paper"),
    {0},
};

/* log(1 - e^x), x < 0: each form where it keeps its digits. */
static sail_var log_of_rest(sail_tape *t, sail_var x, uint8_t *near)
{
    const double *v = sail_value_of(t, x);
    for (int64_t i = 0; i < sail_length_of(t, x); i++)
        near[i] = v[i] > -log(2);
    return sail_select(t, near, sail_ln(t, sail_neg(t, sail_expm1(t, x))), sail_log1p(t, sail_neg(t, sail_exp(t, x))));
}

static sail_var likelihood(const struct orpo *o, sail_tape *t, const sail_pairs *b)
{
    sail_var chosen = sail_chosen_nll(t, b);
    if (!o->likelihood_over_prompt)
        return chosen;
    const double n = (double)b->step_chosen_tokens, prompt = (double)b->step_prompt_tokens;
    sail_var rest = sail_mul(t, sail_sum(t, b->prompt_logp), sail_number(t, -1 / (n + prompt)));
    return sail_add(t, sail_mul(t, chosen, sail_number(t, n / (n + prompt))), rest);
}

static sail_code loss(const void *self, sail_tape *t, const sail_pairs *b, sail_loss *out)
{
    const struct orpo *o = self;
    sail_side w, l;
    sail_var decided;
    sail_labelled_sides(t, b, &w, &l, &decided);
    const sail_var mean[2] = {sail_div(t, w.logp, w.length), sail_div(t, l.logp, l.length)};
    uint8_t *near = malloc((size_t)b->n + 1);
    if (!near) {
        sail_tape_fail(t, SAIL_E_NOMEM, "orpo: no memory for %lld pairs", (long long)b->n);
        return sail_tape_status(t);
    }
    sail_var rest = sail_sub(t, log_of_rest(t, mean[0], near), log_of_rest(t, mean[1], near));
    free(near);
    sail_var odds = sail_sub(t, sail_sub(t, mean[0], mean[1]), rest), ratio = sail_log_sigmoid(t, odds);
    sail_var nll = likelihood(o, t, b);
    out->per_pair = sail_mul(t, decided, sail_mul(t, ratio, sail_number(t, -b->beta)));
    out->loss = sail_add(t, nll, sail_mean(t, out->per_pair));
    sail_loss_metric(out, "/nll_loss", nll);
    sail_loss_metric(out, "/log_odds_ratio", ratio);
    sail_loss_metric(out, "/log_odds_chosen", odds);
    sail_loss_rewards(t, out, b->beta, mean, mean);
    return sail_tape_status(t);
}

static const sail_objective ops = {.size = sizeof ops, .loss = loss};
SAIL_PLUGIN(SAIL_KIND_OBJECTIVE, orpo, "likelihood and odds ratio at once, no reference", "arXiv:2403.07691", struct orpo, opts,
            &ops, SAIL_CAP_PAIRS | SAIL_CAP_PROMPT)
