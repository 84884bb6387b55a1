/* fuzz_safetensors.c - any bytes as a safetensors file: an error or tensors whose every byte can be read. */
#include <stdlib.h>

#include "io/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sail_err err = {0};
    sail__safetensors *f;
    if (sail__safetensors_open_memory(data, size, "fuzz", &f, &err) != SAIL_OK) {
        if (err.code == SAIL_OK || !err.message[0])
            abort();
        return 0;
    }
    volatile unsigned sum = 0;
    for (size_t i = 0; i < sail__safetensors_count(f); i++) {
        const sail__st_tensor *t = sail__safetensors_at(f, i);
        char shape[64];
        sail__st_shape(t, shape, sizeof shape);
        for (size_t k = 0; k < t->bytes; k++)
            sum = sum + ((const unsigned char *)t->data)[k];
        if (sail__safetensors_find(f, t->name) != t)
            abort();
    }
    sail__safetensors_metadata(f, "format");
    sail__safetensors_close(f);
    return 0;
}
