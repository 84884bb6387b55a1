/* preference.c - what follows from a preference model's one formula: rows of mixed outcomes, entropy, drawing.
 *
 * Rows are gathered by size and outcome before the formula is asked, so that it never sees a row whose answer is not
 * wanted: an unselected row cannot turn into 0 * inf. */
#include "tape_internal.h"

#include "../sail/preference.h"

#include <math.h>

enum { MOST_OUTCOMES = 50000 }; /* more than the rankings of SAIL_MAX_RESPONSES */

/* The pairs of one size (and one outcome), and their scores by slot. */
typedef struct group {
    int k;
    int64_t n;
    int64_t *row, *index; /* [pairs]: pairs of the group; scratch */
    uint8_t *done, *mask; /* [pairs]: pairs that were in a group already; scratch */
    int width;            /* numbers of a response's score */
    sail_var score[SAIL_MAX_RESPONSES * SAIL_MAX_WIDTH]; /* slot after slot */
} group;

int sail_preference_width(const sail_preference_model *m)
{
    return m->ops->width ? m->ops->width(m->self) : 1;
}

static bool fits_width(sail_tape *t, const sail_preference_model *m, int width)
{
    const int want = sail_preference_width(m);
    if (want == width && width >= 1 && width <= SAIL_MAX_WIDTH)
        return true;
    if (width == 1)
        sail_tape_fail(t, SAIL_E_SHAPE, "preference model %s compares vectors of %d numbers: it is for reward models with a head of %d and for "
                       "judges; the implicit reward is one number: choose bradley_terry, thurstone, …", m->name, want, want);
    else
        sail_tape_fail(t, SAIL_E_SHAPE, "preference model %s compares scores of %d number%s, not of %d", m->name, want, want == 1 ? "" : "s", width);
    return false;
}

static bool begin(sail_tape *t, const sail_preference_model *m, int width, const sail_var *scores, group *g)
{
    const sail_layout *l = t->layout;
    if (t->err.code != SAIL_OK || !fits_width(t, m, width))
        return false;
    for (int d = 0; d < width; d++)
        if (!l || sail_domain_of(t, scores[d]) != SAIL_RESPONSE) {
            sail_tape_fail(t, SAIL_E_SHAPE, "preference model %s: scores must be a RESPONSE value, not %s", m->name,
                           sail__tape_domain_name(sail_domain_of(t, scores[d])));
            return false;
        }
    size_t n = (size_t)l->pairs + 1;
    *g = (group){.width = width,
                 .row = sail__arena_array(t->arena, n, sizeof *g->row),
                 .index = sail__arena_array(t->arena, n, sizeof *g->index),
                 .done = sail__arena_alloc(t->arena, n),
                 .mask = sail__arena_alloc(t->arena, n)};
    if (!g->row || !g->index || !g->done || !g->mask) {
        sail_tape_fail(t, SAIL_E_NOMEM, "no memory for %lld pairs", (long long)l->pairs);
        return false;
    }
    return true;
}

static sail_var zeros(sail_tape *t)
{
    sail_var out, none = {-1};
    sail__tape_push(t, SAIL_PAIR, t->layout->pairs, none, none, NULL, &out);
    return out;
}

/* All pairs as large as `first` (and with its outcome), and their scores; marks them done. */
static void collect(sail_tape *t, const sail_var *scores, const int32_t *outcome, int64_t first, group *g)
{
    const sail_layout *l = t->layout;
    g->k = sail__layout_compared(l, first);
    g->n = 0;
    for (int64_t i = first; i < l->pairs; i++)
        if (sail__layout_compared(l, i) == g->k && (!outcome || outcome[i] == outcome[first])) {
            g->row[g->n++] = i;
            g->done[i] = 1;
        }
    for (int s = 0; s < g->k && s < SAIL_MAX_RESPONSES; s++) {
        for (int64_t i = 0; i < g->n; i++)
            g->index[i] = l->response_of_pair[g->row[i]] + s;
        for (int d = 0; d < g->width; d++)
            g->score[s * g->width + d] = sail_gather(t, scores[d], g->index, SAIL_ANY, g->n);
    }
}

