/* responses.c - see responses.h. */
#include "responses.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "stream.h"

enum { CHUNK = 64, SAMPLES = 24 }; /* prompts answered between two writes; prompts kept for the report */

sail_code sail__response_members(const sail__tokenizer *t, const int32_t *ids, const float *logp, int64_t n, sail__finish finish,
                                 sail_buf *out, sail_err *err)
{
    sail__buf_str(out, "\"ids\": ");
    sail__json_ids(out, ids, n);
    sail__buf_str(out, ", \"text\": ");
    if (t) {
        sail_buf text = {0};
        sail_code code = sail__decode(t, ids, (size_t)n, SAIL__SKIP_SPECIAL | SAIL__DECODE_CONTINUATION, &text, err);
        sail__json_quote(out, text.data ? text.data : "", text.len);
        sail__buf_free(&text);
        SAIL_TRY(code);
    } else {
        sail__buf_str(out, "null");
    }
    sail__buf_str(out, ", \"logprobs\": ");
    sail__json_floats(out, logp, n, false);
    sail__buf_printf(out, ", \"finish\": \"%s\"", finish == SAIL__FINISH_STOP ? "stop" : "length");
    return SAIL_OK;
}

typedef struct answering {
    sail_ctx *ctx;
    const sail__stage *stage;
    sail__store *store;
    sail_arena *arena;
    sail__session *session;
    sail__stream stream;
    char *part;
    int file;
} answering;

/* Whole chunks of rows that an interrupted run left; what comes after them is cut off. */
static sail_code written_before(answering *x, int64_t num, int64_t *prompts, sail_err *err)
{
    char *data = NULL;
    size_t size = 0, keep = 0;
    int64_t rows = 0, chunk = num * CHUNK;
    *prompts = 0;
    if (!sail__file_exists(x->part))
        return SAIL_OK;
    SAIL_TRY(sail__file_read(x->part, SIZE_MAX / 2, &data, &size, err));
    for (size_t i = 0; i < size; i++)
        if (data[i] == '\n' && ++rows % chunk == 0)
            keep = i + 1;
    sail__free(data);
    *prompts = rows / chunk * CHUNK;
    return truncate(x->part, (off_t)keep) == 0 ? SAIL_OK : sail_fail(err, SAIL_E_IO, "cannot cut %s: %s", x->part, strerror(errno));
}

static sail_code append(answering *x, const sail_buf *b, sail_err *err)
{
    if (b->oom)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t at = 0; at < b->len;) {
        ssize_t n = write(x->file, b->data + at, b->len - at);
        if (n < 0 && errno != EINTR)
            return sail_fail(err, SAIL_E_IO, "cannot write %s: %s", x->part, strerror(errno));
        at += n > 0 ? (size_t)n : 0;
    }
    return fsync(x->file) == 0 ? SAIL_OK : sail_fail(err, SAIL_E_IO, "cannot write %s: %s", x->part, strerror(errno));
}

static sail_code keep_sample(answering *x, const sail__rows *rows, const sail__written *w, int num, const char *prompt, sail_err *err)
{
    sail__sample_response r[SAIL_MAX_RESPONSES];
    int k = num < SAIL_MAX_RESPONSES ? num : SAIL_MAX_RESPONSES;
    if (!x->store || w->row >= SAMPLES)
        return SAIL_OK;
    for (int i = 0; i < k; i++)
        r[i] = (sail__sample_response){.ids = w[i].ids, .n = (size_t)w[i].n, .text = w[i].text, .logps = w[i].logp, .writer = "policy",
                                       .score = NAN};
    const sail__encoded *e = &rows->encoded[w->row];
    sail__sample s = {.stage = x->stage->name, .index = w->row, .kind = "generate", .route = "", .prompt_ids = e->prompt,
                      .n_prompt = e->n_prompt, .prompt = prompt, .outcome = -1, .k = k, .responses = r};
    return sail__store_add_samples(x->store, &s, 1, err);
}

