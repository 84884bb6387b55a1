/* plugin_check_strategy.c - checks of strategies: what they say is within its bounds at every step, and the same when asked again. */
#include <math.h>
#include <string.h>

#include "../sail/rng.h"
#include "choose.h"
#include "plugin_check.h"
#include "routes.h"

static bool same_routes(const sail_route *a, const sail_route *b, int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(a[i].name, b[i].name) != 0 || a[i].probability != b[i].probability || a[i].writer != b[i].writer ||
            a[i].labeller != b[i].labeller || a[i].coefficient != b[i].coefficient)
            return false;
    return true;
}

/* The sum, names and coefficients as a run would check them; then what it would not see. */
static bool check_routes(sail__checking *c, int64_t step, const sail_route *r, int n)
{
    long long s = (long long)step;
    for (int i = 0; i < n; i++) {
        const sail_route *x = &r[i];
        for (int j = 0; j < i; j++)
            if (strcmp(x->name, r[j].name) == 0)
                return sail__checked(c, "routes", false, "step %lld: two routes are called %s", s, x->name);
        if (x->writer != SAIL_BY_DATA && x->writer != SAIL_BY_POLICY)
            return sail__checked(c, "routes", false, "step %lld, route %s: writer %d; data or policy writes", s, x->name, x->writer);
        if (x->labeller < SAIL_BY_DATA || x->labeller > SAIL_BY_JUDGE)
            return sail__checked(c, "routes", false, "step %lld, route %s: there is no labeller %d", s, x->name, x->labeller);
        if (x->writer == SAIL_BY_POLICY && x->labeller == SAIL_BY_DATA)
            return sail__checked(c, "routes", false, "step %lld, route %s: the data has no label for what the policy writes", s, x->name);
    }
    return true;
}

static const int64_t steps_asked[] = {0, 1, 2, 9, 10, 99, 100, 1000, 123456, 100000000};
enum { STEPS_ASKED = sizeof steps_asked / sizeof *steps_asked };

static void check_strategy_routes(sail__checking *c)
{
    int n = 0;
    for (int i = 0; i < STEPS_ASKED; i++) {
        sail_route a[SAIL_MAX_ROUTES], b[SAIL_MAX_ROUTES];
        sail_err err = {0};
        int again = 0;
        if (sail__routes_ask(c->ops, c->self, c->plugin->name, steps_asked[i], a, &n, &err) != SAIL_OK ||
            sail__routes_ask(c->ops, c->self, c->plugin->name, steps_asked[i], b, &again, &err) != SAIL_OK) {
            sail__checked(c, "routes", false, "step %lld: %s", (long long)steps_asked[i], err.message);
            return;
        }
        if (n != again || !same_routes(a, b, n)) {
            sail__checked(c, "routes", false, "step %lld: other routes when asked again; they must be a function of the step and "
                          "the options", (long long)steps_asked[i]);
            return;
        }
        if (!check_routes(c, steps_asked[i], a, n))
            return;
    }
    sail__checked(c, "routes", true, "%d steps: probabilities sum to 1, %d routes at the last", (int)STEPS_ASKED, n);
}

/* A stage with this strategy and nothing else that a choice reads but a preference model for any number of responses. */
static bool stage_of(const sail__checking *c, sail_loaded *strategy, sail__stage *s)
{
    sail_problems problems = {.arena = c->arena};
    *s = (sail__stage){.kind = SAIL__ALIGN, .rollout.responses = 2, .method.beta = 0.1};
    *strategy = (sail_loaded){.plugin = *c->plugin, .ops = c->ops};
    s->strategy = (sail_slot){.loaded = strategy, .options = (void *)c->self};
    return sail__slot_parse(c->ctx, c->arena, SAIL_KIND_PREFERENCE, sail__node_string(c->arena, "plackett_luce", "check"), "preference", NULL, NULL,
                            &s->preference, &problems) ||
           sail__problems_fail(&problems, SAIL_E_NOTFOUND, c->err) == SAIL_OK;
}

static double at_random(int64_t i, int what) { return sail_rng_uniform(5, SAIL_RNG_USER, (uint64_t)i, (uint64_t)what, 0); }

