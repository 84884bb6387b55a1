/* fuzz_checkpoint.c - any COMPLETE and state.json as a checkpoint: it loads only where both are what a writer wrote, and
 * is refused as damaged otherwise. First byte: 0 COMPLETE as given; 1 with a last line that has the right hash; 2 as a
 * writer writes it for that state.json, which must load whenever the JSON is whole. Then COMPLETE, a NUL, state.json. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(const char *dir, const char *name, const void *data, size_t size)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    if (!f || (size && fwrite(data, 1, size, f) != size) || fclose(f) != 0)
        abort();
}

static void seal(sail_buf *b)
{
    char hash[33];
    sail__hash_hex(b->data ? b->data : "", b->len, hash);
    sail__buf_printf(b, "end %s\n", hash);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char root[256], dir[300], hash[33];
    sail_err err = {0};
    if (size < 2)
        return 0;
    const char *complete = (const char *)data + 1, *state = memchr(complete, 0, size - 1);
    size_t n = state ? (size_t)(state - complete) : size - 1, n_state = state ? size - 2 - n : 0;
    state = state ? state + 1 : "";
    const char *tmp = getenv("TMPDIR");
    snprintf(root, sizeof root, "%.200s/sail-fuzz-%d", tmp ? tmp : "/tmp", (int)getpid());
    snprintf(dir, sizeof dir, "%s/step-000007", root);
    if ((mkdir(root, 0700) != 0 && access(root, W_OK) != 0) || (mkdir(dir, 0700) != 0 && access(dir, W_OK) != 0))
        abort();
    sail_buf b = {0};
    if (data[0] == 2) {
        sail__hash_hex(state, n_state, hash);
        sail__buf_printf(&b, "sail-checkpoint 1 7\n%s %zu state.json\n", hash, n_state);
    } else {
        sail__buf_add(&b, complete, n);
    }
    if (data[0] == 1 || data[0] == 2)
        seal(&b);
    put(dir, "COMPLETE", b.data ? b.data : "", b.len);
    put(dir, "state.json", state, n_state);
    sail_arena *a = sail__arena_new();
    sail__checkpoint loaded, newest;
    sail_node *json;
    bool whole = sail__json_parse(a, state, n_state, "state", 1, &json, &err) == SAIL_OK;
    sail_code code = sail__checkpoint_load(a, dir, &loaded, &err);
    if (data[0] == 2 && whole && code != SAIL_OK)
        abort();
    if (code == SAIL_OK && (!whole || loaded.step != 7 || !sail__node_equal(json, loaded.state)))
        abort();
    sail_ctx *ctx = sail_ctx_new();
    sail_ctx_set_log(ctx, SAIL_LOG_ERROR, NULL, NULL);
    if ((sail__checkpoint_newest(ctx, a, root, -1, &newest, &err) == SAIL_OK) != (code == SAIL_OK))
        abort();
    sail_ctx_free(ctx);
    sail__buf_free(&b);
    sail__arena_free(a);
    (void)sail__remove_tree(root, &err);
    return 0;
}
