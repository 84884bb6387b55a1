/* jinja_exec.c - statements: a tree to text; names and their scopes, loops, macros. */
#include <stdio.h>

#include "jinja_impl.h"

struct sail__jmacro {
    const sail__jnode *node;
    sail__jscope *closure;
};
struct sail__jloop {
    sail__jlist list;
    size_t at;
    int depth;
    const sail__jnode *node; /* recursive loops */
    sail__jscope *closure;
    sail__jlist changed; /* what loop.changed saw last */
    bool seen;
};
typedef enum flow { ON, BREAK, CONTINUE, FAILED } flow;

static flow run(sail__jvm *vm, const sail__jnode *n);

/* ---- names ---- */

static sail__jscope *push(sail__jvm *vm, sail__jscope *parent)
{
    sail__jscope *s = sail__jalloc(vm, 1, sizeof *s);
    if (s)
        s->parent = parent;
    return s;
}

static bool put(sail__jvm *vm, sail__jscope *s, const sail__jname *name, sail__jv v)
{
    for (unsigned i = 0; i < s->n; i++)
        if (s->vars[i].name == name) {
            s->vars[i].value = v;
            return true;
        }
    if (s->n == s->cap) {
        unsigned cap = s->cap ? 2 * s->cap : 4;
        sail__jvar *vars = sail__jalloc(vm, cap, sizeof *vars);
        if (!vars)
            return false;
        if (s->n)
            memcpy(vars, s->vars, s->n * sizeof *vars);
        s->vars = vars;
        s->cap = cap;
    }
    s->vars[s->n++] = (sail__jvar){name, v};
    return true;
}

bool sail__jlookup(sail__jvm *vm, const sail__jname *name, sail__jv *out)
{
    for (const sail__jscope *s = vm->scope; s; s = s->parent) {
        if (!sail__jstep(vm, s->n / 8))
            return false;
        for (unsigned i = 0; i < s->n; i++)
            if (s->vars[i].name == name) {
                *out = s->vars[i].value;
                return true;
            }
    }
    const sail__jentry *e = sail__jentry_find(sail__jglobals, name->text.p);
    if (!e)
        return sail__jv_undefined(vm, out, "'%.200s' is undefined", name->text.p);
    sail__jbound *b = sail__jalloc(vm, 1, sizeof *b);
    if (!b)
        return false;
    *b = (sail__jbound){.name = e->name, .fn = e->fn};
    *out = SAIL__JV(FUNCTION, .bound = b);
    return true;
}

static const sail__jname *known(sail__jvm *vm, const char *name)
{
    return sail__jname_find(vm->t, name, strlen(name)); /* NULL: no one asks for it */
}

static bool put_known(sail__jvm *vm, sail__jscope *s, const char *name, sail__jv v)
{
    const sail__jname *n = known(vm, name);
    return !n || put(vm, s, n, v);
}

static bool unpack(sail__jvm *vm, const sail__jnode *target, const sail__jv *value)
{
    sail__jlist l;
    if (value->kind == SAIL__J_UNDEFINED)
        return sail__jundefined_used(vm, value);
    if (!sail__jitems_of(vm, value, &l))
        return false;
    if (l.n > target->n)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "too many values to unpack (expected %u)", target->n);
    if (l.n < target->n)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "not enough values to unpack (expected %u, got %zu)", target->n, l.n);
    for (unsigned i = 0; i < target->n; i++)
        if (!sail__jassign(vm, target->items[i], &l.items[i]))
            return false;
    return true;
}

bool sail__jassign(sail__jvm *vm, const sail__jnode *target, const sail__jv *value)
{
    if (target->kind == SAIL__JN_TUPLE)
        return unpack(vm, target, value);
    if (target->kind == SAIL__JN_NAME)
        return put(vm, vm->scope, target->name, *value);
    sail__jv ns;
    if (!sail__jlookup(vm, target->name, &ns))
        return false;
    if (ns.kind != SAIL__J_NAMESPACE)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "cannot assign attribute on non-namespace object");
    sail__jv key = SAIL__JV(STRING, .string = &target->names[0]->text);
    return sail__jdict_set(vm, ns.dict, key, *value);
}

/* ---- bodies ---- */

