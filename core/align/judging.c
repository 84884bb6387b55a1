/* judging.c - see judging.h. */
#include "judging.h"

#include <math.h>
#include <string.h>

/* ---- open judges ---- */

struct sail__open_judge {
    sail__open_judge *next;
    sail_arena *arena;
    const sail_loaded *loaded;
    const void *options; /* a copy: a schedule makes the stage's own again at every step */
    const char *fixed;   /* the options that no schedule changes, as text */
    const char *about;   /* what its verdicts depend on besides the item, as it says itself: one that is there is used again. NULL: it does not say */
    void *state;
};

void sail__judging_close(sail__judging *j)
{
    for (sail__open_judge *o = j->open, *next; o; o = next) {
        const sail_judge *ops = o->loaded->ops;
        next = o->next;
        if (ops->close)
            ops->close(o->options, o->state);
        sail__arena_free(o->arena);
    }
    j->open = NULL;
}

/* Options as text; fixed: without those that a schedule may change. */
static const char *options_text(sail_arena *a, const sail_slot *slot, bool fixed)
{
    const sail_opt *table = slot->loaded->plugin.opts;
    sail_buf b = {0};
    sail_node *n = table && slot->options ? sail__opt_to_node(a, table, slot->options) : NULL;
    for (const sail_opt *o = table; fixed && n && o->name; o++)
        if (o->flags & SAIL_OPT_SCHEDULABLE)
            sail__node_unset(n, o->name);
    if (n)
        sail__node_to_json(&b, n);
    const char *text = b.oom || sail__arena_oom(a) ? NULL : sail__arena_strdup(a, b.data ? b.data : "");
    sail__buf_free(&b);
    return text;
}

static sail_code copy_options(sail__open_judge *o, const sail_slot *slot, sail_err *err)
{
    const sail_plugin *p = &slot->loaded->plugin;
    o->options = slot->options;
    if (!p->opts || !slot->options)
        return SAIL_OK;
    sail_problems problems = {.arena = o->arena};
    sail_node *n = sail__opt_to_node(o->arena, p->opts, slot->options);
    void *copy = n ? sail__arena_alloc(o->arena, p->opts_size) : NULL;
    if (!copy || sail__arena_oom(o->arena))
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (!sail__opt_parse(p->opts, n, "judge", NULL, NULL, NULL, copy, &problems))
        return sail__problems_fail(&problems, SAIL_E_RECIPE, err);
    o->options = copy;
    return SAIL_OK;
}

static sail_code start(sail__judging *j, const sail_slot *slot, sail__open_judge *o, sail_err *err)
{
    const sail_judge *ops = slot->loaded->ops;
    o->loaded = slot->loaded;
    SAIL_TRY(copy_options(o, slot, err));
    return ops->open ? ops->open(o->options, j->ctx, &o->state, err) : SAIL_OK;
}

