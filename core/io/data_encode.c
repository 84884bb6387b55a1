/* data_encode.c - rows to token ids: prompt and responses apart, never cut inside what would be one token. */
#include <string.h>

#include "data_impl.h"

typedef struct encoder {
    const sail__encode_options *o;
    sail__token_scratch *scratch;
    sail_err *err;
    const sail__part *chat; /* the prompt, where it is messages */
    sail_buf rendered;      /* its text, with the generation prompt */
    bool space;             /* one was taken off the prompt's end and goes before the responses */
} encoder;

static sail_code need_chat(const encoder *e)
{
    return e->o->chat ? SAIL_OK : sail_fail(e->err, SAIL_E_OPTION, "a row of messages needs a template; name one with template:");
}

static sail_code encode_prompt(encoder *e, const sail__part *p, sail__ids *out)
{
    const sail__tokenizer *t = e->o->tokenizer;
    if (p->ids)
        return sail__ids_add(out, p->ids, p->n_ids, e->err);
    if (p->text) {
        /* "A: " and "b" are tokenized together as "A:", " b": the space belongs to what follows. */
        e->space = p->len > 0 && p->text[p->len - 1] == ' ';
        return sail__encode(t, e->scratch, p->text, p->len - e->space,
                            SAIL__ADD_PREFIX | (e->o->parse_special ? SAIL__PARSE_SPECIAL : 0), out, e->err);
    }
    SAIL_TRY(need_chat(e));
    e->chat = p;
    sail_buf *text = &e->rendered;
    sail__spans plain = {0};
    sail_code code = sail__template_render(e->o->chat, p->messages, p->n_messages, true, text, &plain, e->err);
    if (!code) {
        e->space = text->len > 0 && text->data[text->len - 1] == ' ';
        size_t len = text->len - e->space;
        while (plain.n && plain.items[plain.n - 1].begin >= len)
            plain.n--;
        unsigned flags = SAIL__PARSE_SPECIAL | (sail__template_add_special(e->o->chat) ? SAIL__ADD_PREFIX : 0);
        code = sail__encode_spans(t, e->scratch, text->data ? text->data : "", len, flags, plain.items, plain.n, out, e->err);
    }
    sail__free(plain.items);
    return code;
}

/* A response without its end token. */
static sail_code encode_response(encoder *e, const sail__part *p, sail__ids *out, const char **dropped)
{
    if (p->ids)
        return sail__ids_add(out, p->ids, p->n_ids, e->err);
    const char *s = p->text;
    size_t len = p->len;
    if (p->messages) {
        if (p->n_messages != 1 || strcmp(p->messages[0].role, "assistant") != 0) {
            *dropped = "response is not one message of the assistant";
            return SAIL_OK;
        }
        s = p->messages[0].content;
        len = p->messages[0].content_len;
    }
    sail_buf text = {0};
    sail__spans plain = {0};
    if (e->space)
        sail__buf_add(&text, " ", 1);
    sail_code code = SAIL_OK;
    if (e->chat)
        code = sail__template_response(e->o->chat, e->chat->messages, e->chat->n_messages, &e->rendered, s, len, &text, &plain,
                                       e->err);
    else
        sail__buf_add(&text, s, len);
    /* what a template adds (the marks of an empty reasoning) may be special tokens, what the response says may not */
    unsigned flags = SAIL__CONTINUATION | (e->chat || e->o->parse_special ? SAIL__PARSE_SPECIAL : 0);
    if (!code && text.oom)
        code = sail_fail(e->err, SAIL_E_NOMEM, "out of memory");
    if (!code)
        code = sail__encode_spans(e->o->tokenizer, e->scratch, text.data ? text.data : "", text.len, flags, plain.items, plain.n,
                                  out, e->err);
    sail__buf_free(&text);
    sail__free(plain.items);
    return code;
}

