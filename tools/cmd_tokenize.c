/* cmd_tokenize.c - sail tokenize: texts to token ids and back, one line a row. */
#include <math.h>
#include <string.h>

#include "cli.h"
#include "io/data.h"
#include "io/tokenizer.h"

struct tokenize {
    const char *input, *output;
    bool decode;
};
#define T struct tokenize
static const sail_opt options[] = {
    SAIL_OPT_STR(T, input, .flags = SAIL_OPT_PATH | SAIL_OPT_REQUIRED, .unit = "FILE", .help = "JSONL or a JSON array, plain or .gz"),
    SAIL_OPT_STR(T, output, .flags = SAIL_OPT_PATH, .unit = "FILE", .help = "JSONL; unset or -: standard output"),
    SAIL_OPT_BOOL(T, decode, .help = "from ids to text"),
    {0},
};
#undef T

typedef struct job {
    const sail__tokenizer *tokenizer;
    sail__token_scratch *scratch;
    sail__ids ids;
    sail_buf text, out;
} job;

static bool flag(const sail_json *row, const char *key, bool otherwise)
{
    const sail_json *v = sail_json_get(row, key);
    return sail_json_kind_of(v) == SAIL_JSON_BOOL ? sail_json_number(v, 0) != 0 : otherwise;
}

static sail_code encode(job *j, const sail_json *row, sail_err *err)
{
    size_t n = 0;
    const char *text = sail_json_string(sail_json_get(row, "text"), &n);
    if (!text)
        return sail_fail(err, SAIL_E_PARSE, "`text` is missing or no string: a row is {\"text\": …, \"special\": true or false}");
    unsigned flags = (flag(row, "special", false) ? SAIL__PARSE_SPECIAL : 0u) | (flag(row, "add_special", false) ? SAIL__ADD_SPECIAL : 0u);
    j->ids.n = 0;
    SAIL_TRY(sail__encode(j->tokenizer, j->scratch, text, n, flags, &j->ids, err));
    sail__buf_str(&j->out, "{\"ids\": [");
    for (size_t i = 0; i < j->ids.n; i++)
        sail__buf_printf(&j->out, "%s%d", i ? ", " : "", j->ids.items[i]);
    sail__buf_str(&j->out, "]}\n");
    return SAIL_OK;
}

static sail_code decode(job *j, const sail_json *row, sail_err *err)
{
    const sail_json *ids = sail_json_get(row, "ids");
    if (sail_json_kind_of(ids) != SAIL_JSON_LIST)
        return sail_fail(err, SAIL_E_PARSE, "`ids` is missing or no list: a row is {\"ids\": [1, 2, …]}");
    j->ids.n = 0;
    for (size_t i = 0; i < sail_json_size(ids); i++) {
        double v = sail_json_number(sail_json_at(ids, i), NAN);
        if (!(v >= 0 && v < sail__tokenizer_size(j->tokenizer)) || v != floor(v))
            return sail_fail(err, SAIL_E_PARSE, "ids[%zu] is no token of this vocabulary: 0 to %d", i, sail__tokenizer_size(j->tokenizer) - 1);
        int32_t id = (int32_t)v;
        SAIL_TRY(sail__ids_add(&j->ids, &id, 1, err));
    }
    j->text.len = 0;
    SAIL_TRY(sail__decode(j->tokenizer, j->ids.items, j->ids.n, flag(row, "special", true) ? 0u : SAIL__SKIP_SPECIAL, &j->text, err));
    sail__buf_str(&j->out, "{\"text\": ");
    sail__json_quote(&j->out, j->text.data ? j->text.data : "", j->text.len);
    sail__buf_str(&j->out, "}\n");
    return j->text.oom ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : SAIL_OK;
}

static sail_code rows(sail__cli *c, job *j, sail__json_stream *in, sail_err *err)
{
    const struct tokenize *o = c->options;
    const sail_json *row = NULL;
    int64_t line = 0;
    for (;;) {
        SAIL_TRY(sail__json_stream_next(in, &row, &line, err));
        if (!row)
            return j->out.oom ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : SAIL_OK;
        if ((o->decode ? decode : encode)(j, row, err) != SAIL_OK)
            return sail_fail_in(err, "%s:%lld", o->input, (long long)line);
    }
}

static sail_code work(sail__cli *c, job *j, sail_err *err)
{
    const struct tokenize *o = c->options;
    sail__json_stream *in = NULL;
    if (!(j->scratch = sail__token_scratch_new(j->tokenizer)))
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    SAIL_TRY(sail__json_stream_open(o->input, &in, err));
    sail_code code = rows(c, j, in, err);
    sail__json_stream_close(in);
    return code == SAIL_OK ? sail__cli_output(c, o->output, j->out.data ? j->out.data : "", j->out.len, err) : code;
}

static sail_code run(sail__cli *c, sail_err *err)
{
    job j = {0};
    sail__tokenizer *tokenizer = NULL;
    SAIL_TRY(sail__cli_tokenizer(c->model.model, &tokenizer, err));
    j.tokenizer = tokenizer;
    sail_code code = work(c, &j, err);
    sail__token_scratch_free(j.scratch);
    sail__ids_free(&j.ids);
    sail__buf_free(&j.text);
    sail__buf_free(&j.out);
    sail__tokenizer_free(tokenizer);
    return code;
}

static const sail__example examples[] = {
    {"sail tokenize --model SmolLM2-135M-Instruct --input texts.jsonl --output ids.jsonl", "{\"text\": …} to {\"ids\": […]}"},
    {"sail tokenize --model model.gguf --decode --input ids.jsonl", "and back"},
    {0},
};
const sail__command sail__cmd_tokenize = {
    .name = "tokenize", .args = "", .summary = "texts to token ids and back",
    .doc = "A row is {\"text\": …, \"special\": bool}: with special true, strings of special tokens become their ids; they are ordinary "
           "text otherwise. add_special true adds what the tokenizer puts around a text (a bos). With --decode a row is {\"ids\": […]}, "
           "and special false leaves special tokens out of the text.",
    .flags = SAIL__CLI_MODEL | SAIL__CLI_NEEDS_MODEL, .options = options, .options_size = sizeof(struct tokenize), .examples = examples,
    .run = run,
};
