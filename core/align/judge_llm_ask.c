/* judge_llm_ask.c - the conversation with the server: what goes when, what is tried again, when it is given up. */
#include "judge_llm.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../sail/rng.h"

enum { MOST_BYTES = 1 << 20 };

typedef struct conversation {
    sail__llm_job *j;
    int64_t flying, left, next; /* next: no asking before it is ready */
    double cost_flying;
    sail_err stop; /* why nothing more is sent; code SAIL_OK: go on */
} conversation;

static double price(const sail__llm *o, int64_t prompt, int64_t reply)
{
    return 1e-6 * ((double)(prompt > 0 ? prompt : 0) * o->price_prompt + (double)(reply > 0 ? reply : 0) * o->price_reply);
}

/* A token is about four bytes; the server's count takes its place later. */
static int64_t prompt_estimate(const sail__asking *q)
{
    return 8 + (int64_t)(strlen(q->user) + (q->system ? strlen(q->system) : 0)) / 4;
}

static double most_cost(const sail__llm_job *j, const sail__asking *q) { return price(j->o, prompt_estimate(q), j->o->max_tokens); }

/* ---- sending ---- */

static bool within_budget(conversation *c, const sail__asking *q)
{
    const sail__llm *o = c->j->o;
    sail__llm_state *s = c->j->s;
    if (o->budget_requests > 0 && s->requests >= o->budget_requests)
        sail_fail(&c->stop, SAIL_E_WAIT, "judge llm: the budget of %lld requests is used up; `sail resume` grants as many again (or raise "
                  "budget_requests)", (long long)o->budget_requests);
    else if (o->budget_cost > 0 && s->cost + c->cost_flying + most_cost(c->j, q) > o->budget_cost)
        sail_fail(&c->stop, SAIL_E_WAIT, "judge llm: %.6g of the budget of %.6g is spent, and another request may cost %.6g; `sail resume` grants "
                  "as much again (or raise budget_cost)", s->cost, o->budget_cost, most_cost(c->j, q));
    return c->stop.code == SAIL_OK;
}

static sail_code send_one(conversation *c, sail__asking *q, double now, sail_err *err)
{
    sail__llm_job *j = c->j;
    sail_arena *a = sail__arena_new();
    sail_buf body = {0};
    if (!a)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    sail__llm_body(j->o, q, a, &body);
    sail_code code = body.oom ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : SAIL_OK;
    if (code == SAIL_OK) {
        q->first_sent = q->requests == 0 ? now : q->first_sent;
        double left = q->first_sent + j->o->deadline - now;
        sail__http_request r = {.id = (uint64_t)(q - j->askings), .url = j->s->url, .headers = j->s->headers, .n_headers = j->s->n_headers,
                                .body = body.data, .size = body.len, .timeout = fmax(0.01, fmin(j->o->timeout, left)), .most = MOST_BYTES};
        code = sail__http_start(j->s->http, &r, err);
    }
    if (code == SAIL_OK)
        code = sail__pace_sent(&j->s->pace, now, q->tokens, &q->pace_id, err);
    if (code == SAIL_OK) {
        q->state = SAIL__ASK_FLYING;
        q->requests++;
        j->s->requests++;
        c->flying++;
        c->cost_flying += most_cost(j, q);
    }
    sail__buf_free(&body);
    sail__arena_free(a);
    return code;
}

/* Send what may go now, in order; *wait: seconds after which to look again. */
static sail_code send_ready(conversation *c, double *wait, sail_err *err)
{
    sail__llm_job *j = c->j;
    double now = sail__now();
    *wait = 0.25; /* for signals */
    while (c->next < j->n && (j->askings[c->next].state == SAIL__ASK_DONE || j->askings[c->next].state == SAIL__ASK_FAILED))
        c->next++;
    for (int64_t i = c->next; i < j->n && c->flying < j->o->parallel && c->stop.code == SAIL_OK; i++) {
        sail__asking *q = &j->askings[i];
        if (q->state != SAIL__ASK_READY)
            continue;
        if (q->not_before > now) {
            *wait = fmin(*wait, q->not_before - now);
            continue;
        }
        double pace = sail__pace_wait(&j->s->pace, now, q->tokens);
        if (pace > 0) {
            *wait = fmin(*wait, pace);
            break;
        }
        if (within_budget(c, q))
            SAIL_TRY(send_one(c, q, now, err));
    }
    return SAIL_OK;
}