/* The text of a body that goes elsewhere than to the output. */
static flow capture(sail__jvm *vm, const sail__jnode *body, sail__jscope *scope, sail__jv *out)
{
    sail__jbuf b = {0}, *outer = vm->out;
    sail__jscope *before = vm->scope;
    if (!scope)
        return FAILED;
    vm->out = &b;
    vm->scope = scope;
    flow f = run(vm, body);
    vm->out = outer;
    vm->scope = before;
    return f == FAILED || !sail__jv_built(vm, &b, out) ? FAILED : f;
}

static flow scoped(sail__jvm *vm, const sail__jnode *body, sail__jscope *scope)
{
    sail__jscope *before = vm->scope;
    if (!scope)
        return FAILED;
    vm->scope = scope;
    flow f = run(vm, body);
    vm->scope = before;
    return f;
}

/* ---- loops ---- */

static bool keep(sail__jvm *vm, const sail__jnode *n, sail__jlist *l)
{
    sail__jitems kept = {0};
    sail__jscope *before = vm->scope;
    for (size_t i = 0; i < l->n; i++) {
        sail__jv yes;
        if (!(vm->scope = push(vm, before)) || !sail__jassign(vm, n->a, &l->items[i]) || !sail__jeval(vm, n->c, &yes))
            return false;
        if (sail__jtruth(&yes) && !sail__jitems_add(vm, &kept, l->items[i]))
            return false;
    }
    vm->scope = before;
    *l = (sail__jlist){kept.items, kept.n};
    return true;
}

static flow loop_over(sail__jvm *vm, const sail__jnode *n, const sail__jv *over, sail__jscope *closure, int depth)
{
    sail__jlist l;
    sail__jscope *before = vm->scope;
    if (!sail__jitems_of(vm, over, &l))
        return FAILED;
    vm->scope = closure;
    if (n->c && !keep(vm, n, &l))
        return FAILED;
    sail__jloop *loop = sail__jalloc(vm, 1, sizeof *loop);
    if (!loop)
        return FAILED;
    *loop = (sail__jloop){.list = l, .depth = depth, .node = n->flag ? n : NULL, .closure = closure};
    flow f = ON;
    for (size_t i = 0; i < l.n && f != BREAK; i++) {
        loop->at = i;
        if (!sail__jstep(vm, 1) || !(vm->scope = push(vm, closure)) ||
            !put_known(vm, vm->scope, "loop", SAIL__JV(LOOP, .loop = loop)) || !sail__jassign(vm, n->a, &l.items[i]) ||
            (f = run(vm, n->body)) == FAILED)
            return FAILED;
    }
    vm->scope = closure;
    f = ON;
    if (!l.n && n->other)
        f = scoped(vm, n->other, push(vm, closure));
    vm->scope = before;
    return f;
}

static flow for_loop(sail__jvm *vm, const sail__jnode *n)
{
    sail__jv over;
    return sail__jeval(vm, n->b, &over) ? loop_over(vm, n, &over, vm->scope, 1) : FAILED;
}

bool sail__jcall_loop(sail__jvm *vm, sail__jloop *l, const sail__jargs *args, sail__jv *out)
{
    if (!l->node)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "The loop must have the 'recursive' marker to be called recursively.");
    if (args->n != 1 || args->n_named)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "a loop is called with what it goes over");
    sail__jbuf b = {0}, *outer = vm->out;
    vm->out = &b;
    flow f = loop_over(vm, l->node, &args->items[0], l->closure, l->depth + 1);
    vm->out = outer;
    return f != FAILED && sail__jv_built(vm, &b, out);
}

SAIL__JFN(cycle)
{
    if (!args->n)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "no items for cycling given");
    *out = args->items[self->loop->at % args->n];
    return true;
}

SAIL__JFN(changed)
{
    sail__jloop *l = self->loop;
    bool same = l->seen && l->changed.n == args->n;
    for (size_t i = 0; i < args->n && same; i++)
        if (!sail__jequal(vm, &l->changed.items[i], &args->items[i], &same))
            return false;
    l->seen = true;
    l->changed = (sail__jlist){(sail__jv *)args->items, args->n};
    *out = SAIL__JV(BOOL, .boolean = !same);
    return true;
}

