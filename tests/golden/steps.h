/* steps.h - for tests by enumeration: small steps of up to three pairs of two responses, through the objective's prepare as well as its
 * loss. Header only. */
#ifndef SAIL_TEST_STEPS_H
#define SAIL_TEST_STEPS_H

#include "enumeration.h"

typedef struct little {
    sail__objective o;
    sail_tape *t;
    sail_arena *a;
    sail__batch b;
    double logp[12], ref[12], baseline[3];
    int64_t of_pair[4], of_response[7], response_id[6];
    int32_t outcome[3];
    sail_route route;
    uint8_t on[3];
    int x[3], y[6];
} little;

static void start_little(little *l, const problem *p, int pairs, const sail_route *route, const char *labels)
{
    memset(l, 0, sizeof *l);
    l->a = sail__arena_new();
    l->t = sail_tape_new(NULL);
    l->route = *route;
    const sail_plugin *plugin = test_plugin("objective", "sail");
    l->o = (sail__objective){plugin->ops, test_options(l->a, plugin, test_map(l->a, "labels", labels, NULL)), "sail"};
    for (int i = 0; i <= pairs; i++)
        l->of_pair[i] = 2 * i;
    for (int i = 0; i <= 2 * pairs; i++)
        l->of_response[i] = 2 * i;
    for (int i = 0; i < 2 * pairs; i++)
        l->response_id[i] = i;
    l->b =
        (sail__batch){.layout = {pairs, 2 * pairs, 4 * pairs, l->of_pair, l->of_response, pairs, 2 * pairs, 4 * pairs},
                      .beta = p->beta,
                      .logp = l->logp,
                      .ref = l->ref,
                      .outcome = l->outcome,
                      .route = l->on,
                      .routes = &l->route,
                      .n_routes = 1,
                      .response_id = l->response_id,
                      .preference = {test_plugin("preference", "bradley_terry")->ops, NULL, "bradley_terry"}};
}

/* The step's ascent direction, with the baseline that the objective prepares. */
static void step_little_on(little *l, const problem *p, sail_arena *scratch, double *state, double *g)
{
    sail_pairs pairs;
    sail_loss loss;
    sail_err err = {0};
    double w[12];
    int64_t n = l->b.layout.responses;
    for (int64_t r = 0; r < n; r++)
        for (int j = 0; j < 2; j++) {
            int y = l->y[r], x = l->x[r / 2];
            l->logp[2 * r + j] = j ? p->policy[x][1 + y / V][y % V] : p->policy[x][0][y / V];
            l->ref[2 * r + j] = j ? p->ref[x][1 + y / V][y % V] : p->ref[x][0][y / V];
        }
    l->b.baseline = NULL;
    if (sail__pairs_build(scratch, l->t, &l->b, &pairs, &err) ||
        sail__objective_prepare(&l->o, l->t, &pairs, state, l->baseline, &err))
        fail_msg("%s", err.message);
    l->b.baseline = l->baseline;
    if (sail__pairs_build(scratch, l->t, &l->b, &pairs, &err) ||
        sail__objective_loss(&l->o, l->t, &pairs, &loss, &err) || sail__pairs_weights(&pairs, w, NULL, NULL, &err))
        fail_msg("%s", err.message);
    for (int j = 0; j < p->d; j++)
        g[j] = 0;
    for (int64_t r = 0; r < n; r++)
        for (int j = 0; j < 2; j++)
            add_score(p, l->x[r / 2], l->y[r], j, -w[2 * r + j], g);
    sail__arena_reset(scratch);
}

static void step_little(little *l, const problem *p, sail_arena *scratch, double *g)
{
    double state[SAIL_OBJECTIVE_STATE] = {0};
    step_little_on(l, p, scratch, state, g);
}

#endif
