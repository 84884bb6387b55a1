/* cmd_world.c - sail world: data of a small world, for the quickstart. */
#include "cli.h"
#include "world.h"

#define T sail__world_options
static const sail_opt options[] = {
    SAIL_OPT_INT(T, seed, .def = 1, .min = 0, .max = 1e15, .help = "of everything that is drawn"),
    SAIL_OPT_INT(T, demonstrations, .def = 1600, .min = 1, .max = 900000, .help = "rows of sft.jsonl"),
    SAIL_OPT_INT(T, pairs, .def = 1000, .min = 1, .max = 900000, .help = "rows of pairs.jsonl"),
    SAIL_OPT_INT(T, eval, .def = 96, .min = 1, .max = 900000, .help = "rows of eval.jsonl; their prompts are in no other file"),
    SAIL_OPT_F64(T, temperature, .def = 0.5, .min = 1e-3, .max = 1e3, .help = "of the labels; larger: noisier"),
    {0},
};
#undef T

static sail_code run(sail__cli *c, sail_err *err)
{
    const sail__world_options *o = c->options;
    if (!*c->args[0])
        return sail_fail(err, SAIL_E_USAGE, "DIR is empty: name a directory");
    SAIL_TRY(sail__world_write(o, c->args[0], err));
    sail__cli_line(c, "%s: %lld demonstrations, %lld pairs, %lld pairs for evaluation", c->args[0], (long long)o->demonstrations,
                   (long long)o->pairs, (long long)o->eval);
    return SAIL_OK;
}

static const sail__example examples[] = {{"sail world runs/world", "the data of recipes/quickstart.lua"}, {NULL, NULL}};
const sail__command sail__cmd_world = {
    .name = "world",
    .args = "DIR",
    .summary = "write the data of a small world of animals",
    .doc = "Demonstrations (sft.jsonl), preference pairs (pairs.jsonl, eval.jsonl), a tokenizer, and the truth behind the labels "
           "(truth.txt, for the rule judge; world.json). The pairs use only part of the words that the demonstrations teach.",
    .min_args = 1,
    .max_args = 1,
    .options = options,
    .options_size = sizeof(sail__world_options),
    .examples = examples,
    .run = run,
};
