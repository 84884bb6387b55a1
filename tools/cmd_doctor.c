/* cmd_doctor.c - sail doctor: what of this machine sail can use, and what stands in its way. */
#include <dlfcn.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "backend/registry.h"
#include "cli.h"
#include "doctor_tune.h"

struct doctor_options {
    bool tune;
    int64_t tokens;
};
static const sail_opt options[] = {
    SAIL_OPT_BOOL(struct doctor_options, tune, .help = "time the ways in which a device makes the matrix products of --model, or of the usual "
                                                       "widths, verify each, and keep what wins for later runs"),
    SAIL_OPT_INT(struct doctor_options, tokens, .min = 0, .max = 1 << 20, .help = "of a forward pass, with --tune; 0: 1024"),
    {0},
};

typedef struct doctor {
    sail__cli *c;
    sail_node *out, *problems;
    int usable; /* backends */
} doctor;

static void problem(doctor *d, const char *text)
{
    if (d->problems && text)
        sail__node_append(d->c->arena, d->problems, sail__node_string(d->c->arena, text, "sail"));
}

/* The first line of a small file that begins with key (all of it when key is ""), after the key; NULL if there is none. */
static const char *line_of(sail__cli *c, const char *path, const char *key)
{
    FILE *f = fopen(path, "r");
    char line[16384]; /* the flags of a processor are many */
    const char *found = NULL;
    while (f && !found && fgets(line, sizeof line, f))
        if (!strncmp(line, key, strlen(key))) {
            char *at = line + strlen(key);
            at += strspn(at, " \t:");
            at[strcspn(at, "\n")] = '\0';
            found = sail__arena_strdup(c->arena, at);
        }
    if (f)
        fclose(f);
    return found;
}

/* ---- processor and memory ---- */

static sail_node *cpu_features(sail__cli *c)
{
    sail_node *list = sail__cli_list(c);
#define FEATURE(name)                                                                                                  \
    if (list && __builtin_cpu_supports(name))                                                                          \
        sail__node_append(c->arena, list, sail__node_string(c->arena, name, "sail"));
#if defined(__x86_64__)
    __builtin_cpu_init();
    FEATURE("avx2") FEATURE("fma") FEATURE("avx512f") FEATURE("avx512bw") FEATURE("avx512vl") FEATURE("avx512vnni")
#endif
#undef FEATURE
    /* newer than the compilers' lists: as the kernel writes them */
    static const char *const flags[] = {"avx512_bf16", "avx512_fp16", "amx_bf16", "amx_tile", "bf16", "sve"};
    const char *all = line_of(c, "/proc/cpuinfo", "flags");
    if (!all)
        all = line_of(c, "/proc/cpuinfo", "Features");
    for (size_t i = 0; list && all && i < sizeof flags / sizeof flags[0]; i++) {
        const char *at = all;
        size_t n = strlen(flags[i]);
        while ((at = strstr(at, flags[i])) && ((at > all && at[-1] != ' ') || (at[n] && at[n] != ' ')))
            at += n;
        if (at)
            sail__node_append(c->arena, list, sail__node_string(c->arena, flags[i], "sail"));
    }
    return list;
}

static void machine(doctor *d)
{
    sail__cli *c = d->c;
    struct utsname u;
    sail_node *n = sail__cli_map(c);
    cpu_set_t set;
    const char *model = line_of(c, "/proc/cpuinfo", "model name");
    CPU_ZERO(&set);
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (uname(&u) == 0)
        sail__cli_put_string(c, n, "system", sail__arena_printf(c->arena, "%s %s %s", u.sysname, u.release, u.machine));
    sail__cli_put_string(c, n, "cpu", model);
    sail__cli_put_int(c, n, "cores", cores);
    sail__cli_put(c, n, "features", cpu_features(c));
    const char *total = line_of(c, "/proc/meminfo", "MemTotal"), *available = line_of(c, "/proc/meminfo", "MemAvailable");
    sail__cli_put_int(c, n, "memory_mib", total ? strtoll(total, NULL, 10) >> 10 : 0);
    sail__cli_put_int(c, n, "memory_available_mib", available ? strtoll(available, NULL, 10) >> 10 : 0);
    const char *limit = line_of(c, "/sys/fs/cgroup/memory.max", ""), *quota = line_of(c, "/sys/fs/cgroup/cpu.max", "");
    if (limit && *limit >= '0' && *limit <= '9')
        sail__cli_put_int(c, n, "memory_limit_mib", strtoll(limit, NULL, 10) >> 20);
    if (quota && *quota >= '0' && *quota <= '9') {
        char *end;
        double share = strtod(quota, &end), period = strtod(end, NULL);
        if (period > 0) {
            sail__cli_put_number(c, n, "cpu_limit", share / period);
            if (share / period < cores)
                problem(d, sail__arena_printf(c->arena, "%d cores are seen, but the container may use %.1f: give --threads %d", cores,
                                              share / period, (int)(share / period) > 0 ? (int)(share / period) : 1));
        }
    }
    sail__cli_put(c, d->out, "machine", n);
    if (available && strtoll(available, NULL, 10) >> 10 < 1024)
        problem(d, "less than 1 GiB of memory is free: only tiny models will fit");
}