static int outcomes_of(sail_tape *t, const sail_preference_model *m, int k)
{
    int n = k >= 2 && k <= SAIL_MAX_RESPONSES ? m->ops->outcomes(m->self, k) : 0;
    if (n >= 1 && n <= MOST_OUTCOMES)
        return n;
    if (k == 1)
        sail_tape_fail(t, SAIL_E_RECIPE, "preference model %s compares responses, and a group has one only: objectives kto and sft take single "
                       "responses; rollout.responses or a data.reader of pairs gives more", m->name);
    else if (n < 0)
        sail_tape_fail(t, SAIL_E_RECIPE, "preference model %s ranks %d places, and a group has %d responses: rank %d at most (0: all), or have %d "
                       "or more written (rollout.responses)", m->name, -n, k, k, -n);
    else if (n > MOST_OUTCOMES)
        sail_tape_fail(t, SAIL_E_SHAPE, "preference model %s has %d outcomes for %d responses; %d are possible", m->name, n, k, MOST_OUTCOMES);
    else
        sail_tape_fail(t, SAIL_E_RECIPE, "preference model %s does not apply to groups of %d responses%s", m->name, k,
                       k > 2 ? "; plackett_luce ranks more than two" : "");
    return 0;
}

static sail_var ask(sail_tape *t, const sail_preference_model *m, int k, int64_t n, const sail_var *score, int outcome)
{
    if (t->err.code != SAIL_OK) /* a model that does not apply is not asked */
        return (sail_var){-1};
    sail_var f = m->ops->logprob(m->self, t, k, score, outcome);
    if (t->err.code == SAIL_OK && (sail_domain_of(t, f) != sail_domain_of(t, score[0]) || sail_length_of(t, f) != n))
        sail_tape_fail(t, SAIL_E_SHAPE, "preference model %s gives %lld numbers for %lld rows of scores", m->name,
                       (long long)sail_length_of(t, f), (long long)n);
    return f;
}

sail_var sail_preference_logprob(sail_tape *t, const sail_preference_model *m, sail_var scores, const int32_t *outcome)
{
    return sail_preference_logprob_of(t, m, 1, &scores, outcome);
}

sail_var sail_preference_entropy(sail_tape *t, const sail_preference_model *m, sail_var scores)
{
    return sail_preference_entropy_of(t, m, 1, &scores);
}

sail_var sail_preference_logprob_of(sail_tape *t, const sail_preference_model *m, int width, const sail_var *scores,
                                    const int32_t *outcome)
{
    group g;
    if (!begin(t, m, width, scores, &g))
        return (sail_var){-1};
    const sail_layout *l = t->layout;
    sail_var total = zeros(t);
    for (int64_t first = 0; first < l->pairs && t->err.code == SAIL_OK; first++) {
        if (g.done[first] || outcome[first] == SAIL_ABSTAIN)
            continue;
        int k = sail__layout_compared(l, first), o = outcome[first], most = outcomes_of(t, m, k);
        if (most && (o < 0 || o >= most)) {
            sail_tape_fail(t, SAIL_E_ARG,
                           "pair %lld: preference model %s has the outcomes 0..%d for %d responses, not %d%s",
                           (long long)first, m->name, most - 1, k, o,
                           k == 2 && o == SAIL_TIE ? " (a tie: choose a model with ties, such as davidson)" : "");
            break;
        }
        collect(t, scores, outcome, first, &g);
        total = sail_add(t, total, sail_scatter(t, ask(t, m, g.k, g.n, g.score, o), g.row, SAIL_PAIR, l->pairs));
    }
    return total;
}

sail_var sail_preference_entropy_of(sail_tape *t, const sail_preference_model *m, int width, const sail_var *scores)
{
    group g;
    if (!begin(t, m, width, scores, &g))
        return (sail_var){-1};
    const sail_layout *l = t->layout;
    sail_var total = zeros(t), zero = sail_number(t, 0);
    for (int64_t first = 0; first < l->pairs && t->err.code == SAIL_OK; first++) {
        if (g.done[first])
            continue;
        collect(t, scores, NULL, first, &g);
        int most = outcomes_of(t, m, g.k);
        for (int o = 0; o < most && t->err.code == SAIL_OK; o++) {
            sail_var f = ask(t, m, g.k, g.n, g.score, o), q = sail_exp(t, f);
            const double *p = sail_value_of(t, q);
            for (int64_t i = 0; i < g.n && t->err.code == SAIL_OK; i++)
                g.mask[i] = p[i] != 0; /* 0 log 0 = 0, also where log 0 is an infinity */
            sail_var term = sail_select(t, g.mask, sail_mul(t, q, f), zero);
            total = sail_sub(t, total, sail_scatter(t, term, g.row, SAIL_PAIR, l->pairs));
        }
    }
    return total;
}

