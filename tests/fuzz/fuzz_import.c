/* fuzz_import.c - any text as another trainer's configuration: an error, or a recipe that is the same after being written and read again,
 * whatever its remarks quote. The first byte chooses the stage. */
#include "fuzz.h"
#include "import.h"
#include "recipe/recipe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void quiet(void *user, sail_log_level level, const char *message) {}

static void round_trip(sail__import *x)
{
    sail_err err = {0};
    sail_buf text = {0};
    sail_node *again;
    sail__import_write(x, &text);
    if (text.oom || sail__yaml_parse(x->c->arena, text.data, text.len, "again.yaml", &again, &err) != SAIL_OK || !sail__node_equal(x->recipe, again))
        abort();
    sail__buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    sail_err err = {0};
    if (!size)
        return 0;
    const int fd = fuzz_file(data + 1, size - 1, path);
    sail__cli c = {.arena = sail__arena_new(), .ctx = sail_ctx_new()};
    sail__import x = {.c = &c};
    if (!c.arena || !c.ctx)
        abort();
    sail_ctx_set_log(c.ctx, SAIL_LOG_ERROR, quiet, NULL);
    const int stage = data[0] % (SAIL__IMPORT_STAGES + 1); /* the last: NULL, to be guessed */
    if (sail__import_read(&x, path, sail__import_stage_names[stage], &err) == SAIL_OK)
        round_trip(&x);
    else if (!err.message[0])
        abort();
    sail_ctx_free(c.ctx);
    sail__arena_free(c.arena);
    close(fd);
    return 0;
}
