/* bradley_terry.c - the Bradley-Terry model of paired comparisons.
 * Source  : Bradley and Terry, Biometrika 39 (1952).
 * Formula : P(1 over 2) = sigmoid(s1 - s2); no ties. */
#include <sail/plugin.h>
#include <sail/preference.h>

static int outcomes(const void *self, int k)
{
    return k == 2 ? 2 : 0;
}

static sail_var logprob(const void *self, sail_tape *t, int k, const sail_var *score, int outcome)
{
    return sail_log_sigmoid(t, sail_sub(t, score[outcome], score[1 - outcome]));
}

static const sail_preference ops = {.size = sizeof ops, .outcomes = outcomes, .logprob = logprob};
SAIL_PLUGIN_NO_OPTIONS(SAIL_KIND_PREFERENCE, bradley_terry, "sigmoid of the difference of scores",
                       "Bradley and Terry, 1952", &ops, SAIL_CAP_PAIRS)
