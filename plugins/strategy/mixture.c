/* mixture.c - SAIL's routes, one multinomial draw a prompt; what the weights leave is offline.
 * Source : arXiv 2406.15567, section 4 (DDP, DPP, DPR); coefficients as in the authors' released configuration.
 *          ddp: the policy labels the data's responses (brings no new preference: it sharpens the policy about them);
 *          dpp: the policy writes and labels; dpr: the policy writes, the judge labels. */
#include <sail/plugin.h>
#include <sail/strategy.h>

struct mixture {
    double ddp_weight, ddp_coef, dpp_weight, dpp_coef, dpr_weight, dpr_coef;
};

#define WEIGHT(member, text)                                                                                           \
    SAIL_OPT_F64(struct mixture, member, .def = 0, .min = 0, .max = 1, .flags = SAIL_OPT_SCHEDULABLE, .help = text)
#define COEF(member, value, text)                                                                                      \
    SAIL_OPT_F64(struct mixture, member, .def = value, .min = 0, .max = 1e9, .flags = SAIL_OPT_SCHEDULABLE,            \
                 .help = text)
static const sail_opt opts[] = {
    WEIGHT(ddp_weight, "share of prompts whose data pair the policy labels"),
    COEF(ddp_coef, 0.2, "of the extra term on ddp"),
    WEIGHT(dpp_weight, "share of prompts that the policy answers and labels"),
    COEF(dpp_coef, 0.2, "of the extra terms on dpp"),
    WEIGHT(dpr_weight, "share of prompts that the policy answers and the judge labels"),
    COEF(dpr_coef, 0.3, "of the extra term on dpr"),
    {0},
};

/* Weights beyond 1 in all leave offline a negative share, which the host refuses. */
static int routes(const void *self, int64_t step, sail_route *out)
{
    const struct mixture *o = self;
    double rest = 1 - o->ddp_weight - o->dpp_weight - o->dpr_weight;
    out[0] = (sail_route){"offline", rest < 0 && rest > -1e-12 ? 0 : rest, SAIL_BY_DATA, SAIL_BY_DATA, 0};
    out[1] = (sail_route){"ddp", o->ddp_weight, SAIL_BY_DATA, SAIL_BY_POLICY, o->ddp_coef};
    out[2] = (sail_route){"dpp", o->dpp_weight, SAIL_BY_POLICY, SAIL_BY_POLICY, o->dpp_coef};
    out[3] = (sail_route){"dpr", o->dpr_weight, SAIL_BY_POLICY, SAIL_BY_JUDGE, o->dpr_coef};
    return 4;
}

static const sail_strategy ops = {.size = sizeof ops, .routes = routes};
SAIL_PLUGIN(SAIL_KIND_STRATEGY, mixture, "a share of prompts on each of ddp, dpp and dpr, the rest offline",
            "arXiv:2406.15567", struct mixture, opts, &ops, SAIL_CAP_ONLINE)
