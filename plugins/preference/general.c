/* general.c - preferences that need no order: a may win over b, b over c and c over a.
 * Source  : general preference model, arXiv 2410.02197; skew-symmetric scores of vectors.
 * Formula : P(1 over 2) = sigmoid(sum over l of u[2l] v[2l+1] - u[2l+1] v[2l]), u and v the responses' vectors.
 * Needs   : vectors of `dimension` numbers: a reward model's head of that size, or a judge. */
#include <sail/plugin.h>
#include <sail/preference.h>

struct general {
    int64_t dimension;
};

static const sail_opt opts[] = {
    SAIL_OPT_INT(struct general, dimension, .def = 4, .min = 2, .max = SAIL_MAX_WIDTH, .help = "numbers that score a response; even"),
    {0},
};

static int width(const void *self) { return (int)((const struct general *)self)->dimension; }

static int outcomes(const void *self, int k)
{
    return k == 2 ? 2 : 0;
}

static sail_var logprob(const void *self, sail_tape *t, int k, const sail_var *score, int outcome)
{
    const int n = width(self);
    const sail_var *u = score + n * outcome, *v = score + n * (1 - outcome); /* the winner's vector and the loser's */
    if (n % 2)
        sail_tape_fail(t, SAIL_E_OPTION, "general: dimension %d must be even, since numbers are taken two by two; use %d or %d", n, n - 1, n + 1);
    sail_var sum = sail_number(t, 0);
    for (int l = 0; l + 1 < n; l += 2)
        sum = sail_add(t, sum, sail_sub(t, sail_mul(t, u[l], v[l + 1]), sail_mul(t, u[l + 1], v[l])));
    return sail_log_sigmoid(t, sum);
}

static const sail_preference ops = {.size = sizeof ops, .outcomes = outcomes, .logprob = logprob, .width = width};
SAIL_PLUGIN(SAIL_KIND_PREFERENCE, general, "vectors compared skew-symmetrically: preferences may go in a circle", "arXiv:2410.02197",
            struct general, opts, &ops, SAIL_CAP_PAIRS)
