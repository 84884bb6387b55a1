/* cli_model.c - opening models and reading rows for commands. */
#include "cli_model.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "recipe/recipe.h"

/* ---- opening ---- */

static bool has_option(const sail_plugin *p, const char *name)
{
    for (const sail_opt *o = p->opts; o && o->name; o++)
        if (sail__name_equal(o->name, name))
            return true;
    return false;
}

/* --threads is for all backends; one that has no such option runs on one thread anyway. */
sail_code sail__cli_backend(sail__cli *c, sail_slot *out, sail_err *err)
{
    const sail_loaded *loaded;
    sail_problems problems = {.arena = c->arena};
    SAIL_TRY(sail__plugin_get(c->ctx, SAIL_KIND_BACKEND, c->model.backend, &loaded, err));
    sail_node *node = sail__cli_map(c);
    sail__cli_put_string(c, node, "kind", c->model.backend);
    if (c->model.threads > 0 && has_option(&loaded->plugin, "threads"))
        sail__cli_put_int(c, node, "threads", c->model.threads);
    if (!node)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (!sail__slot_parse(c->ctx, c->arena, SAIL_KIND_BACKEND, node, "--backend", NULL, NULL, out, &problems))
        return sail__problems_fail(&problems, SAIL_E_USAGE, err);
    return SAIL_OK;
}

sail_code sail__cli_slot(sail__cli *c, sail_kind kind, const char *text, const char *option, sail_slot *out, sail_err *err)
{
    sail_node *node = NULL;
    sail_problems problems = {.arena = c->arena};
    SAIL_TRY(sail__yaml_parse(c->arena, text, strlen(text), "command line", &node, err));
    if (!sail__slot_parse(c->ctx, c->arena, kind, node, option, NULL, NULL, out, &problems))
        return sail__problems_fail(&problems, SAIL_E_USAGE, err);
    return SAIL_OK;
}

sail_code sail__cli_open_model(sail__cli *c, const sail__cli_want *want, sail__session **out, sail_err *err)
{
    sail_slot backend;
    SAIL_TRY(sail__cli_backend(c, &backend, err));
    sail__model_section m = {.path = c->model.model, .adapter_path = c->model.adapter, .device = c->model.device,
                             .dtype = want->dtype >= 0 ? want->dtype : c->model.dtype, .weights = c->model.weights, .threads = c->model.threads,
                             .template_name = want->template_name};
    sail__session_spec spec = {.model = &m, .backend = &backend, .adapter = want->adapter, .train = want->train,
                               .optimizer = want->optimizer, .reference = want->reference, .fresh_reference = want->fresh_reference};
    return sail__session_open(c->ctx, &spec, out, err);
}

sail_filter_params sail__cli_filter(const sail__cli *c)
{
    const sail__cli_sampling *s = &c->sampling;
    return (sail_filter_params){.temperature = s->greedy ? 0 : s->temperature, .top_k = s->top_k, .top_p = s->top_p, .min_p = s->min_p,
                                .typical = 1, .penalty = s->repetition_penalty};
}

/* ---- rows ---- */

static sail_code keep(sail__cli *c, const int32_t *first, size_t n_first, const int32_t *second, size_t n_second, int64_t line,
                      sail__cli_rows *out, sail_err *err)
{
    size_t need = out->n + 1;
    if (need > out->cap) {
        size_t cap = need * 2 + 64;
        sail__cli_row *more = sail__arena_array(c->arena, cap, sizeof *more);
        if (!more)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory for %zu rows", cap);
        if (out->n)
            memcpy(more, out->items, out->n * sizeof *more);
        out->items = more;
        out->cap = cap;
    }
    int32_t *ids = sail__arena_array(c->arena, n_first + n_second + 1, sizeof *ids);
    if (!ids)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for a row of %zu tokens", n_first + n_second);
    if (n_first)
        memcpy(ids, first, n_first * sizeof *ids);
    if (n_second)
        memcpy(ids + n_first, second, n_second * sizeof *ids);
    out->items[out->n++] = (sail__cli_row){ids, n_first + n_second, line};
    return SAIL_OK;
}

static sail_code check(const sail__cli_text *t, const sail__cli_row *row, sail_err *err)
{
    const sail__session *s = t->session;
    int64_t most = sail__model_positions(s->model);
    if (row->n == 0)
        return sail_fail(err, SAIL_E_PARSE, "no tokens; at least one is needed");
    if ((int64_t)row->n > most)
        return sail_fail(err, SAIL_E_PARSE, "%zu tokens; the model has positions for %lld", row->n, (long long)most);
    for (size_t i = 0; i < row->n; i++)
        if (row->ids[i] < 0 || row->ids[i] >= s->config->vocab)
            return sail_fail(err, SAIL_E_PARSE, "token id %d is outside the vocabulary of %d", (int)row->ids[i], (int)s->config->vocab);
    return SAIL_OK;
}

