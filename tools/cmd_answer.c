/* cmd_answer.c - sail answer: a benchmark's questions, answered in the form that its judge reads (AlpacaEval, MT-Bench). */
#include <ctype.h>
#include <math.h>
#include <string.h>

#include "answer.h"
#include "cli_model.h"
#include "io/hash.h"

enum { ALPACA_EVAL, MT_BENCH, MOST_TURNS = 16 };

struct answer_options {
    int form;
    const char *output, *generator, *system, *template_name;
    bool by_category;
    int64_t max_new, batch, limit;
};
static const char *const forms[] = {"alpaca_eval", "mt_bench", NULL};
#define T struct answer_options
static const sail_opt options[] = {
    SAIL_OPT_CHOICE(T, form, .choices = forms, .help = "alpaca_eval: rows of instruction, input, dataset; mt_bench: rows of question_id, turns, category"),
    SAIL_OPT_STR(T, output, .flags = SAIL_OPT_PATH, .unit = "FILE", .help = "where the answers go, instead of standard output"),
    SAIL_OPT_STR(T, generator, .unit = "NAME", .help = "who answered: unset, the name of --model, and of --adapter"),
    SAIL_OPT_STR(T, system, .help = "the system message"),
    {.name = "template", .type = SAIL_OPT_TYPE_STR, .offset = offsetof(T, template_name), .unit = "NAME",
     .help = "a template by name, or a file that ends in .jinja; unset: the model's own"},
    SAIL_OPT_BOOL(T, by_category, .def = 1, .help = "mt_bench: the temperatures that MT-Bench gives its categories, whatever --temperature says"),
    SAIL_OPT_INT(T, max_new, .def = 1024, .min = 1, .max = 1 << 24, .help = "tokens of an answer at most"),
    SAIL_OPT_INT(T, batch, .def = 16, .min = 1, .max = 4096, .help = "answers written together at most"),
    SAIL_OPT_INT(T, limit, .min = 0, .max = 1e15, .help = "answer only so many questions; 0: all"),
    {0},
};
#undef T

typedef struct question {
    const sail_node *row;
    int64_t line;
    const char *turns[MOST_TURNS];
    size_t n_turns;
    sail_buf answers[MOST_TURNS];
    double temperature; /* NaN: as the options say */
} question;

typedef struct job {
    sail__cli *c;
    const struct answer_options *o;
    sail__session *session;
    sail__token_scratch *scratch;
    question *questions;
    size_t n, cap, at; /* at: answers begun */
    size_t *asked;     /* of the turn that is written: the questions, by request */
    sail__answer *writers;
    size_t turn, total;
    const char *generator;
} job;

/* ---- questions ---- */

static double temperature_of(const char *category)
{
    static const struct {
        const char *name;
        double temperature;
    } known[] = {{"writing", 0.7}, {"roleplay", 0.7},   {"extraction", 0}, {"math", 0},      {"coding", 0},
                 {"reasoning", 0}, {"stem", 0.1},       {"humanities", 0.1}};
    for (size_t i = 0; category && i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i].name, category))
            return known[i].temperature;
    return 0.7; /* as MT-Bench has it for others */
}

static const char *text_of(const sail_node *row, const char *key)
{
    const sail_node *n = sail__node_get(row, key);
    return n && n->kind == SAIL_NODE_STRING ? n->string.data : NULL;
}

