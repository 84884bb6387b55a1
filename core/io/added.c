/* added.c - finding added tokens in a text: leftmost, longest, with their flags. */
#include <string.h>

#include "tokenizer_impl.h"

sail_code sail__trie_add(sail__trie *t, const char *s, size_t len, int32_t token, sail_err *err)
{
    if (t->n == 0) {
        SAIL_TRY(sail__grow(&t->nodes, &t->cap, 1, sizeof *t->nodes, err));
        t->nodes[0] = (sail__trie_node){.token = -1};
        t->n = 1;
    }
    t->first[(unsigned char)s[0]] = true;
    uint32_t at = 0;
    for (size_t i = 0; i < len; i++) {
        uint32_t child = t->nodes[at].child;
        while (child && t->nodes[child].byte != (unsigned char)s[i])
            child = t->nodes[child].sibling;
        if (!child) {
            SAIL_TRY(sail__grow(&t->nodes, &t->cap, t->n + 1, sizeof *t->nodes, err));
            child = (uint32_t)t->n++;
            t->nodes[child] = (sail__trie_node){(unsigned char)s[i], 0, t->nodes[at].child, -1};
            t->nodes[at].child = child;
        }
        at = child;
    }
    if (t->nodes[at].token < 0)
        t->nodes[at].token = token;
    return SAIL_OK;
}

void sail__trie_free(sail__trie *t)
{
    sail__free(t->nodes);
    memset(t, 0, sizeof *t);
}

/* The longest token that begins at s; -1: none. */
static int32_t longest(const sail__trie *t, const char *s, size_t len)
{
    int32_t best = -1;
    uint32_t at = 0;
    for (size_t i = 0; i < len; i++) {
        uint32_t child = t->nodes[at].child;
        while (child && t->nodes[child].byte != (unsigned char)s[i])
            child = t->nodes[child].sibling;
        if (!child)
            break;
        at = child;
        if (t->nodes[at].token >= 0)
            best = t->nodes[at].token;
    }
    return best;
}

static size_t char_before(const char *s, size_t at, uint32_t *c)
{
    size_t i = at - 1;
    while (i > 0 && ((unsigned char)s[i] & 0xC0) == 0x80)
        i--;
    if (sail__utf8_next(s + i, at - i, c) <= 0)
        *c = 0xFFFD;
    return i;
}

static bool inside_plain(sail__added_search *s, size_t begin, size_t end)
{
    while (s->n_plain && s->plain->end <= begin) {
        s->plain++;
        s->n_plain--;
    }
    return s->n_plain && s->plain->begin < end;
}

bool sail__added_next(sail__added_search *s, sail__span *match, int32_t *id)
{
    if (!s->trie->n)
        return false;
    while (s->next < s->len) {
        size_t begin = s->next;
        while (begin < s->len && !s->trie->first[(unsigned char)s->text[begin]])
            begin++;
        if (begin == s->len)
            break;
        int32_t token = longest(s->trie, s->text + begin, s->len - begin);
        if (token < 0) {
            s->next = begin + 1;
            continue;
        }
        const sail__added *a = &s->added[token];
        size_t end = begin + a->len;
        s->next = end; /* also when it is refused below: what was matched is not searched again */
        if (a->special && (!s->parse_special || inside_plain(s, begin, end)))
            continue;
        uint32_t c;
        if (a->single_word) {
            if (begin > 0 && (char_before(s->text, begin, &c), sail__is_word(c)))
                continue;
            if (end < s->len && sail__utf8_next(s->text + end, s->len - end, &c) > 0 && sail__is_word(c))
                continue;
        }
        while (a->lstrip && begin > s->done) {
            size_t before = char_before(s->text, begin, &c);
            if (!sail__is_white_space(c))
                break;
            begin = before;
        }
        int n;
        while (a->rstrip && end < s->len && (n = sail__utf8_next(s->text + end, s->len - end, &c)) > 0 &&
               sail__is_white_space(c))
            end += (size_t)n;
        *match = (sail__span){begin, end};
        *id = a->id;
        return true;
    }
    return false;
}
