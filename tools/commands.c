/* commands.c - the table of commands, and the options they share. */
#include "cli_impl.h"

#define GROUP(title)
#define CMD(name) extern const sail__command sail__cmd_##name;
#include "commands.def"
#undef CMD
static const sail__command *const commands[] = {
#define CMD(name) &sail__cmd_##name,
#include "commands.def"
#undef CMD
#undef GROUP
};

const sail__command *const *sail__commands(size_t *n)
{
    *n = sizeof commands / sizeof commands[0];
    return commands;
}

const sail__command *sail__command_find(const char *name)
{
    size_t n;
    const sail__command *const *all = sail__commands(&n);
    for (size_t i = 0; i < n; i++)
        if (!strcmp(all[i]->name, name))
            return all[i];
    return NULL;
}

const char *sail__command_group(const sail__command *cmd)
{
    const char *group = "";
#define GROUP(title) group = title;
#define CMD(name)                                                                                                      \
    if (cmd == &sail__cmd_##name)                                                                                      \
        return group;
#include "commands.def"
#undef CMD
#undef GROUP
    return "";
}

static const char *const dtypes[] = {"f32", "bf16", NULL};
static const char *const kept[] = {"converted", "as_stored", NULL};

#define T sail__cli_model
const sail_opt sail__cli_model_options[] = {
    SAIL_OPT_STR(T, model, .flags = SAIL_OPT_PATH, .unit = "DIR_OR_GGUF", .help = "Hugging Face directory or GGUF file, or hf:OWNER/NAME[@REVISION][/FILE] (sail help hub)"),
    SAIL_OPT_STR(T, adapter, .flags = SAIL_OPT_PATH, .unit = "DIR", .help = "PEFT adapter on top of it"),
    SAIL_OPT_STR(T, backend, .def_str = "cpu", .unit = "NAME", .help = "what computes: cpu, opencl, ref, or auto: opencl where it has a GPU, else cpu"),
    SAIL_OPT_CHOICE(T, dtype, .choices = dtypes, .help = "of weights and matrix products"),
    SAIL_OPT_CHOICE(T, weights, .choices = kept, .help = "as_stored: a quantised GGUF stays quantised in memory; converted: to the dtype"),
    SAIL_OPT_INT(T, threads, .min = 0, .max = 4096, .help = "0: one a core"),
    SAIL_OPT_STR(T, device, .help = "of the backend: index, kind (gpu, cpu), or part or pattern of its name; unset: the best"),
    {0},
};
#undef T

#define T sail__cli_sampling
const sail_opt sail__cli_sampling_options[] = {
    SAIL_OPT_BOOL(T, greedy, .help = "always the likeliest token"),
    SAIL_OPT_F64(T, temperature, .def = 1, .min = 0, .max = 100, .help = "0: greedy"),
    SAIL_OPT_INT(T, top_k, .min = 0, .max = 1 << 24, .help = "draw from the K likeliest tokens; 0: all"),
    SAIL_OPT_F64(T, top_p, .def = 1, .min = 0, .max = 1, .help = "draw from the likeliest tokens that hold this share"),
    SAIL_OPT_F64(T, min_p, .min = 0, .max = 1, .help = "leave out tokens below this share of the likeliest one's probability"),
    SAIL_OPT_F64(T, repetition_penalty, .def = 1, .min = 0.01, .max = 100,
                 .help = "logits of tokens that occurred, in the prompt too, are divided by it (negative ones multiplied); 1: none"),
    SAIL_OPT_NODE(T, stop, .unit = "TEXT", .help = "end a response where it has written this"),
    SAIL_OPT_INT(T, seed, .min = 0, .max = 9007199254740992, .help = "of the draws"),
    {0},
};
#undef T

#define T common_options
const sail_opt sail__cli_common_options[] = {
    SAIL_OPT_BOOL(T, verbose, .help = "say more (-v)"),
    SAIL_OPT_BOOL(T, quiet, .help = "warnings and errors only (-q)"),
    SAIL_OPT_BOOL(T, help, .help = "this help (-h)"),
    {0},
};
const sail_opt sail__cli_json_options[] = {
    SAIL_OPT_BOOL(T, json, .help = "print JSON for scripts"),
    {0},
};
#undef T
