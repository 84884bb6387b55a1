/* reward_eval.h - what a reward model is worth on labelled pairs: accuracy, calibration, and RewardBench's subsets and sections.
 *
 * Floor: align. Threads: one. Ownership: a report's names and items live in the arena it was given. */
#ifndef SAIL_REWARD_EVAL_H
#define SAIL_REWARD_EVAL_H

#include "calibration.h"
#include "scoring.h"

typedef struct sail__subset {
    const char *name;
    double pairs, right;
} sail__subset;

typedef struct sail__bench_section { /* of RewardBench */
    const char *name;
    double pairs, accuracy; /* pairs 0: none of its subsets is in the data */
} sail__bench_section;
enum { SAIL__SECTIONS = 4 };

typedef struct sail__reward_report {
    sail_arena *arena;
    double pairs, right, chosen, rejected, margin; /* sums; right: the chosen response scores higher, equal scores count 0 */
    sail__calibration calibration;
    sail__subset *subsets; /* in order of appearance; pairs without one are in none */
    size_t n_subsets, cap;
    sail__bench_section sections[SAIL__SECTIONS];
    double average; /* of the sections that have pairs; NAN: none */
    int64_t records; /* read, dropped ones too */
} sail__reward_report;

typedef struct sail__reward_data {
    const sail__data_options *rows;
    int64_t pairs;      /* at most; 0: all */
    int64_t max_tokens; /* scored in one pass */
} sail__reward_data;

/* SAIL_E_CANCEL when stopped. */
sail_code sail__reward_assess(sail_ctx *ctx, sail__scorer *s, const sail__reward_data *data, const sail_preference_model *m, sail__reward_report *out,
                              sail_err *err);
void sail__reward_report_free(sail__reward_report *r); /* what is not in the arena */

#endif
