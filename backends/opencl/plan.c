/* plan.c - which way a matrix product takes: candidates, the table of choices, and its text on disk and in checkpoints. */
#include <stdlib.h>
#include <string.h>

#include "matmul.h"

static const char *const way_names[OCL_WAYS] = {"tiles", "pairs", "panels", "lines"};

static int64_t up(int64_t n, int64_t by) { return (n + by - 1) / by; }

/* ---- classes ---- */

/* 0 to 8 each alone; from there on two classes an octave: 9-11, 12-15, 16-23, … */
static uint64_t class_of_size(int64_t n)
{
    if (n <= 8)
        return (uint64_t)(n > 0 ? n : 0);
    const int log = 63 - __builtin_clzll((unsigned long long)n);
    return (uint64_t)(2 * log + (n >> (log - 1) & 1) + 3);
}

static int64_t smallest(uint64_t c)
{
    return c <= 8 ? (int64_t)c : c == 9 ? 9 : (int64_t)(2 + (c - 3) % 2) << ((c - 3) / 2 - 1);
}

uint64_t ocl_class_of(const ocl_shape *s)
{
    return (uint64_t)s->a | (uint64_t)s->b << 6 | (uint64_t)s->y << 12 | (uint64_t)s->ta << 18 | (uint64_t)s->tb << 19 |
           class_of_size(s->m) << 20 | class_of_size(s->n) << 28 | class_of_size(s->k) << 36;
}

ocl_shape ocl_class_shape(uint64_t c)
{
    return (ocl_shape){(sail_dtype)(c & 63), (sail_dtype)(c >> 6 & 63), (sail_dtype)(c >> 12 & 63), c >> 18 & 1, c >> 19 & 1,
                       smallest(c >> 20 & 255), smallest(c >> 28 & 255), smallest(c >> 36 & 255)};
}

void ocl_shape_text(const ocl_shape *s, char *out, size_t room)
{
    snprintf(out, room, "%s%s %s %s %s %lld %lld %lld", s->ta ? "t" : "n", s->tb ? "t" : "n", sail_dtype_name(s->a), sail_dtype_name(s->b),
             sail_dtype_name(s->y), (long long)s->m, (long long)s->n, (long long)s->k);
}

/* ---- candidates ---- */

static bool same(const ocl_plan *a, const ocl_plan *b) { return a->way == b->way && !memcmp(a->n, b->n, sizeof a->n); }

void ocl_plan_text(const ocl_plan *p, char *out, size_t room)
{
    size_t at = (size_t)snprintf(out, room, "%s", way_names[p->way]);
    for (int i = 0; i < OCL_PLAN_NUMBERS && at < room; i++)
        at += (size_t)snprintf(out + at, room - at, " %d", p->n[i]);
}

static void add(ocl_plan out[OCL_CANDIDATES], int *n, ocl_plan p)
{
    for (int i = 0; i < *n; i++)
        if (same(&out[i], &p))
            return;
    if (*n < OCL_CANDIDATES)
        out[(*n)++] = p;
}

/* The terms in how many parts, so that there are groups enough: a power of two. */
static int parts_for(const sail_device *d, const ocl_shape *s, const int t[OCL_PLAN_NUMBERS])
{
    const int64_t have = up(s->m, t[TM]) * up(s->n, t[TN]), busy = 2 * d->facts.units, most = s->k / 256;
    int parts = 1;
    while (parts < 16 && parts * 2 <= most && have * parts * 2 <= busy)
        parts *= 2;
    return parts;
}

enum { FEW_SUMS = 32 };

static bool tile_fits(const sail_device *d, const int t[OCL_PLAN_NUMBERS])
{
    const size_t items = (size_t)(t[TM] / t[WM] * (t[TN] / t[WN]));
    if (d->facts.few_registers && t[WM] * t[WN] > FEW_SUMS)
        return false;
    return items <= d->facts.group && (uint64_t)t[TK] * (uint64_t)(t[TM] + t[TN] + 8) * 4 <= d->facts.local_bytes;
}

