/* judge_llm_wire.c - chat completions as JSON: what is sent, and what comes back. */
#include "judge_llm.h"

#include <math.h>
#include <string.h>

/* ---- requests ---- */

static sail_node *number(sail_arena *a, double v)
{
    sail_node *n = sail__node_new(a, SAIL_NODE_FLOAT, "judge llm", 0, 0);
    if (n)
        n->number = v;
    return n;
}

static sail_node *integer(sail_arena *a, int64_t v)
{
    sail_node *n = sail__node_new(a, SAIL_NODE_INT, "judge llm", 0, 0);
    if (n)
        n->integer = v;
    return n;
}

static void message(sail_arena *a, sail_node *list, const char *role, const char *content)
{
    sail_node *m = sail__node_new(a, SAIL_NODE_MAP, "judge llm", 0, 0);
    if (!m || !content)
        return;
    sail__node_set(a, m, "role", sail__node_string(a, role, "judge llm"));
    sail__node_set(a, m, "content", sail__node_string(a, content, "judge llm"));
    sail__node_append(a, list, m);
}

void sail__llm_body(const sail__llm *o, const sail__asking *q, sail_arena *a, sail_buf *out)
{
    sail_node *root = sail__node_new(a, SAIL_NODE_MAP, "judge llm", 0, 0), *messages = sail__node_new(a, SAIL_NODE_LIST, "judge llm", 0, 0);
    if (!root || !messages) {
        out->oom = true;
        return;
    }
    message(a, messages, "system", q->system);
    message(a, messages, "user", q->user);
    sail__node_set(a, root, "model", sail__node_string(a, o->model, "judge llm"));
    sail__node_set(a, root, "messages", messages);
    sail__node_set(a, root, "temperature", number(a, o->temperature));
    sail__node_set(a, root, o->token_field ? "max_completion_tokens" : "max_tokens", integer(a, o->max_tokens));
    if (o->seed >= 0) /* another one for another try: the same would give the same */
        sail__node_set(a, root, "seed", integer(a, o->seed + q->unread));
    if (o->extra)
        sail__node_merge(a, root, o->extra);
    sail__node_to_json(out, root);
    out->oom = out->oom || sail__arena_oom(a);
}

/* ---- replies ---- */

static const char *string(const sail_node *n) { return n && n->kind == SAIL_NODE_STRING ? n->string.data : NULL; }

static int64_t count(const sail_node *usage, const char *key)
{
    const sail_node *n = sail__node_get(usage, key);
    return n && n->kind == SAIL_NODE_INT && n->integer >= 0 ? n->integer : -1;
}

sail_code sail__llm_read(const char *body, size_t size, sail_arena *a, sail__llm_reply *out, sail_err *err)
{
    sail_node *root;
    *out = (sail__llm_reply){.prompt_tokens = -1, .reply_tokens = -1};
    if (sail__json_parse(a, body, size, "the reply", 1, &root, err) != SAIL_OK)
        return sail_fail(err, SAIL_E_FORMAT, "the reply is not JSON");
    const sail_node *choice = sail__node_find(root, "choices[0]"), *content = sail__node_find(choice, "message.content");
    const sail_node *refusal = sail__node_find(choice, "message.refusal"), *usage = sail__node_get(root, "usage");
    out->content = string(content) ? string(content) : string(refusal);
    if (!out->content)
        return sail_fail(err, SAIL_E_FORMAT, "the reply has no choices[0].message.content");
    if (strlen(out->content) != (string(content) ? content : refusal)->string.len)
        return sail_fail(err, SAIL_E_FORMAT, "choices[0].message.content holds a NUL");
    const char *finish = string(sail__node_get(choice, "finish_reason"));
    out->cut = finish && (!strcmp(finish, "length") || !strcmp(finish, "content_filter"));
    out->version = string(sail__node_get(root, "model"));
    out->prompt_tokens = count(usage, "prompt_tokens");
    out->reply_tokens = count(usage, "completion_tokens");
    return SAIL_OK;
}

/* ---- what a run keeps ---- */

const char *sail__llm_pack(const sail__asking *q, sail_arena *a)
{
    sail_buf b = {0};
    sail__buf_printf(&b, "{\"scores\": [%.17g", q->score[0]);
    if (!isnan(q->score[1]))
        sail__buf_printf(&b, ", %.17g", q->score[1]);
    sail__buf_printf(&b, "], \"prompt_tokens\": %lld, \"reply_tokens\": %lld, \"requests\": %lld, \"seconds\": %.3f, \"version\": ",
                     (long long)q->prompt_tokens, (long long)q->reply_tokens, (long long)q->requests, q->seconds);
    sail__json_quote(&b, q->version ? q->version : "", strlen(q->version ? q->version : ""));
    sail__buf_str(&b, ", \"reply\": ");
    sail__json_quote(&b, q->reply, strlen(q->reply));
    sail__buf_str(&b, "}");
    const char *text = b.oom ? NULL : sail__arena_strdup(a, b.data);
    sail__buf_free(&b);
    return text;
}

bool sail__llm_unpack(const char *text, sail_arena *a, sail__asking *q)
{
    sail_node *root;
    sail_err ignored;
    if (sail__json_parse(a, text, strlen(text), "a kept reply", 1, &root, &ignored) != SAIL_OK)
        return false;
    const sail_node *scores = sail__node_get(root, "scores"), *seconds = sail__node_get(root, "seconds");
    q->reply = string(sail__node_get(root, "reply"));
    q->version = string(sail__node_get(root, "version"));
    if (!scores || scores->kind != SAIL_NODE_LIST || scores->list.n < 1 || scores->list.n > 2 || !q->reply)
        return false;
    q->score[1] = NAN;
    for (size_t i = 0; i < scores->list.n; i++)
        if (sail__node_as_double(scores->list.items[i], "scores", &q->score[i], &ignored) != SAIL_OK)
            return false;
    if (seconds)
        (void)!sail__node_as_double(seconds, "seconds", &q->seconds, &ignored);
    q->prompt_tokens = count(root, "prompt_tokens");
    q->reply_tokens = count(root, "reply_tokens");
    q->requests = count(root, "requests");
    return true;
}
