/* batch.c - see batch.h. The metrics are in metrics.c. */
#include "batch.h"

#include <math.h>

#include "../sail/rng.h"

#include "tape_internal.h"

int sail__ranked_places(int outcomes, int k)
{
    int top = 0;
    for (int n = 1; n < outcomes && top < k;)
        n *= k - top++;
    return top;
}

bool sail__outcome_sides(const sail_preference_model *m, int32_t outcome, int k, int *winner, int *loser)
{
    bool placed[SAIL_MAX_RESPONSES] = {false};
    int order[SAIL_MAX_RESPONSES], last = 0;
    if (k < 2 || outcome < 0 || (k == 2 && outcome > 1))
        return false;
    const int top = sail__ranked_places(k == 2 ? 2 : m->ops->outcomes(m->self, k), k);
    if (!sail_outcome_ranking(outcome, k, top, order))
        return false;
    for (int j = 0; j < top; j++)
        placed[order[j]] = true;
    while (last < k && placed[last])
        last++;
    *winner = order[0];
    *loser = last < k ? last : order[top - 1];
    return true;
}

int32_t sail__outcome_reversed(int32_t outcome, int k, int outcomes)
{
    int order[SAIL_MAX_RESPONSES], top = 0, n = 1;
    if (outcome < 0 || k < 2 || k > SAIL_MAX_RESPONSES)
        return outcome;
    if (k == 2)
        return outcome < 2 ? 1 - outcome : outcome;
    while (n < outcomes && top < k) /* how many places are ranked */
        n *= k - top++;
    if (n != outcomes || !sail_outcome_ranking(outcome, k, top, order))
        return outcome;
    for (int j = 0; j < top; j++)
        order[j] = order[j] == 0 ? 1 : order[j] == 1 ? 0 : order[j];
    return sail_outcome_of_ranking(order, k, top);
}

/* ---- from rows to pairs ---- */
static sail_code check_rows(const sail__batch *r, sail_err *err)
{
    const sail_layout *l = &r->layout;
    if (l->response_of_pair[0] != 0 || l->response_of_pair[l->pairs] != l->responses || l->token_of_response[0] != 0 ||
        l->token_of_response[l->responses] != l->tokens)
        return sail_fail(err, SAIL_E_BUG,
                         "the bounds of a batch of %lld pairs do not cover its %lld responses and %lld tokens",
                         (long long)l->pairs, (long long)l->responses, (long long)l->tokens);
    for (int64_t i = 0; i < l->pairs; i++) {
        int64_t k = l->response_of_pair[i + 1] - l->response_of_pair[i];
        if (k < 1 || k > SAIL_MAX_RESPONSES)
            return sail_fail(err, SAIL_E_SHAPE, "pair %lld of the step has %lld responses; a group has 1 to %d",
                             (long long)(r->first + i), (long long)k, SAIL_MAX_RESPONSES);
        if (l->compared && (l->compared[i] < 1 || l->compared[i] > k))
            return sail_fail(err, SAIL_E_BUG, "pair %lld of the step compares %d of %lld responses", (long long)(r->first + i), l->compared[i],
                             (long long)k);
        if (r->route && r->route[i] >= r->n_routes)
            return sail_fail(err, SAIL_E_BUG, "pair %lld of the step is on route %d of %d", (long long)(r->first + i),
                             r->route[i], r->n_routes);
    }
    for (int64_t i = 0; i < l->responses; i++)
        if (l->token_of_response[i + 1] <= l->token_of_response[i])
            return sail_fail(err, SAIL_E_SHAPE, "response %lld of a batch is empty", (long long)i);
    return SAIL_OK;
}

/* What a label of two responses says of one. */
static uint8_t desirability(const sail_layout *l, int64_t i, int64_t response, int32_t outcome)
{
    const int64_t first = l->response_of_pair[i];
    if (sail__layout_compared(l, i) != 2 || response - first > 1 || outcome < 0 || outcome > 1)
        return SAIL_UNLABELLED;
    return response - first == outcome ? SAIL_DESIRABLE : SAIL_UNDESIRABLE;
}