bool sail__jloop_attr(sail__jvm *vm, sail__jloop *l, const char *name, sail__jv *out, bool *found)
{
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {{"index", (int64_t)l->at + 1},
                   {"index0", (int64_t)l->at},
                   {"revindex", (int64_t)(l->list.n - l->at)},
                   {"revindex0", (int64_t)(l->list.n - l->at) - 1},
                   {"length", (int64_t)l->list.n},
                   {"depth", l->depth},
                   {"depth0", l->depth - 1}};
    *found = true;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (strcmp(name, numbers[i].name) == 0) {
            *out = SAIL__JV(INT, .integer = numbers[i].value);
            return true;
        }
    bool first = strcmp(name, "first") == 0, previous = strcmp(name, "previtem") == 0;
    if (first || strcmp(name, "last") == 0) {
        *out = SAIL__JV(BOOL, .boolean = first ? l->at == 0 : l->at + 1 == l->list.n);
        return true;
    }
    if (previous || strcmp(name, "nextitem") == 0) {
        if (previous ? l->at == 0 : l->at + 1 >= l->list.n)
            return sail__jv_undefined(vm, out, "there is no %s item", previous ? "previous" : "next");
        *out = l->list.items[previous ? l->at - 1 : l->at + 1];
        return true;
    }
    bool is_cycle = strcmp(name, "cycle") == 0;
    if (!is_cycle && strcmp(name, "changed") != 0) {
        *found = false;
        return true;
    }
    sail__jbound *b = sail__jalloc(vm, 1, sizeof *b);
    if (!b)
        return false;
    *b = (sail__jbound){
        .name = is_cycle ? "cycle" : "changed", .fn = is_cycle ? cycle : changed, .self = SAIL__JV(LOOP, .loop = l)};
    *out = SAIL__JV(FUNCTION, .bound = b);
    return true;
}

void sail__jloop_text(const sail__jloop *l, char *out, size_t size)
{
    snprintf(out, size, "<LoopContext %zu/%zu>", l->at + 1, l->list.n);
}

/* ---- macros ---- */

const char *sail__jmacro_name(const sail__jmacro *m)
{
    return m->node->name->text.p;
}

bool sail__jmacro_attr(sail__jvm *vm, const sail__jmacro *m, const char *name, sail__jv *out, bool *found)
{
    *found = true;
    if (strcmp(name, "name") == 0)
        return sail__jv_text(vm, sail__jmacro_name(m), out);
    if (strcmp(name, "arguments") == 0) {
        sail__jitems l = {0};
        for (unsigned i = 0; i < m->node->n_named; i++) {
            sail__jv v = SAIL__JV(STRING, .string = &m->node->names[i]->text);
            if (!sail__jitems_add(vm, &l, v))
                return false;
        }
        return sail__jv_list(vm, SAIL__J_TUPLE, l.items, l.n, out);
    }
    unsigned uses = (unsigned)m->node->op;
    unsigned flag = strcmp(name, "caller") == 0          ? SAIL__J_USES_CALLER
                    : strcmp(name, "catch_varargs") == 0 ? SAIL__J_USES_VARARGS
                    : strcmp(name, "catch_kwargs") == 0  ? SAIL__J_USES_KWARGS
                                                         : 0;
    *found = flag != 0;
    *out = SAIL__JV(BOOL, .boolean = (uses & flag) != 0);
    return true;
}

