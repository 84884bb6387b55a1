/* answer.c - see answer.h. */
#include "answer.h"

#include <string.h>

sail_code sail__answer_begin(sail__answer *a, const sail__tokenizer *t, const sail_node *stop, sail_err *err)
{
    *a = (sail__answer){.stream = {.tokenizer = t, .flags = SAIL__SKIP_SPECIAL}, .stop = stop};
    if (stop && !t)
        return sail_fail(err, SAIL_E_USAGE, "--stop needs a tokenizer, and the model has none: leave it out");
    for (size_t i = 0; stop && i < stop->list.n; i++)
        if (!stop->list.items[i]->string.len)
            return sail_fail(err, SAIL_E_USAGE, "--stop is empty: give the text to end at");
    return SAIL_OK;
}

static size_t shorter(size_t a, size_t b) { return a < b ? a : b; }

/* How many bytes at the end of the text may begin this string. */
static size_t begun(const sail_buf *text, const char *string, size_t len)
{
    for (size_t n = shorter(text->len, len - 1); n > 0; n--)
        if (memcmp(text->data + text->len - n, string, n) == 0)
            return n;
    return 0;
}

bool sail__answer_push(sail__answer *a, int32_t id, sail_buf *out)
{
    size_t keep = 0, end = SIZE_MAX;
    sail__stream_push(&a->stream, id, &a->held);
    for (size_t i = 0; a->stop && a->held.len && i < a->stop->list.n; i++) {
        const sail_node *s = a->stop->list.items[i];
        const char *at = memmem(a->held.data, a->held.len, s->string.data, s->string.len);
        const size_t n = at ? 0 : begun(&a->held, s->string.data, s->string.len);
        if (at)
            end = shorter(end, (size_t)(at - a->held.data));
        keep = n > keep ? n : keep;
    }
    const bool stopped = end != SIZE_MAX;
    const size_t show = stopped ? end : a->held.len - keep;
    if (show)
        sail__buf_add(out, a->held.data, show);
    if (!stopped && show && keep)
        memmove(a->held.data, a->held.data + show, keep);
    a->held.len = stopped ? 0 : keep;
    a->stream.n_held = stopped ? 0 : a->stream.n_held;
    return stopped;
}

void sail__answer_end(sail__answer *a, sail_buf *out)
{
    sail__stream_flush(&a->stream, &a->held);
    if (a->held.len)
        sail__buf_add(out, a->held.data, a->held.len);
    sail__buf_free(&a->held);
}
