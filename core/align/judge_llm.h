/* judge_llm.h - a language model behind an OpenAI-compatible HTTP interface as judge: its options and what is open, shared by
 * judge_llm.c (opening, verdicts), judge_llm_ask.c (the conversation with the server) and judge_llm_wire.c (requests and replies).
 *
 * Floor: align, and only judge_llm*.c. Threads: one. The key is in state->key and in requests, nowhere else: whatever a server sends
 * is cleaned of it before it is kept or shown. */
#ifndef SAIL_JUDGE_LLM_H
#define SAIL_JUDGE_LLM_H

#include "../base/node.h"
#include "../io/http.h"
#include "../io/pace.h"
#include "../sail/judge.h"
#include "judge_prompt.h"

typedef struct sail__llm {
    const char *base_url, *model, *template_file, *key_env, *key_file, *key_header;
    int template_name, orders, token_field;
    double lowest, highest, margin;
    double temperature;
    int64_t max_tokens, seed;
    const sail_node *extra;
    int64_t parallel, requests_per_minute, tokens_per_minute;
    double timeout, deadline, backoff, longest_wait;
    int64_t retries, tries, give_up;
    int64_t budget_requests;
    double budget_cost, price_prompt, price_reply;
} sail__llm;
enum sail__llm_orders { SAIL__LLM_BOTH, SAIL__LLM_RANDOM };

typedef struct sail__llm_state {
    sail_ctx *ctx;
    sail_arena *arena;
    sail__judge_prompt prompt;
    const char *about, *url;
    char *key; /* NULL: none */
    const char *headers[3];
    size_t n_headers;
    sail__http *http; /* NULL between calls that failed */
    sail__pace pace;
    int64_t requests, failures_in_a_row; /* since it was opened */
    double cost;
    uint64_t draws; /* of random waits */
} sail__llm_state;

/* What is asked: one prompt, whoever needs its answer. */
typedef enum sail__asking_state { SAIL__ASK_READY, SAIL__ASK_FLYING, SAIL__ASK_DONE, SAIL__ASK_FAILED } sail__asking_state;
typedef struct sail__asking {
    char key[33]; /* of the judge and the text */
    char *system, *user;
    sail__asking_state state;
    bool unread_last; /* why it failed: the reply could not be read */
    double first_sent, not_before;
    int failures, unread;
    int64_t tokens; /* estimated, until the server tells */
    uint64_t pace_id;
    int64_t waiting; /* the first place of an item's that waits for it; -1: none */
    double score[2];
    const char *reply, *version;
    int64_t prompt_tokens, reply_tokens, requests;
    double seconds;
    char why[240];
} sail__asking;

/* ---- the wire ---- */
void sail__llm_body(const sail__llm *o, const sail__asking *q, sail_arena *a, sail_buf *out);
/* What a reply of status 200 says; strings in the arena. SAIL_E_FORMAT: it is not what the interface promises. cut: finish_reason says
 * that the reply is not whole. */
typedef struct sail__llm_reply {
    const char *content, *version;
    int64_t prompt_tokens, reply_tokens; /* -1: not told */
    bool cut;
} sail__llm_reply;
sail_code sail__llm_read(const char *body, size_t size, sail_arena *a, sail__llm_reply *out, sail_err *err);
/* An asking's answer as text that a run keeps, and back (false: it is not one). */
const char *sail__llm_pack(const sail__asking *q, sail_arena *a);
bool sail__llm_unpack(const char *text, sail_arena *a, sail__asking *q);

/* ---- the conversation ---- */
typedef struct sail__llm_job {
    const sail__llm *o;
    sail__llm_state *s;
    const sail_judge_host *host;
    sail_arena *arena;
    sail__asking *askings;
    int64_t n;
    sail_code (*finished)(void *user, sail__asking *q, sail_err *err); /* an asking is done or has failed */
    void *user;
} sail__llm_job;
/* Until every asking is done or has failed, or the run must stop: SAIL_E_WAIT, SAIL_E_CANCEL. */
sail_code sail__llm_converse(sail__llm_job *j, sail_err *err);

#endif