/* The largest tile of which there are enough to keep the device busy comes first. */
static void tiles(const sail_device *d, const ocl_shape *s, ocl_way way, ocl_plan *out, int *n)
{
    static const int all[][5] = {{128, 128, 16, 8, 8}, {64, 64, 16, 4, 4}, {32, 32, 16, 4, 4}, {128, 64, 16, 8, 8}, {64, 128, 16, 8, 8},
                                 {64, 64, 16, 8, 8},   {64, 64, 32, 4, 4}, {32, 64, 16, 4, 4}, {32, 32, 32, 4, 4}};
    const int count = d->facts.cpu ? 3 : (int)(sizeof all / sizeof *all);
    int first = 0;
    ocl_plan p = {.way = way};
    for (; first < 2; first++)
        if (tile_fits(d, all[first]) && up(s->m, all[first][TM]) * up(s->n, all[first][TN]) >= 2 * d->facts.units)
            break;
    for (int i = -1; i < count; i++) {
        memcpy(p.n, all[i < 0 ? first : i], sizeof all[0]);
        if (!tile_fits(d, p.n))
            continue;
        const int parts = parts_for(d, s, p.n);
        p.n[PARTS] = parts;
        add(out, n, p);
        if (s->k >= 512 * parts && parts < 16) {
            p.n[PARTS] = 2 * parts;
            add(out, n, p);
        }
        p.n[PARTS] = 1;
        add(out, n, p);
    }
}

static void panels(const sail_device *d, ocl_plan *out, int *n)
{
    static const int wide[][2] = {{12, 2}, {8, 3}, {6, 4}, {14, 2}}, narrow[][2] = {{6, 2}, {4, 3}, {8, 1}, {4, 2}};
    const int length = d->facts.vector;
    for (int each = 8; each >= 2; each /= 4)
        for (int i = 0; i < 4; i++) {
            const int *b = length == 16 ? wide[i] : narrow[i];
            add(out, n, (ocl_plan){OCL_PANELS, {length, b[0], b[1], each}});
        }
}

static void lines(const sail_device *d, const ocl_shape *s, ocl_plan *out, int *n)
{
    const int wide = d->facts.vector >= 8 ? 16 : 4, first = s->m > 2 ? 2 : 4;
    if (d->facts.cpu) {
        add(out, n, (ocl_plan){OCL_LINES, {wide, first, 1, 1}});
        add(out, n, (ocl_plan){OCL_LINES, {wide, 6 - first, 1, 1}});
        add(out, n, (ocl_plan){OCL_LINES, {wide, 1, 1, 1}});
    } else if (s->tb)
        for (int items = 64; items >= 16; items /= 2)
            for (int block = 1; block <= 2; block++) {
                add(out, n, (ocl_plan){OCL_LINES, {4, block, items, 64 / items}});
                if (s->m <= 2 && (s->a != SAIL_F32 || sail_dtype_is_quantised(s->b))) /* more rows of sums than registers */
                    add(out, n, (ocl_plan){OCL_LINES, {16, block, items, 64 / items}});
            }
    else
        for (int items = 16; items >= 4; items /= 2)
            add(out, n, (ocl_plan){OCL_LINES, {4, 1, items, 64 / items}});
}

static void lines_by_subgroups(const sail_device *d, int size, ocl_plan *out, int *n)
{
    for (int block = 1; block <= 2; block++)
        add(out, n, (ocl_plan){OCL_LINES, {4, block, size, 1, 1}});
}

int ocl_candidates(sail_device *d, const ocl_shape *s, ocl_plan out[OCL_CANDIDATES])
{
    const int forced = d->options.variants;
    const bool few = s->m <= 8 && !s->ta; /* a processor's arithmetic is float32 */
    const bool paired = s->a == s->b && (!d->facts.cpu || forced == OCL_VARIANTS_PAIRS) && ocl_pairs(d, s->a) > 0;
    int n = 0;
    if (paired && forced == OCL_VARIANTS_PAIRS)
        tiles(d, s, OCL_PAIRS, out, &n);
    if (few && s->tb && forced == OCL_VARIANTS_SUBGROUPS)
        lines_by_subgroups(d, ocl_subgroup_size(d), out, &n);
    if (few)
        lines(d, s, out, &n);
    if (few && s->tb && !d->facts.cpu && ocl_subgroup_size(d) > 0)
        lines_by_subgroups(d, ocl_subgroup_size(d), out, &n);
    if (d->facts.cpu && s->k > 0 && s->m >= 8 && s->n >= 8) /* copying an operand costs as much as a few rows or columns */
        panels(d, out, &n);
    tiles(d, s, OCL_TILES, out, &n);
    if (paired)
        tiles(d, s, OCL_PAIRS, out, &n);
    if (s->m > 8 && s->m < 64 && !s->ta)
        lines(d, s, out, &n);
    return n;
}

/* ---- the table ---- */

