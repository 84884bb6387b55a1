/* cmd_pull.c - sail pull: a model or data set of the Hugging Face hub into the cache, where hf:OWNER/NAME finds it. */
#include <string.h>

#include "cli.h"
#include "io/hub_pull.h"

struct pull_options {
    const sail_node *include;
    const char *gguf;
    int64_t patience, tries;
    bool verify;
};
#define T struct pull_options
static const sail_opt options[] = {
    SAIL_OPT_NODE(T, include, .unit = "PATTERN",
                  .help =
                      "fetch files like this instead of what a model needs: a path, a pattern, or letters of a name"),
    SAIL_OPT_STR(T, gguf, .unit = "PATTERN",
                 .help = "fetch this GGUF file: its name, a pattern, or letters of it, such as Q4_K_M"),
    SAIL_OPT_BOOL(T, verify,
                  .help = "hold the files that are there against their hashes, and fetch anew what is damaged"),
    SAIL_OPT_INT(T, patience, .def = 20, .min = 1, .max = 3600, .unit = "SECONDS",
                 .help = "without a byte, after which a connection is given up and tried again"),
    SAIL_OPT_INT(T, tries, .def = 6, .min = 1, .max = 1000,
                 .help = "in a row that bring nothing, after which a request is given up"),
    {0},
};
#undef T

static sail_code patterns(sail__cli *c, const struct pull_options *o, sail__pull *p, sail_err *err)
{
    size_t n = (o->include ? o->include->list.n : 0) + (p->name.file != NULL);
    const char **list = sail__arena_array(c->arena, n + 1, sizeof *list);
    if (!list)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; o->include && i < o->include->list.n; i++)
        SAIL_TRY(sail__node_as_string(o->include->list.items[i], "--include", &list[p->n_include++], err));
    if (p->name.file)
        list[p->n_include++] = p->name.file;
    p->include = list;
    p->gguf = o->gguf;
    return p->gguf && n ? sail_fail(err, SAIL_E_USAGE, "--gguf is one file, --include are others: give one of them")
                        : SAIL_OK;
}

static sail_code show(sail__cli *c, const sail__pull *p, const sail__pulled *r, sail_err *err)
{
    const char *name = sail__hub_text(c->arena, &p->name);
    char size[16], came[16];
    if (!name)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (c->json) {
        sail_node *out = sail__cli_map(c);
        sail__cli_put_string(c, out, "name", name);
        sail__cli_put_string(c, out, "commit", r->commit);
        sail__cli_put_string(c, out, "path", r->path);
        sail__cli_put_int(c, out, "files", (int64_t)r->files);
        sail__cli_put_int(c, out, "bytes", (int64_t)r->bytes);
        sail__cli_put_int(c, out, "fetched_files", (int64_t)r->fetched);
        sail__cli_put_int(c, out, "fetched_bytes", (int64_t)r->fetched_bytes);
        return sail__cli_print_json(c, out, err);
    }
    sail__cli_line(c, "hf:%s%s%s: %zu file%s, %s, of which %s were fetched", name, p->gguf ? "/" : "",
                   p->gguf ? sail__path_base(r->path) : "", r->files, r->files == 1 ? "" : "s",
                   sail__size_text(r->bytes, size), r->fetched ? sail__size_text(r->fetched_bytes, came) : "none");
    sail__cli_line(c, "%s", r->path);
    return SAIL_OK;
}

static sail_code run(sail__cli *c, sail_err *err)
{
    const struct pull_options *o = c->options;
    sail__pull p = {.verify = o->verify, .patience = (double)o->patience, .tries = (int)o->tries};
    sail__pulled r;
    SAIL_TRY(sail__hub_parse(c->arena, c->args[0], &p.name, err));
    SAIL_TRY(patterns(c, o, &p, err));
    sail_code code = sail__hub_pull(c->ctx, c->arena, &p, &r, err);
    sail__cli_clear(c);
    if (code == SAIL_E_CANCEL)
        sail_log(c->ctx, SAIL_LOG_INFO, "what has come is kept: run it again to go on");
    return code == SAIL_OK ? show(c, &p, &r, err) : code;
}

static const sail__example examples[] = {
    {"sail pull HuggingFaceTB/SmolLM2-135M-Instruct", "a model: then --model hf:HuggingFaceTB/SmolLM2-135M-Instruct"},
    {"sail pull bartowski/SmolLM2-135M-Instruct-GGUF --gguf Q4_K_M", "one file of many"},
    {"sail pull datasets/Anthropic/hh-rlhf --include 'harmless-base/*'",
     "data: then data.train=hf:datasets/Anthropic/hh-rlhf/harmless-base/train.jsonl.gz"},
    {0},
};
const sail__command sail__cmd_pull = {
    .name = "pull",
    .args = "[datasets/]OWNER/NAME[@REVISION][/FILE]",
    .summary = "fetch a model of the Hugging Face hub into its cache",
    .doc = "Fetches what sail needs of a model (config, tokenizer, chat template, safetensors) into the cache that "
           "Hugging Face's tools use, too; "
           "files there are not fetched again. A pull that was stopped goes on where it was. Every file is held "
           "against the size and hash that "
           "the hub records before it can be seen. Pickles (.bin, .pt) and ONNX are never fetched. `sail help "
           "environment` has the variables: "
           "the cache's place, the token, another hub.",
    .min_args = 1,
    .max_args = 1,
    .flags = SAIL__CLI_JSON | SAIL__CLI_SIGNALS,
    .options = options,
    .options_size = sizeof(struct pull_options),
    .examples = examples,
    .run = run,
};