/* Arguments that are not parameters: varargs, kwargs, caller. */
static bool extra_arguments(sail__jvm *vm, const sail__jnode *m, const sail__jargs *args, const bool *used, sail__jscope *s)
{
    unsigned uses = (unsigned)m->op;
    size_t more = args->n > m->n_named ? args->n - m->n_named : 0;
    if (more && !(uses & SAIL__J_USES_VARARGS))
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "macro '%s' takes not more than %u argument(s)", m->name->text.p, m->n_named);
    sail__jdict *kwargs = sail__jdict_new(vm, 0);
    sail__jv caller = {0};
    if (!kwargs)
        return false;
    for (size_t i = 0; i < args->n_named; i++) {
        if (used[i])
            continue;
        if ((uses & SAIL__J_USES_CALLER) && args->names[i]->n == 6 && memcmp(args->names[i]->p, "caller", 6) == 0) {
            caller = args->named[i];
            continue;
        }
        if (!(uses & SAIL__J_USES_KWARGS))
            return sail__jfail(vm, SAIL__JINJA_RUNTIME, "macro '%s' takes no keyword argument '%.100s'", m->name->text.p,
                               args->names[i]->p);
        sail__jv key = SAIL__JV(STRING, .string = args->names[i]);
        if (!sail__jdict_set(vm, kwargs, key, args->named[i]))
            return false;
    }
    sail__jv rest;
    if (!sail__jv_list(vm, SAIL__J_TUPLE, more ? args->items + m->n_named : NULL, more, &rest))
        return false;
    if (!caller.kind && (uses & SAIL__J_USES_CALLER) && !sail__jv_undefined(vm, &caller, "No caller defined"))
        return false;
    return (!(uses & SAIL__J_USES_VARARGS) || put_known(vm, s, "varargs", rest)) &&
           (!(uses & SAIL__J_USES_KWARGS) || put_known(vm, s, "kwargs", SAIL__JV(DICT, .dict = kwargs))) &&
           (!(uses & SAIL__J_USES_CALLER) || put_known(vm, s, "caller", caller));
}

static bool bind_parameters(sail__jvm *vm, const sail__jnode *m, const sail__jargs *args, sail__jscope *s)
{
    bool *used = sail__jalloc(vm, args->n_named + 1, sizeof *used);
    if (!used)
        return false;
    for (unsigned i = 0; i < m->n_named; i++) {
        const sail__jv *given = i < args->n ? &args->items[i] : NULL;
        for (size_t k = 0; k < args->n_named; k++) {
            const sail__jstr *name = args->names[k];
            if (used[k] || name->n != m->names[i]->text.n || memcmp(name->p, m->names[i]->text.p, name->n) != 0)
                continue;
            if (given)
                return sail__jfail(vm, SAIL__JINJA_RUNTIME, "macro '%s' got multiple values for argument '%.100s'",
                                   m->name->text.p, name->p);
            used[k] = true;
            given = &args->named[k];
        }
        sail__jv v;
        if (given) {
            v = *given;
        } else if (m->named[i]) { /* may refer to the parameters before it */
            if (!sail__jeval(vm, m->named[i], &v))
                return false;
        } else if (!sail__jv_undefined(vm, &v, "parameter '%.100s' was not provided", m->names[i]->text.p)) {
            return false;
        }
        if (!put(vm, s, m->names[i], v))
            return false;
    }
    return extra_arguments(vm, m, args, used, s);
}

bool sail__jcall_macro(sail__jvm *vm, const sail__jmacro *m, const sail__jargs *args, sail__jv *out)
{
    sail__jscope *before = vm->scope, *s = push(vm, m->closure);
    if (!s)
        return false;
    vm->scope = s;
    int line = vm->line;
    bool ok = bind_parameters(vm, m->node, args, s);
    vm->scope = before;
    if (!ok || capture(vm, m->node->body, s, out) == FAILED)
        return false;
    vm->line = line;
    return true;
}

static bool new_macro(sail__jvm *vm, const sail__jnode *n, sail__jv *out)
{
    sail__jmacro *m = sail__jalloc(vm, 1, sizeof *m);
    if (!m)
        return false;
    *m = (sail__jmacro){n, vm->scope};
    *out = SAIL__JV(MACRO, .macro = m);
    return true;
}

static bool call_block(sail__jvm *vm, const sail__jnode *n)
{
    sail__jv callee, caller, result;
    sail__jargs args;
    if (!sail__jeval(vm, n->a->a, &callee) || !sail__jeval_args(vm, n->a, &args) || !new_macro(vm, n->b, &caller))
        return false;
    static const sail__jstr name = {.p = "caller", .n = 6};
    sail__jv *named = sail__jalloc(vm, args.n_named + 1, sizeof *named);
    const sail__jstr **names = sail__jalloc(vm, args.n_named + 1, sizeof *names);
    if (!named || !names)
        return false;
    for (size_t i = 0; i < args.n_named; i++) {
        named[i] = args.named[i];
        names[i] = args.names[i];
    }
    named[args.n_named] = caller;
    names[args.n_named] = &name;
    args.named = named;
    args.names = names;
    args.n_named++;
    return sail__jcall(vm, &callee, &args, &result) && sail__jv_str(vm, &result, vm->out);
}