typedef struct choice {
    uint64_t class_;
    ocl_plan plan;
    bool timed;
} choice;

struct ocl_tuning {
    choice *items;
    size_t n, cap;
};

static const char kind[] = "tuning";

static choice *find(ocl_tuning *t, uint64_t class_)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->items[i].class_ == class_)
            return &t->items[i];
    return NULL;
}

static sail_code put(ocl_tuning *t, const choice *c, sail_err *err)
{
    choice *old = find(t, c->class_);
    if (!old) {
        if (t->n == t->cap) {
            const size_t cap = t->cap ? 2 * t->cap : 64;
            choice *more = realloc(t->items, cap * sizeof *more);
            if (!more)
                return sail_fail(err, SAIL_E_NOMEM, "opencl: no memory for the choices of matrix products");
            t->items = more;
            t->cap = cap;
        }
        old = &t->items[t->n++];
    }
    *old = *c;
    return SAIL_OK;
}

/* What choices depend on: the device and the kernels. */
static void key_of(const sail_device *d, ocl_key *out)
{
    const char *texts[16] = {"choices 1", d->build};
    int n = 2;
    for (const ocl_source *s = ocl_sources; s->name && n < 15; s++)
        if (!strncmp(s->name, "matmul", 6) || !strcmp(s->name, "quant") || !strcmp(s->name, "dot2") || !strcmp(s->name, "prelude"))
            texts[n++] = s->text;
    ocl_key_of(d, texts, out);
}

/* ---- as text: a first line with the key, then one a class: "nt f32 f32 f32 512 576 576 = panels 16 12 2 8 0 0 timed" ---- */

static void head_of(const sail_device *d, char out[96])
{
    ocl_key key;
    key_of(d, &key);
    size_t at = (size_t)snprintf(out, 96, "sail-opencl-choices 1 ");
    for (int i = 0; i < 32; i++)
        at += (size_t)snprintf(out + at, 96 - at, "%02x", key.hash[i]);
}

static size_t print(const sail_device *d, const ocl_tuning *t, bool timed_only, char *out, size_t room)
{
    char head[96], shape[128], plan[128];
    head_of(d, head);
    size_t at = (size_t)snprintf(out, room, "%s\n", head);
    for (size_t i = 0; i < t->n; i++) {
        const choice *c = &t->items[i];
        if (timed_only && !c->timed)
            continue;
        const ocl_shape s = ocl_class_shape(c->class_);
        ocl_shape_text(&s, shape, sizeof shape);
        ocl_plan_text(&c->plan, plan, sizeof plan);
        at += (size_t)snprintf(at < room ? out + at : NULL, at < room ? room - at : 0, "%s = %s%s\n", shape, plan, c->timed ? " timed" : "");
    }
    return at;
}

/* One line; false: it says nothing that this device could do. */
static bool parse(sail_device *d, const char *line, choice *out)
{
    char trans[3], types[3][16], way[16], timed[8] = "";
    long long size[3];
    int v[OCL_PLAN_NUMBERS];
    ocl_shape s;
    ocl_plan all[OCL_CANDIDATES];
    if (sscanf(line, "%2s %15s %15s %15s %lld %lld %lld = %15s %d %d %d %d %d %d %7s", trans, types[0], types[1], types[2], &size[0], &size[1],
               &size[2], way, &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], timed) < 14 ||
        !sail_dtype_parse(types[0], &s.a) || !sail_dtype_parse(types[1], &s.b) || !sail_dtype_parse(types[2], &s.y))
        return false;
    s.ta = trans[0] == 't';
    s.tb = trans[1] == 't';
    s.m = size[0], s.n = size[1], s.k = size[2];
    *out = (choice){.class_ = ocl_class_of(&s), .timed = !strcmp(timed, "timed")};
    memcpy(out->plan.n, v, sizeof v);
    for (int i = 0; i < OCL_WAYS; i++)
        if (!strcmp(way, way_names[i]))
            out->plan.way = (ocl_way)i;
    s = ocl_class_shape(out->class_);
    for (int i = ocl_candidates(d, &s, all); i-- > 0;)
        if (same(&all[i], &out->plan))
            return true;
    return false;
}

/* Adds what the text says to the table; false: it is of another device or other kernels. */
static sail_code read(sail_device *d, ocl_tuning *t, const char *text, bool *ours, sail_err *err)
{
    char head[96];
    head_of(d, head);
    *ours = !strncmp(text, head, strlen(head)) && text[strlen(head)] == '\n';
    if (!*ours)
        return SAIL_OK;
    for (const char *line = text + strlen(head) + 1; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        choice c;
        if (parse(d, line, &c))
            SAIL_TRY(put(t, &c, err));
    }
    return SAIL_OK;
}