static sail_code add_end(const encoder *e, sail__ids *ids)
{
    const sail__tokenizer *t = e->o->tokenizer;
    int32_t end = e->chat ? sail__template_end_id(e->o->chat, t) : sail__tokenizer_eos(t);
    if (end < 0)
        return sail_fail(e->err, SAIL_E_FORMAT, "%s: names no end token (eos_token), which responses must end with",
                         sail__tokenizer_origin(t));
    return sail__ids_add(ids, &end, 1, e->err);
}

sail_code sail__closing_ids(const sail__template *chat, const sail__tokenizer *t, sail__ids *out, sail_err *err)
{
    static const char mark[] = "mark";
    const sail__message m[] = {{"user", "x", 1}, {"assistant", mark, sizeof mark - 1}};
    sail_buf text = {0};
    sail_code code = sail__template_render(chat, m, 2, false, &text, NULL, err);
    const char *end = sail__tokenizer_token(t, sail__template_end_id(chat, t), NULL), *behind = text.data ? text.data : "", *at;
    while ((at = strstr(behind, mark)))
        behind = at + sizeof mark - 1;
    size_t n = end ? strlen(end) : 0;
    if (!code && n && strncmp(behind, end, n) == 0 && behind[n])
        code = sail__encode(t, NULL, behind + n, strlen(behind + n), SAIL__CONTINUATION | SAIL__PARSE_SPECIAL, out, err);
    sail__buf_free(&text);
    return code;
}

/* Cut ids to `most`; false: the row is to be dropped. */
static bool fit(const encoder *e, sail__ids *ids, int64_t most, bool *was_cut)
{
    *was_cut = most > 0 && ids->n > (size_t)most;
    if (!*was_cut)
        return true;
    if (e->o->truncate == SAIL__TRUNCATE_DROP)
        return false;
    if (e->o->truncate == SAIL__TRUNCATE_START)
        memmove(ids->items, ids->items + (ids->n - (size_t)most), (size_t)most * sizeof *ids->items);
    ids->n = (size_t)most;
    return true;
}

static sail_code keep(sail_arena *a, const sail__ids *ids, int32_t **out, size_t *n, sail_err *err)
{
    *out = sail__arena_array(a, ids->n + 1, sizeof **out);
    if (!*out)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (ids->n)
        memcpy(*out, ids->items, ids->n * sizeof **out);
    *n = ids->n;
    return SAIL_OK;
}

/* Ready ids come from outside: they must be tokens of this vocabulary (a model's matrix may have some rows more). */
static sail_code check_ids(const encoder *e, const sail__part *p)
{
    for (size_t i = 0; i < p->n_ids; i++)
        if (p->ids[i] >= sail__tokenizer_size(e->o->tokenizer))
            return sail_fail(e->err, SAIL_E_PARSE, "token id %d is outside the vocabulary of %d tokens", (int)p->ids[i],
                             (int)sail__tokenizer_size(e->o->tokenizer));
    return SAIL_OK;
}

enum { MOST_PARTS = 1 + SAIL__MOST_RANKED };

static bool equal(const sail__ids *a, const sail__ids *b)
{
    return a->n && a->n == b->n && memcmp(a->items, b->items, a->n * sizeof *a->items) == 0;
}

static sail_code encode_parts(encoder *e, const sail_row *row, sail__ids ids[MOST_PARTS], bool cut[MOST_PARTS], const char **dropped)
{
    const size_t n = sail__row_parts(row);
    for (size_t i = 0; i < n && e->o->tokenizer; i++)
        SAIL_TRY(check_ids(e, sail__row_part(row, i)));
    for (size_t i = 0; i < n && !*dropped; i++) {
        const sail__part *p = sail__row_part(row, i);
        if (!sail__part_present(p))
            continue;
        if (!p->ids && !e->o->tokenizer)
            return sail_fail(e->err, SAIL_E_ARG, "a row of text needs a tokenizer");
        SAIL_TRY(i == SAIL_PART_PROMPT ? encode_prompt(e, p, &ids[i]) : encode_response(e, p, &ids[i], dropped));
        if (*dropped)
            return SAIL_OK;
        if (!ids[i].n)
            *dropped = i == SAIL_PART_PROMPT ? "empty prompt" : "empty response";
        else if (i != SAIL_PART_PROMPT && !p->ids && !e->o->no_end)
            SAIL_TRY(add_end(e, &ids[i]));
        if (!*dropped && i != SAIL_PART_PROMPT && e->chat && e->o->n_closing)
            SAIL_TRY(sail__ids_add(&ids[i], e->o->closing, e->o->n_closing, e->err));
        if (!*dropped && !fit(e, &ids[i], i == SAIL_PART_PROMPT ? e->o->max_prompt : e->o->max_response, &cut[i]))
            *dropped = i == SAIL_PART_PROMPT ? "prompt longer than max_prompt" : "response longer than max_response";
        for (size_t k = 1; k < i && !*dropped; k++)
            if (equal(&ids[k], &ids[i]))
                *dropped = sail__equal_responses(n - 1);
    }
    return SAIL_OK;
}