/* ---- statements ---- */

static flow if_block(sail__jvm *vm, const sail__jnode *n)
{
    for (unsigned i = 0; i + 1 < n->n; i += 2) {
        sail__jv v;
        vm->line = i ? n->items[i]->line : vm->line;
        if (!sail__jeval(vm, n->items[i], &v))
            return FAILED;
        if (sail__jtruth(&v))
            return run(vm, n->items[i + 1]);
    }
    return n->other ? run(vm, n->other) : ON;
}

static flow set_block(sail__jvm *vm, const sail__jnode *n)
{
    sail__jv v;
    flow f = capture(vm, n->body, push(vm, vm->scope), &v);
    if (f != ON)
        return f;
    if (n->b && !sail__japply_filters(vm, n->b, &v, &v))
        return FAILED;
    return sail__jassign(vm, n->a, &v) ? ON : FAILED;
}

static flow filter_block(sail__jvm *vm, const sail__jnode *n)
{
    sail__jv v;
    flow f = capture(vm, n->body, push(vm, vm->scope), &v);
    if (f != ON)
        return f;
    return sail__japply_filters(vm, n->a, &v, &v) && sail__jv_str(vm, &v, vm->out) ? ON : FAILED;
}

static flow with(sail__jvm *vm, const sail__jnode *n)
{
    sail__jscope *before = vm->scope, *s = push(vm, before);
    for (unsigned i = 0; s && i < n->n; i += 2) {
        sail__jv v;
        if (!sail__jeval(vm, n->items[i + 1], &v)) /* values do not see each other */
            return FAILED;
        vm->scope = s;
        bool ok = sail__jassign(vm, n->items[i], &v);
        vm->scope = before;
        if (!ok)
            return FAILED;
    }
    return scoped(vm, n->body, s);
}

static flow generation(sail__jvm *vm, const sail__jnode *n)
{
    sail__jv v;
    if (capture(vm, n->body, push(vm, vm->scope), &v) == FAILED)
        return FAILED;
    size_t begin = vm->text.n; /* as transformers counts it: from what is written, also inside macros */
    sail__spans *s = vm->generation;
    if (sail__grow(&s->items, &s->cap, s->n + 1, sizeof *s->items, vm->err) != SAIL_OK)
        return FAILED;
    s->items[s->n++] = (sail__span){begin, begin + v.string->n};
    return sail__jv_str(vm, &v, vm->out) ? ON : FAILED;
}

static bool print(sail__jvm *vm, const sail__jnode *n)
{
    sail__jv v;
    if (!sail__jeval(vm, n->a, &v))
        return false;
    return sail__jv_str(vm, &v, vm->out);
}

static bool set(sail__jvm *vm, const sail__jnode *n)
{
    sail__jv v;
    return sail__jeval(vm, n->b, &v) && sail__jassign(vm, n->a, &v);
}

static bool define(sail__jvm *vm, const sail__jnode *n)
{
    sail__jv v;
    return new_macro(vm, n, &v) && put(vm, vm->scope, n->name, v);
}

static flow statement(sail__jvm *vm, const sail__jnode *n)
{
    switch (n->kind) {
    case SAIL__JN_DATA:
        return sail__jbuf_add(vm, vm->out, n->value.string->p, n->value.string->n, NULL) ? ON : FAILED;
    case SAIL__JN_PRINT:
        return print(vm, n) ? ON : FAILED;
    case SAIL__JN_FOR:
        return for_loop(vm, n);
    case SAIL__JN_IF:
        return if_block(vm, n);
    case SAIL__JN_SET:
        return set(vm, n) ? ON : FAILED;
    case SAIL__JN_SET_BLOCK:
        return set_block(vm, n);
    case SAIL__JN_MACRO:
        return define(vm, n) ? ON : FAILED;
    case SAIL__JN_CALL_BLOCK:
        return call_block(vm, n) ? ON : FAILED;
    case SAIL__JN_FILTER_BLOCK:
        return filter_block(vm, n);
    case SAIL__JN_WITH:
        return with(vm, n);
    case SAIL__JN_GENERATION:
        return generation(vm, n);
    case SAIL__JN_SCOPE:
        return scoped(vm, n->body, push(vm, vm->scope));
    case SAIL__JN_BREAK:
        return BREAK;
    case SAIL__JN_CONTINUE:
        return CONTINUE;
    default:
        return run(vm, n);
    }
}

