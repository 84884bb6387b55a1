/* fuzz_tokenizer.c - any JSON as tokenizer.json, and any text through it: an error, or ids of the vocabulary that decode
 * to valid UTF-8. The input is the file, a NUL, and the text; without a NUL the text is a fixed one. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_ids(const sail__tokenizer *t, const sail__ids *ids)
{
    sail_err err = {0};
    sail_buf whole = {0}, streamed = {0};
    sail__text_stream stream = {.tokenizer = t};
    for (size_t i = 0; i < ids->n; i++) {
        if (ids->items[i] < 0 || ids->items[i] >= sail__tokenizer_size(t))
            abort();
        sail__stream_push(&stream, ids->items[i], &streamed);
    }
    sail__stream_flush(&stream, &streamed);
    if (sail__decode(t, ids->items, ids->n, 0, &whole, &err) == SAIL_OK && !sail__utf8_valid(whole.data ? whole.data : "", whole.len))
        abort();
    if (!sail__utf8_valid(streamed.data ? streamed.data : "", streamed.len))
        abort();
    sail__buf_free(&whole);
    sail__buf_free(&streamed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char usual[] = "Hello,  world! 123\n\xc3\xa9t\xc3\xa9 \xe4\xbd\xa0 <|end|>";
    const uint8_t *split = size ? memchr(data, 0, size) : NULL;
    const char *text = split ? (const char *)split + 1 : usual;
    size_t n = split ? size - (size_t)(split + 1 - data) : sizeof usual - 1;
    json_t *root = json_loadb((const char *)data, split ? (size_t)(split - data) : size, JSON_REJECT_DUPLICATES, NULL);
    if (!root)
        return 0;
    sail_err err = {0};
    sail__tokenizer *t = NULL;
    if (sail__tokenizer_parse(root, "fuzz", &t, &err) == SAIL_OK) {
        for (unsigned flags = 0; flags < 16; flags += 3) {
            sail__ids ids = {0};
            if (sail__encode(t, NULL, text, n, flags, &ids, &err) == SAIL_OK)
                check_ids(t, &ids);
            sail__ids_free(&ids);
        }
        sail__tokenizer_free(t);
    } else if (err.code == SAIL_OK || !err.message[0]) {
        abort();
    }
    json_decref(root);
    return 0;
}
