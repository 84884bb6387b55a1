/* hh_rlhf.c - Anthropic's hh-rlhf: chosen and rejected transcripts "\n\nHuman: …\n\nAssistant: …".
 * Source: arXiv 2204.05862.
 *
 * The prompt is what both have in common up to the last "\n\nAssistant:"; a row whose two prompts differ cannot be a
 * pair and is dropped. The turns become messages, so that a model sees its own template; `template: hh` writes the
 * transcript again as it was. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem */
#endif
#include <string.h>

#include <sail/dataset.h>

static const char human[] = "\n\nHuman:", assistant[] = "\n\nAssistant:";
enum { HUMAN = sizeof human - 1, ASSISTANT = sizeof assistant - 1 };

static const char *find(const char *s, const char *end, const char *mark, size_t n)
{
    return s < end ? memmem(s, (size_t)(end - s), mark, n) : NULL;
}

/* Behind the last "\n\nAssistant:"; 0: there is none. */
static size_t prompt_length(const char *s, size_t len)
{
    const char *end = s + len, *at = s, *last = NULL;
    while ((at = find(at, end, assistant, ASSISTANT)))
        last = at += ASSISTANT;
    return last ? (size_t)(last - s) : 0;
}

/* One turn's words, without the space behind the colon. */
static sail_code turn(sail_row *row, sail_part part, const char *role, const char *s, const char *end, sail_err *err)
{
    if (s < end && *s == ' ')
        s++;
    return sail_row_message(row, part, role, s, (size_t)(end - s), err);
}

static sail_code prompt(sail_row *row, const char *s, size_t len, sail_err *err)
{
    const char *end = s + len - ASSISTANT; /* the last mark asks for the response */
    if (len < HUMAN + ASSISTANT || memcmp(s, human, HUMAN) != 0) {
        sail_row_drop(row, "transcript does not begin with Human");
        return SAIL_OK;
    }
    while (s < end) {
        int asks = memcmp(s, human, HUMAN) == 0;
        const char *words = s + (asks ? HUMAN : ASSISTANT);
        const char *h = find(words, end, human, HUMAN), *a = find(words, end, assistant, ASSISTANT);
        const char *next = h && (!a || h < a) ? h : a ? a : end;
        sail_code code = turn(row, SAIL_PART_PROMPT, asks ? "user" : "assistant", words, next, err);
        if (code != SAIL_OK)
            return code;
        s = next;
    }
    return SAIL_OK;
}

static sail_code read_row(const void *self, const sail_json *record, sail_row *row, sail_err *err)
{
    (void)self;
    size_t nc, nr;
    const char *c = sail_json_string(sail_json_get(record, "chosen"), &nc),
               *r = sail_json_string(sail_json_get(record, "rejected"), &nr);
    if (!c || !r)
        return sail_fail(err, SAIL_E_PARSE, "'%s' must be a transcript, a string", c ? "rejected" : "chosen");
    size_t pc = prompt_length(c, nc), pr = prompt_length(r, nr);
    if (pc == 0 || pr == 0) {
        sail_row_drop(row, "transcript without an answer of Assistant");
        return SAIL_OK;
    }
    if (pc != pr || memcmp(c, r, pc) != 0) {
        sail_row_drop(row, "chosen and rejected do not share the prompt");
        return SAIL_OK;
    }
    sail_code code = prompt(row, c, pc, err);
    if (code == SAIL_OK)
        code = turn(row, SAIL_PART_CHOSEN, "assistant", c + pc, c + nc, err);
    if (code == SAIL_OK)
        code = turn(row, SAIL_PART_REJECTED, "assistant", r + pr, r + nr, err);
    return code;
}

static const sail_dataset ops = {.size = sizeof ops, .row = read_row};
SAIL_PLUGIN_NO_OPTIONS(SAIL_KIND_DATASET, hh_rlhf, "hh-rlhf transcripts, as messages", "arXiv:2204.05862", &ops, 0)
