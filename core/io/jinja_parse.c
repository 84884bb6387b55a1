/* jinja_parse.c - statements: tokens to a tree; names kept once. */
#include <stdio.h>

#include "jinja_impl.h"

enum { LONGEST = 4 << 20, DEEPEST_BLOCKS = 100, WANTED = 160 };

/* ---- names ---- */

const sail__jname *sail__jname_find(const sail__jinja *t, const char *s, size_t n)
{
    uint64_t hash = sail__hash64(s, n, 0);
    for (const sail__jname *at = t->slots[hash % SAIL__J_NAME_SLOTS]; at; at = at->next)
        if (at->hash == hash && at->text.n == n && memcmp(at->text.p, s, n) == 0)
            return at;
    return NULL;
}

const sail__jname *sail__jname_intern(sail__jparser *p, const char *s, size_t n)
{
    const sail__jname *known = sail__jname_find(p->t, s, n);
    if (known)
        return known;
    sail__jname *name = sail__jp_alloc(p, 1, sizeof *name);
    char *copy = sail__arena_strndup(p->t->arena, s, n);
    if (!name || !copy) {
        sail__jnomem(p);
        return p->none.name;
    }
    uint64_t hash = sail__hash64(s, n, 0);
    sail__jname **slot = &p->t->slots[hash % SAIL__J_NAME_SLOTS];
    *name = (sail__jname){.text = {.p = copy, .n = n}, .next = *slot, .hash = hash};
    return *slot = name;
}

/* ---- statements ---- */

static const sail__jtoken *now(const sail__jparser *p)
{
    return &p->tokens[p->at];
}

static void end_of_tag(sail__jparser *p)
{
    if (now(p)->kind == SAIL__JT_BLOCK_END)
        p->at++;
    else
        sail__jsyntax(p, now(p)->line, "expected token 'end of statement block', got '%s'", sail__jp_describe(p, now(p)));
}

static bool assignable(const sail__jnode *n)
{
    if (n->kind == SAIL__JN_TUPLE)
        for (unsigned i = 0; i < n->n; i++)
            if (!assignable(n->items[i]))
                return false;
    return n->kind == SAIL__JN_NAME || n->kind == SAIL__JN_TUPLE || n->kind == SAIL__JN_NSREF;
}

static sail__jnode *target(sail__jparser *p, unsigned flags, bool with_namespace, bool with_tuple)
{
    int line = now(p)->line;
    sail__jnode *n;
    const sail__jtoken *dot = p->at + 1 < p->n ? &p->tokens[p->at + 1] : now(p);
    if (with_namespace && now(p)->kind == SAIL__JT_NAME && dot->kind == SAIL__JT_OP && dot->n == 1 && *dot->p == '.') {
        n = sail__jnode_new(p, SAIL__JN_NSREF, line);
        n->name = sail__jp_name(p);
        sail__jp_expect(p, ".");
        n->names = sail__jp_alloc(p, 1, sizeof *n->names);
        const sail__jname *attribute = sail__jp_name(p);
        if (n->names)
            n->names[0] = attribute;
        return n;
    }
    n = with_tuple ? sail__jp_tuple(p, flags | SAIL__JP_SIMPLE) : sail__jp_primary(p);
    if (!p->failed && !assignable(n)) {
        static const char *const names[] = {[SAIL__JN_CONST] = "const", [SAIL__JN_LIST] = "list", [SAIL__JN_DICT] = "dict"};
        const char *what = n->kind <= SAIL__JN_DICT ? names[n->kind] : NULL;
        sail__jsyntax(p, line, "can't assign to '%s'", what ? what : "expression");
    }
    return n;
}

/* A body that is a scope of its own, in which unknown filters are told at once again. */
static sail__jnode *inner(sail__jparser *p, const char *const *ends, const char *inside, int line)
{
    bool soft = p->soft;
    p->soft = false;
    sail__jnode *n = sail__jp_body(p, ends, inside, line);
    p->soft = soft;
    return n;
}

