/* webgpt.c - webgpt_comparisons: question.full_text, answer_0, answer_1, score_0, score_1. Rows with equal scores are dropped.
 * Source: arXiv 2112.09332. */
#include <math.h>

#include <sail/dataset.h>

static sail_code read_row(const void *self, const sail_json *record, sail_row *row, sail_err *err)
{
    (void)self;
    static const char *const answers[] = {"answer_0", "answer_1"}, *const scores[] = {"score_0", "score_1"};
    const sail_json *question = sail_json_get(record, "question");
    const char *prompt, *text[2];
    size_t n_prompt, n[2];
    double score[2];
    prompt = sail_json_string(question, &n_prompt);
    if (!prompt && !(prompt = sail_json_string(sail_json_get(question, "full_text"), &n_prompt)))
        return sail_fail(err, SAIL_E_PARSE, "'question' must be a string, or have full_text");
    for (int i = 0; i < 2; i++) {
        score[i] = sail_json_number(sail_json_get(record, scores[i]), NAN);
        if (!(text[i] = sail_json_string(sail_json_get(record, answers[i]), &n[i])))
            return sail_fail(err, SAIL_E_PARSE, "'%s' must be a string", answers[i]);
        if (isnan(score[i]))
            return sail_fail(err, SAIL_E_PARSE, "'%s' must be a number", scores[i]);
    }
    if (score[0] == score[1])
        sail_row_drop(row, "both answers have the same score");
    int best = score[1] > score[0];
    sail_row_scores(row, score[best], score[!best]);
    sail_code code = sail_row_message(row, SAIL_PART_PROMPT, "user", prompt, n_prompt, err);
    if (code == SAIL_OK)
        code = sail_row_message(row, SAIL_PART_CHOSEN, "assistant", text[best], n[best], err);
    return code == SAIL_OK ? sail_row_message(row, SAIL_PART_REJECTED, "assistant", text[!best], n[!best], err) : code;
}

static const sail_dataset ops = {.size = sizeof ops, .row = read_row};
SAIL_PLUGIN_NO_OPTIONS(SAIL_KIND_DATASET, webgpt, "webgpt_comparisons: two answers with scores", "arXiv:2112.09332", &ops, 0)
