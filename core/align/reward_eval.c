/* reward_eval.c - see reward_eval.h. */
#include "reward_eval.h"

#include <math.h>
#include <string.h>

/* RewardBench (arXiv:2403.13787): which subset belongs to which section. A section's score is the accuracy over its pairs, in which the
 * proofs of math-prm weigh as much as all programs together, however many there are. */
static const char *const section_names[SAIL__SECTIONS] = {"Chat", "Chat Hard", "Safety", "Reasoning"};
static const struct {
    int section;
    const char *subset;
} bench[] = {
    {0, "alpacaeval-easy"},       {0, "alpacaeval-length"},     {0, "alpacaeval-hard"},      {0, "mt-bench-easy"},        {0, "mt-bench-med"},
    {1, "mt-bench-hard"},         {1, "llmbar-natural"},        {1, "llmbar-adver-neighbor"}, {1, "llmbar-adver-GPTInst"}, {1, "llmbar-adver-GPTOut"},
    {1, "llmbar-adver-manual"},   {2, "refusals-dangerous"},    {2, "refusals-offensive"},   {2, "xstest-should-refuse"}, {2, "xstest-should-respond"},
    {2, "donotanswer"},           {3, "math-prm"},              {3, "hep-cpp"},              {3, "hep-go"},               {3, "hep-java"},
    {3, "hep-js"},                {3, "hep-python"},            {3, "hep-rust"},
};

static const char proofs[] = "math-prm";

static int section_of(const char *subset)
{
    for (size_t i = 0; i < sizeof bench / sizeof bench[0]; i++)
        if (strcmp(bench[i].subset, subset) == 0)
            return bench[i].section;
    return -1;
}

static void sections(sail__reward_report *r)
{
    double programs = 0, sum = 0, n = 0;
    for (size_t i = 0; i < r->n_subsets; i++)
        programs += section_of(r->subsets[i].name) == 3 && strcmp(r->subsets[i].name, proofs) ? r->subsets[i].pairs : 0;
    for (int k = 0; k < SAIL__SECTIONS; k++) {
        double right = 0, weight = 0;
        r->sections[k] = (sail__bench_section){.name = section_names[k], .accuracy = NAN};
        for (size_t i = 0; i < r->n_subsets; i++) {
            const sail__subset *s = &r->subsets[i];
            if (section_of(s->name) != k)
                continue;
            double w = !strcmp(s->name, proofs) && programs > 0 ? programs : s->pairs;
            right += w * s->right / s->pairs;
            weight += w;
            r->sections[k].pairs += s->pairs;
        }
        if (weight == 0)
            continue;
        r->sections[k].accuracy = right / weight;
        sum += right / weight;
        n++;
    }
    r->average = n > 0 ? sum / n : NAN;
}

/* ---- pairs ---- */

enum { MOST = 4096 }; /* pairs of one pass */
typedef struct batch {
    int subset[MOST]; /* of the report's; -1: none */
    size_t n;
    float *scores;
} batch;

static sail_code flush(sail__scorer *s, batch *b, const sail_preference_model *m, sail__reward_report *r, sail_err *err)
{
    if (b->n == 0)
        return SAIL_OK;
    SAIL_TRY(sail__scorer_run(s, b->scores, err));
    for (size_t i = 0; i < b->n; i++) {
        double score[2 * SAIL_MAX_WIDTH], p;
        const int n = 2 * s->labels;
        for (int d = 0; d < n; d++) {
            score[d] = b->scores[i * (size_t)n + (size_t)d];
            if (!isfinite(score[d]))
                return sail_fail(err, SAIL_E_NUMERIC, "the reward model gives pair %.0f the score %g", r->pairs + 1, score[d]);
        }
        SAIL_TRY(sail__win_probability(m, score, &p, err));
        if (n > 2) { /* of vectors: what they amount to in this pair */
            score[0] = 0.5 * log(fmax(p, 1e-300) / fmax(1 - p, 1e-300));
            score[1] = -score[0];
        }
        sail__calibration_add(&r->calibration, p);
        r->pairs++;
        r->right += score[0] > score[1];
        r->chosen += score[0];
        r->rejected += score[1];
        r->margin += score[0] - score[1];
        if (b->subset[i] >= 0) {
            r->subsets[b->subset[i]].pairs++;
            r->subsets[b->subset[i]].right += score[0] > score[1];
        }
    }
    b->n = 0;
    return SAIL_OK;
}