static sail__jnode *for_loop(sail__jparser *p, int line)
{
    static const char *const ends[] = {"endfor", "else", NULL}, *const end[] = {"endfor", NULL};
    sail__jnode *n = sail__jnode_new(p, SAIL__JN_FOR, line);
    n->a = target(p, SAIL__JP_UNTIL_IN, false, true);
    if (!sail__jp_skip_name(p, "in"))
        sail__jsyntax(p, now(p)->line, "expected token 'in', got '%s'", sail__jp_describe(p, now(p)));
    n->b = sail__jp_tuple(p, SAIL__JP_NO_CONDITION | SAIL__JP_UNTIL_RECURSIVE);
    if (sail__jp_skip_name(p, "if"))
        n->c = sail__jp_expression(p, true);
    n->flag = sail__jp_skip_name(p, "recursive");
    end_of_tag(p);
    p->loops++;
    n->body = inner(p, ends, "for", line);
    p->loops--;
    if (sail__jp_skip_name(p, "else")) {
        end_of_tag(p);
        n->other = inner(p, end, "for", line);
    }
    sail__jp_skip_name(p, "endfor");
    return sail__jnode_depth(p, n);
}

static sail__jnode *if_block(sail__jparser *p, int line)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL}, *const end[] = {"endif", NULL};
    sail__jnode *n = sail__jnode_new(p, SAIL__JN_IF, line);
    bool soft = p->soft;
    p->soft = true;
    do {
        sail__jnode *test = sail__jp_tuple(p, SAIL__JP_NO_CONDITION);
        end_of_tag(p);
        sail__jnode_add(p, n, test);
        sail__jnode_add(p, n, sail__jp_body(p, ends, "if", line));
    } while (!p->failed && sail__jp_skip_name(p, "elif"));
    if (sail__jp_skip_name(p, "else")) {
        end_of_tag(p);
        n->other = sail__jp_body(p, end, "if", line);
    }
    sail__jp_skip_name(p, "endif");
    p->soft = soft;
    return sail__jnode_depth(p, n);
}

static sail__jnode *set(sail__jparser *p, int line)
{
    static const char *const end[] = {"endset", NULL};
    sail__jnode *to = target(p, 0, true, true);
    if (sail__jp_skip(p, "=")) {
        sail__jnode *n = sail__jnode_new(p, SAIL__JN_SET, line);
        n->a = to;
        n->b = sail__jp_tuple(p, 0);
        return sail__jnode_depth(p, n);
    }
    sail__jnode *n = sail__jnode_new(p, SAIL__JN_SET_BLOCK, line);
    n->a = to;
    n->b = sail__jp_filters(p, NULL, false);
    end_of_tag(p);
    n->body = inner(p, end, "set", line);
    sail__jp_skip_name(p, "endset");
    return sail__jnode_depth(p, n);
}

static void parameters(sail__jparser *p, sail__jnode *macro)
{
    sail__jp_expect(p, "(");
    bool defaults = false;
    while (!p->failed && !sail__jp_is(p, ")")) {
        if (macro->n)
            sail__jp_expect(p, ",");
        int line = now(p)->line;
        sail__jnode *name = target(p, 0, false, false);
        if (!p->failed && name->kind != SAIL__JN_NAME)
            sail__jsyntax(p, line, "a parameter must be a name");
        bool has = sail__jp_skip(p, "=");
        if (!has && defaults)
            sail__jsyntax(p, line, "non-default argument follows default argument");
        defaults |= has;
        sail__jnode_add(p, macro, name);
        sail__jnode_named(p, macro, name->name, has ? sail__jp_expression(p, true) : NULL);
    }
    sail__jp_expect(p, ")");
}

