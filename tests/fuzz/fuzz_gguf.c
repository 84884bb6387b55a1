/* fuzz_gguf.c - any bytes as a GGUF file: an error, or keys and tensors whose every byte can be read, and a config from
 * them or an error. */
#include <stdlib.h>

#include "io/hf_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_keys(const sail__gguf *g)
{
    volatile double sum = 0;
    for (size_t i = 0; sail__gguf_kv_at(g, i); i++) {
        const sail__gguf_kv *kv = sail__gguf_kv_at(g, i);
        if (sail__gguf_get(g, kv->key) != kv)
            abort();
        for (size_t k = 0; k < kv->n; k++) {
            sum = sum + (double)sail__gguf_int_at(kv, k) + sail__gguf_double_at(kv, k);
            for (size_t b = 0; kv->strings && b < kv->strings[k].len; b++)
                sum = sum + kv->strings[k].data[b];
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sail_err err = {0};
    sail__gguf *g;
    if (sail__gguf_open_memory(data, size, "fuzz", &g, &err) != SAIL_OK) {
        if (err.code == SAIL_OK || !err.message[0])
            abort();
        return 0;
    }
    volatile unsigned sum = 0;
    for (size_t i = 0; i < sail__gguf_count(g); i++) {
        const sail__gguf_tensor *t = sail__gguf_at(g, i);
        char shape[64];
        sail__gguf_shape(t, shape, sizeof shape);
        for (size_t k = 0; k < t->bytes; k++)
            sum = sum + ((const unsigned char *)t->data)[k];
    }
    read_keys(g);
    sail_arena *a = sail__arena_new();
    sail__model_config c;
    if (sail__config_from_gguf(a, g, &c, &err) == SAIL_OK) {
        sail__param *params;
        sail_node *n;
        size_t count;
        (void)sail__model_params(a, &c, &params, &count, &err);
        (void)sail__config_to_node(a, &c, &n, &err);
    }
    sail__arena_free(a);
    sail__gguf_close(g);
    return 0;
}