static sail_code from_disk(sail_device *d, ocl_tuning *t, sail_err *err)
{
    ocl_key key;
    unsigned char *data;
    size_t n;
    bool ours;
    key_of(d, &key);
    if (!ocl_cache_get(d, kind, &key, &data, &n))
        return SAIL_OK;
    char *text = strndup((const char *)data, n);
    free(data);
    const sail_code code = text ? read(d, t, text, &ours, err) : sail_fail(err, SAIL_E_NOMEM, "opencl: no memory for the choices");
    free(text);
    return code;
}

static sail_code table(sail_device *d, ocl_tuning **out, sail_err *err)
{
    if (!d->tuning) {
        d->tuning = calloc(1, sizeof *d->tuning);
        if (!d->tuning)
            return sail_fail(err, SAIL_E_NOMEM, "opencl: no memory for the choices of matrix products");
        if (d->options.tune != OCL_TUNE_OFF)
            SAIL_TRY(from_disk(d, d->tuning, err));
    }
    *out = d->tuning;
    return SAIL_OK;
}

void ocl_tuning_free(sail_device *d)
{
    if (d->tuning)
        free(d->tuning->items);
    free(d->tuning);
    d->tuning = NULL;
}

sail_code ocl_plan_keep(sail_device *d, const ocl_shape *s, const ocl_plan *p, bool timed, sail_err *err)
{
    ocl_tuning *t;
    SAIL_TRY(table(d, &t, err));
    SAIL_TRY(put(t, &(choice){ocl_class_of(s), *p, timed}, err));
    if (!timed || !d->cache)
        return SAIL_OK;
    ocl_tuning all = {0}; /* what other processes found stays */
    ocl_key key;
    sail_code code = from_disk(d, &all, err);
    for (size_t i = 0; i < t->n && code == SAIL_OK; i++)
        if (t->items[i].timed)
            code = put(&all, &t->items[i], err);
    const size_t n = code == SAIL_OK ? print(d, &all, true, NULL, 0) : 0;
    char *text = n ? malloc(n + 1) : NULL;
    if (text) {
        print(d, &all, true, text, n + 1);
        key_of(d, &key);
        ocl_cache_put(d, kind, &key, (const unsigned char *)text, n);
    }
    free(text);
    free(all.items);
    return code;
}

sail_code ocl_plan_for(sail_device *d, const ocl_shape *s, ocl_plan *out, sail_err *err)
{
    ocl_tuning *t;
    const uint64_t class_ = ocl_class_of(s);
    SAIL_TRY(table(d, &t, err));
    const choice *c = find(t, class_);
    if (c) {
        *out = c->plan;
        return SAIL_OK;
    }
    if (d->options.tune == OCL_TUNE_ON && s->k > 0)
        return ocl_tune(d, s, NULL, NULL, out, err);
    ocl_plan all[OCL_CANDIDATES];
    const ocl_shape smallest_one = ocl_class_shape(class_);
    ocl_candidates(d, &smallest_one, all);
    *out = all[0];
    return put(t, &(choice){class_, all[0], false}, err);
}

/* ---- in checkpoints ---- */

sail_code ocl_choices_save(sail_device *d, void *out, size_t room, size_t *n, sail_err *err)
{
    ocl_tuning *t;
    SAIL_TRY(table(d, &t, err));
    *n = print(d, t, false, out, room);
    return SAIL_OK;
}

sail_code ocl_choices_load(sail_device *d, const void *data, size_t n, sail_err *err)
{
    bool ours = false;
    ocl_tuning *fresh = calloc(1, sizeof *fresh);
    char *text = strndup(data, n);
    sail_code code = fresh && text ? read(d, fresh, text, &ours, err)
                                   : sail_fail(err, SAIL_E_NOMEM, "opencl: no memory for the choices of matrix products");
    free(text);
    if (code != SAIL_OK || !ours) {
        if (fresh)
            free(fresh->items);
        free(fresh);
        if (code == SAIL_OK)
            sail_log(d->ctx, SAIL_LOG_WARN, "opencl: the kept choices of matrix products are of another device, driver or version: results may "
                     "differ in the last bits");
        return code;
    }
    ocl_tuning_free(d);
    d->tuning = fresh;
    return SAIL_OK;
}