/* Parameters (where they stand) and body of a macro or call block. */
static void macro_body(sail__jparser *p, sail__jnode *n, const char *const *ends, const char *inside)
{
    unsigned uses = p->uses;
    int loops = p->loops;
    p->uses = 0;
    p->loops = 0;
    end_of_tag(p);
    n->body = inner(p, ends, inside, n->line);
    for (unsigned i = 0; i < n->n_named && !p->failed; i++) { /* a parameter of that name is not the special one */
        const char *s = n->names[i]->text.p;
        p->uses &= ~(strcmp(s, "caller") == 0    ? (unsigned)SAIL__J_USES_CALLER
                     : strcmp(s, "varargs") == 0 ? (unsigned)SAIL__J_USES_VARARGS
                     : strcmp(s, "kwargs") == 0  ? (unsigned)SAIL__J_USES_KWARGS
                                                 : 0u);
    }
    n->op = (short)p->uses;
    p->uses |= uses;
    p->loops = loops;
    sail__jnode_depth(p, n);
}

static sail__jnode *macro(sail__jparser *p, int line)
{
    static const char *const end[] = {"endmacro", NULL};
    sail__jnode *n = sail__jnode_new(p, SAIL__JN_MACRO, line);
    n->name = sail__jp_name(p);
    parameters(p, n);
    macro_body(p, n, end, "macro");
    sail__jp_skip_name(p, "endmacro");
    return n;
}

static sail__jnode *call_block(sail__jparser *p, int line)
{
    static const char *const end[] = {"endcall", NULL};
    sail__jnode *n = sail__jnode_new(p, SAIL__JN_CALL_BLOCK, line), *caller = sail__jnode_new(p, SAIL__JN_MACRO, line);
    caller->name = sail__jname_intern(p, "caller", 6);
    if (sail__jp_is(p, "("))
        parameters(p, caller);
    n->a = sail__jp_expression(p, true);
    if (!p->failed && n->a->kind != SAIL__JN_CALL)
        sail__jsyntax(p, line, "expected call");
    n->b = caller;
    macro_body(p, caller, end, "call");
    sail__jp_skip_name(p, "endcall");
    return sail__jnode_depth(p, n);
}

static sail__jnode *filter_block(sail__jparser *p, int line)
{
    static const char *const end[] = {"endfilter", NULL};
    sail__jnode *n = sail__jnode_new(p, SAIL__JN_FILTER_BLOCK, line);
    n->a = sail__jp_filters(p, NULL, true);
    end_of_tag(p);
    n->body = inner(p, end, "filter", line);
    sail__jp_skip_name(p, "endfilter");
    return sail__jnode_depth(p, n);
}

static sail__jnode *with(sail__jparser *p, int line)
{
    static const char *const end[] = {"endwith", NULL};
    sail__jnode *n = sail__jnode_new(p, SAIL__JN_WITH, line);
    while (!p->failed && now(p)->kind != SAIL__JT_BLOCK_END) {
        if (n->n)
            sail__jp_expect(p, ",");
        sail__jnode_add(p, n, target(p, 0, false, false));
        sail__jp_expect(p, "=");
        sail__jnode_add(p, n, sail__jp_expression(p, true));
    }
    end_of_tag(p);
    n->body = inner(p, end, "with", line);
    sail__jp_skip_name(p, "endwith");
    return sail__jnode_depth(p, n);
}

/* Blocks without more than a body. */
static sail__jnode *plain(sail__jparser *p, sail__jnode_kind kind, const char *what, const char *const *end, int line)
{
    int loops = p->loops;
    sail__jnode *n = sail__jnode_new(p, kind, line);
    end_of_tag(p);
    if (kind == SAIL__JN_GENERATION) /* its body is called like a macro's */
        p->loops = 0;
    n->body = inner(p, end, what, line);
    p->loops = loops;
    sail__jp_skip_name(p, end[0]);
    return sail__jnode_depth(p, n);
}

static sail__jnode *jump(sail__jparser *p, sail__jnode_kind kind, const char *what, int line)
{
    if (!p->loops)
        sail__jsyntax(p, line, "'%s' outside loop", what);
    return sail__jnode_new(p, kind, line);
}

