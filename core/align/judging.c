/* judging.c - see judging.h. */
#include "judging.h"

#include <math.h>
#include <string.h>

void sail__judging_close(sail__judging *j)
{
    if (!j->open)
        return;
    const sail_judge *ops = j->plugin->ops;
    if (ops->close)
        ops->close(j->options, j->state);
    j->open = false;
}

static sail_code open_judge(sail__judging *j, const sail_slot *slot, sail_err *err)
{
    if (!slot->loaded)
        return sail_fail(err, SAIL_E_RECIPE, "a route is labelled by a judge, but method.judge is not set");
    if (j->open && j->plugin == slot->loaded && j->options == slot->options)
        return SAIL_OK;
    sail__judging_close(j);
    const sail_judge *ops = slot->loaded->ops;
    j->plugin = slot->loaded;
    j->options = slot->options;
    j->state = NULL;
    if (ops->open)
        SAIL_TRY(ops->open(slot->options, j->ctx, &j->state, err));
    j->open = true;
    return SAIL_OK;
}

/* What a judge is, for the verdict's key: name and options. */
static const char *identity(sail_arena *a, const sail_slot *slot)
{
    sail_buf b = {0};
    sail__buf_printf(&b, "%s ", slot->loaded->plugin.name);
    if (slot->loaded->plugin.opts && slot->options) {
        sail_node *n = sail__opt_to_node(a, slot->loaded->plugin.opts, slot->options);
        if (n)
            sail__node_to_json(&b, n);
    }
    const char *s = b.oom ? NULL : sail__arena_strdup(a, b.data);
    sail__buf_free(&b);
    return s ? s : slot->loaded->plugin.name;
}

static int outcomes_of_judge(int k)
{
    int n = 3; /* with a tie */
    if (k > 2)
        for (n = 1; k > 1; k--)
            n *= k;
    return n;
}

static sail_code check(const sail_slot *judge, const sail_judge_item *items, int64_t n, const sail_verdict *v, sail_err *err)
{
    for (int64_t i = 0; i < n; i++)
        if (v[i].outcome != SAIL_ABSTAIN && (v[i].outcome < 0 || v[i].outcome >= outcomes_of_judge(items[i].k)))
            return sail_fail(err, SAIL_E_PLUGIN, "judge %s: outcome %d for %d responses; it must be below %d, or %d to abstain",
                             judge->loaded->plugin.name, (int)v[i].outcome, items[i].k, outcomes_of_judge(items[i].k), SAIL_ABSTAIN);
    return SAIL_OK;
}

static sail_code keep(sail__judging *j, const sail_slot *judge, const sail_judge_item *items, int64_t n, const sail_verdict *v, sail_err *err)
{
    sail_arena *a = sail__arena_new();
    sail__verdict_row *rows = a ? sail__arena_array(a, (size_t)n, sizeof *rows) : NULL;
    sail_code code = rows ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    const char *who = rows ? identity(a, judge) : "";
    size_t m = 0;
    for (int64_t i = 0; i < n && code == SAIL_OK; i++) {
        if (v[i].outcome == SAIL_ABSTAIN)
            continue; /* failures are never kept */
        sail__verdict_row *r = &rows[m++];
        sail__verdict_key(who, "", items[i].conversation, items[i].response, items[i].k, r->key);
        r->outcome = v[i].outcome;
        r->k = items[i].k;
        memcpy(r->score, v[i].score, sizeof r->score);
        r->provenance = who;
        r->seconds = v[i].seconds;
    }
    if (code == SAIL_OK)
        code = sail__store_add_verdicts(j->store, rows, m, err);
    sail__arena_free(a);
    return code;
}

sail_code sail__judging_ask(sail__judging *j, const sail_slot *judge, const sail_judge_item *items, int64_t n, sail_verdict *out,
                            sail_err *err)
{
    if (n == 0)
        return SAIL_OK;
    SAIL_TRY(open_judge(j, judge, err));
    const sail_judge *ops = judge->loaded->ops;
    for (int64_t i = 0; i < n; i++) {
        out[i] = (sail_verdict){.outcome = SAIL_ABSTAIN};
        for (int k = 0; k < SAIL_MAX_RESPONSES; k++)
            out[i].score[k] = NAN;
    }
    SAIL_TRY(ops->label(judge->options, j->state, items, n, out, err));
    SAIL_TRY(check(judge, items, n, out, err));
    return j->store ? keep(j, judge, items, n, out, err) : SAIL_OK;
}

sail_code sail__judging_item(const sail_row *row, int k, const char *const *responses, const int64_t *tokens, sail_arena *a,
                            sail_judge_item *out, sail_err *err)
{
    const sail__part *p = &row->part[SAIL_PART_PROMPT];
    size_t n = p->messages ? p->n_messages : 1;
    sail_judge_message *m = sail__arena_array(a, n + 1, sizeof *m);
    sail_buf b = {0};
    sail__row_conversation(row, &b);
    const char *conversation = sail__arena_strndup(a, b.data ? b.data : "", b.len);
    bool oom = b.oom || !m || !conversation;
    sail__buf_free(&b);
    if (oom)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        m[i] = p->messages ? (sail_judge_message){p->messages[i].role, p->messages[i].content}
                           : (sail_judge_message){"user", p->text ? p->text : conversation};
    *out = (sail_judge_item){.prompt = sail__row_last_user(row), .conversation = conversation, .k = k, .response = responses, .tokens = tokens,
                             .id = row->hash, .messages = m, .n_messages = n};
    return SAIL_OK;
}