static sail_code read_alpaca(job *j, question *q, sail_err *err)
{
    const char *instruction = text_of(q->row, "instruction"), *input = text_of(q->row, "input");
    if (!instruction || !*instruction)
        return sail_fail(err, SAIL_E_PARSE, "a row of AlpacaEval has a text `instruction`%s",
                         sail__node_get(q->row, "turns") ? "; this one has `turns`: --form mt_bench?" : "");
    q->turns[0] = input && *input ? sail__arena_printf(j->c->arena, "%s\n\n%s", instruction, input) : instruction;
    q->n_turns = 1;
    return q->turns[0] ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

static sail_code read_mt_bench(job *j, question *q, sail_err *err)
{
    const sail_node *turns = sail__node_get(q->row, "turns"), *id = sail__node_get(q->row, "question_id");
    if (!turns || turns->kind != SAIL_NODE_LIST || turns->list.n < 1 || turns->list.n > MOST_TURNS)
        return sail_fail(err, SAIL_E_PARSE, "a row of MT-Bench has a list `turns` of 1 to %d questions%s", MOST_TURNS,
                         sail__node_get(q->row, "instruction") ? "; this one has `instruction`: --form alpaca_eval?" : "");
    if (!id || (id->kind != SAIL_NODE_INT && id->kind != SAIL_NODE_STRING))
        return sail_fail(err, SAIL_E_PARSE, "a row of MT-Bench has a `question_id`, a number or a text");
    for (size_t i = 0; i < turns->list.n; i++) {
        if (turns->list.items[i]->kind != SAIL_NODE_STRING)
            return sail_fail(err, SAIL_E_PARSE, "turn %zu is %s, not text", i + 1, sail__node_kind_name(turns->list.items[i]->kind));
        q->turns[q->n_turns++] = turns->list.items[i]->string.data;
    }
    if (j->o->by_category)
        q->temperature = temperature_of(text_of(q->row, "category"));
    return SAIL_OK;
}

static sail_code read_questions(job *j, const char *path, sail_err *err)
{
    sail__json_stream *in;
    SAIL_TRY(sail__json_stream_open(path, &in, err));
    sail_code code = SAIL_OK;
    while (code == SAIL_OK && (!j->o->limit || (int64_t)j->n < j->o->limit)) {
        const sail_json *v;
        sail_node *row = NULL;
        question q = {.temperature = NAN};
        code = sail__json_stream_next(in, &v, &q.line, err);
        if (code != SAIL_OK || !v)
            break;
        code = sail__record_to_node(v, j->c->arena, &row, err);
        q.row = row;
        if (code == SAIL_OK)
            code = (j->o->form == MT_BENCH ? read_mt_bench : read_alpaca)(j, &q, err);
        if (code != SAIL_OK)
            sail_fail_in(err, "%s:%lld", path, (long long)q.line);
        else
            code = sail__grow(&j->questions, &j->cap, j->n + 1, sizeof *j->questions, err);
        if (code == SAIL_OK)
            j->questions[j->n++] = q;
    }
    sail__json_stream_close(in);
    if (code == SAIL_OK && !j->n)
        code = sail_fail(err, SAIL_E_PARSE, "%s holds no question", path);
    return code;
}

/* ---- answers ---- */

static bool on_token(void *user, const sail__gen_response *r)
{
    job *j = user;
    question *q = &j->questions[j->asked[r->request]];
    if (r->n == 1)
        sail_progress(j->c->ctx, "answers", ++j->at, j->total);
    return sail__answer_push(&j->writers[r->request], r->ids[r->n - 1], &q->answers[j->turn]);
}

/* White space at the ends belongs to the template's marks. */
static void trim(sail_buf *b)
{
    size_t from = 0;
    while (b->len && isspace((unsigned char)b->data[b->len - 1]))
        b->len--;
    while (from < b->len && isspace((unsigned char)b->data[from]))
        from++;
    if (from)
        memmove(b->data, b->data + from, b->len - from);
    b->len -= from;
}

/* The conversation so far, as a prompt for the turn; *room: tokens that the answer may have. */
static sail_code ask(job *j, const question *q, sail__gen_request *out, int64_t *room, sail_err *err)
{
    sail__message m[2 * MOST_TURNS + 1];
    size_t n = 0;
    if (j->o->system)
        m[n++] = (sail__message){"system", j->o->system, strlen(j->o->system)};
    for (size_t t = 0; t <= j->turn; t++) {
        m[n++] = (sail__message){"user", q->turns[t], strlen(q->turns[t])};
        if (t < j->turn)
            m[n++] = (sail__message){"assistant", q->answers[t].data ? q->answers[t].data : "", q->answers[t].len};
    }
    const sail__part part = {.messages = m, .n_messages = n};
    const sail__encode_options o = {.tokenizer = j->session->tokenizer, .chat = j->session->chat};
    sail__ids ids = {0};
    sail_code code = sail__encode_prompt(&o, j->scratch, &part, &ids, err);
    int32_t *kept = code == SAIL_OK ? sail__arena_array(j->c->arena, ids.n + 1, sizeof *kept) : NULL;
    if (code == SAIL_OK && !kept)
        code = sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (kept && ids.n)
        memcpy(kept, ids.items, ids.n * sizeof *kept);
    *room = sail__model_positions(j->session->model) - (int64_t)ids.n;
    *out = (sail__gen_request){.prompt = kept, .n_prompt = (int64_t)ids.n, .children = 1, .max_new = j->o->max_new < *room ? j->o->max_new : *room,
                               .key = (uint64_t)(q - j->questions) * MOST_TURNS + j->turn, .sampling = sail__cli_filter(j->c)};
    if (!isnan(q->temperature))
        out->sampling.temperature = q->temperature;
    sail__ids_free(&ids);
    return code;
}

/* The requests of this turn; *n of them, for j->asked. */
static sail_code ask_all(job *j, const char *path, sail__gen_request *requests, size_t *count, sail_err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < j->n; i++) {
        question *q = &j->questions[i];
        int64_t room;
        if (j->turn >= q->n_turns)
            continue;
        if (ask(j, q, &requests[n], &room, err) != SAIL_OK)
            return sail_fail_in(err, "%s:%lld", path, (long long)q->line);
        if (room < 1) {
            sail_log(j->c->ctx, SAIL_LOG_WARN, "%s:%lld: turn %zu and what stands before it have %lld tokens, and the model has positions for %lld: it "
                     "is answered with nothing", path, (long long)q->line, j->turn + 1, (long long)requests[n].n_prompt,
                     (long long)sail__model_positions(j->session->model));
            continue;
        }
        SAIL_TRY(sail__answer_begin(&j->writers[n], j->session->tokenizer, j->c->sampling.stop, err));
        j->asked[n++] = i;
        *count = n;
    }
    return SAIL_OK;
}