static int64_t shortest_of(const sail_layout *l, int64_t pair)
{
    int64_t least = INT64_MAX;
    for (int64_t k = l->response_of_pair[pair]; k < l->response_of_pair[pair] + sail__layout_compared(l, pair); k++) {
        int64_t n = l->token_of_response[k + 1] - l->token_of_response[k];
        least = n < least ? n : least;
    }
    return least;
}

/* What every pair is: who wrote and labelled it, which outcome, which coefficients. No tape is needed. */
static sail_code describe(sail_arena *a, const sail__batch *r, sail_pairs *out, sail_err *err)
{
    const sail_layout *l = &r->layout;
    size_t n = (size_t)l->pairs + 1;
    int32_t *outcome = sail__arena_array(a, n, sizeof *outcome), *reversed = sail__arena_array(a, n, sizeof *reversed);
    uint8_t *writer = sail__arena_alloc(a, n), *labeller = sail__arena_alloc(a, n);
    double *written = sail__arena_array(a, n, sizeof *written), *labelled = sail__arena_array(a, n, sizeof *labelled);
    double *baseline = sail__arena_array(a, n, sizeof *baseline);
    int64_t *prompt = sail__arena_array(a, n, sizeof *prompt);
    int64_t *response = sail__arena_array(a, (size_t)l->responses + 1, sizeof *response);
    uint8_t *wrote = sail__arena_alloc(a, (size_t)l->responses + 1), *desirable = sail__arena_alloc(a, (size_t)l->responses + 1);
    if (!wrote || !desirable || !outcome || !reversed || !writer || !labeller || !written || !labelled || !baseline || !prompt || !response)
        return sail_fail(err, SAIL_E_NOMEM, "no memory for %lld pairs", (long long)l->pairs);
    int64_t chosen_tokens = 0;
    for (int64_t i = 0; i < l->pairs; i++) {
        int k = sail__layout_compared(l, i);
        const sail_route *route = r->route ? &r->routes[r->route[i]] : NULL;
        outcome[i] = r->outcome ? r->outcome[i] : 0;
        reversed[i] = sail__outcome_reversed(
            outcome[i], k, k > 2 && outcome[i] >= 0 ? r->preference.ops->outcomes(r->preference.self, k) : 2);
        writer[i] = (uint8_t)(route ? route->writer : SAIL_BY_DATA);
        labeller[i] = (uint8_t)(route ? route->labeller : SAIL_BY_DATA);
        written[i] = writer[i] == SAIL_BY_POLICY ? route->coefficient : 0;
        labelled[i] = labeller[i] == SAIL_BY_POLICY ? route->coefficient : 0;
        baseline[i] = r->baseline ? r->baseline[i] : 0;
        prompt[i] = r->prompt_id ? r->prompt_id[i] : r->first + i;
        chosen_tokens +=
            l->token_of_response[l->response_of_pair[i] + 1] - l->token_of_response[l->response_of_pair[i]];
    }
    for (int64_t i = 0; i < l->pairs; i++)
        for (int64_t k = l->response_of_pair[i]; k < l->response_of_pair[i + 1]; k++) {
            response[k] = r->response_id ? r->response_id[k] : k;
            wrote[k] = r->response_writer ? r->response_writer[k] : writer[i];
            desirable[k] = r->desirable ? r->desirable[k] : desirability(l, i, k, outcome[i]);
        }
    *out = (sail_pairs){.size = sizeof *out,
                        .layout = l,
                        .n = l->pairs,
                        .first = r->first,
                        .beta = r->beta,
                        .preference = r->preference,
                        .outcome = outcome,
                        .reversed = reversed,
                        .writer = writer,
                        .labeller = labeller,
                        .coef_written = written,
                        .coef_labelled = labelled,
                        .baseline = baseline,
                        .prompt_id = prompt,
                        .response_id = response,
                        .step_chosen_tokens = r->step_chosen_tokens ? r->step_chosen_tokens : chosen_tokens,
                        .step = r->step,
                        .seed = r->seed,
                        .max_margin = r->max_margin,
                        .response_writer = wrote,
                        .desirable = desirable,
                        .step_prompt_tokens = r->step_prompt_tokens};
    return SAIL_OK;
}