/* {"messages": …} of a sequence: the last message is the response. */
static sail_code split_messages(sail_row *row, sail_err *err)
{
    sail__part *p = &row->part[SAIL_PART_PROMPT];
    if (p->n_messages < 2 || strcmp(p->messages[p->n_messages - 1].role, "assistant") != 0)
        return sail_fail(err, SAIL_E_PARSE, "messages must end with one of the assistant, which is scored");
    const sail__message *last = &p->messages[--p->n_messages];
    return sail_row_message(row, SAIL_PART_CHOSEN, last->role, last->content, last->content_len, err);
}

static sail_code parts(const sail__cli_text *t, const sail_json *v, sail_row *row, sail_err *err)
{
    const sail_json *ids = sail_json_get(v, "ids"), *prompt = sail_json_get(v, "prompt"), *messages = sail_json_get(v, "messages"),
                    *response = sail_json_get(v, "response");
    if (sail_json_kind_of(v) != SAIL_JSON_MAP)
        return sail_fail(err, SAIL_E_PARSE, "a row is a map such as {\"ids\": [1, 2]}");
    if (ids && (prompt || messages || response))
        return sail_fail(err, SAIL_E_PARSE, "a row has `ids`, or text, not both");
    if (prompt && messages)
        return sail_fail(err, SAIL_E_PARSE, "a row has `prompt` or `messages`, not both");
    if (ids)
        return sail_row_id_list(row, SAIL_PART_PROMPT, ids, "ids", err);
    if (!prompt && !messages)
        return sail_fail(err, SAIL_E_PARSE, "a row has neither `ids` nor %s",
                         t->kind == SAIL__ROW_PROMPT ? "`prompt` nor `messages`" : "`prompt` and `response`, nor `messages`");
    if (messages && sail_json_kind_of(messages) != SAIL_JSON_LIST)
        return sail_fail(err, SAIL_E_PARSE, "`messages` must be a list of {\"role\", \"content\"}");
    SAIL_TRY(sail_row_value(row, SAIL_PART_PROMPT, prompt ? prompt : messages, prompt ? "prompt" : "messages", err));
    if (t->kind == SAIL__ROW_PROMPT)
        return SAIL_OK;
    if (messages && !response)
        return split_messages(row, err);
    if (!response)
        return sail_fail(err, SAIL_E_PARSE, "a row with `prompt` needs `response`, too");
    return sail_row_value(row, SAIL_PART_CHOSEN, response, "response", err);
}

static sail_code encode(sail__cli *c, const sail__cli_text *t, sail__token_scratch *scratch, sail_row *row, int64_t line,
                        sail__cli_rows *out, sail_err *err)
{
    const sail__session *s = t->session;
    const sail__part *prompt = &row->part[SAIL_PART_PROMPT];
    const char *dropped = NULL;
    sail__encoded e = {0};
    if (prompt->ids) {
        SAIL_TRY(keep(c, prompt->ids, prompt->n_ids, NULL, 0, line, out, err));
        return check(t, &out->items[out->n - 1], err);
    }
    if (!s->tokenizer)
        return sail_fail(err, SAIL_E_NOTFOUND, "text needs a tokenizer, and %s has no tokenizer.json; give rows of \"ids\"", s->path);
    sail__encode_options o = {.tokenizer = s->tokenizer, .chat = s->chat, .no_end = !t->eos, .parse_special = t->special};
    if (t->kind == SAIL__ROW_PROMPT) {
        sail__ids ids = {0};
        sail_code code = sail__encode_prompt(&o, scratch, prompt, &ids, err);
        if (code == SAIL_OK)
            code = keep(c, ids.items, ids.n, NULL, 0, line, out, err);
        sail__ids_free(&ids);
        SAIL_TRY(code);
        return check(t, &out->items[out->n - 1], err);
    }
    SAIL_TRY(sail__encode_row(&o, scratch, row, row->arena, &e, &dropped, err));
    if (dropped)
        return sail_fail(err, SAIL_E_PARSE, "%s", dropped);
    SAIL_TRY(keep(c, e.prompt, e.n_prompt, e.chosen, e.n_chosen, line, out, err));
    return check(t, &out->items[out->n - 1], err);
}