static sail_code write_turn(job *j, const char *path, sail_err *err)
{
    sail__gen_request *requests = sail__arena_array(j->c->arena, j->n + 1, sizeof *requests);
    int n_ends;
    const int32_t *ends = sail__session_ends(j->session, &n_ends);
    size_t n = 0, made;
    sail__generator *g = NULL;
    sail__gen_response *out;
    if (!requests)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    sail_code code = ask_all(j, path, requests, &n, err);
    const size_t batch = n < (size_t)j->o->batch ? n : (size_t)j->o->batch;
    if (code == SAIL_OK && n)
        code = sail__generator_new(j->session->model, SAIL__POLICY, (int)batch, &g, err);
    if (code == SAIL_OK && n)
        code = sail__generate(g, (uint64_t)j->c->sampling.seed, requests, n, ends, n_ends, on_token, j, j->c->arena, &out, &made, err);
    sail__generator_free(g);
    for (size_t i = 0; i < n; i++) {
        sail_buf *b = &j->questions[j->asked[i]].answers[j->turn];
        sail__answer_end(&j->writers[i], b);
        trim(b);
        if (code == SAIL_OK && b->oom)
            code = sail_fail(err, SAIL_E_NOMEM, "out of memory");
    }
    return code;
}

/* ---- the forms ---- */

static void quote(sail_buf *b, const sail_buf *text) { sail__json_quote(b, text->data ? text->data : "", text->len); }

static void alpaca_row(const job *j, const question *q, sail_buf *b)
{
    const char *dataset = text_of(q->row, "dataset"), *instruction = text_of(q->row, "instruction");
    sail__buf_str(b, " {\"dataset\": ");
    sail__json_quote(b, dataset ? dataset : "", dataset ? strlen(dataset) : 0);
    sail__buf_str(b, ", \"instruction\": ");
    sail__json_quote(b, instruction, strlen(instruction));
    sail__buf_str(b, ", \"output\": ");
    quote(b, &q->answers[0]);
    sail__buf_str(b, ", \"generator\": ");
    sail__json_quote(b, j->generator, strlen(j->generator));
    sail__buf_str(b, "}");
}

/* answer_id is a hash of what was said, so that the same answers have the same. */
static void mt_bench_row(const job *j, const question *q, sail_buf *b)
{
    sail_buf said = {0};
    char id[33];
    sail__node_to_json(&said, q->row);
    for (size_t t = 0; t < q->n_turns; t++) {
        sail__buf_str(&said, "\n");
        quote(&said, &q->answers[t]);
    }
    sail__hash_hex(said.data ? said.data : "", said.len, id);
    b->oom = b->oom || said.oom;
    sail__buf_free(&said);
    sail__buf_str(b, "{\"question_id\": ");
    sail__node_to_json(b, sail__node_get(q->row, "question_id"));
    sail__buf_printf(b, ", \"answer_id\": \"%.22s\", \"model_id\": ", id);
    sail__json_quote(b, j->generator, strlen(j->generator));
    sail__buf_str(b, ", \"choices\": [{\"index\": 0, \"turns\": [");
    for (size_t t = 0; t < q->n_turns; t++) {
        sail__buf_str(b, t ? ", " : "");
        quote(b, &q->answers[t]);
    }
    sail__buf_printf(b, "]}], \"tstamp\": %.3f}\n", sail__wall_time());
}

