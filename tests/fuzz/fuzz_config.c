/* fuzz_config.c - any JSON as config.json: an error, or a config whose parameters can be listed and whose rotation can
 * be worked out. */
#include <stdlib.h>

#include "io/hf_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static double frequencies[4096];
    sail_err err = {0};
    sail_arena *a = sail__arena_new();
    sail_node *n, *out;
    sail__model_config c;
    sail__param *params;
    size_t count;
    if (sail__json_parse(a, (const char *)data, size, "fuzz", 1, &n, &err) == SAIL_OK &&
        sail__config_from_node(a, n, n, &c, &err) == SAIL_OK) {
        for (int i = 0; i < c.n_ropes; i++) {
            sail__rope_frequencies(&c.ropes[i], false, frequencies);
            sail__rope_frequencies(&c.ropes[i], true, frequencies);
        }
        if (sail__model_params(a, &c, &params, &count, &err) != SAIL_OK)
            abort();
        (void)sail__config_to_node(a, &c, &out, &err);
    }
    sail__arena_free(a);
    return 0;
}