static sail_side side_of(sail_tape *t, const sail_pairs *b, int slot)
{
    const sail_var none = {-1};
    bool tokens = b->logp.id > 0;
    return (sail_side){.logp = tokens ? sail_slot_of(t, b->logp, slot) : none,
                       .ref = tokens ? sail_slot_of(t, b->ref, slot) : none,
                       .rho = tokens ? sail_slot_of(t, b->rho, slot) : none,
                       .score = sail_slot_of(t, b->scores, slot),
                       .length = sail_slot_of(t, b->length, slot)};
}

/* Sums over each response, tokens weighted where the recipe says so. scratch: [tokens]. */
static void sum_responses(sail_tape *t, const sail__batch *rows, double *scratch, sail_pairs *out)
{
    const sail_layout *l = &rows->layout;
    sail_var logp = out->token_logp, ref = out->token_ref;
    if (rows->modifiers.length) {
        for (int64_t i = 0; i < l->pairs; i++) {
            const int64_t shortest = shortest_of(l, i);
            for (int64_t k = l->response_of_pair[i]; k < l->response_of_pair[i + 1]; k++)
                for (int64_t j = l->token_of_response[k]; j < l->token_of_response[k + 1]; j++)
                    scratch[j] = sail__token_weight(&rows->modifiers, j - l->token_of_response[k], shortest);
        }
        sail_var weight = sail_tape_constant(t, SAIL_TOKEN, l->tokens, scratch);
        logp = sail_mul(t, logp, weight);
        ref = sail_mul(t, ref, weight);
    }
    out->logp = sail_sum_tokens(t, logp);
    out->ref = sail_sum_tokens(t, ref);
    out->whole_logp = rows->modifiers.length ? sail_sum_tokens(t, out->token_logp) : out->logp;
}

/* The numbers of a reward model's scores, each a leaf, and what they amount to in a pair. scratch: [responses]. */
static sail_code head_leaves(sail_arena *a, sail_tape *t, const sail__batch *rows, double *scratch, sail_pairs *out, sail_err *err)
{
    const sail_layout *l = &rows->layout;
    const int width = rows->width > 1 ? rows->width : 1;
    sail_var *head = sail__arena_array(a, (size_t)width, sizeof *head);
    int32_t *first = sail__arena_array(a, (size_t)l->pairs + 1, sizeof *first), *second = sail__arena_array(a, (size_t)l->pairs + 1, sizeof *second);
    if (!head || !first || !second)
        return sail_fail(err, SAIL_E_NOMEM, "no memory for %lld pairs", (long long)l->pairs);
    for (int d = 0; d < width; d++) {
        for (int64_t i = 0; i < l->responses; i++)
            scratch[i] = rows->head[i * width + d];
        head[d] = sail_tape_leaf(t, SAIL_RESPONSE, l->responses, scratch);
    }
    out->head = head;
    out->width = width;
    out->scores = head[0];
    if (width == 1)
        return SAIL_OK;
    for (int64_t i = 0; i < l->pairs; i++) {
        second[i] = 1;
        for (int64_t r = l->response_of_pair[i]; r < l->response_of_pair[i + 1]; r++)
            scratch[r] = r == l->response_of_pair[i] ? 0.5 : -0.5;
    }
    sail_var lead = sail_sub(t, sail_preference_logprob_of(t, &rows->preference, width, head, first),
                             sail_preference_logprob_of(t, &rows->preference, width, head, second));
    out->scores = sail_mul(t, sail_spread(t, lead, SAIL_RESPONSE), sail_tape_constant(t, SAIL_RESPONSE, l->responses, scratch));
    return SAIL_OK;
}

