/* cmd_score.c - sail score: log-probability and entropy at every token of rows. */
#include <string.h>

#include "cli_model.h"
#include "reward_model.h"

struct score_options {
    const char *input, *output, *tokenizer, *template_name;
    bool eos, special;
    int64_t max_tokens;
};
#define T struct score_options
static const sail_opt options[] = {
    SAIL_OPT_STR(T, input, .flags = SAIL_OPT_REQUIRED | SAIL_OPT_PATH, .unit = "FILE", .help = "rows: JSONL or a JSON list, plain or .gz"),
    SAIL_OPT_STR(T, output, .flags = SAIL_OPT_PATH, .unit = "FILE", .help = "one line a row, in order; standard output where it is not given"),
    SAIL_OPT_BOOL(T, eos, .help = "append the end token to responses"),
    SAIL_OPT_BOOL(T, special, .def = 1, .help = "read <|…|> in texts as the token of that name"),
    SAIL_OPT_STR(T, tokenizer, .flags = SAIL_OPT_PATH, .unit = "FILE", .help = "of a reward model: tokenizer.json or its directory; unset: the model's own"),
    {.name = "template", .type = SAIL_OPT_TYPE_STR, .offset = offsetof(T, template_name), .unit = "NAME", .help = "of a reward model: form that prompts are given in; unset: the model's own"},
    SAIL_OPT_INT(T, max_tokens, .def = 4096, .min = 1, .max = 1 << 24, .unit = "N", .help = "tokens in one pass over the model"),
    {0},
};
#undef T

typedef struct scorer {
    sail__session *session;
    sail__forest forest;
    float *logp, *entropy;
    size_t cap_logp, cap_entropy;
    sail_buf text;
} scorer;

/* Rows [first, last) in one pass: a root each. */
static sail_code pass(scorer *s, const sail__cli_rows *rows, size_t first, size_t last, sail_err *err)
{
    sail__forest *f = &s->forest;
    sail__forest_reset(f);
    for (size_t i = first; i < last; i++)
        SAIL_TRY(sail__forest_add(f, -1, rows->items[i].ids, (int64_t)rows->items[i].n, SAIL__HEAD_NEXT, 0, NULL, err));
    SAIL_TRY(sail__grow(&s->logp, &s->cap_logp, (size_t)f->n_rows, sizeof *s->logp, err));
    SAIL_TRY(sail__grow(&s->entropy, &s->cap_entropy, (size_t)f->n_rows, sizeof *s->entropy, err));
    return sail__model_logprobs(s->session->model, SAIL__POLICY, f, false, s->logp, s->entropy, NULL, err);
}

static void lines(scorer *s, const sail__cli_rows *rows, size_t first, size_t last)
{
    s->text.len = 0;
    int64_t at = 0;
    for (size_t i = first; i < last; i++) {
        const sail__cli_row *r = &rows->items[i];
        int64_t n = (int64_t)r->n;
        sail__buf_str(&s->text, "{\"ids\": ");
        sail__json_ids(&s->text, r->ids, n);
        sail__buf_str(&s->text, ", \"logprobs\": [null");
        for (int64_t k = 0; k + 1 < n; k++) { /* position k says the log-probability of the token after it */
            sail__buf_str(&s->text, ", ");
            sail__json_float(&s->text, s->logp[at + k]);
        }
        sail__buf_str(&s->text, "], \"entropy\": ");
        sail__json_floats(&s->text, s->entropy + at, n, false);
        sail__buf_str(&s->text, "}\n");
        at += n;
    }
}

static sail_code score_all(sail__cli *c, scorer *s, const struct score_options *o, const sail__cli_rows *rows, sail__cli_sink *sink,
                           sail_err *err)
{
    for (size_t first = 0, last; first < rows->n; first = last) {
        int64_t tokens = (int64_t)rows->items[first].n;
        for (last = first + 1; last < rows->n && tokens + (int64_t)rows->items[last].n <= o->max_tokens; last++)
            tokens += (int64_t)rows->items[last].n;
        if (sail_cancelled(c->ctx))
            return sail_fail(err, SAIL_E_CANCEL, "stopped after %zu of %zu rows; nothing was written", first, rows->n);
        SAIL_TRY(pass(s, rows, first, last, err));
        lines(s, rows, first, last);
        SAIL_TRY(sail__cli_sink_write(sink, &s->text, err));
        sail_progress(c->ctx, "rows", last, rows->n);
    }
    return SAIL_OK;
}