sail_code sail_preference_probabilities(const sail_preference_model *m, int k, const double *score, double *p,
                                        sail_err *err)
{
    sail_tape *t = sail_tape_new(NULL);
    if (!t)
        return sail_fail(err, SAIL_E_NOMEM, "no memory for a tape");
    const int most = outcomes_of(t, m, k), width = sail_preference_width(m);
    sail_var s[SAIL_MAX_RESPONSES * SAIL_MAX_WIDTH];
    double sum = 0;
    for (int i = 0; i < k * width && most && width >= 1 && width <= SAIL_MAX_WIDTH; i++)
        s[i] = sail_tape_constant(t, SAIL_ANY, 1, &score[i]);
    for (int o = 0; o < most && t->err.code == SAIL_OK; o++)
        sum += p[o] = exp(*sail_value_of(t, ask(t, m, k, 1, s, o)));
    if (most && t->err.code == SAIL_OK && !isnan(sum) && !(fabs(sum - 1) <= 1e-6))
        sail_tape_fail(t, SAIL_E_PLUGIN, "preference model %s: the probabilities of the %d outcomes of %d responses sum to %.9g, not to 1; sail "
                       "check --gradients tells more", m->name, most, k, sum);
    sail_code code = sail_tape_status(t);
    if (code != SAIL_OK)
        sail_fail(err, code, "%s", sail_tape_message(t));
    sail_tape_free(t);
    return code;
}

sail_code sail_preference_draw(const sail_preference_model *m, int k, const double *score, double u, int32_t *outcome,
                               sail_err *err)
{
    int most = k >= 2 && k <= SAIL_MAX_RESPONSES ? m->ops->outcomes(m->self, k) : 0;
    double few[SAIL_MAX_RESPONSES + 1],
        *p = most > SAIL_MAX_RESPONSES + 1 ? sail__calloc((size_t)most, sizeof *p) : few;
    if (!p)
        return sail_fail(err, SAIL_E_NOMEM, "no memory for %d outcomes", most);
    sail_code code = sail_preference_probabilities(m, k, score, p, err);
    double below = 0;
    int last = -1;
    for (int o = 0; o < most && code == SAIL_OK; o++) {
        if (isnan(p[o]))
            code = sail_fail(err, SAIL_E_NUMERIC,
                             "preference model %s gives outcome %d a probability that is not a number", m->name, o);
        if (!(p[o] > 0))
            continue;
        below += p[o];
        last = o; /* rounding may leave the sum below u: then the last possible one */
        if (u < below)
            break;
    }
    if (code == SAIL_OK && last < 0)
        code = sail_fail(err, SAIL_E_NUMERIC, "preference model %s gives no outcome a probability above 0", m->name);
    if (code == SAIL_OK)
        *outcome = last;
    if (p != few)
        sail__free(p);
    return code;
}

/* ---- rankings, numbered in lexicographic order ---- */

/* How many ordered selections of `top` of `left` there are. */
static int selections(int left, int top)
{
    int n = 1;
    for (int i = 0; i < top; i++)
        n *= left - i;
    return n;
}

bool sail_outcome_ranking(int outcome, int k, int top, int *order)
{
    bool used[SAIL_MAX_RESPONSES] = {0};
    if (k < 2 || k > SAIL_MAX_RESPONSES || top < 1 || top > k || outcome < 0 || outcome >= selections(k, top))
        return false;
    for (int j = 0; j < top; j++) {
        int behind = selections(k - j - 1, top - j - 1), skip = outcome / behind, slot = 0;
        outcome %= behind;
        for (;; slot++)
            if (!used[slot] && skip-- == 0)
                break;
        used[slot] = true;
        order[j] = slot;
    }
    return true;
}

int sail_outcome_of_ranking(const int *order, int k, int top)
{
    int outcome = 0;
    for (int j = 0; j < top; j++) {
        int smaller = order[j]; /* slots below it that are still free */
        for (int i = 0; i < j; i++)
            smaller -= order[i] < order[j];
        outcome += smaller * selections(k - j - 1, top - j - 1);
    }
    return outcome;
}