static void disk(doctor *d)
{
    struct statvfs s;
    sail_node *n = sail__cli_map(d->c);
    if (statvfs(".", &s) != 0)
        return;
    double free_gib = (double)s.f_bavail * (double)s.f_frsize / 0x1p30;
    sail__cli_put_number(d->c, n, "free_gib", free_gib);
    sail__cli_put_bool(d->c, n, "writable", access(".", W_OK) == 0);
    sail__cli_put(d->c, d->out, "disk", n);
    if (free_gib < 1)
        problem(d, sail__arena_printf(d->c->arena, "%.2f GiB free on the disk of this directory: a checkpoint may not fit", free_gib));
    if (access(".", W_OK) != 0)
        problem(d, "this directory cannot be written: set `runs` in the recipe, or run elsewhere");
}

/* ---- libraries ---- */

/* What is linked says its version itself; asked by name, so that no header leaves its floor. */
static void libraries(doctor *d)
{
    static const struct {
        const char *library, *symbol;
    } functions[] = {{"jansson", "jansson_version_str"},  {"libyaml", "yaml_get_version_string"}, {"sqlite", "sqlite3_libversion"},
                     {"zlib", "zlibVersion"},             {"utf8proc", "utf8proc_version"}};
    sail_node *n = sail__cli_map(d->c);
    sail__cli_put_string(d->c, n, "sail", SAIL_VERSION);
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        const char *(*version)(void) = NULL;
        *(void **)&version = dlsym(RTLD_DEFAULT, functions[i].symbol);
        if (version)
            sail__cli_put_string(d->c, n, functions[i].library, version());
    }
    int (*pcre2_config)(uint32_t, void *) = NULL;
    char text[64] = "";
    *(void **)&pcre2_config = dlsym(RTLD_DEFAULT, "pcre2_config_8");
    if (pcre2_config && pcre2_config(11 /* PCRE2_CONFIG_VERSION */, NULL) < (int)sizeof text && pcre2_config(11, text) > 0)
        sail__cli_put_string(d->c, n, "pcre2", text);
    const char *lua = dlsym(RTLD_DEFAULT, "lua_ident"); /* "$LuaVersion: Lua 5.4.4  Copyright …" */
    const char *number = lua ? strstr(lua, "Lua 5") : NULL;
    if (number)
        sail__cli_put_string(d->c, n, "lua", sail__arena_strndup(d->c->arena, number + 4, strcspn(number + 4, " ")));
    sail__cli_put(d->c, d->out, "libraries", n);
}

/* ---- backends ---- */

static sail_node *device_node(sail__cli *c, const sail_device_info *i)
{
    sail_node *n = sail__cli_map(c);
    sail__cli_put_string(c, n, "name", i->name);
    sail__cli_put_string(c, n, "kind", i->kind);
    sail__cli_put_string(c, n, "vendor", i->vendor);
    sail__cli_put_string(c, n, "driver", i->driver);
    sail__cli_put_string(c, n, "note", i->note);
    sail__cli_put_int(c, n, "memory_mib", (int64_t)(i->memory >> 20));
    sail__cli_put_int(c, n, "largest_allocation_mib", (int64_t)(i->largest_allocation >> 20));
    sail__cli_put_int(c, n, "compute_units", i->compute_units);
    return n;
}

static sail_code backend_devices(doctor *d, const sail_found *f, sail_node *list, sail_err *err)
{
    enum { MOST = 16 };
    sail_slot slot = {0};
    sail_problems problems = {.arena = d->c->arena};
    sail_device_info info[MOST];
    int n = 0;
    memset(info, 0, sizeof info);
    if (!sail__slot_parse(d->c->ctx, d->c->arena, SAIL_KIND_BACKEND, sail__node_string(d->c->arena, f->name, "sail"), "backend", NULL, NULL,
                          &slot, &problems))
        return sail__problems_fail(&problems, SAIL_E_PLUGIN, err);
    const sail_backend *b = slot.loaded->ops;
    SAIL_TRY(b->devices(d->c->ctx, slot.options, info, MOST, &n, err));
    for (int i = 0; i < n && i < MOST; i++)
        sail__node_append(d->c->arena, list, device_node(d->c, &info[i]));
    d->usable += n > 0;
    return SAIL_OK;
}