/* What carries the derivatives: log-probabilities of tokens, or the scores of a head. scratch: zeros, to be written over. */
static sail_code leaves(sail_arena *a, sail_tape *t, const sail__batch *rows, double *scratch, sail_pairs *out, sail_err *err)
{
    const sail_layout *l = &rows->layout;
    const sail_var none = {-1};
    out->token_logp = out->token_ref = out->token_entropy = out->token_lss = out->token_drawn = none;
    out->logp = out->ref = out->rho = out->drawn = out->whole_logp = none;
    if (rows->head)
        return head_leaves(a, t, rows, scratch, out, err);
    out->token_logp = sail_tape_leaf(t, SAIL_TOKEN, l->tokens, rows->logp);
    out->token_ref = sail_tape_constant(t, SAIL_TOKEN, l->tokens, rows->ref ? rows->ref : scratch);
    if (rows->entropy)
        out->token_entropy = sail_tape_leaf(t, SAIL_TOKEN, l->tokens, rows->entropy);
    if (rows->lss)
        out->token_lss = sail_tape_leaf(t, SAIL_TOKEN, l->tokens, rows->lss);
    out->token_drawn = rows->drawn ? sail_tape_constant(t, SAIL_TOKEN, l->tokens, rows->drawn) : sail_detach(t, out->token_logp);
    out->drawn = sail_sum_tokens(t, out->token_drawn);
    sum_responses(t, rows, scratch, out);
    out->rho = sail_sub(t, out->logp, out->ref);
    out->scores = sail_mul(t, sail__divergence_var(&rows->modifiers, t, out->rho), sail_number(t, rows->beta));
    sail_var *head = sail__arena_array(a, 1, sizeof *head);
    if (!head)
        return sail_fail(err, SAIL_E_NOMEM, "no memory for %lld pairs", (long long)l->pairs);
    *head = out->scores;
    out->head = head;
    out->width = 1;
    return SAIL_OK;
}

/* What only some objectives are given: no value where it is not known. */
static sail_code build_extras(sail_arena *a, sail_tape *t, const sail__batch *rows, sail_pairs *out, sail_err *err)
{
    const sail_layout *l = &rows->layout;
    const sail_var none = {-1};
    out->judge_scores = out->mismatched_rho = out->token_prompt = out->prompt_logp = out->token_old = none;
    if (!rows->head)
        out->token_old = rows->old_logp ? sail_tape_constant(t, SAIL_TOKEN, l->tokens, rows->old_logp) : sail_detach(t, out->token_logp);
    if (rows->judge_score)
        out->judge_scores = sail_tape_constant(t, SAIL_RESPONSE, l->responses, rows->judge_score);
    if (rows->mismatched_rho)
        out->mismatched_rho = sail_tape_constant(t, SAIL_PAIR, l->pairs, rows->mismatched_rho);
    if (!rows->prompt_of_pair)
        return SAIL_OK;
    const int64_t n = rows->prompt_of_pair[l->pairs];
    int64_t *pair = sail__arena_array(a, (size_t)n + 1, sizeof *pair);
    if (!pair)
        return sail_fail(err, SAIL_E_NOMEM, "no memory for %lld prompt tokens", (long long)n);
    for (int64_t i = 0; i < l->pairs; i++)
        for (int64_t j = rows->prompt_of_pair[i]; j < rows->prompt_of_pair[i + 1]; j++)
            pair[j] = i;
    out->token_prompt = sail_tape_leaf(t, SAIL_ANY, n, rows->prompt_logp);
    out->prompt_logp = sail_scatter(t, out->token_prompt, pair, SAIL_PAIR, l->pairs);
    return SAIL_OK;
}

