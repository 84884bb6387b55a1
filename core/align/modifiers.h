/* modifiers.h - what a recipe changes about any objective: the divergence behind the implicit reward, how tokens beyond the shorter
 * response count, weights of pairs, several objectives at once. An objective is not written for them: it says with its SAIL_CAP_TAKES_…
 * which of them mean something with it, and sees scores, logp and pairs that are already so.
 *
 * Floor: align. Threads: one. Source: f-divergences arXiv 2309.16240, ld_alpha arXiv 2409.06411, use_weighting arXiv 2406.11827 (WPO);
 * the forms are TRL's. */
#ifndef SAIL_MODIFIERS_H
#define SAIL_MODIFIERS_H

#include "../backend/registry.h"
#include "../sail/objective.h"

enum sail__divergence { SAIL__REVERSE_KL, SAIL__FORWARD_KL, SAIL__JS_DIVERGENCE, SAIL__ALPHA_DIVERGENCE };
extern const char *const sail__divergences[]; /* by these numbers, NULL at the end */

/* Zeroed: nothing is changed. */
typedef struct sail__modifiers {
    int divergence;    /* sail__divergence */
    double f_alpha;    /* coefficient of SAIL__ALPHA_DIVERGENCE */
    bool length;       /* ld_alpha is set */
    double ld_alpha;   /* what a token beyond the length of the group's shortest response counts */
    bool weighting;    /* each pair's loss times exp of the responses' mean log p less log sum p^2 */
} sail__modifiers;

/* f'(pi/ref) from rho = log pi/ref, up to a constant: rho itself under reverse KL. The same on a tape. */
double sail__divergence_of(const sail__modifiers *m, double rho);
sail_var sail__divergence_var(const sail__modifiers *m, sail_tape *t, sail_var rho);

/* What a token counts in the sums of its response: shortest is the length of the group's shortest response, i from 0. */
static inline double sail__token_weight(const sail__modifiers *m, int64_t i, int64_t shortest)
{
    return m->length && i >= shortest ? m->ld_alpha : 1;
}

/* One of several objectives of a run. */
typedef struct sail__objective_part {
    const sail_slot *slot;
    double weight;
} sail__objective_part;

/* An objective made of n >= 1 others, their losses weighted and summed, each pair's weighted besides where m says so: as if a plugin
 * had been loaded. Problems (a modifier that means nothing with one of them, two that need a baseline) are told at `path`; false then. In the
 * arena; m is borrowed. */
bool sail__combine(sail_arena *a, const sail__objective_part *parts, size_t n, const sail__modifiers *m, const char *path,
                   const sail_node *node, sail_slot *out, sail_problems *problems);

#endif
