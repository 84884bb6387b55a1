/* judge_person.c - a person as judge. Pairs without an answer become questions of the run, which saves and stops; `sail judge`
 * shows them, and a resumed run finds the answers. Which response is shown first is drawn by seed and content, and kept. */
#include <string.h>

#include "../base/base.h"
#include "../sail/judge.h"
#include "../sail/plugin.h"
#include "../sail/rng.h"
#include "judges.h"
#include "judging.h"

struct person {
    const char *name;
    int64_t seed;
};
static const sail_opt opts[] = {
    SAIL_OPT_STR(struct person, name, .def_str = "person", .help = "whose answers these are"),
    SAIL_OPT_INT(struct person, seed, .min = 0, .max = 1e15, .help = "of the order in which the two responses are shown"),
    {0},
};

static sail_code open_person(const void *self, sail_ctx *ctx, void **state, sail_err *err)
{
    const struct person *o = self;
    *state = sail__strdup(o->name && *o->name ? o->name : "person");
    return *state ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

static void close_person(const void *self, void *state) { sail__free(state); }

static const char *about(const void *self, void *state) { return state; }

static sail_code ask(const void *self, void *state, const sail_judge_item *items, int64_t n, const sail_judge_host *host, sail_err *err)
{
    const struct person *o = self;
    for (int64_t i = 0; i < n; i++) {
        uint64_t a = sail__hash64(items[i].response[0], strlen(items[i].response[0]), items[i].id);
        uint64_t b = sail__hash64(items[i].response[1], strlen(items[i].response[1]), 1);
        int first = !host->as_shown && sail_rng_uniform((uint64_t)o->seed, SAIL_RNG_USER, a, b, 0) < 0.5;
        sail_verdict v = sail__no_verdict();
        sail_code code = SAIL_OK;
        bool answered = host->answered(host, i, first, &v.outcome, &code, err);
        SAIL_TRY(code);
        if (answered)
            SAIL_TRY(host->verdict(host, i, &v, NULL, err));
    }
    return SAIL_OK;
}

static const sail_judge ops = {.size = sizeof ops, .open = open_person, .close = close_person, .ask = ask, .about = about};

sail_code sail__judge_person_install(sail_ctx *ctx, sail_err *err)
{
    static const sail_plugin p = {sizeof p, SAIL_ABI_MAJOR, SAIL_ABI_MINOR, SAIL_KIND_JUDGE, SAIL_CAP_PAIRS, "person",
                                  "somebody at a terminal: the run stops, `sail judge` asks", "", opts, (uint32_t)sizeof(sail_opt),
                                  (uint32_t)sizeof(struct person), &ops};
    return sail__plugins_add(ctx, &p, "(built in)", err);
}