/* ---- replies ---- */

static sail_code settle(conversation *c, sail__asking *q, sail__asking_state state, sail_err *err)
{
    q->state = state;
    c->left--;
    return c->j->finished(c->j->user, q, err);
}

/* Tried again after `wait` seconds at least, while the deadline allows it. */
static sail_code again(conversation *c, sail__asking *q, double wait, sail_err *err)
{
    const sail__llm *o = c->j->o;
    double now = sail__now();
    if (now + wait >= q->first_sent + o->deadline)
        return settle(c, q, SAIL__ASK_FAILED, err);
    q->state = SAIL__ASK_READY;
    q->not_before = now + wait;
    return SAIL_OK;
}

static sail_code unread(conversation *c, sail__asking *q, const char *why, sail_err *err)
{
    q->unread_last = true;
    snprintf(q->why, sizeof q->why, "%s", why);
    return ++q->unread >= c->j->o->tries ? settle(c, q, SAIL__ASK_FAILED, err) : again(c, q, 0, err);
}

/* The server did not answer the question. `pause`: what it asked for, or NAN. */
static sail_code failed(conversation *c, sail__asking *q, double pause, const char *why, sail_err *err)
{
    sail__llm_job *j = c->j;
    const sail__llm *o = j->o;
    double now = sail__now(), wait = sail__pace_backoff(++q->failures, o->backoff, o->longest_wait,
                                                        sail_rng_uniform((uint64_t)(now * 1e6), SAIL_RNG_USER, j->s->draws++, 0, 0));
    q->unread_last = false;
    snprintf(q->why, sizeof q->why, "%s", why);
    if (++j->s->failures_in_a_row >= o->give_up && c->stop.code == SAIL_OK)
        sail_fail(&c->stop, SAIL_E_WAIT, "judge llm: %lld requests in a row failed, the last: %s; `sail resume` when %s is well again",
                  (long long)o->give_up, why, o->base_url);
    if (pause > 0) {
        sail__pace_pause(&j->s->pace, now + fmin(pause, o->deadline));
        wait = fmax(wait, pause);
    }
    return q->failures > o->retries ? settle(c, q, SAIL__ASK_FAILED, err) : again(c, q, wait, err);
}

static sail_code answered(conversation *c, sail__asking *q, const sail__llm_reply *r, double seconds, sail_err *err)
{
    sail__llm_job *j = c->j;
    const char *why = NULL, *content = sail__http_without(j->s->key, r->content, j->arena);
    j->s->failures_in_a_row = 0;
    q->seconds += seconds;
    if (r->cut)
        return unread(c, q, "it was cut (finish_reason): max_tokens may be too small", err);
    if (!sail__judge_prompt_read(&j->s->prompt, content, q->score, &why))
        return unread(c, q, why, err);
    q->reply = content;
    q->version = sail__http_without(j->s->key, r->version, j->arena);
    q->prompt_tokens = r->prompt_tokens;
    q->reply_tokens = r->reply_tokens;
    const char *text = sail__llm_pack(q, j->arena);
    if (!text)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    SAIL_TRY(j->host->remember(j->host, q->key, text, err));
    return settle(c, q, SAIL__ASK_DONE, err);
}

/* A status that no other try changes: the run stops, and what it says is for the user. */
static bool hopeless(long status) { return (status >= 300 && status < 400) || status == 401 || status == 402 || status == 403 || status == 404 || status == 405; }
/* The question itself is not taken: too long, refused. */
static bool refused(long status) { return status == 400 || status == 413 || status == 422; }

static const char *advice(const sail__llm_job *j, long status)
{
    if (status == 401 || status == 403)
        return j->s->key ? ": is the key the right one?" : ": does it want a key (key_env or key_file)?";
    if (status == 404 || status == 405)
        return ": base_url is the part before /chat/completions, model a name it knows";
    return status < 400 ? ": base_url must be where it moved to" : "";
}