static sail_code plugins(doctor *d, sail_err *err)
{
    sail__cli *c = d->c;
    sail_found *found = NULL;
    size_t n = 0, counts[SAIL_KIND_COUNT] = {0};
    sail_node *backends = sail__cli_list(c), *kinds = sail__cli_map(c);
    SAIL_TRY(sail__plugins_list(c->ctx, c->arena, &found, &n, err));
    for (size_t i = 0; i < n; i++) {
        if (found[i].problem) {
            const bool loader = strstr(found[i].problem, "libOpenCL") != NULL; /* what Debian's oneDNN is linked with */
            problem(d, sail__arena_printf(c->arena, "plugin %s: %s%s", found[i].path, found[i].problem,
                                          loader ? ": oneDNN needs it, too: install ocl-icd-libopencl1 (Debian, Ubuntu) or ocl-icd (Fedora)" : ""));
            continue;
        }
        if (found[i].kind < SAIL_KIND_COUNT)
            counts[found[i].kind]++;
        if (found[i].kind != SAIL_KIND_BACKEND || !backends)
            continue;
        sail_node *row = sail__cli_map(c), *devices = sail__cli_list(c);
        sail__cli_put_string(c, row, "name", found[i].name);
        sail__cli_put_string(c, row, "path", found[i].path);
        if (devices && backend_devices(d, &found[i], devices, err) != SAIL_OK) {
            sail__cli_put_string(c, row, "problem", err->message);
            problem(d, sail__arena_printf(c->arena, "backend %s: %s", found[i].name, err->message));
        }
        sail__cli_put(c, row, "devices", devices);
        if (row)
            sail__node_append(c->arena, backends, row);
    }
    for (int k = 0; k < SAIL_KIND_COUNT; k++)
        sail__cli_put_int(c, kinds, sail__kind_name((sail_kind)k), (int64_t)counts[k]);
    sail__cli_put(c, d->out, "backends", backends);
    sail__cli_put(c, d->out, "plugins", kinds);
    if (!d->usable)
        problem(d, "no backend can be used: SAIL_PLUGIN_PATH must name the directory that holds backend/cpu.so, or sail be built anew");
    return SAIL_OK;
}

/* What `backend: auto` would take. */
static void automatic(doctor *d)
{
    const char *name;
    char reason[SAIL__AUTO_REASON];
    sail_err err = {0};
    sail_node *n = sail__cli_map(d->c);
    if (!n || sail__backend_auto(d->c->ctx, &name, reason, &err) != SAIL_OK)
        return;
    sail__cli_put_string(d->c, n, "backend", name);
    sail__cli_put_int(d->c, n, "device", 0);
    sail__cli_put_string(d->c, n, "reason", reason);
    sail__cli_put(d->c, d->out, "auto", n);
}

/* ---- for people ---- */

static void scalar(sail_buf *b, const sail_node *n)
{
    if (n->kind == SAIL_NODE_STRING)
        sail__buf_str(b, n->string.data);
    else if (n->kind == SAIL_NODE_FLOAT)
        sail__buf_printf(b, "%.1f", n->number);
    else
        sail__node_to_json(b, n);
}

static void print_map(sail__cli *c, const char *title, const sail_node *map)
{
    sail__cli_line(c, "%s%s%s", sail__tone_code(c, SAIL__BOLD), title, sail__tone_code(c, SAIL__PLAIN));
    for (size_t i = 0; map && i < map->list.n; i++) {
        sail_buf b = {0};
        const sail_node *v = map->list.items[i];
        if (v->kind == SAIL_NODE_LIST)
            for (size_t k = 0; k < v->list.n; k++) {
                sail__buf_str(&b, k ? " " : "");
                scalar(&b, v->list.items[k]);
            }
        else
            scalar(&b, v);
        sail__cli_line(c, "  %-22s %s", map->list.keys[i], b.data ? b.data : "");
        sail__buf_free(&b);
    }
}

static const char *text_of(const sail_node *map, const char *key)
{
    const sail_node *n = sail__node_get(map, key);
    return n && n->kind == SAIL_NODE_STRING ? n->string.data : "";
}