static bool check_prompts(sail__checking *c, const sail__stage *s, int64_t at, int64_t pool)
{
    enum { WANT = 5, MOST = 500 };
    const int64_t n = WANT * pool < MOST ? WANT * pool : MOST;
    sail_prompt p[MOST];
    int64_t a[WANT], b[WANT];
    sail__step step = {.step = at, .seed = 1, .arena = c->arena};
    sail_err err = {0};
    for (int64_t i = 0; i < n; i++)
        p[i] = (sail_prompt){.id = (uint64_t)i, .tokens = 1 + i, .visits = i % 3, .margin = i % 3 ? 8 * at_random(i, 1) - 4 : (double)NAN,
                             .gap = i % 4 ? at_random(i, 2) : (double)NAN};
    if (sail__choose_prompts(s, &step, p, n, WANT, a, &err) != SAIL_OK || sail__choose_prompts(s, &step, p, n, WANT, b, &err) != SAIL_OK)
        return sail__checked(c, "prompts", false, "%s", err.message);
    if (memcmp(a, b, sizeof a) != 0)
        return sail__checked(c, "prompts", false, "step %lld: others when asked again; a choice is a function of what is given", (long long)at);
    return true;
}

/* k responses to a prompt, through the host's own way: judged or not, some of them alike. */
static bool check_responses(sail__checking *c, const sail__stage *s, int64_t at, int k, int form)
{
    float logp[SAIL_MAX_RESPONSES], ref[SAIL_MAX_RESPONSES];
    int32_t id = 1;
    int chosen[2][SAIL_MAX_RESPONSES], n[2];
    for (int again = 0; again < 2; again++) {
        sail__group g = {.n_prompt = 1, .prompt = &id, .k = k, .route = "dpp", .writer = SAIL_BY_POLICY,
                         .labeller = form == 1 ? SAIL_BY_JUDGE : SAIL_BY_POLICY, .labelled = form == 1};
        sail__step step = {.step = at, .seed = 1, .arena = c->arena, .groups = &g, .n = 1};
        sail_err err = {0};
        for (int i = 0; i < k; i++) {
            logp[i] = form == 2 ? -3 : (float)(-1 - 9 * at_random(at + i, 3));
            ref[i] = form == 2 ? -3 : (float)(-1 - 9 * at_random(at + i, 4));
            g.r[i] = (sail__response){.ids = &id, .n = 1, .old_logp = &logp[i], .drawn = &logp[i], .ref = &ref[i], .id = i, .score = form == 1 ? -i : NAN};
            g.place[i] = (int8_t)i;
        }
        if (sail__choose(s, &step, &err) != SAIL_OK)
            return sail__checked(c, "responses", false, "%s", err.message);
        n[again] = step.groups[0].k;
        for (int i = 0; i < n[again]; i++)
            chosen[again][i] = (int)step.groups[0].r[i].id;
    }
    if (n[0] != n[1] || memcmp(chosen[0], chosen[1], (size_t)n[0] * sizeof **chosen) != 0)
        return sail__checked(c, "responses", false, "step %lld: others when asked again; a choice is a function of what is given", (long long)at);
    return true;
}

sail_code sail__check_strategy(sail__checking *c)
{
    const sail_strategy *ops = c->ops;
    sail_loaded strategy;
    sail__stage s;
    sail_plan plan = {0};
    sail_err err = {0};
    if (!ops->routes && !ops->plan && !ops->prompts && !ops->responses) {
        sail__checked(c, "functions", false, "none of routes, plan, prompts, responses is there: it would change nothing");
        return SAIL_OK;
    }
    if (!stage_of(c, &strategy, &s))
        return sail_fail_in(c->err, "strategies are tried with the preference model plackett_luce");
    if (ops->routes)
        check_strategy_routes(c);
    for (int i = 0; i < STEPS_ASKED; i++) {
        if (sail__plan_of(&s, steps_asked[i], &plan, &err) != SAIL_OK) {
            sail__checked(c, "plan", false, "step %lld: %s", (long long)steps_asked[i], err.message);
            return SAIL_OK;
        }
        if (ops->prompts && !check_prompts(c, &s, steps_asked[i], plan.pool > 1 ? plan.pool : 3))
            return SAIL_OK;
        for (int k = 2; ops->responses && k <= SAIL_MAX_RESPONSES; k++)
            for (int form = 0; form < 3; form++)
                if (!check_responses(c, &s, steps_asked[i], k, form))
                    return SAIL_OK;
    }
    if (ops->plan)
        sail__checked(c, "plan", true, "%d steps: %d responses, %lld prompts for each one used, %g replayed at the last", (int)STEPS_ASKED,
                      (int)plan.responses, (long long)plan.pool, plan.replay);
    if (ops->prompts)
        sail__checked(c, "prompts", true, "%d steps: different ones, the same again", (int)STEPS_ASKED);
    if (ops->responses)
        sail__checked(c, "responses", true, "of 2 to %d, judged or not, alike or not: 2 or more, different, the same again", (int)SAIL_MAX_RESPONSES);
    return SAIL_OK;
}
