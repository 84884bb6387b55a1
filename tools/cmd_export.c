/* cmd_export.c - sail export: a model or adapter in the forms that others read. */
#include <string.h>

#include "cli_model.h"

struct export_options {
    const char *output;
    bool force;
};
#define T struct export_options
static const sail_opt options[] = {
    SAIL_OPT_STR(T, output, .flags = SAIL_OPT_REQUIRED | SAIL_OPT_PATH, .unit = "DIR", .help = "directory to write; it must be empty or not there"),
    SAIL_OPT_BOOL(T, force, .help = "write into a directory that holds files, too"),
    {0},
};
#undef T

static sail_code room(sail__cli *c, const struct export_options *o, sail_err *err)
{
    char **names;
    size_t n;
    if (o->force || (!sail__file_exists(o->output) && !sail__is_dir(o->output)))
        return SAIL_OK;
    if (!sail__is_dir(o->output))
        return sail_fail(err, SAIL_E_EXISTS, "%s is a file; --output names a directory", o->output);
    SAIL_TRY(sail__list_dir(c->arena, o->output, &names, &n, err));
    return n == 0 ? SAIL_OK : sail_fail(err, SAIL_E_EXISTS, "%s is not empty; --force writes into it", o->output);
}

static sail_code run(sail__cli *c, sail_err *err)
{
    const struct export_options *o = c->options;
    bool peft = !strcmp(c->args[0], "peft");
    sail__session *s;
    if (peft && !c->model.adapter)
        return sail_fail(err, SAIL_E_USAGE, "export peft needs --adapter: the PEFT directory to write anew");
    SAIL_TRY(room(c, o, err));
    SAIL_TRY(sail__cli_open_model(c, &(sail__cli_want){.dtype = SAIL__F32}, &s, err)); /* merged in float32, rounded once */
    sail_code code = peft ? sail__session_save(s, o->output, err)
                          : sail__session_save_merged(s, o->output, c->model.dtype == SAIL__BF16 ? SAIL_BF16 : SAIL_F32, err);
    sail__cli_clear(c);
    if (code == SAIL_OK && !c->quiet)
        sail__cli_line(c, "written: %s", o->output);
    sail__session_close(s);
    return code;
}

static const char *const forms[] = {"hf", "peft", NULL};
static const sail__example examples[] = {
    {"sail export hf --model SmolLM2-135M-Instruct --adapter runs/x/adapter --dtype bf16 --output merged", "the model with the adapter merged"},
    {"sail export hf --model model.gguf --output model", "a GGUF file as a Hugging Face directory"},
    {0},
};
const sail__command sail__cmd_export = {
    .name = "export", .args = "hf|peft", .summary = "write a model or adapter for other programs",
    .doc = "hf: a Hugging Face directory that transformers loads, an adapter merged into it, in --dtype. peft: the adapter as PEFT keeps it.",
    .min_args = 1, .max_args = 1, .flags = SAIL__CLI_MODEL | SAIL__CLI_NEEDS_MODEL | SAIL__CLI_SUB, .options = options,
    .options_size = sizeof(struct export_options), .subcommands = forms, .examples = examples, .run = run,
};