static double number_of(const sail_node *map, const char *key)
{
    const sail_node *n = sail__node_get(map, key);
    return n && n->kind == SAIL_NODE_INT ? (double)n->integer : 0;
}

static void print_device(sail__cli *c, const sail_node *backend, size_t index, const sail_node *v)
{
    const char *note = text_of(v, "note"), *driver = text_of(v, "driver");
    const double memory = number_of(v, "memory_mib") / 1024, largest = number_of(v, "largest_allocation_mib") / 1024;
    sail__cli_line(c, "  %s%s%s:%zu  %s (%s)%s%s", sail__tone_code(c, SAIL__CYAN), text_of(backend, "name"), sail__tone_code(c, SAIL__PLAIN),
                   index, text_of(v, "name"), text_of(v, "kind"), *note ? ": " : "", note);
    if (*driver && memory > 0)
        sail__cli_line(c, "            driver %s; %.1f GiB, at most %.1f GiB at once; %.0f compute units", driver, memory, largest,
                       number_of(v, "compute_units"));
}

static void print(doctor *d)
{
    sail__cli *c = d->c;
    const sail_node *backends = sail__node_get(d->out, "backends");
    print_map(c, "machine", sail__node_get(d->out, "machine"));
    print_map(c, "disk (this directory)", sail__node_get(d->out, "disk"));
    print_map(c, "libraries", sail__node_get(d->out, "libraries"));
    print_map(c, "plugins", sail__node_get(d->out, "plugins"));
    sail__cli_line(c, "%sbackends%s", sail__tone_code(c, SAIL__BOLD), sail__tone_code(c, SAIL__PLAIN));
    for (size_t i = 0; backends && i < backends->list.n; i++) {
        const sail_node *b = backends->list.items[i], *devices = sail__node_get(b, "devices");
        for (size_t k = 0; devices && k < devices->list.n; k++)
            print_device(c, b, k, devices->list.items[k]);
    }
    if (sail__node_get(d->out, "auto"))
        sail__cli_line(c, "  auto: %s:0 (%s)", text_of(sail__node_get(d->out, "auto"), "backend"),
                       text_of(sail__node_get(d->out, "auto"), "reason"));
    for (size_t i = 0; d->problems && i < d->problems->list.n; i++)
        sail__cli_line(c, "%sproblem:%s %s", sail__tone_code(c, SAIL__YELLOW), sail__tone_code(c, SAIL__PLAIN),
                       d->problems->list.items[i]->string.data);
    if (d->problems && !d->problems->list.n)
        sail__cli_line(c, "%sno problems%s", sail__tone_code(c, SAIL__GREEN), sail__tone_code(c, SAIL__PLAIN));
}

static sail_code run(sail__cli *c, sail_err *err)
{
    const struct doctor_options *o = c->options;
    if (o->tune)
        return sail__doctor_tune(c, o->tokens ? o->tokens : 1024, err);
    if (o->tokens || c->model.model)
        sail_log(c->ctx, SAIL_LOG_WARN, "--%s does nothing here: it says what --tune times", c->model.model ? "model" : "tokens");
    doctor d = {.c = c, .out = sail__cli_map(c), .problems = sail__cli_list(c)};
    if (!d.out || !d.problems)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    machine(&d);
    disk(&d);
    libraries(&d);
    SAIL_TRY(plugins(&d, err));
    automatic(&d);
    sail__cli_put(c, d.out, "problems", d.problems);
    if (c->json)
        SAIL_TRY(sail__cli_print_json(c, d.out, err));
    else
        print(&d);
    return d.usable ? SAIL_OK : sail_fail(err, SAIL_E_DEVICE, "no backend can be used");
}

static const sail__example examples[] = {
    {"sail doctor", "before the first run, or when something is slow"},
    {"sail doctor --json", "for a bug report"},
    {"sail doctor --tune --backend opencl --model SmolLM2-135M", "before long runs on a GPU: the best ways of its matrix products"},
    {0},
};
const sail__command sail__cmd_doctor = {
    .name = "doctor", .args = "", .summary = "look at this machine: processor, memory, backends, devices, libraries, plugins",
    .doc = "Says what sail would use and what stands in its way. The exit status is 1 when no backend can be used; other problems are "
           "only told.",
    .flags = SAIL__CLI_JSON | SAIL__CLI_MODEL, .options = options, .options_size = sizeof(struct doctor_options), .examples = examples,
    .run = run,
};