static sail_code scratch_new(const sail__cli_text *t, sail__token_scratch **out, sail_err *err)
{
    *out = t->session->tokenizer ? sail__token_scratch_new(t->session->tokenizer) : NULL;
    return *out || !t->session->tokenizer ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

static sail_code read_rows(sail__cli *c, const sail__cli_text *t, const char *path, sail__json_stream *in, sail__token_scratch *scratch,
                           sail_arena *a, sail__cli_rows *out, sail_err *err)
{
    for (;;) {
        const sail_json *v;
        int64_t line = 0;
        SAIL_TRY(sail__json_stream_next(in, &v, &line, err));
        if (!v)
            return SAIL_OK;
        sail__arena_reset(a);
        sail_row row = {.arena = a, .score = {NAN, NAN}, .line = line, .file = path};
        sail_code code = parts(t, v, &row, err);
        if (code == SAIL_OK)
            code = encode(c, t, scratch, &row, line, out, err);
        if (code != SAIL_OK)
            return sail_fail_in(err, "%s:%lld", path, (long long)line);
        if (sail_cancelled(c->ctx))
            return sail_fail(err, SAIL_E_CANCEL, "stopped while reading %s", path);
    }
}

sail_code sail__cli_read_rows(sail__cli *c, const sail__cli_text *t, const char *path, sail__cli_rows *out, sail_err *err)
{
    sail__json_stream *in;
    sail__token_scratch *scratch;
    SAIL_TRY(scratch_new(t, &scratch, err));
    sail_arena *a = sail__arena_new();
    sail_code code = a ? sail__json_stream_open(path, &in, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (code == SAIL_OK) {
        code = read_rows(c, t, path, in, scratch, a, out, err);
        sail__json_stream_close(in);
    }
    sail__arena_free(a);
    sail__token_scratch_free(scratch);
    return code;
}

static sail_code add_text(sail__cli *c, const sail__cli_text *t, sail__token_scratch *scratch, const char *text, size_t len, bool chat,
                          int64_t line, sail__cli_rows *out, sail_err *err)
{
    sail_arena *a = sail__arena_new();
    sail_row row = {.arena = a, .score = {NAN, NAN}};
    sail_code code = !a     ? sail_fail(err, SAIL_E_NOMEM, "out of memory")
                     : chat ? sail_row_message(&row, SAIL_PART_PROMPT, "user", text, len, err)
                            : sail_row_text(&row, SAIL_PART_PROMPT, text, len, err);
    if (code == SAIL_OK)
        code = encode(c, t, scratch, &row, line, out, err);
    sail__arena_free(a);
    return code;
}

sail_code sail__cli_add_text(sail__cli *c, const sail__cli_text *t, const char *text, bool chat, sail__cli_rows *out, sail_err *err)
{
    return add_text(c, t, NULL, text, strlen(text), chat, 0, out, err) == SAIL_OK ? SAIL_OK : sail_fail_in(err, "--prompt");
}

sail_code sail__cli_read_lines(sail__cli *c, const sail__cli_text *t, const char *path, sail__cli_rows *out, sail_err *err)
{
    char *data;
    size_t size;
    int64_t line = 1;
    sail__token_scratch *scratch;
    SAIL_TRY(sail__file_read(path, (size_t)1 << 30, &data, &size, err));
    sail_code code = scratch_new(t, &scratch, err);
    for (char *at = data, *end = data + size; at < end && code == SAIL_OK; line++) {
        char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((stop ? stop : end) - at);
        len -= len > 0 && at[len - 1] == '\r';
        if (len > 0 && add_text(c, t, scratch, at, len, false, line, out, err) != SAIL_OK)
            code = sail_fail_in(err, "%s:%lld", path, (long long)line);
        at = stop ? stop + 1 : end;
    }
    sail__token_scratch_free(scratch);
    sail__free(data);
    return code;
}

/* ---- results ---- */

sail_code sail__cli_not_over(const char *input, const char *output, sail_err *err)
{
    struct stat a, b;
    if (!input || !output || stat(input, &a) != 0 || stat(output, &b) != 0 || !S_ISREG(a.st_mode) ||
        a.st_dev != b.st_dev || a.st_ino != b.st_ino)
        return SAIL_OK;
    return sail_fail(err, SAIL_E_USAGE, "%s is the file that is read, which would be lost: name another", output);
}

sail_code sail__cli_not_of_model(sail__cli *c, const char *what, const char *other, const char *output, sail_err *err)
{
    const char *const models[] = {c->model.model, c->model.adapter, other};
    char dir[PATH_MAX], file[PATH_MAX];
    if (!output || !sail__file_exists(output) || !realpath(output, file))
        return SAIL_OK;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        const size_t n = models[i] && realpath(models[i], dir) ? strlen(dir) : 0;
        if (n && strncmp(dir, file, n) == 0 && (file[n] == '/' || file[n] == '\0'))
            return sail_fail(err, SAIL_E_USAGE, "%s %s is a file of the model %s, which would be lost: name another", what, output, models[i]);
    }
    return SAIL_OK;
}

sail_code sail__cli_sink_open(sail__cli *c, const char *path, sail__cli_sink *out, sail_err *err)
{
    *out = (sail__cli_sink){.c = c};
    return path && strcmp(path, "-") != 0 ? sail__atomic_begin(path, &out->file, err) : SAIL_OK;
}

sail_code sail__cli_sink_write(sail__cli_sink *s, const sail_buf *text, sail_err *err)
{
    if (text->oom)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (!text->len)
        return SAIL_OK;
    return s->file ? sail__atomic_write(s->file, text->data, text->len, err) : sail__cli_output(s->c, NULL, text->data, text->len, err);
}

sail_code sail__cli_sink_commit(sail__cli_sink *s, sail_err *err)
{
    sail_atomic *f = s->file;
    s->file = NULL;
    return f ? sail__atomic_commit(f, err) : SAIL_OK;
}

void sail__cli_sink_abort(sail__cli_sink *s)
{
    if (s->file)
        sail__atomic_abort(s->file);
    s->file = NULL;
}
