/* ultrafeedback.c - UltraFeedback: an instruction and several rated completions; also its binarized form.
 * Source: arXiv 2310.01377. With data.pairing: best_worst the pairs are those of arXiv 2406.15567: the highest against the lowest
 * overall_score, where there are exactly 4 completions; rows with equal scores are dropped. */
#include <math.h>
#include <stdlib.h>

#include <sail/dataset.h>

static const char *const by_names[] = {"overall_score", "ratings", NULL}, *const form_names[] = {"messages", "authors", NULL};
enum { OVERALL, RATINGS };
enum { MESSAGES, AUTHORS };
struct ultra {
    int by, form;
    int64_t completions;
};

static const sail_opt opts[] = {
    SAIL_OPT_CHOICE(struct ultra, by, .choices = by_names,
                    .help = "what ranks completions: overall_score, or the mean of annotations.*.Rating"),
    SAIL_OPT_CHOICE(struct ultra, form, .choices = form_names,
                    .help = "messages, for the model's template; or text `[INST] … [/INST] ` as the authors have it"),
    SAIL_OPT_INT(struct ultra, completions, .def = 4, .min = 0, .max = 64, .help = "only rows with so many; 0: with 2 or more"),
    {0},
};

/* A number, or a string that is one; NaN: neither. */
static double number(const sail_json *v)
{
    const char *s = sail_json_string(v, NULL);
    char *end;
    double x = s ? strtod(s, &end) : sail_json_number(v, NAN);
    return s && (end == s || *end) ? NAN : x;
}

static double score(const struct ultra *o, const sail_json *completion)
{
    static const char *const kinds[] = {"helpfulness", "honesty", "instruction_following", "truthfulness"};
    double sum = 0;
    int n = 0;
    if (o->by == OVERALL)
        return number(sail_json_get(completion, "overall_score"));
    for (int i = 0; i < 4; i++) {
        double x = number(sail_json_get(sail_json_get(sail_json_get(completion, "annotations"), kinds[i]), "Rating"));
        if (!isnan(x)) {
            sum += x;
            n++;
        }
    }
    return n ? sum / n : NAN;
}

/* prompt, chosen and rejected as conversations, score_chosen and score_rejected. */
static sail_code binarized(const sail_json *record, sail_row *row, sail_err *err)
{
    sail_row_scores(row, sail_json_number(sail_json_get(record, "score_chosen"), NAN),
                    sail_json_number(sail_json_get(record, "score_rejected"), NAN));
    sail_code code = sail_row_value(row, SAIL_PART_CHOSEN, sail_json_get(record, "chosen"), "chosen", err);
    if (code == SAIL_OK)
        code = sail_row_value(row, SAIL_PART_REJECTED, sail_json_get(record, "rejected"), "rejected", err);
    if (code == SAIL_OK && sail_json_kind_of(sail_json_get(record, "chosen")) == SAIL_JSON_LIST)
        return sail_row_common_prompt(row, err);
    return code == SAIL_OK ? sail_row_value(row, SAIL_PART_PROMPT, sail_json_get(record, "prompt"), "prompt", err) : code;
}

static sail_code read_completion(const struct ultra *o, const sail_json *completion, size_t i, sail_row *row, sail_err *err)
{
    size_t len;
    const char *text = sail_json_string(sail_json_get(completion, "response"), &len);
    const double x = score(o, completion);
    if (!text)
        return sail_fail(err, SAIL_E_PARSE, "'completions': item %zu has no response, a string", i + 1);
    if (!isfinite(x)) {
        sail_row_drop(row, o->by == OVERALL ? "a completion has no overall_score" : "a completion has no rating");
        return SAIL_OK;
    }
    sail_row *to = sail_row_response(row, x, true, err);
    if (!to)
        return err->code;
    return o->form == MESSAGES ? sail_row_message(to, SAIL_PART_CHOSEN, "assistant", text, len, err)
                               : sail_row_text(to, SAIL_PART_CHOSEN, text, len, err);
}

static sail_code read_row(const void *self, const sail_json *record, sail_row *row, sail_err *err)
{
    const struct ultra *o = self;
    const sail_json *list = sail_json_get(record, "completions");
    size_t n = sail_json_size(list), n_prompt;
    if (sail_json_kind_of(list) == SAIL_JSON_ABSENT && sail_json_kind_of(sail_json_get(record, "chosen")) != SAIL_JSON_ABSENT)
        return binarized(record, row, err);
    const char *prompt = sail_json_string(sail_json_get(record, "instruction"), &n_prompt);
    if (!prompt || sail_json_kind_of(list) != SAIL_JSON_LIST)
        return sail_fail(err, SAIL_E_PARSE, prompt ? "'completions' must be a list" : "'instruction' must be a string");
    if (n < 2 || (o->completions && n != (size_t)o->completions)) {
        sail_row_drop(row, "another number of completions");
        return SAIL_OK;
    }
    sail_code code = o->form == MESSAGES ? sail_row_message(row, SAIL_PART_PROMPT, "user", prompt, n_prompt, err)
                                         : sail_row_text_between(row, SAIL_PART_PROMPT, "[INST] ", prompt, n_prompt, " [/INST] ", err);
    for (size_t i = 0; i < n && code == SAIL_OK; i++)
        code = read_completion(o, sail_json_at(list, i), i, row, err);
    return code;
}

static const sail_dataset ops = {.size = sizeof ops, .row = read_row};
SAIL_PLUGIN(SAIL_KIND_DATASET, ultrafeedback, "UltraFeedback: several rated completions; also binarized",
            "arXiv:2310.01377", struct ultra, opts, &ops, 0)
