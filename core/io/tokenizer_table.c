/* tokenizer_table.c - lists of ids, GPT-2's alphabet of bytes, and strings found by their text. */
#include <string.h>

#include "tokenizer_impl.h"

sail_code sail__ids_add(sail__ids *a, const int32_t *ids, size_t n, sail_err *err)
{
    SAIL_TRY(sail__grow(&a->items, &a->cap, a->n + n, sizeof *a->items, err));
    if (n)
        memcpy(a->items + a->n, ids, n * sizeof *ids);
    a->n += n;
    return SAIL_OK;
}

void sail__ids_free(sail__ids *a)
{
    sail__free(a->items);
    memset(a, 0, sizeof *a);
}

/* GPT-2's alphabet: printable bytes stand for themselves, the others are U+0100 and on, in order. */
static bool stands_for_itself(unsigned b)
{
    return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
}

uint32_t sail__byte_char(unsigned char b)
{
    if (stands_for_itself(b))
        return b;
    uint32_t c = 0x100;
    for (unsigned i = 0; i < b; i++)
        c += !stands_for_itself(i);
    return c;
}

int sail__char_byte(uint32_t c)
{
    if (c < 0x100)
        return stands_for_itself(c) ? (int)c : -1;
    if (c < 0x121)
        return (int)(c - 0x100);
    if (c < 0x143)
        return (int)(c - 0x121 + 0x7F);
    return c == 0x143 ? 0xAD : -1;
}

sail_code sail__table_build(sail__string_table *h, const sail__string *strings, int32_t n, sail_err *err)
{
    size_t slots = 16;
    while (slots < (size_t)n * 2)
        slots *= 2;
    h->slots = sail__calloc(slots, sizeof *h->slots);
    if (!h->slots)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    h->mask = slots - 1;
    for (int32_t i = 0; i < n; i++) {
        if (!strings[i].data || sail__lookup(h, strings, strings[i].data, strings[i].len) >= 0)
            continue;
        size_t at = sail__hash64(strings[i].data, strings[i].len, 0) & h->mask;
        while (h->slots[at])
            at = (at + 1) & h->mask;
        h->slots[at] = (uint32_t)i + 1;
    }
    return SAIL_OK;
}

int32_t sail__lookup(const sail__string_table *h, const sail__string *strings, const char *s, size_t len)
{
    if (!h->slots)
        return -1;
    for (size_t at = sail__hash64(s, len, 0) & h->mask; h->slots[at]; at = (at + 1) & h->mask) {
        const sail__string *c = &strings[h->slots[at] - 1];
        if (c->len == len && memcmp(c->data, s, len) == 0)
            return (int32_t)(h->slots[at] - 1);
    }
    return -1;
}