static sail_code with_status(conversation *c, sail__asking *q, const sail__http_reply *r, sail_err *err)
{
    sail__llm_job *j = c->j;
    char why[400];
    const char *words = sail__http_without(j->s->key, sail__http_complaint(r->body, r->size, j->arena), j->arena);
    double pause = r->retry_after[0] ? sail__retry_after(r->retry_after, sail__wall_time()) : (double)NAN;
    snprintf(why, sizeof why, "status %ld%s%s", r->status, *words ? ": " : "", words);
    if (hopeless(r->status) || (r->status == 429 && strstr(words, "quota"))) {
        if (c->stop.code == SAIL_OK)
            sail_fail(&c->stop, SAIL_E_WAIT, "judge llm: %s: %s%s", j->o->base_url, why, advice(j, r->status));
        q->state = SAIL__ASK_READY;
        return SAIL_OK;
    }
    if (refused(r->status)) {
        q->failures = (int)j->o->retries; /* not again */
        pause = NAN;
    }
    return failed(c, q, pause, why, err);
}

static sail_code take(conversation *c, const sail__http_reply *r, sail_err *err)
{
    sail__llm_job *j = c->j;
    if (r->id >= (uint64_t)j->n || j->askings[r->id].state != SAIL__ASK_FLYING)
        return sail_fail(err, SAIL_E_BUG, "judge llm: a reply to nothing that was asked");
    sail__asking *q = &j->askings[r->id];
    c->flying--;
    c->cost_flying = c->flying ? c->cost_flying - most_cost(j, q) : 0;
    q->state = SAIL__ASK_READY;
    if (r->status == 0) {
        j->s->cost += price(j->o, prompt_estimate(q), 0); /* it may have been worked on */
        return failed(c, q, NAN, r->problem, err);
    }
    if (r->status != 200)
        return with_status(c, q, r, err);
    sail__llm_reply reply;
    sail_err told;
    if (sail__llm_read(r->body, r->size, j->arena, &reply, &told) != SAIL_OK) {
        j->s->cost += most_cost(j, q);
        return failed(c, q, NAN, told.message, err);
    }
    int64_t prompt = reply.prompt_tokens >= 0 ? reply.prompt_tokens : prompt_estimate(q);
    int64_t said = reply.reply_tokens >= 0 ? reply.reply_tokens : (int64_t)strlen(reply.content) / 4 + 1;
    j->s->cost += price(j->o, prompt, said);
    sail__pace_correct(&j->s->pace, q->pace_id, prompt + said);
    return answered(c, q, &reply, r->seconds, err);
}

static sail_code talk(conversation *c, sail_err *err)
{
    sail__llm_job *j = c->j;
    while (c->left > 0) {
        double wait;
        bool got = true;
        if (sail_cancelled(j->s->ctx))
            return sail_fail(err, SAIL_E_CANCEL, "stopped while a judge was asked");
        SAIL_TRY(send_ready(c, &wait, err));
        if (c->flying == 0 && c->stop.code != SAIL_OK)
            break;
        for (; got; wait = 0) { /* all that has come before more is sent */
            sail__http_reply r;
            SAIL_TRY(sail__http_wait(j->s->http, wait, &r, &got, err));
            if (got)
                SAIL_TRY(take(c, &r, err));
        }
    }
    if (c->left > 0) {
        *err = c->stop;
        return c->stop.code;
    }
    return SAIL_OK;
}

sail_code sail__llm_converse(sail__llm_job *j, sail_err *err)
{
    conversation c = {.j = j};
    for (int64_t i = 0; i < j->n; i++) {
        c.left += j->askings[i].state == SAIL__ASK_READY;
        j->askings[i].tokens = prompt_estimate(&j->askings[i]) + j->o->max_tokens;
    }
    if (c.left == 0)
        return SAIL_OK;
    if (!j->s->http)
        SAIL_TRY(sail__http_open(&j->s->http, err));
    sail_code code = talk(&c, err);
    if (code != SAIL_OK) { /* what is under way is not waited for */
        sail__http_close(j->s->http);
        j->s->http = NULL;
    }
    return code;
}
