/* ipo.c - Identity Preference Optimization.
 * Source : arXiv 2310.12036, eq. 17; lengths as in TRL: DPO divides each log-ratio by its response's length, online DPO
 *          does not.
 * Needs  : pairs of two; reference log-probabilities.
 * Loss   : (rho_w/|y_w| - rho_l/|y_l| - 1/(2 beta))^2, mean over pairs; ties and abstentions count 0. */
#include <sail/objective.h>
#include <sail/plugin.h>

enum { PER_TOKEN, PER_RESPONSE };
struct ipo {
    int lengths;
};

static const char *const lengths[] = {"mean", "sum", NULL};
static const sail_opt opts[] = {
    SAIL_OPT_CHOICE(struct ipo, lengths, .choices = lengths, .def = PER_TOKEN,
                    .help = "mean: log-ratios are divided by the response's length; sum: they are not"),
    {0},
};

static sail_code loss(const void *self, sail_tape *t, const sail_pairs *b, sail_loss *out)
{
    const struct ipo *o = self;
    sail_side w, l;
    sail_var decided;
    sail_labelled_sides(t, b, &w, &l, &decided);
    sail_var scale = sail_number(t, 1 / b->beta), win = sail_mul(t, w.score, scale), lose = sail_mul(t, l.score, scale);
    if (o->lengths == PER_TOKEN) {
        win = sail_div(t, win, w.length);
        lose = sail_div(t, lose, l.length);
    }
    sail_var gap = sail_sub(t, sail_sub(t, win, lose), sail_number(t, 1 / (2 * b->beta)));
    out->per_pair = sail_mul(t, decided, sail_square(t, gap));
    out->loss = sail_mean(t, out->per_pair);
    return sail_tape_status(t);
}

static const sail_objective ops = {.size = sizeof ops, .loss = loss};
SAIL_PLUGIN(SAIL_KIND_OBJECTIVE, ipo, "IPO: squared distance of the margin from 1/(2 beta)", "arXiv:2310.12036",
            struct ipo, opts, &ops, SAIL_CAP_PAIRS | SAIL_CAP_REFERENCE | SAIL_CAP_TAKES_DIVERGENCE |
                SAIL_CAP_TAKES_LENGTH | SAIL_CAP_TAKES_WEIGHTS)