static sail_code run(sail__cli *c, sail_err *err)
{
    const struct score_options *o = c->options;
    scorer s = {0};
    sail__cli_rows rows = {0};
    sail__cli_sink sink;
    SAIL_TRY(sail__cli_not_over(o->input, o->output, err));
    SAIL_TRY(sail__cli_not_of_model(c, "--output", NULL, o->output, err));
    if (sail__cli_is_reward_model(c)) {
        sail__cli_scoring how = {o->input, o->output, o->tokenizer, o->template_name, o->max_tokens};
        return sail__cli_score_rewards(c, &how, err);
    }
    if (o->tokenizer || o->template_name)
        return sail_fail(err, SAIL_E_USAGE, "--tokenizer and --template are for reward models; %s is a language model", c->model.model);
    SAIL_TRY(sail__cli_open_model(c, &(sail__cli_want){.dtype = -1}, &s.session, err));
    sail__cli_text text = {.session = s.session, .kind = SAIL__ROW_SEQUENCE, .eos = o->eos, .special = o->special};
    sail_code code = sail__cli_read_rows(c, &text, o->input, &rows, err);
    if (code == SAIL_OK)
        code = sail__cli_sink_open(c, o->output, &sink, err);
    if (code == SAIL_OK) {
        code = score_all(c, &s, o, &rows, &sink, err);
        if (code == SAIL_OK)
            code = sail__cli_sink_commit(&sink, err);
        else
            sail__cli_sink_abort(&sink);
    }
    sail__cli_clear(c);
    sail__forest_free(&s.forest);
    sail__free(s.logp);
    sail__free(s.entropy);
    sail__buf_free(&s.text);
    sail__session_close(s.session);
    return code;
}

static const sail__example examples[] = {
    {"sail score --model SmolLM2-135M-Instruct --input rows.jsonl --output scores.jsonl", "rows such as {\"prompt\": \"2 + 2 =\", \"response\": \" 4\"}"},
    {"sail score --model reward-model --input pairs.jsonl --output scored.jsonl", "pairs with score_chosen and score_rejected added"},
    {"sail score --model model.gguf --backend cpu --dtype bf16 --input ids.jsonl", "rows of {\"ids\": [1, 2, 3]}, to standard output"},
    {0},
};
const sail__command sail__cmd_score = {
    .name = "score", .args = "", .summary = "log-probabilities and entropies of texts under a model; scores of a reward model",
    .doc = "A row is {\"ids\": […]}, {\"prompt\": …, \"response\": …} or {\"messages\": […]}. Strings are taken as they are; messages go "
           "through the model's template. A line comes out for each row: {\"ids\": […], \"logprobs\": […], \"entropy\": […]}, in nats; "
           "logprobs[i] is log p(ids[i] | ids before it), the first null; entropy[i] that of the next token after ids[0..i]. "
           "A model with a score head (…ForSequenceClassification, Safe RLHF's and Eurus' models, what `stage: reward` makes; or an adapter "
           "that holds the head) gives {\"score\": …} for such a row instead, {\"scores\": […]} for {\"prompt\": …, \"responses\": […]}, "
           "and a pair {\"prompt\", \"chosen\", \"rejected\", …} again with score_chosen and score_rejected. It reads messages by its own "
           "template, ends them as it was trained, and takes a prompt of text as a message of the user where it has a template.",
    .flags = SAIL__CLI_MODEL | SAIL__CLI_NEEDS_MODEL | SAIL__CLI_SIGNALS, .options = options, .options_size = sizeof(struct score_options),
    .examples = examples, .run = run,
};