static sail__jnode *print_tag(sail__jparser *p, int line)
{
    sail__jnode *n = sail__jnode_new(p, SAIL__JN_BODY, line);
    while (!p->failed && now(p)->kind != SAIL__JT_BLOCK_END) {
        if (n->n)
            sail__jp_expect(p, ",");
        sail__jnode *print = sail__jnode_new(p, SAIL__JN_PRINT, line);
        print->a = sail__jp_expression(p, true);
        sail__jnode_add(p, n, sail__jnode_depth(p, print));
    }
    return sail__jnode_depth(p, n);
}

static void list_tags(const char *const *ends, char out[WANTED])
{
    out[0] = '\0';
    for (size_t i = 0, n = 0; ends && ends[i] && n < WANTED; i++)
        n += (size_t)snprintf(out + n, WANTED - n, "%s'%s'", i ? " or " : "", ends[i]);
}

static void unknown_tag(sail__jparser *p, const sail__jtoken *t, const char *const *ends, const char *inside)
{
    char wanted[WANTED];
    list_tags(ends, wanted);
    if (ends)
        sail__jsyntax(p, t->line,
                      "Encountered unknown tag '%s'. Jinja was looking for the following tags: %s. The innermost block "
                      "that needs to be closed is '%s'.",
                      sail__jp_describe(p, t), wanted, inside);
    else
        sail__jsyntax(p, t->line, "Encountered unknown tag '%s'.", sail__jp_describe(p, t));
}

static sail__jnode *statement(sail__jparser *p, const char *const *ends, const char *inside)
{
    static const char *const generation[] = {"endgeneration", NULL}, *const block[] = {"endblock", NULL},
                             *const autoescape[] = {"endautoescape", NULL};
    const sail__jtoken *t = now(p);
    int line = t->line;
    sail__jnode *n;
    if (t->kind != SAIL__JT_NAME) {
        sail__jsyntax(p, line, "tag name expected");
        return &p->none;
    }
    if (sail__jp_skip_name(p, "for"))
        n = for_loop(p, line);
    else if (sail__jp_skip_name(p, "if"))
        n = if_block(p, line);
    else if (sail__jp_skip_name(p, "set"))
        n = set(p, line);
    else if (sail__jp_skip_name(p, "macro"))
        n = macro(p, line);
    else if (sail__jp_skip_name(p, "call"))
        n = call_block(p, line);
    else if (sail__jp_skip_name(p, "filter"))
        n = filter_block(p, line);
    else if (sail__jp_skip_name(p, "with"))
        n = with(p, line);
    else if (sail__jp_skip_name(p, "generation"))
        n = plain(p, SAIL__JN_GENERATION, "generation", generation, line);
    else if (sail__jp_skip_name(p, "break"))
        n = jump(p, SAIL__JN_BREAK, "break", line);
    else if (sail__jp_skip_name(p, "continue"))
        n = jump(p, SAIL__JN_CONTINUE, "continue", line);
    else if (sail__jp_skip_name(p, "print"))
        n = print_tag(p, line);
    else if (sail__jp_skip_name(p, "block")) {
        const sail__jname *name = sail__jp_name(p);
        n = plain(p, SAIL__JN_SCOPE, "block", block, line);
        if (sail__jp_is_name(p, name ? name->text.p : ""))
            p->at++;
    } else if (sail__jp_skip_name(p, "autoescape")) {
        sail__jp_expression(p, true);
        n = plain(p, SAIL__JN_SCOPE, "autoescape", autoescape, line);
    } else {
        unknown_tag(p, t, ends, inside);
        return &p->none;
    }
    end_of_tag(p);
    return n;
}

static bool ends_here(const sail__jparser *p, const char *const *ends)
{
    for (size_t i = 0; ends && ends[i]; i++)
        if (sail__jp_is_name(p, ends[i]))
            return true;
    return false;
}