static sail_code one_chunk(answering *x, const sail__rows *rows, int64_t first, int64_t n, int num, const sail__writing *how, sail_err *err)
{
    sail_arena *a = sail__arena_new();
    sail__written *w;
    size_t count = 0;
    sail_buf text = {0}, prompt = {0};
    sail_code code = a ? sail__stream_write(&x->stream, SAIL__POLICY, rows, first, n, how, a, &w, &count, err)
                       : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; code == SAIL_OK && i < count; i++) {
        if (w[i].child == 0) {
            prompt.len = 0;
            sail__row_conversation(rows->rows[w[i].row], &prompt);
            code = keep_sample(x, rows, &w[i], num, prompt.data ? prompt.data : "", err);
        }
        sail__buf_str(&text, "{\"prompt\": ");
        if (prompt.len)
            sail__json_quote(&text, prompt.data, prompt.len);
        else
            sail__buf_str(&text, "null");
        sail__buf_str(&text, ", ");
        if (code == SAIL_OK)
            code = sail__response_members(x->session->tokenizer, w[i].ids, w[i].logp, w[i].n, w[i].finish, &text, err);
        sail__buf_str(&text, "}\n");
    }
    if (code == SAIL_OK)
        code = append(x, &text, err);
    sail__buf_free(&text);
    sail__buf_free(&prompt);
    if (a)
        sail__arena_free(a);
    return code;
}

static sail_code all(answering *x, sail_err *err)
{
    const sail__stage *s = x->stage;
    const sail__rollout_section *o = &s->rollout;
    const sail__rows *rows = &x->stream.held_out;
    int num = (int)s->generate.num;
    int64_t n = (int64_t)rows->n, done;
    if (s->generate.limit > 0 && s->generate.limit < n)
        n = s->generate.limit;
    if (n < 1)
        return sail_fail(err, SAIL_E_ARG, "there is no prompt to answer: generate.prompts, or data.eval, has no usable row");
    sail__writing how = {.k = num, .max_new = o->max_new ? o->max_new : s->data.max_response, .stop = s->data.stop,
                         .sampling = {.temperature = o->temperature, .top_k = o->top_k, .top_p = o->top_p, .min_p = o->min_p, .typical = 1,
                                      .penalty = 1}};
    SAIL_TRY(written_before(x, num, &done, err));
    x->file = open(x->part, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (x->file < 0)
        return sail_fail(err, SAIL_E_IO, "cannot write %s: %s", x->part, strerror(errno));
    while (done < n) {
        if (sail_cancelled(x->ctx))
            return sail_fail(err, SAIL_E_CANCEL, "stopped after %lld of %lld prompts", (long long)done, (long long)n);
        int64_t k = n - done < CHUNK ? n - done : CHUNK;
        SAIL_TRY(one_chunk(x, rows, done, k, num, &how, err));
        done += k;
        sail_progress(x->ctx, s->name, (uint64_t)done, (uint64_t)n);
    }
    return SAIL_OK;
}

/* output/ appears whole. */
static sail_code finish(answering *x, const char *dir, sail_err *err)
{
    char *half = sail__path_join(x->arena, dir, ".output"), *output = sail__path_join(x->arena, dir, "output");
    char *to = half ? sail__path_join(x->arena, half, "responses.jsonl") : NULL;
    if (!output || !to)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    SAIL_TRY(sail__remove_tree(half, err));
    SAIL_TRY(sail__make_dirs(half, err));
    if (rename(x->part, to) != 0 || rename(half, output) != 0)
        return sail_fail(err, SAIL_E_IO, "cannot rename %s to %s: %s", x->part, output, strerror(errno));
    return sail__sync_dir(dir, err);
}

static sail_code open_and_answer(answering *x, const char *dir, sail_err *err)
{
    const sail__stage *s = x->stage;
    x->part = sail__path_join(x->arena, dir, "responses.part");
    if (!x->part)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    sail__session_spec spec = {.model = &s->model, .backend = &s->backend, .train = SAIL__TRAIN_NOTHING, .seed = s->seed};
    SAIL_TRY(sail__session_open(x->ctx, &spec, &x->session, err));
    SAIL_TRY(sail__stream_open(x->session, s, x->store, &x->stream, err));
    sail__stream_tell_drops(&x->stream, s);
    SAIL_TRY(all(x, err));
    return finish(x, dir, err);
}

sail_code sail__respond(sail_ctx *ctx, const sail__stage *stage, const char *dir, sail__store *store, sail_err *err)
{
    sail__stage s = *stage;
    answering x = {.ctx = ctx, .stage = &s, .store = store, .arena = sail__arena_new(), .file = -1};
    if (!x.arena)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (s.generate.prompts)
        s.data.eval = s.generate.prompts;
    if (s.data.eval)
        s.data.train = NULL;
    sail_code code = open_and_answer(&x, dir, err);
    if (x.file >= 0)
        close(x.file);
    if (x.stream.arena)
        sail__stream_close(&x.stream);
    sail__session_close(x.session);
    sail__arena_free(x.arena);
    return code;
}