static sail_code write_answers(job *j, sail_err *err)
{
    sail_buf b = {0};
    const bool list = j->o->form == ALPACA_EVAL;
    for (size_t i = 0; i < j->n; i++) {
        if (list)
            sail__buf_str(&b, i ? ",\n" : "[\n");
        (list ? alpaca_row : mt_bench_row)(j, &j->questions[i], &b);
    }
    if (list)
        sail__buf_str(&b, "\n]\n");
    sail_code code = b.oom ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : sail__cli_output(j->c, j->o->output, b.data, b.len, err);
    sail__buf_free(&b);
    return code;
}

static const char *name_of(const sail__cli *c)
{
    const char *model = sail__path_base(c->model.model), *adapter = c->model.adapter;
    return adapter ? sail__arena_printf(c->arena, "%s+%s", model, adapter) : model;
}

static sail_code answer(job *j, const char *path, sail_err *err)
{
    size_t turns = 0;
    if (!j->session->tokenizer || !j->session->chat)
        return sail_fail(err, SAIL_E_NOTFOUND, "%s has no %s, and questions are a user's messages%s", j->session->path,
                         j->session->tokenizer ? "chat template" : "tokenizer.json", j->session->tokenizer ? ": name one with --template" : "");
    j->scratch = sail__token_scratch_new(j->session->tokenizer);
    j->asked = sail__arena_array(j->c->arena, j->n + 1, sizeof *j->asked);
    j->writers = sail__arena_array(j->c->arena, j->n + 1, sizeof *j->writers);
    j->generator = j->o->generator ? j->o->generator : name_of(j->c);
    if (!j->scratch || !j->asked || !j->writers || !j->generator)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; i < j->n; i++) {
        j->total += j->questions[i].n_turns;
        turns = j->questions[i].n_turns > turns ? j->questions[i].n_turns : turns;
    }
    for (j->turn = 0; j->turn < turns; j->turn++)
        SAIL_TRY(write_turn(j, path, err));
    sail__cli_clear(j->c);
    return write_answers(j, err);
}

static sail_code run(sail__cli *c, sail_err *err)
{
    job j = {.c = c, .o = c->options};
    SAIL_TRY(sail__cli_not_over(c->args[0], j.o->output, err));
    SAIL_TRY(sail__cli_not_of_model(c, "--output", NULL, j.o->output, err));
    sail_code code = read_questions(&j, c->args[0], err); /* before the model is loaded */
    if (code == SAIL_OK)
        code = sail__cli_open_model(c, &(sail__cli_want){.dtype = -1, .template_name = j.o->template_name}, &j.session, err);
    if (code == SAIL_OK)
        code = answer(&j, c->args[0], err);
    for (size_t i = 0; i < j.n; i++)
        for (size_t t = 0; t < MOST_TURNS; t++)
            sail__buf_free(&j.questions[i].answers[t]);
    sail__free(j.questions);
    sail__token_scratch_free(j.scratch);
    sail__session_close(j.session);
    return code;
}

static const sail__example examples[] = {
    {"sail answer question.jsonl --form mt_bench --model m.gguf --output model_answer/mine.jsonl", "for FastChat's judge: two turns each"},
    {"sail answer alpaca_eval.json --model m.gguf --adapter runs/first/align/output --output outputs.json", "for alpaca_eval --model_outputs"},
    {0},
};
const sail__command sail__cmd_answer = {
    .name = "answer", .args = "QUESTIONS", .summary = "answer a benchmark's questions, in the form that its judge reads", .min_args = 1, .max_args = 1,
    .doc = "QUESTIONS are rows of JSONL or a JSON list. alpaca_eval writes a list of {\"dataset\", \"instruction\", \"output\", \"generator\"}; mt_bench "
           "a line for each question, {\"question_id\", \"answer_id\", \"model_id\", \"choices\": [{\"index\": 0, \"turns\": […]}], \"tstamp\"}, of which each "
           "turn was asked after the answers before it. Questions go through the model's chat template; white space at the ends of an answer is taken off.",
    .flags = SAIL__CLI_SAMPLING | SAIL__CLI_MODEL | SAIL__CLI_NEEDS_MODEL, .options = options, .options_size = sizeof(struct answer_options),
    .examples = examples, .run = run,
};
