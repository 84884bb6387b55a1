/* cmd_generate.c - sail generate: responses to prompts, as text while they are written, or as rows. */
#include <string.h>

#include "align/responses.h"
#include "answer.h"
#include "cli_model.h"
#include "nn/contrastive.h"

struct generate_options {
    const char *prompt, *prompts, *input, *output;
    bool chat, special, ignore_eos;
    double penalty_alpha;
    int64_t max_new, num, batch;
};
#define T struct generate_options
static const sail_opt options[] = {
    SAIL_OPT_STR(T, prompt, .unit = "TEXT", .help = "what to go on from"),
    SAIL_OPT_STR(T, prompts, .flags = SAIL_OPT_PATH, .unit = "FILE", .help = "a text file with a prompt a line, or rows (.jsonl, .json, .gz) of {\"prompt\"} or {\"messages\"}"),
    SAIL_OPT_STR(T, input, .flags = SAIL_OPT_PATH, .unit = "FILE", .help = "rows of {\"ids\"}, {\"prompt\"} or {\"messages\"}"),
    SAIL_OPT_STR(T, output, .flags = SAIL_OPT_PATH, .unit = "FILE", .help = "write rows there instead of text to standard output"),
    SAIL_OPT_BOOL(T, chat, .help = "--prompt is a user's message: put it through the model's template"),
    SAIL_OPT_BOOL(T, special, .def = 1, .help = "read <|…|> in texts as the token of that name"),
    SAIL_OPT_F64(T, penalty_alpha, .min = 0, .max = 1, .help = "contrastive search among --top-k candidates (4 unless given), with this weight of the penalty, such as 0.6"),
    SAIL_OPT_INT(T, max_new, .def = 128, .min = 1, .max = 1 << 24, .help = "tokens of a response at most"),
    SAIL_OPT_INT(T, num, .def = 1, .min = 1, .max = 1 << 20, .help = "responses to each prompt"),
    SAIL_OPT_BOOL(T, ignore_eos, .help = "go on past end tokens"),
    SAIL_OPT_INT(T, batch, .def = 32, .min = 1, .max = 4096, .help = "sequences written together at most"),
    {0},
};
#undef T

/* Text goes out in the order of responses: the first unfinished one as it is written, those behind it when their turn comes. */
typedef struct printer {
    sail__answer answer;
    sail_buf text; /* not yet printed */
    bool done;
} printer;

typedef struct job {
    sail__cli *c;
    const struct generate_options *o;
    sail__session *session;
    sail__cli_rows rows;
    sail__gen_request *requests;
    const int32_t *ends;
    int n_ends;
    printer *printers; /* of all responses; NULL: nothing is streamed, and there are no stop strings */
    bool as_rows;      /* not as text */
    size_t n, turn, finished;
    bool failed; /* standard output is gone */
    sail_err why;
} job;

static bool is_end(const job *j, int32_t id)
{
    for (int i = 0; i < j->n_ends; i++)
        if (j->ends[i] == id)
            return true;
    return false;
}

static void flush(job *j)
{
    while (j->turn < j->n) {
        printer *p = &j->printers[j->turn];
        if (p->text.len && !j->as_rows && sail__cli_output(j->c, NULL, p->text.data, p->text.len, &j->why) != SAIL_OK)
            j->failed = true;
        p->text.len = 0;
        if (!p->done)
            return;
        sail__buf_free(&p->text);
        j->turn++;
    }
}

static bool on_token(void *user, const sail__gen_response *r)
{
    job *j = user;
    const sail__gen_request *q = &j->requests[r->request];
    int32_t id = r->ids[r->n - 1];
    bool end = !j->o->ignore_eos && is_end(j, id), stopped = false, done = end || r->n >= q->max_new;
    if (j->printers) {
        printer *p = &j->printers[(int64_t)r->request * j->o->num + r->child];
        if (r->n == 1 && j->n > 1)
            sail__buf_printf(&p->text, "%s--- prompt %d%s%s\n", sail__tone_code(j->c, SAIL__DIM), r->request + 1,
                             j->o->num > 1 ? sail__arena_printf(j->c->arena, ", response %d", r->child + 1) : "",
                             sail__tone_code(j->c, SAIL__PLAIN));
        stopped = sail__answer_push(&p->answer, id, &p->text);
        done = done || stopped;
        if (done) {
            sail__answer_end(&p->answer, &p->text);
            sail__buf_str(&p->text, "\n");
            p->done = true;
        }
        flush(j);
    }
    if (done)
        j->finished++;
    if (!j->printers || j->n > 1)
        sail_progress(j->c->ctx, "responses", j->finished, j->n);
    return j->failed || stopped;
}