static void unclosed(sail__jparser *p, const char *const *ends, const char *inside)
{
    char wanted[WANTED];
    list_tags(ends, wanted);
    sail__jsyntax(p, now(p)->line,
                  "Unexpected end of template. Jinja was looking for the following tags: %s. The innermost block that "
                  "needs to be closed is '%s'.",
                  wanted, inside);
}

sail__jnode *sail__jp_body(sail__jparser *p, const char *const *ends, const char *inside, int line)
{
    sail__jnode *n = sail__jnode_new(p, SAIL__JN_BODY, line);
    if (++p->depth > DEEPEST_BLOCKS)
        sail__jsyntax(p, line, "blocks are nested more than %d levels", DEEPEST_BLOCKS);
    while (!p->failed) {
        const sail__jtoken *t = now(p);
        if (t->kind == SAIL__JT_EOF) {
            if (ends)
                unclosed(p, ends, inside);
            break;
        }
        p->at++;
        if (t->kind == SAIL__JT_DATA) {
            sail__jnode *data = sail__jnode_new(p, SAIL__JN_DATA, t->line);
            sail__jstr *s = sail__jp_alloc(p, 1, sizeof *s);
            if (!s)
                break;
            *s = (sail__jstr){.p = t->p, .n = t->n};
            data->value = SAIL__JV(STRING, .string = s);
            sail__jnode_add(p, n, data);
        } else if (t->kind == SAIL__JT_PRINT_BEGIN) {
            sail__jnode *print = sail__jnode_new(p, SAIL__JN_PRINT, t->line);
            print->a = sail__jp_tuple(p, 0);
            if (!p->failed && now(p)->kind != SAIL__JT_PRINT_END)
                sail__jsyntax(p, now(p)->line, "expected token 'end of print statement', got '%s'", sail__jp_describe(p, now(p)));
            p->at += !p->failed;
            sail__jnode_add(p, n, sail__jnode_depth(p, print));
        } else if (ends_here(p, ends)) { /* the caller takes the name */
            break;
        } else {
            sail__jnode_add(p, n, statement(p, ends, inside));
        }
    }
    p->depth--;
    return sail__jnode_depth(p, n);
}

sail_code sail__jinja_parse(const char *text, size_t len, const char *origin, sail__jinja **out, sail__jinja_fault *fault,
                            sail_err *err)
{
    static const sail__jname no_name = {.text = {.p = ""}};
    *out = NULL;
    if (fault)
        *fault = (sail__jinja_fault){0};
    if (len > LONGEST)
        return sail_fail(err, SAIL_E_LIMIT, "%s: a template of %zu bytes; at most %d are read", origin, len, LONGEST);
    if (!sail__utf8_valid(text, len))
        return sail_fail(err, SAIL_E_FORMAT, "%s: the template is not valid UTF-8", origin);
    sail_arena *a = sail__arena_new();
    sail__jinja *t = a ? sail__arena_alloc(a, sizeof *t) : NULL;
    if (!t || !(t->origin = sail__arena_strdup(a, origin))) {
        sail__arena_free(a);
        return sail_fail(err, SAIL_E_NOMEM, "%s: no memory for the template", origin);
    }
    t->arena = a;
    sail__jinja_fault scrap;
    sail__jparser p = {.t = t, .fault = fault ? fault : &scrap, .err = err};
    p.none = (sail__jnode){.kind = SAIL__JN_BODY, .depth = 1, .name = &no_name};
    sail__jlex(&p, text, len);
    if (!p.failed)
        t->root = sail__jp_body(&p, NULL, NULL, 1);
    sail__free(p.tokens);
    if (p.failed) {
        sail__jinja_free(t);
        return err->code;
    }
    *out = t;
    return SAIL_OK;
}

void sail__jinja_free(sail__jinja *t)
{
    if (t)
        sail__arena_free(t->arena);
}