sail_code sail__pairs_build(sail_arena *a, sail_tape *t, const sail__batch *rows, sail_pairs *out, sail_err *err)
{
    const sail_layout *l = &rows->layout;
    SAIL_TRY(check_rows(rows, err));
    SAIL_TRY(describe(a, rows, out, err));
    size_t most = (size_t)(l->tokens > l->responses ? l->tokens : l->responses); /* pairs are not more */
    double *scratch = sail__arena_array(a, most + 1, sizeof *scratch); /* zeros: the reference where there is none */
    if (!scratch)
        return sail_fail(err, SAIL_E_NOMEM, "no memory for %lld tokens", (long long)l->tokens);
    sail_var none = {-1};
    sail_tape_reset(t, l);
    out->tape = t;
    out->margin = sail_tape_constant(t, SAIL_PAIR, l->pairs, rows->margin ? rows->margin : scratch);
    SAIL_TRY(leaves(a, t, rows, scratch, out, err));
    SAIL_TRY(build_extras(a, t, rows, out, err));
    out->has_sides = true;
    for (int64_t i = 0; i < l->responses; i++)
        scratch[i] = (double)(l->token_of_response[i + 1] - l->token_of_response[i]);
    out->length = sail_tape_constant(t, SAIL_RESPONSE, l->responses, scratch);
    for (int64_t i = 0; i < l->pairs; i++)
        out->has_sides &= sail__layout_compared(l, i) == 2;
    out->chosen = out->rejected = (sail_side){none, none, none, none, none};
    if (out->has_sides) {
        out->chosen = side_of(t, out, 0);
        out->rejected = side_of(t, out, 1);
    }
    if (sail_tape_status(t) != SAIL_OK)
        return sail_fail(err, sail_tape_status(t), "%s", sail_tape_message(t));
    return SAIL_OK;
}

sail_code sail__labels_draw(const sail__batch *r, int32_t *outcome, sail_err *err)
{
    const sail_layout *l = &r->layout;
    SAIL_TRY(check_rows(r, err));
    for (int64_t i = 0; i < l->pairs; i++) {
        if (!r->route || r->routes[r->route[i]].labeller != SAIL_BY_POLICY)
            continue;
        double score[SAIL_MAX_RESPONSES];
        int64_t first = l->response_of_pair[i], k = sail__layout_compared(l, i), shortest = shortest_of(l, i);
        for (int64_t s = 0; s < k; s++) {
            double rho = 0;
            const int64_t from = l->token_of_response[first + s];
            for (int64_t j = from; j < l->token_of_response[first + s + 1]; j++)
                rho += sail__token_weight(&r->modifiers, j - from, shortest) * (r->logp[j] - (r->ref ? r->ref[j] : 0));
            score[s] = r->beta * sail__divergence_of(&r->modifiers, rho);
        }
        double u = sail_rng_uniform(r->seed, SAIL_RNG_LABEL, (uint64_t)r->step, (uint64_t)(r->first + i), 0);
        if (sail_preference_draw(&r->preference, (int)k, score, u, &outcome[i], err) != SAIL_OK)
            return sail_fail_in(err, "label of pair %lld of step %lld", (long long)(r->first + i), (long long)r->step);
    }
    return SAIL_OK;
}

/* ---- objectives ---- */
sail_code sail__objective_prepare(const sail__objective *o, sail_tape *t, const sail_pairs *b, double *state,
                                  double *baseline, sail_err *err)
{
    for (int64_t i = 0; i < b->n; i++)
        baseline[i] = 0;
    if (!o->ops->prepare)
        return SAIL_OK;
    sail_code code = o->ops->prepare(o->self, t, b, state, baseline);
    if (code != SAIL_OK || sail_tape_status(t) != SAIL_OK)
        return sail_fail(err, sail_tape_status(t) != SAIL_OK ? sail_tape_status(t) : code, "objective %s: %s", o->name,
                         *sail_tape_message(t) ? sail_tape_message(t) : sail_code_text(code));
    for (int64_t i = 0; i < b->n; i++)
        if (!isfinite(baseline[i]))
            return sail_fail(err, SAIL_E_NUMERIC, "objective %s: the baseline of pair %lld is %g", o->name,
                             (long long)i, baseline[i]);
    return SAIL_OK;
}

