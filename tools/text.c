/* text.c - the tokenizer of --model, for commands that need no weights. */
#include <string.h>

#include "cli.h"
#include "io/gguf.h"
#include "io/tokenizer.h"

static sail_code from_gguf(const char *path, sail__tokenizer **out, sail_err *err)
{
    sail__gguf *g = NULL;
    SAIL_TRY(sail__gguf_open(path, &g, err));
    sail_code code = sail__tokenizer_from_gguf(g, out, err);
    sail__gguf_close(g);
    return code;
}

sail_code sail__cli_tokenizer(const char *path, sail__tokenizer **out, sail_err *err)
{
    const char *dot = strrchr(sail__path_base(path), '.');
    *out = NULL;
    if (!sail__is_dir(path) && dot && !strcmp(dot, ".gguf"))
        return from_gguf(path, out, err);
    return sail__tokenizer_open(path, out, err);
}