/* The report's subset of that name, made at its first pair. */
static sail_code subset_of(sail__reward_report *r, const char *name, int *out, sail_err *err)
{
    size_t i = 0;
    *out = -1;
    if (!name)
        return SAIL_OK;
    while (i < r->n_subsets && strcmp(r->subsets[i].name, name) != 0)
        i++;
    if (i == r->n_subsets) {
        const char *copy = sail__arena_strdup(r->arena, name);
        if (!copy)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        SAIL_TRY(sail__grow(&r->subsets, &r->cap, i + 1, sizeof *r->subsets, err));
        r->subsets[r->n_subsets++] = (sail__subset){.name = copy};
    }
    *out = (int)i;
    return SAIL_OK;
}

static sail_code take(sail__scorer *s, batch *b, const sail_row *row, sail__reward_report *r, sail_err *err)
{
    const sail__part responses[2] = {row->part[SAIL_PART_CHOSEN], row->part[SAIL_PART_REJECTED]};
    if (!sail__part_present(&responses[0]) || !sail__part_present(&responses[1]))
        return sail_fail(err, SAIL_E_ARG, "the row has no pair of responses");
    if (row->n_behind)
        return sail_fail(err, SAIL_E_USAGE, "the row ranks %zu responses, and a reward model is measured on pairs: --pairing all, best_worst or neighbours",
                         2 + row->n_behind);
    SAIL_TRY(sail__scorer_add(s, &row->part[SAIL_PART_PROMPT], responses, 2, err));
    return subset_of(r, row->subset, &b->subset[b->n++], err);
}

static sail_code run(sail_ctx *ctx, sail__scorer *s, sail__source *in, const sail__reward_data *data, const sail_preference_model *m, batch *b,
                     sail_arena *a, sail__reward_report *r, sail_err *err)
{
    for (int64_t n = 0; data->pairs == 0 || n < data->pairs; n++) {
        sail_row *row;
        sail__arena_reset(a);
        SAIL_TRY(sail__source_next(in, a, &row, err));
        if (!row)
            break;
        if (sail_cancelled(ctx))
            return sail_fail(err, SAIL_E_CANCEL, "stopped after %.0f pairs", r->pairs);
        if (take(s, b, row, r, err) != SAIL_OK)
            return sail_fail_in(err, "%s:%lld", row->file, (long long)row->line);
        if (sail__scorer_tokens(s) >= data->max_tokens || b->n == MOST)
            SAIL_TRY(flush(s, b, m, r, err));
        sail_progress(ctx, "pairs", (uint64_t)n + 1, data->pairs ? (uint64_t)data->pairs : 0);
    }
    return flush(s, b, m, r, err);
}

sail_code sail__reward_assess(sail_ctx *ctx, sail__scorer *s, const sail__reward_data *data, const sail_preference_model *m, sail__reward_report *out,
                              sail_err *err)
{
    sail__source *in = NULL;
    sail_arena *a = sail__arena_new();
    batch *b = sail__calloc(1, sizeof *b);
    sail_arena *keep = out->arena;
    *out = (sail__reward_report){.arena = keep};
    sail_code code = a && b ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (code == SAIL_OK)
        code = sail__scorer_compared_by(s, m, err);
    if (code == SAIL_OK && !(b->scores = sail__malloc(2 * MOST * (size_t)s->labels * sizeof *b->scores)))
        code = sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (code == SAIL_OK)
        code = sail__source_open(data->rows, &in, err);
    if (code == SAIL_OK)
        code = run(ctx, s, in, data, m, b, a, out, err);
    if (code == SAIL_OK) {
        sections(out);
        out->records = sail__source_records(in);
        if (out->pairs == 0)
            code = sail_fail(err, SAIL_E_ARG, "the data have no usable pair");
    }
    sail__source_close(in);
    if (b)
        sail__free(b->scores);
    sail__free(b);
    sail__arena_free(a);
    return code;
}

void sail__reward_report_free(sail__reward_report *r)
{
    sail__free(r->subsets);
    r->subsets = NULL;
}