bool sail__objective_prepare_needs(sail_arena *a, const sail__objective *o, const sail__batch *rows, uint8_t *mask)
{
    sail_pairs b;
    bool any = false;
    for (int64_t i = 0; i < rows->layout.pairs; i++)
        mask[i] = o->ops->prepare != NULL; /* all, unless it says otherwise */
    if (o->ops->prepare && o->ops->prepare_needs && describe(a, rows, &b, NULL) == SAIL_OK)
        o->ops->prepare_needs(o->self, &b, mask);
    for (int64_t i = 0; i < rows->layout.pairs; i++)
        any |= mask[i] != 0;
    return any;
}

sail_code sail__objective_loss(const sail__objective *o, sail_tape *t, const sail_pairs *b, sail_loss *out,
                               sail_err *err)
{
    *out = (sail_loss){.size = sizeof *out, .loss = {-1}, .per_pair = {-1}};
    sail_code code = o->ops->loss(o->self, t, b, out);
    if (code == SAIL_OK && sail_tape_status(t) == SAIL_OK)
        code = sail_tape_backward(t, out->loss);
    if (sail_tape_status(t) != SAIL_OK)
        code = sail_tape_status(t);
    if (code != SAIL_OK)
        return sail_fail(err, code, "objective %s: %s", o->name,
                         *sail_tape_message(t) ? sail_tape_message(t) : sail_code_text(code));
    double loss = *sail_value_of(t, out->loss);
    if (!isfinite(loss))
        return sail_fail(err, SAIL_E_NUMERIC, "objective %s: the loss of pairs %lld to %lld is %g", o->name,
                         (long long)b->first, (long long)(b->first + b->n - 1), loss);
    return SAIL_OK;
}

static sail_code copy_weights(const sail_pairs *b, sail_var leaf, const char *what, double *out, sail_err *err)
{
    const double *g = sail_gradient_of(b->tape, leaf);
    int64_t bad = -1, n = leaf.id > 0 && sail_domain_of(b->tape, leaf) == SAIL_RESPONSE ? b->layout->responses : b->layout->tokens;
    for (int64_t i = 0; out && i < n; i++) {
        out[i] = leaf.id <= 0 ? 0 : g[i];
        if (!isfinite(out[i]) && bad < 0)
            bad = i;
    }
    if (bad >= 0)
        return sail_fail(err, SAIL_E_NUMERIC, "the derivative with respect to %s %lld of a batch is %g", what,
                         (long long)bad, out[bad]);
    return SAIL_OK;
}

sail_code sail__pairs_prompt_weights(const sail_pairs *b, double *out, sail_err *err)
{
    const double *g = sail_gradient_of(b->tape, b->token_prompt);
    for (int64_t i = 0; i < sail_length_of(b->tape, b->token_prompt); i++) {
        out[i] = g[i];
        if (!isfinite(g[i]))
            return sail_fail(err, SAIL_E_NUMERIC, "the derivative with respect to the log-probability of prompt token %lld of a batch is %g",
                             (long long)i, g[i]);
    }
    return SAIL_OK;
}

sail_code sail__pairs_weights(const sail_pairs *b, double *logp, double *entropy, double *lss, sail_err *err)
{
    sail_code first = copy_weights(b, b->token_logp, "the log-probability of token", logp, err);
    sail_code second = copy_weights(b, b->token_entropy, "the entropy of token", entropy, first ? NULL : err);
    sail_code third = copy_weights(b, b->token_lss, "log sum p^2 of token", lss, first || second ? NULL : err);
    return first ? first : second ? second : third;
}

sail_code sail__pairs_score_weights(const sail_pairs *b, double *out, sail_err *err)
{
    double *one = sail__malloc((size_t)b->layout->responses * sizeof *one + 1);
    sail_code code = one ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "no memory for %lld responses", (long long)b->layout->responses);
    for (int d = 0; one && d < b->width; d++) {
        sail_code found = copy_weights(b, b->head[d], "the score of response", one, code == SAIL_OK ? err : NULL);
        code = code == SAIL_OK ? found : code;
        for (int64_t i = 0; i < b->layout->responses; i++)
            out[i * b->width + d] = one[i];
    }
    sail__free(one);
    return code;
}