sail_code sail__encode_row(const sail__encode_options *o, sail__token_scratch *scratch, const sail_row *row, sail_arena *a,
                           sail__encoded *out, const char **dropped, sail_err *err)
{
    encoder e = {.o = o, .scratch = scratch, .err = err};
    sail__ids ids[MOST_PARTS] = {{0}};
    bool cut[MOST_PARTS] = {false};
    *dropped = NULL;
    *out = (sail__encoded){0};
    sail_code code = encode_parts(&e, row, ids, cut, dropped);
    if (!code && !*dropped) {
        code = keep(a, &ids[SAIL_PART_PROMPT], &out->prompt, &out->n_prompt, err);
        if (!code && sail__part_present(&row->part[SAIL_PART_CHOSEN]))
            code = keep(a, &ids[SAIL_PART_CHOSEN], &out->chosen, &out->n_chosen, err);
        if (!code && sail__part_present(&row->part[SAIL_PART_REJECTED]))
            code = keep(a, &ids[SAIL_PART_REJECTED], &out->rejected, &out->n_rejected, err);
        out->cut_prompt = cut[SAIL_PART_PROMPT];
        out->cut_chosen = cut[SAIL_PART_CHOSEN];
        out->cut_rejected = cut[SAIL_PART_REJECTED];
        out->n_behind = row->n_behind;
        out->behind = row->n_behind ? sail__arena_array(a, row->n_behind, sizeof *out->behind) : NULL;
        if (!code && row->n_behind && !out->behind)
            code = sail_fail(err, SAIL_E_NOMEM, "out of memory");
        for (size_t i = 0; !code && i < row->n_behind; i++) {
            code = keep(a, &ids[SAIL_PART_COUNT + i], &out->behind[i].ids, &out->behind[i].n, err);
            out->behind[i].cut = cut[SAIL_PART_COUNT + i];
        }
    }
    for (size_t i = 0; i < MOST_PARTS; i++)
        sail__ids_free(&ids[i]);
    sail__buf_free(&e.rendered);
    return code;
}

size_t sail__encoded_responses(const sail__encoded *e) { return !e->chosen ? 0 : !e->rejected ? 1 : 2 + e->n_behind; }

sail__encoded_response sail__encoded_at(const sail__encoded *e, size_t k)
{
    if (k >= sail__encoded_responses(e))
        return (sail__encoded_response){0};
    return k == 0 ? (sail__encoded_response){e->chosen, e->n_chosen, e->cut_chosen}
         : k == 1 ? (sail__encoded_response){e->rejected, e->n_rejected, e->cut_rejected} : e->behind[k - 2];
}

sail_code sail__encode_prompt(const sail__encode_options *o, sail__token_scratch *scratch, const sail__part *prompt,
                              sail__ids *out, sail_err *err)
{
    encoder e = {.o = o, .scratch = scratch, .err = err};
    if (o->tokenizer)
        SAIL_TRY(check_ids(&e, prompt));
    else if (!prompt->ids)
        return sail_fail(err, SAIL_E_ARG, "a row of text needs a tokenizer");
    sail_code code = encode_prompt(&e, prompt, out);
    sail__buf_free(&e.rendered);
    return code;
}