static sail_code open_judge(sail__judging *j, const sail_slot *slot, sail__open_judge **out, sail_err *err)
{
    if (!slot->loaded)
        return sail_fail(err, SAIL_E_RECIPE, "a route is labelled by a judge, but method.judge is not set");
    const sail_judge *ops = slot->loaded->ops;
    sail_arena *a = sail__arena_new();
    sail__open_judge *o = a ? sail__arena_alloc(a, sizeof *o) : NULL;
    const char *fixed = o ? options_text(a, slot, true) : NULL;
    for (sail__open_judge *x = fixed ? j->open : NULL; x; x = x->next)
        if (x->loaded == slot->loaded && !strcmp(x->fixed, fixed)) {
            sail__arena_free(a);
            *out = x;
            return SAIL_OK;
        }
    if (o) {
        o->arena = a;
        o->fixed = fixed;
    }
    sail_code code = fixed ? start(j, slot, o, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (code != SAIL_OK) {
        sail__arena_free(a);
        return code;
    }
    o->about = ops->about ? ops->about(o->options, o->state) : NULL;
    o->next = j->open;
    *out = j->open = o;
    return SAIL_OK;
}

sail_code sail__judging_open(sail__judging *j, const sail_slot *judge, sail_err *err)
{
    sail__open_judge *o;
    return open_judge(j, judge, &o, err);
}

/* ---- one call ---- */

typedef struct call {
    sail__judging *j;
    const sail__open_judge *judge;
    const char *who; /* name, and what it is */
    sail_arena *arena;
    const sail_judge_item *items;
    sail_verdict *out;
    char (*keys)[33];
    int64_t n, *at, m; /* m items are asked about: at[] of the n */
    int64_t done, waiting;
} call;

int sail__judge_outcomes(int k)
{
    int n = 3; /* with a tie */
    if (k > 2)
        for (n = 1; k > 1; k--)
            n *= k;
    return n;
}

static sail_code check(const sail_loaded *judge, const sail_judge_item *item, const sail_verdict *v, sail_err *err)
{
    if (v->outcome == SAIL_ABSTAIN || (v->outcome >= 0 && v->outcome < sail__judge_outcomes(item->k)))
        return SAIL_OK;
    return sail_fail(err, SAIL_E_PLUGIN, "judge %s: outcome %d for %d responses; it must be below %d, or %d to abstain", judge->plugin.name,
                     (int)v->outcome, item->k, sail__judge_outcomes(item->k), SAIL_ABSTAIN);
}

static sail__verdict_row row_of(const call *c, int64_t i, const sail_verdict *v, const sail_judge_note *note)
{
    sail__verdict_row r = {.outcome = v->outcome, .k = c->items[i].k, .provenance = c->who, .seconds = v->seconds};
    memcpy(r.key, c->keys[i], sizeof r.key);
    memcpy(r.score, v->score, sizeof r.score);
    sail_judge_note x = {0};
    if (note)
        memcpy(&x, note, note->size < sizeof x ? note->size : sizeof x);
    r.version = x.version;
    r.order = x.order;
    r.reply = x.reply;
    r.prompt_tokens = x.prompt_tokens;
    r.reply_tokens = x.reply_tokens;
    r.requests = x.requests;
    return r;
}

static sail_code on_verdict(const sail_judge_host *h, int64_t item, const sail_verdict *v, const sail_judge_note *note, sail_err *err)
{
    call *c = h->host;
    if (item < 0 || item >= c->m)
        return sail_fail(err, SAIL_E_PLUGIN, "judge %s: a verdict on item %lld of %lld", c->judge->loaded->plugin.name, (long long)item,
                         (long long)c->m);
    int64_t i = c->at[item];
    SAIL_TRY(check(c->judge->loaded, &c->items[i], v, err));
    c->out[i] = *v;
    sail_progress(c->j->ctx, "verdicts", (uint64_t)++c->done, (uint64_t)c->n);
    if (v->outcome == SAIL_ABSTAIN || !c->j->store)
        return SAIL_OK; /* failures are never kept */
    sail__verdict_row r = row_of(c, i, v, note);
    return sail__store_add_verdicts(c->j->store, &r, 1, err);
}

static const char *on_recall(const sail_judge_host *h, const char *key)
{
    call *c = h->host;
    const char *text = NULL;
    sail_err ignored;
    return c->j->store && sail__store_recall(c->j->store, c->arena, key, &text, &ignored) == SAIL_OK ? text : NULL;
}

static sail_code on_remember(const sail_judge_host *h, const char *key, const char *text, sail_err *err)
{
    call *c = h->host;
    return c->j->store ? sail__store_remember(c->j->store, key, text, err) : SAIL_OK;
}

static bool on_answered(const sail_judge_host *h, int64_t item, int order, int32_t *outcome, sail_code *code, sail_err *err)
{
    call *c = h->host;
    int64_t i = c->at[item];
    sail__question *found, q = {.judge = c->who, .conversation = c->items[i].conversation, .responses = c->items[i].response, .first = order};
    size_t n;
    *code = SAIL_OK;
    if (c->items[i].k != 2)
        *code = sail_fail(err, SAIL_E_RECIPE, "judge %s compares two responses, not %d", c->judge->loaded->plugin.name, c->items[i].k);
    else if (!c->j->store)
        *code = sail_fail(err, SAIL_E_RECIPE, "judge %s keeps its questions in a run: use it in a recipe", c->judge->loaded->plugin.name);
    if (*code == SAIL_OK)
        *code = sail__store_questions(c->j->store, c->arena, c->keys[i], &found, &n, err);
    if (*code != SAIL_OK)
        return false;
    if (n > 0 && found[0].answer != SAIL__QUESTION_OPEN) {
        *outcome = found[0].answer;
        return true;
    }
    c->waiting++;
    memcpy(q.key, c->keys[i], sizeof q.key);
    if (n == 0)
        *code = sail__store_add_question(c->j->store, &q, err);
    return false;
}

/* Verdicts that the run has already; the others are listed in at. */
static sail_code look_up(call *c, sail_err *err)
{
    for (int64_t i = 0; i < c->n; i++) {
        sail__verdict_row *rows;
        size_t n = 0;
        c->out[i] = sail__no_verdict();
        if (c->j->store && c->judge->about)
            SAIL_TRY(sail__store_verdicts(c->j->store, c->arena, c->keys[i], &rows, &n, err));
        if (n == 0) {
            c->at[c->m++] = i;
            continue;
        }
        c->out[i].outcome = rows[0].outcome;
        c->out[i].seconds = rows[0].seconds;
        for (int k = 0; k < rows[0].k; k++)
            c->out[i].score[k] = rows[0].score[k];
        SAIL_TRY(check(c->judge->loaded, &c->items[i], &c->out[i], err));
    }
    c->done = c->n - c->m;
    return SAIL_OK;
}

/* Items as the judge's own header has them: before 1.1 an item ended before `text`. NULL: no memory. */
static const sail_judge_item *items_for(const sail_plugin *p, sail_arena *a, const sail_judge_item *items, int64_t n)
{
    enum { OLD = offsetof(sail_judge_item, text) };
    if (p->abi_minor >= 1)
        return items;
    char *old = sail__arena_array(a, (size_t)n + 1, OLD);
    for (int64_t i = 0; old && i < n; i++)
        memcpy(old + i * OLD, &items[i], OLD);
    return (const sail_judge_item *)(const void *)old;
}

/* A judge that answers all at once: verdicts are kept in the order of the items. */
static sail_code label(call *c, const sail_slot *slot, const sail_judge_item *items, sail_err *err)
{
    const sail_judge *ops = slot->loaded->ops;
    sail_verdict *v = sail__arena_array(c->arena, (size_t)c->m + 1, sizeof *v);
    sail__verdict_row *rows = sail__arena_array(c->arena, (size_t)c->m + 1, sizeof *rows);
    const sail_judge_item *seen = items_for(&slot->loaded->plugin, c->arena, items, c->m);
    size_t kept = 0;
    if (!v || !rows || !seen)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (int64_t i = 0; i < c->m; i++)
        v[i] = sail__no_verdict();
    SAIL_TRY(ops->label(slot->options, c->judge->state, seen, c->m, v, err));
    for (int64_t i = 0; i < c->m; i++) {
        SAIL_TRY(check(c->judge->loaded, &items[i], &v[i], err));
        c->out[c->at[i]] = v[i];
        if (v[i].outcome != SAIL_ABSTAIN)
            rows[kept++] = row_of(c, c->at[i], &v[i], NULL);
    }
    return c->j->store && kept ? sail__store_add_verdicts(c->j->store, rows, kept, err) : SAIL_OK;
}

static sail_code ask(call *c, const sail_slot *slot, bool as_shown, sail_err *err)
{
    const sail_judge *ops = slot->loaded->ops;
    const char *options = c->judge->about ? c->judge->about : options_text(c->arena, slot, false);
    c->who = options ? sail__arena_printf(c->arena, "%s %s", slot->loaded->plugin.name, options) : NULL;
    c->keys = sail__arena_array(c->arena, (size_t)c->n, sizeof *c->keys);
    c->at = sail__arena_array(c->arena, (size_t)c->n, sizeof *c->at);
    sail_judge_item *items = sail__arena_array(c->arena, (size_t)c->n, sizeof *items);
    if (!c->who || !c->keys || !c->at || !items)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (int64_t i = 0; i < c->n; i++)
        sail__verdict_key(c->who, as_shown && ops->ask ? "as shown" : "", c->items[i].conversation, c->items[i].response, c->items[i].k, c->keys[i]);
    SAIL_TRY(look_up(c, err));
    for (int64_t i = 0; i < c->m; i++)
        items[i] = c->items[c->at[i]];
    if (c->m == 0)
        return SAIL_OK;
    if (!ops->ask)
        return label(c, slot, items, err);
    sail_judge_host host = {.size = sizeof host, .host = c, .as_shown = as_shown, .verdict = on_verdict, .recall = on_recall,
                            .remember = on_remember, .answered = on_answered};
    SAIL_TRY(ops->ask(slot->options, c->judge->state, items, c->m, &host, err));
    if (c->waiting == 0)
        return SAIL_OK;
    return sail_fail(err, SAIL_E_WAIT, "%lld pair%s for a person: answer with `sail judge RUN`, then `sail resume RUN` goes on",
                     (long long)c->waiting, c->waiting == 1 ? " waits" : "s wait");
}

static sail_code ask_in(sail__judging *j, const sail_slot *judge, const sail_judge_item *items, int64_t n, bool as_shown, sail_verdict *out,
                        sail_err *err)
{
    sail__open_judge *o;
    if (n == 0)
        return SAIL_OK;
    SAIL_TRY(open_judge(j, judge, &o, err));
    call c = {.j = j, .judge = o, .arena = sail__arena_new(), .items = items, .n = n, .out = out};
    sail_code code = c.arena ? ask(&c, judge, as_shown, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (c.arena)
        sail__arena_free(c.arena);
    return code;
}

sail_code sail__judging_ask(sail__judging *j, const sail_slot *judge, const sail_judge_item *items, int64_t n, sail_verdict *out,
                            sail_err *err)
{
    return ask_in(j, judge, items, n, false, out, err);
}

sail_code sail__judging_ask_as_shown(sail__judging *j, const sail_slot *judge, const sail_judge_item *items, int64_t n, sail_verdict *out,
                                     sail_err *err)
{
    return ask_in(j, judge, items, n, true, out, err);
}

/* ---- a call on its own ---- */

static sail_code only_take(const sail_judge_host *h, int64_t item, const sail_verdict *v, const sail_judge_note *note, sail_err *err)
{
    ((sail_verdict *)h->host)[item] = *v;
    return SAIL_OK;
}

static const char *no_recall(const sail_judge_host *h, const char *key) { return NULL; }

static sail_code no_memory(const sail_judge_host *h, const char *key, const char *text, sail_err *err) { return SAIL_OK; }

static bool nobody(const sail_judge_host *h, int64_t item, int order, int32_t *outcome, sail_code *code, sail_err *err)
{
    *code = SAIL_OK;
    return false;
}

sail_code sail__judge_call(const sail_plugin *p, sail_arena *a, const void *self, void *state, const sail_judge_item *items, int64_t n,
                           sail_verdict *out, sail_err *err)
{
    const sail_judge *ops = p->ops;
    if (!ops->ask) {
        const sail_judge_item *seen = items_for(p, a, items, n);
        return seen ? ops->label(self, state, seen, n, out, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    }
    sail_judge_host host = {.size = sizeof host, .host = out, .verdict = only_take, .recall = no_recall, .remember = no_memory, .answered = nobody};
    for (int64_t i = 0; i < n; i++)
        out[i] = sail__no_verdict();
    return ops->ask(self, state, items, n, &host, err);
}

/* ---- verdicts and items ---- */

sail_verdict sail__no_verdict(void)
{
    sail_verdict v = {.outcome = SAIL_ABSTAIN};
    for (int k = 0; k < SAIL_MAX_RESPONSES; k++)
        v.score[k] = NAN;
    return v;
}

int32_t sail__outcome_of_scores(const double *score, int k, double margin)
{
    int order[SAIL_MAX_RESPONSES];
    for (int j = 0; j < k; j++) {
        int at = j;
        if (!isfinite(score[j]))
            return SAIL_ABSTAIN;
        for (; at > 0 && score[order[at - 1]] < score[j]; at--)
            order[at] = order[at - 1];
        order[at] = j;
    }
    return k == 2 && fabs(score[0] - score[1]) <= margin ? SAIL_TIE : sail_outcome_of_ranking(order, k, k);
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
                             .id = row->hash, .messages = m, .n_messages = n, .text = p->messages ? NULL : p->text};
    return SAIL_OK;
}
