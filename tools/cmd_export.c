/* cmd_export.c - sail export: a model or adapter in the forms that others read. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli_model.h"

struct export_options {
    const char *output, *pre;
    int type;
    bool force;
};
enum { F16 = 1 };
static const char *const types[] = {"f32", "f16", "bf16", "q8_0", NULL};
#define T struct export_options
static const sail_opt options[] = {
    SAIL_OPT_STR(T, output, .flags = SAIL_OPT_REQUIRED | SAIL_OPT_PATH, .unit = "PATH",
                 .help = "what to write: hf, peft: a directory, empty or not there; gguf, gguf-lora: a file that is not there"),
    SAIL_OPT_CHOICE(T, type, .choices = types, .def = F16, .help = "gguf, gguf-lora: how matrices are stored (gguf-lora: not q8_0)"),
    SAIL_OPT_STR(T, pre, .unit = "NAME", .help = "gguf: llama.cpp's name for the pre-tokenizer, where sail does not find one that does what tokenizer.json says"),
    SAIL_OPT_BOOL(T, force, .help = "write into a directory that holds files, or over a file"),
    {0},
};
#undef T

/* A form of output. */
struct form {
    const char *name;
    bool file, adapter; /* a file and no directory; the adapter alone */
};
static const struct form table[] = {{"hf", false, false}, {"peft", false, true}, {"gguf", true, false}, {"gguf-lora", true, true}};

static bool same(const char *a, const char *b)
{
    char x[PATH_MAX], y[PATH_MAX];
    return realpath(a, x) && realpath(b, y) && strcmp(x, y) == 0;
}

static sail_code room(sail__cli *c, const struct export_options *o, const struct form *f, sail_err *err)
{
    char **names;
    size_t n;
    if (f->file && strcmp(o->output, "-") == 0)
        return sail_fail(err, SAIL_E_USAGE, "--output - is no file: a GGUF file is not written to standard output");
    if (f->file && sail__is_dir(o->output))
        return sail_fail(err, SAIL_E_EXISTS, "%s is a directory; --output names a file", o->output);
    if (!f->adapter && !f->file && c->model.adapter && same(o->output, c->model.adapter))
        return sail_fail(err, SAIL_E_USAGE, "--output %s is the adapter's directory: name another", o->output);
    if (o->force || (!sail__file_exists(o->output) && !sail__is_dir(o->output)))
        return f->file ? sail__cli_not_of_model(c, "--output", NULL, o->output, err) : SAIL_OK;
    if (f->file)
        return sail_fail(err, SAIL_E_EXISTS, "%s is there already; --force writes over it", o->output);
    if (!sail__is_dir(o->output))
        return sail_fail(err, SAIL_E_EXISTS, "%s is a file; --output names a directory", o->output);
    SAIL_TRY(sail__list_dir(c->arena, o->output, &names, &n, err));
    return n == 0 ? SAIL_OK : sail_fail(err, SAIL_E_EXISTS, "%s is not empty; --force writes into it", o->output);
}

static sail_code save(sail__cli *c, const struct export_options *o, const struct form *f, sail__session *s, sail_err *err)
{
    static const sail_dtype of[] = {SAIL_F32, SAIL_F16, SAIL_BF16, SAIL_Q8_0};
    if (f->file)
        return f->adapter ? sail__session_save_gguf_lora(s, o->output, of[o->type], err)
                          : sail__session_save_gguf(s, o->output, of[o->type], o->pre, err);
    return f->adapter ? sail__session_save(s, o->output, err)
                      : sail__session_save_merged(s, o->output, c->model.dtype == SAIL__BF16 ? SAIL_BF16 : SAIL_F32, err);
}

static sail_code run(sail__cli *c, sail_err *err)
{
    const struct export_options *o = c->options;
    const struct form *f = table;
    while (strcmp(f->name, c->args[0]))
        f++;
    sail__session *s;
    if (f->adapter && !c->model.adapter)
        return sail_fail(err, SAIL_E_USAGE, "export %s needs --adapter: the PEFT directory to write anew", f->name);
    SAIL_TRY(room(c, o, f, err));
    if ((o->type != F16 && !f->file) || (o->pre && (!f->file || f->adapter)))
        sail_log(c->ctx, SAIL_LOG_WARN, "--%s does nothing here: %s", o->pre ? "pre" : "type",
                 o->pre ? "it says which pre-tokenizer `export gguf` names" : "it is for GGUF files; `export hf` takes --dtype f32 or bf16");
    SAIL_TRY(sail__cli_open_model(c, &(sail__cli_want){.dtype = SAIL__F32}, &s, err)); /* merged in float32, rounded once */
    sail_code code = save(c, o, f, s, err);
    sail__cli_clear(c);
    if (code == SAIL_OK && !c->quiet)
        sail__cli_line(c, "written: %s", o->output);
    sail__session_close(s);
    return code;
}

static const char *const forms[] = {"hf", "peft", "gguf", "gguf-lora", NULL};
static const sail__example examples[] = {
    {"sail export hf --model SmolLM2-135M-Instruct --adapter runs/x/adapter --dtype bf16 --output merged", "the model with the adapter merged"},
    {"sail export hf --model model.gguf --output model", "a GGUF file as a Hugging Face directory"},
    {"sail export gguf --model SmolLM2-135M-Instruct --adapter runs/x/adapter --type q8_0 --output merged.gguf", "the same for llama.cpp"},
    {"sail export gguf-lora --model SmolLM2.gguf --adapter runs/x/adapter --output adapter.gguf", "the adapter alone, for llama.cpp's --lora"},
    {0},
};
const sail__command sail__cmd_export = {
    .name = "export", .args = "hf|peft|gguf|gguf-lora", .summary = "write a model or adapter for other programs",
    .doc = "hf: a Hugging Face directory that transformers loads, an adapter merged into it, in --dtype. peft: the adapter as PEFT keeps it. "
           "gguf: a file that llama.cpp loads, an adapter merged into it, in --type. gguf-lora: the adapter for such a file. "
           "A quantised model takes least memory with --weights as_stored; what is written is the same.",
    .min_args = 1, .max_args = 1, .flags = SAIL__CLI_MODEL | SAIL__CLI_NEEDS_MODEL | SAIL__CLI_SUB, .options = options,
    .options_size = sizeof(struct export_options), .subcommands = forms, .examples = examples, .run = run,
};