static flow run(sail__jvm *vm, const sail__jnode *body)
{
    if (++vm->depth > vm->depth_limit) {
        sail__jfail(vm, SAIL__JINJA_LIMIT, "the template nests more than %d levels", vm->depth_limit);
        return FAILED;
    }
    flow f = ON;
    for (unsigned i = 0; i < body->n && f == ON; i++) {
        if (!sail__jstep(vm, 1))
            return FAILED;
        vm->line = body->items[i]->kind == SAIL__JN_PRINT ? body->items[i]->a->line : body->items[i]->line;
        f = statement(vm, body->items[i]);
    }
    vm->depth--;
    return f;
}

/* ---- a rendering ---- */

static bool variables(sail__jvm *vm)
{
    const sail_node *map = vm->o->variables;
    for (size_t i = 0; map && map->kind == SAIL_NODE_MAP && i < map->list.n; i++) {
        const sail__jname *name = known(vm, map->list.keys[i]);
        bool foreign = false;
        sail__jv v;
        for (const char *const *f = vm->o->foreign; f && *f && !foreign; f++)
            foreign = strcmp(*f, map->list.keys[i]) == 0;
        if (name && (!sail__jv_from_node(vm, map->list.items[i], foreign, &v) || !put(vm, vm->root, name, v)))
            return false;
    }
    return true;
}

sail_code sail__spans_add(sail__spans *s, size_t begin, size_t end, sail_err *err)
{
    if (s->n && s->items[s->n - 1].end == begin) {
        s->items[s->n - 1].end = end;
        return SAIL_OK;
    }
    SAIL_TRY(sail__grow(&s->items, &s->cap, s->n + 1, sizeof *s->items, err));
    s->items[s->n++] = (sail__span){begin, end};
    return SAIL_OK;
}

static sail_code finish(sail__jvm *vm, sail__jinja_result *out)
{
    const sail__jbuf *b = &vm->text;
    sail__buf_add(&out->text, b->n ? b->p : "", b->n);
    if (out->text.oom)
        return sail_fail(vm->err, SAIL_E_NOMEM, "%s: no memory to render the template", vm->t->origin);
    for (size_t i = 0; b->foreign && i < b->n;) {
        size_t from = i;
        while (i < b->n && b->foreign[i] == b->foreign[from])
            i++;
        if (b->foreign[from])
            SAIL_TRY(sail__spans_add(&out->foreign, from, i, vm->err));
    }
    return SAIL_OK;
}

sail_code sail__jinja_render(const sail__jinja *t, const sail__jinja_options *o, sail__jinja_result *out,
                             sail__jinja_fault *fault, sail_err *err)
{
    sail__jinja_fault scrap;
    memset(out, 0, sizeof *out);
    *err = (sail_err){0};
    fault = fault ? fault : &scrap;
    *fault = (sail__jinja_fault){0};
    sail__jvm vm = {.t = t,
                    .o = o,
                    .arena = sail__arena_new(),
                    .steps = o->steps ? o->steps : 20000000,
                    .memory_limit = o->memory ? o->memory : 128u << 20,
                    .output_limit = o->output ? o->output : 32u << 20,
                    .depth_limit = o->depth ? o->depth : 1000,
                    .line = 1,
                    .generation = &out->generation,
                    .fault = fault,
                    .err = err};
    vm.out = &vm.text;
    sail_code code = SAIL_OK;
    if (!vm.arena)
        code = sail_fail(err, SAIL_E_NOMEM, "%s: no memory to render the template", t->origin);
    else if (!(vm.root = vm.scope = push(&vm, NULL)) || !variables(&vm) || run(&vm, t->root) == FAILED)
        code = err->code ? err->code : sail_fail(err, SAIL_E_NOMEM, "%s: no memory to render the template", t->origin);
    else
        code = finish(&vm, out);
    sail__arena_free(vm.arena);
    if (code)
        sail__jinja_result_free(out);
    return code;
}

void sail__jinja_result_free(sail__jinja_result *r)
{
    sail__buf_free(&r->text);
    sail__free(r->foreign.items);
    sail__free(r->generation.items);
    memset(r, 0, sizeof *r);
}