static sail_code read_prompts(job *j, sail_err *err)
{
    const struct generate_options *o = j->o;
    sail__cli_text text = {.session = j->session, .kind = SAIL__ROW_PROMPT, .special = o->special};
    if (o->input)
        return sail__cli_read_rows(j->c, &text, o->input, &j->rows, err);
    if (o->prompt)
        return sail__cli_add_text(j->c, &text, o->prompt, o->chat, &j->rows, err);
    size_t n = strlen(o->prompts);
    static const char *const rows[] = {".json", ".jsonl", ".gz"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (n > strlen(rows[i]) && !strcmp(o->prompts + n - strlen(rows[i]), rows[i]))
            return sail__cli_read_rows(j->c, &text, o->prompts, &j->rows, err);
    return sail__cli_read_lines(j->c, &text, o->prompts, &j->rows, err);
}

/* What is left of the model's positions bounds a response. */
static sail_code make_requests(job *j, sail_err *err)
{
    const struct generate_options *o = j->o;
    int64_t most = sail__model_positions(j->session->model);
    j->requests = sail__arena_array(j->c->arena, j->rows.n + 1, sizeof *j->requests);
    j->n = j->rows.n * (size_t)o->num;
    if (!j->requests)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for %zu prompts", j->rows.n);
    for (size_t i = 0; i < j->rows.n; i++) {
        const sail__cli_row *r = &j->rows.items[i];
        int64_t room = most - (int64_t)r->n;
        if (room < 1) {
            sail_fail(err, SAIL_E_PARSE, "a prompt of %zu tokens leaves no room for a response: the model has positions for %lld", r->n,
                      (long long)most);
            return r->line ? sail_fail_in(err, "%s:%lld", o->input ? o->input : o->prompts, (long long)r->line) : err->code;
        }
        j->requests[i] = (sail__gen_request){
            .prompt = r->ids, .n_prompt = (int64_t)r->n, .children = (int)o->num, .max_new = o->max_new < room ? o->max_new : room, .key = i,
            .sampling = sail__cli_filter(j->c),
            .ignore_end = o->ignore_eos};
    }
    return SAIL_OK;
}

static sail_code make_printers(job *j, sail_err *err)
{
    j->printers = sail__arena_array(j->c->arena, j->n + 1, sizeof *j->printers);
    if (!j->printers)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (!j->session->tokenizer && !j->as_rows)
        return sail_fail(err, SAIL_E_NOTFOUND, "%s has no tokenizer.json to write text with; use --output or --json for token ids", j->session->path);
    for (size_t i = 0; i < j->n; i++)
        SAIL_TRY(sail__answer_begin(&j->printers[i].answer, j->session->tokenizer, j->c->sampling.stop, err));
    return SAIL_OK;
}

/* {"ids", "text", "logprobs", "finish"}; text is null without a tokenizer. */
static sail_code write_rows(job *j, const sail__gen_response *r, size_t n, sail_err *err)
{
    sail__cli_sink sink;
    sail_buf b = {0};
    SAIL_TRY(sail__cli_sink_open(j->c, j->o->output, &sink, err));
    sail_code code = SAIL_OK;
    for (size_t i = 0; i < n && code == SAIL_OK; i++) {
        b.len = 0;
        sail__buf_str(&b, "{");
        code = sail__response_members(j->session->tokenizer, r[i].ids, r[i].logp, r[i].n, r[i].finish, &b, err);
        sail__buf_str(&b, "}\n");
        if (code == SAIL_OK)
            code = sail__cli_sink_write(&sink, &b, err);
    }
    sail__buf_free(&b);
    if (code == SAIL_OK)
        return sail__cli_sink_commit(&sink, err);
    sail__cli_sink_abort(&sink);
    return code;
}

static sail_code generate(job *j, sail_err *err)
{
    const struct generate_options *o = j->o;
    sail__generator *g;
    sail__gen_response *out;
    size_t n;
    j->as_rows = o->output || j->c->json;
    SAIL_TRY(read_prompts(j, err));
    SAIL_TRY(make_requests(j, err));
    if (!j->as_rows || j->c->sampling.stop)
        SAIL_TRY(make_printers(j, err));
    j->ends = sail__session_ends(j->session, &j->n_ends);
    size_t batch = j->n < (size_t)o->batch ? j->n : (size_t)o->batch;
    sail__gen_counters k = {0};
    sail_code code;
    if (o->penalty_alpha > 0) {
        sail__contrastive_options how = {.alpha = o->penalty_alpha, .k = j->c->sampling.top_k ? (int)j->c->sampling.top_k : 4, .batch = batch > 0 ? (int)batch : 1};
        code = sail__contrastive_search(j->session->model, SAIL__POLICY, &how, j->requests, j->rows.n, j->ends, j->n_ends, on_token, j, j->c->arena,
                                        &out, &n, err);
    } else {
        SAIL_TRY(sail__generator_new(j->session->model, SAIL__POLICY, batch > 0 ? (int)batch : 1, &g, err));
        code = sail__generate(g, (uint64_t)j->c->sampling.seed, j->requests, j->rows.n, j->ends, j->n_ends, on_token, j, j->c->arena, &out, &n, err);
        sail__generator_counters(g, &k);
        sail__generator_free(g);
    }
    sail__cli_clear(j->c);
    if (code == SAIL_OK && j->failed)
        code = (*err = j->why).code;
    if (code == SAIL_OK && j->as_rows)
        code = write_rows(j, out, n, err);
    if (code == SAIL_OK && k.seconds > 0)
        sail_log(j->c->ctx, SAIL_LOG_DEBUG, "%lld prompt and %lld new tokens in %.2f s, %.2f s of it prompts", (long long)k.prompt_tokens,
                 (long long)k.new_tokens, k.seconds, k.prefill_seconds);
    for (size_t i = j->turn; j->printers && i < j->n; i++) {
        sail__answer_end(&j->printers[i].answer, &j->printers[i].text);
        sail__buf_free(&j->printers[i].text);
    }
    return code;
}

static sail_code run(sail__cli *c, sail_err *err)
{
    job j = {.c = c, .o = c->options};
    if ((j.o->prompt != NULL) + (j.o->prompts != NULL) + (j.o->input != NULL) != 1)
        return sail_fail(err, SAIL_E_USAGE, "give one of --prompt TEXT, --prompts FILE and --input FILE");
    if (j.o->penalty_alpha > 0 && (j.o->num > 1 || c->sampling.greedy || c->sampling.repetition_penalty != 1 || c->sampling.top_k > SAIL__MOST_CANDIDATES))
        return sail_fail(err, SAIL_E_USAGE,
                         "--penalty-alpha (contrastive search) draws nothing: leave out --num, --greedy and --repetition-penalty, and keep --top-k at most %d",
                         SAIL__MOST_CANDIDATES);
    SAIL_TRY(sail__cli_not_over(j.o->input ? j.o->input : j.o->prompts, j.o->output, err));
    SAIL_TRY(sail__cli_not_of_model(c, "--output", NULL, j.o->output, err));
    if (j.o->chat && !j.o->prompt)
        return sail_fail(err, SAIL_E_USAGE, "--chat goes with --prompt; in files use rows of \"messages\"");
    SAIL_TRY(sail__cli_open_model(c, &(sail__cli_want){.dtype = -1}, &j.session, err));
    sail_code code = generate(&j, err);
    sail__session_close(j.session);
    return code;
}

static const sail__example examples[] = {
    {"sail generate --model SmolLM2-135M-Instruct --chat --prompt 'Why does it rain?' --greedy", "an answer, as it is written"},
    {"sail generate --model m.gguf --prompts prompts.txt --num 4 --temperature 0.8 --top-p 0.95 --output out.jsonl", "four samples each, as rows"},
    {0},
};
const sail__command sail__cmd_generate = {
    .name = "generate", .args = "", .summary = "write responses to prompts",
    .doc = "Texts are taken as they are; messages (--chat, or rows of \"messages\") go through the model's template. With --output, a line for "
           "each response, in the order of prompts: {\"ids\": […], \"text\": …, \"logprobs\": […], \"finish\": \"stop\"|\"length\"}; the end token is "
           "among the ids where one was produced, log-probabilities are the model's at temperature 1, in nats. A response is a function of the "
           "seed, its prompt's place and its own number, whatever else is written. A stop string ends a response: text ends before it, rows hold "
           "its tokens.",
    .flags = SAIL__CLI_SAMPLING | SAIL__CLI_MODEL | SAIL__CLI_NEEDS_MODEL | SAIL__CLI_SIGNALS | SAIL__CLI_JSON, .options = options,
    .options_size = sizeof(struct generate_options), .examples = examples, .run = run,
};
