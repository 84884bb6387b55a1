/* jinja_expr.c - expressions: tokens to a tree, by Jinja's precedence. */
#include <stdio.h>

#include "jinja_impl.h"

enum { DEEPEST = 150, DEEPEST_TREE = 700 };

/* ---- tokens ---- */

static const sail__jtoken *now(const sail__jparser *p)
{
    return &p->tokens[p->at];
}
static const sail__jtoken *after(const sail__jparser *p)
{
    return &p->tokens[p->at + 1 < p->n ? p->at + 1 : p->at];
}
static void next(sail__jparser *p)
{
    if (p->at + 1 < p->n)
        p->at++;
}

static bool text_is(const sail__jtoken *t, sail__jtoken_kind kind, const char *s)
{
    return t->kind == kind && t->n == strlen(s) && memcmp(t->p, s, t->n) == 0;
}
bool sail__jp_is(const sail__jparser *p, const char *op)
{
    return text_is(now(p), SAIL__JT_OP, op);
}
bool sail__jp_is_name(const sail__jparser *p, const char *name)
{
    return text_is(now(p), SAIL__JT_NAME, name);
}
bool sail__jp_skip(sail__jparser *p, const char *op)
{
    bool is = sail__jp_is(p, op);
    if (is)
        next(p);
    return is;
}
bool sail__jp_skip_name(sail__jparser *p, const char *name)
{
    bool is = sail__jp_is_name(p, name);
    if (is)
        next(p);
    return is;
}

const char *sail__jp_describe(sail__jparser *p, const sail__jtoken *t)
{
    static const char *const kinds[] = {"end of template",
                                        "template data",
                                        "begin of print statement",
                                        "end of print statement",
                                        "begin of statement block",
                                        "end of statement block",
                                        "name",
                                        "string",
                                        "integer",
                                        "float",
                                        "operator"};
    if (t->kind == SAIL__JT_NAME || t->kind == SAIL__JT_OP) {
        const char *s = sail__arena_printf(p->t->arena, "%.*s", (int)(t->n > 60 ? 60 : t->n), t->p);
        return s ? s : "name";
    }
    return kinds[t->kind];
}

void sail__jp_expect(sail__jparser *p, const char *op)
{
    if (!sail__jp_skip(p, op))
        sail__jsyntax(p, now(p)->line, "expected token '%s', got '%s'", op, sail__jp_describe(p, now(p)));
}

const sail__jname *sail__jp_name(sail__jparser *p)
{
    const sail__jtoken *t = now(p);
    if (t->kind != SAIL__JT_NAME) {
        sail__jsyntax(p, t->line, "expected token 'name', got '%s'", sail__jp_describe(p, t));
        return p->none.name;
    }
    next(p);
    return sail__jname_intern(p, t->p, t->n);
}

/* ---- nodes ---- */

sail__jnode *sail__jnode_new(sail__jparser *p, sail__jnode_kind kind, int line)
{
    sail__jnode *n = p->failed ? NULL : sail__jp_alloc(p, 1, sizeof *n);
    if (!n)
        return &p->none;
    n->kind = (unsigned char)kind;
    n->line = line;
    n->depth = 1;
    return n;
}

static int larger(int a, const sail__jnode *n)
{
    return n && n->depth > a ? n->depth : a;
}

sail__jnode *sail__jnode_depth(sail__jparser *p, sail__jnode *n)
{
    int d = larger(larger(larger(larger(larger(0, n->a), n->b), n->c), n->body), n->other);
    for (unsigned i = 0; i < n->n; i++)
        d = larger(d, n->items[i]);
    for (unsigned i = 0; i < n->n_named; i++)
        d = larger(d, n->named[i]);
    if (n == &p->none)
        return n;
    n->depth = d + 1;
    if (n->depth > DEEPEST_TREE)
        sail__jsyntax(p, n->line, "the template nests more than %d levels", DEEPEST_TREE);
    return n;
}

/* Room for one more of n: capacities are the powers of two. */
static void *more(sail__jparser *p, void *items, unsigned n, size_t size)
{
    if (n & (n - 1))
        return items;
    void *to = sail__jp_alloc(p, n ? 2 * (size_t)n : 1, size);
    if (to && n)
        memcpy(to, items, n * size);
    return to;
}

void sail__jnode_add(sail__jparser *p, sail__jnode *to, sail__jnode *item)
{
    if (p->failed)
        return;
    sail__jnode **items = more(p, to->items, to->n, sizeof *items);
    if (!items)
        return;
    to->items = items;
    to->items[to->n++] = item;
}

void sail__jnode_named(sail__jparser *p, sail__jnode *to, const sail__jname *name, sail__jnode *value)
{
    if (p->failed)
        return;
    sail__jnode **named = more(p, to->named, to->n_named, sizeof *named);
    const sail__jname **names = more(p, to->names, to->n_named, sizeof *names);
    if (!named || !names)
        return;
    to->named = named;
    to->names = names;
    to->names[to->n_named] = name;
    to->named[to->n_named++] = value;
}

static sail__jnode *constant(sail__jparser *p, sail__jv v, int line)
{
    sail__jnode *n = sail__jnode_new(p, SAIL__JN_CONST, line);
    n->value = v;
    return n;
}

static bool enter(sail__jparser *p)
{
    if (++p->depth > DEEPEST)
        sail__jsyntax(p, now(p)->line, "expressions are nested more than %d levels", DEEPEST);
    return !p->failed;
}

/* ---- primaries ---- */

static sail__jnode *unary(sail__jparser *p, bool with_filter);

static sail__jnode *name_or_word(sail__jparser *p)
{
    static const struct {
        const char *name;
        unsigned char kind, value;
    } words[] = {{"true", SAIL__J_BOOL, 1},  {"True", SAIL__J_BOOL, 1}, {"false", SAIL__J_BOOL, 0},
                 {"False", SAIL__J_BOOL, 0}, {"none", SAIL__J_NONE, 0}, {"None", SAIL__J_NONE, 0}};
    int line = now(p)->line;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (sail__jp_skip_name(p, words[i].name))
            return constant(p, (sail__jv){.kind = words[i].kind, .boolean = words[i].value}, line);
    const sail__jname *name = sail__jp_name(p);
    sail__jnode *n = sail__jnode_new(p, SAIL__JN_NAME, line);
    n->name = name;
    p->uses |= strcmp(name->text.p, "caller") == 0    ? SAIL__J_USES_CALLER
               : strcmp(name->text.p, "varargs") == 0 ? SAIL__J_USES_VARARGS
               : strcmp(name->text.p, "kwargs") == 0  ? SAIL__J_USES_KWARGS
                                                      : 0;
    return n;
}

static sail__jnode *strings(sail__jparser *p)
{
    int line = now(p)->line;
    size_t n = 0, at = p->at;
    for (; p->tokens[at].kind == SAIL__JT_STRING; at++)
        n += p->tokens[at].n;
    char *s = sail__jp_alloc(p, n + 1, 1);
    sail__jstr *str = sail__jp_alloc(p, 1, sizeof *str);
    if (!s || !str)
        return &p->none;
    n = 0;
    for (; now(p)->kind == SAIL__JT_STRING; next(p)) {
        memcpy(s + n, now(p)->p, now(p)->n);
        n += now(p)->n;
    }
    *str = (sail__jstr){.p = s, .n = n};
    return constant(p, SAIL__JV(STRING, .string = str), line);
}

static sail__jnode *list(sail__jparser *p)
{
    sail__jnode *n = sail__jnode_new(p, SAIL__JN_LIST, now(p)->line);
    sail__jp_expect(p, "[");
    while (!p->failed && !sail__jp_is(p, "]")) {
        if (n->n)
            sail__jp_expect(p, ",");
        if (sail__jp_is(p, "]"))
            break;
        sail__jnode_add(p, n, sail__jp_expression(p, true));
    }
    sail__jp_expect(p, "]");
    return sail__jnode_depth(p, n);
}

static sail__jnode *dict(sail__jparser *p)
{
    sail__jnode *n = sail__jnode_new(p, SAIL__JN_DICT, now(p)->line);
    sail__jp_expect(p, "{");
    while (!p->failed && !sail__jp_is(p, "}")) {
        if (n->n)
            sail__jp_expect(p, ",");
        if (sail__jp_is(p, "}"))
            break;
        sail__jnode_add(p, n, sail__jp_expression(p, true));
        sail__jp_expect(p, ":");
        sail__jnode_add(p, n, sail__jp_expression(p, true));
    }
    sail__jp_expect(p, "}");
    return sail__jnode_depth(p, n);
}

sail__jnode *sail__jp_primary(sail__jparser *p)
{
    const sail__jtoken *t = now(p);
    switch (t->kind) {
    case SAIL__JT_NAME:
        return name_or_word(p);
    case SAIL__JT_STRING:
        return strings(p);
    case SAIL__JT_INT:
        next(p);
        return constant(p, SAIL__JV(INT, .integer = t->integer), t->line);
    case SAIL__JT_FLOAT:
        next(p);
        return constant(p, SAIL__JV(FLOAT, .number = t->number), t->line);
    default:
        break;
    }
    if (sail__jp_skip(p, "(")) {
        sail__jnode *n = sail__jp_tuple(p, SAIL__JP_PARENTHESES);
        sail__jp_expect(p, ")");
        return n;
    }
    if (sail__jp_is(p, "["))
        return list(p);
    if (sail__jp_is(p, "{"))
        return dict(p);
    sail__jsyntax(p, t->line, "unexpected '%s'", sail__jp_describe(p, t));
    return &p->none;
}

static bool tuple_ends(const sail__jparser *p, unsigned flags)
{
    sail__jtoken_kind k = now(p)->kind;
    return k == SAIL__JT_PRINT_END || k == SAIL__JT_BLOCK_END || sail__jp_is(p, ")") ||
           ((flags & SAIL__JP_UNTIL_IN) && sail__jp_is_name(p, "in")) ||
           ((flags & SAIL__JP_UNTIL_RECURSIVE) && sail__jp_is_name(p, "recursive"));
}

sail__jnode *sail__jp_tuple(sail__jparser *p, unsigned flags)
{
    sail__jnode *n = sail__jnode_new(p, SAIL__JN_TUPLE, now(p)->line);
    bool is_tuple = false;
    while (!p->failed) {
        if (n->n)
            sail__jp_expect(p, ",");
        if (tuple_ends(p, flags))
            break;
        sail__jnode_add(p, n,
                        flags & SAIL__JP_SIMPLE ? sail__jp_primary(p) : sail__jp_expression(p, !(flags & SAIL__JP_NO_CONDITION)));
        if (!sail__jp_is(p, ","))
            break;
        is_tuple = true;
    }
    if (!is_tuple && n->n)
        return n->items[0];
    if (!is_tuple && !(flags & SAIL__JP_PARENTHESES))
        sail__jsyntax(p, now(p)->line, "Expected an expression, got '%s'", sail__jp_describe(p, now(p)));
    return sail__jnode_depth(p, n);
}

/* ---- what follows a primary ---- */

static void arguments(sail__jparser *p, sail__jnode *n)
{
    sail__jp_expect(p, "(");
    bool comma = false;
    while (!p->failed && !sail__jp_is(p, ")")) {
        if (comma)
            sail__jp_expect(p, ",");
        if (sail__jp_is(p, ")"))
            break;
        comma = true;
        const sail__jtoken *t = now(p);
        bool wrong;
        if (sail__jp_skip(p, "*")) {
            wrong = n->b || n->c;
            n->b = sail__jp_expression(p, true);
        } else if (sail__jp_skip(p, "**")) {
            wrong = n->c != NULL;
            n->c = sail__jp_expression(p, true);
        } else if (t->kind == SAIL__JT_NAME && text_is(after(p), SAIL__JT_OP, "=")) {
            wrong = n->c != NULL;
            const sail__jname *name = sail__jp_name(p);
            next(p);
            sail__jnode_named(p, n, name, sail__jp_expression(p, true));
        } else {
            wrong = n->b || n->c || n->n_named;
            sail__jnode_add(p, n, sail__jp_expression(p, true));
        }
        if (wrong)
            sail__jsyntax(p, t->line, "invalid syntax for function call expression");
    }
    sail__jp_expect(p, ")");
}

static sail__jnode *call(sail__jparser *p, sail__jnode *of)
{
    sail__jnode *n = sail__jnode_new(p, SAIL__JN_CALL, now(p)->line);
    n->a = of;
    arguments(p, n);
    return sail__jnode_depth(p, n);
}

static sail__jnode *subscribed(sail__jparser *p)
{
    sail__jnode *part[3] = {NULL, NULL, NULL};
    int line = now(p)->line;
    if (!sail__jp_is(p, ":")) {
        sail__jnode *n = sail__jp_expression(p, true);
        if (!sail__jp_is(p, ":"))
            return n;
        part[0] = n;
    }
    for (int i = 1; i < 3 && sail__jp_skip(p, ":"); i++)
        if (!sail__jp_is(p, ":") && !sail__jp_is(p, "]") && !sail__jp_is(p, ","))
            part[i] = sail__jp_expression(p, true);
    sail__jnode *n = sail__jnode_new(p, SAIL__JN_SLICE, line);
    n->a = part[0];
    n->b = part[1];
    n->c = part[2];
    return sail__jnode_depth(p, n);
}

static sail__jnode *subscript(sail__jparser *p, sail__jnode *of)
{
    int line = now(p)->line;
    if (sail__jp_skip(p, ".")) {
        const sail__jtoken *t = now(p);
        sail__jnode *n = sail__jnode_new(p, t->kind == SAIL__JT_INT ? SAIL__JN_ITEM : SAIL__JN_ATTR, line);
        n->a = of;
        if (t->kind == SAIL__JT_INT)
            n->b = sail__jp_primary(p);
        else
            n->name = sail__jp_name(p);
        return sail__jnode_depth(p, n);
    }
    sail__jp_expect(p, "[");
    sail__jnode *n = sail__jnode_new(p, SAIL__JN_ITEM, line), *key = sail__jnode_new(p, SAIL__JN_TUPLE, line);
    while (!p->failed && !sail__jp_is(p, "]")) {
        if (key->n)
            sail__jp_expect(p, ",");
        sail__jnode_add(p, key, subscribed(p));
    }
    sail__jp_expect(p, "]");
    if (!p->failed && !key->n)
        sail__jsyntax(p, line, "expected a subscript, got ']'");
    n->a = of;
    n->b = key->n == 1 ? key->items[0] : sail__jnode_depth(p, key);
    return sail__jnode_depth(p, n);
}

static sail__jnode *postfix(sail__jparser *p, sail__jnode *n)
{
    while (!p->failed) {
        if (sail__jp_is(p, ".") || sail__jp_is(p, "["))
            n = subscript(p, n);
        else if (sail__jp_is(p, "("))
            n = call(p, n);
        else
            break;
    }
    return n;
}

/* "a" or "a.b": the names of filters and tests. */
static const sail__jname *dotted(sail__jparser *p)
{
    const sail__jname *name = sail__jp_name(p);
    while (!p->failed && sail__jp_skip(p, ".")) {
        const sail__jname *part = sail__jp_name(p);
        char *s = sail__arena_printf(p->t->arena, "%s.%s", name->text.p, part->text.p);
        if (!s)
            sail__jnomem(p);
        else
            name = sail__jname_intern(p, s, strlen(s));
    }
    return name;
}

sail__jnode *sail__jp_filters(sail__jparser *p, sail__jnode *of, bool at_name)
{
    while (!p->failed && (at_name || sail__jp_is(p, "|"))) {
        if (!at_name)
            next(p);
        at_name = false;
        sail__jnode *n = sail__jnode_new(p, SAIL__JN_FILTER, now(p)->line);
        n->a = of;
        n->name = dotted(p);
        n->fn = sail__jfilter_find(n->name->text.p);
        if (!n->fn && !p->soft)
            sail__jsyntax(p, n->line, "No filter named '%s'.", n->name->text.p);
        if (sail__jp_is(p, "("))
            arguments(p, n);
        of = sail__jnode_depth(p, n);
    }
    return of;
}

static sail__jnode *test(sail__jparser *p, sail__jnode *of)
{
    int line = now(p)->line;
    next(p); /* is */
    bool negated = sail__jp_skip_name(p, "not");
    sail__jnode *n = sail__jnode_new(p, SAIL__JN_TEST, line);
    n->a = of;
    n->name = dotted(p);
    n->fn = sail__jtest_find(n->name->text.p);
    if (!n->fn && !p->soft)
        sail__jsyntax(p, line, "No test named '%s'.", n->name->text.p);
    sail__jtoken_kind k = now(p)->kind;
    bool value = k == SAIL__JT_NAME || k == SAIL__JT_STRING || k == SAIL__JT_INT || k == SAIL__JT_FLOAT || sail__jp_is(p, "[") ||
                 sail__jp_is(p, "{");
    if (sail__jp_is(p, "(")) {
        arguments(p, n);
    } else if (value && !sail__jp_is_name(p, "else") && !sail__jp_is_name(p, "or") && !sail__jp_is_name(p, "and")) {
        if (sail__jp_is_name(p, "is"))
            sail__jsyntax(p, line, "You cannot chain multiple tests with is");
        sail__jnode_add(p, n, postfix(p, sail__jp_primary(p)));
    }
    n = sail__jnode_depth(p, n);
    if (!negated)
        return n;
    sail__jnode *not = sail__jnode_new(p, SAIL__JN_NOT, line);
    not ->a = n;
    return sail__jnode_depth(p, not );
}

static sail__jnode *filtered(sail__jparser *p, sail__jnode *n)
{
    while (!p->failed) {
        if (sail__jp_is(p, "|"))
            n = sail__jp_filters(p, n, false);
        else if (sail__jp_is_name(p, "is"))
            n = test(p, n);
        else if (sail__jp_is(p, "("))
            n = call(p, n);
        else
            break;
    }
    return n;
}

/* ---- operators ---- */

static sail__jnode *unary(sail__jparser *p, bool with_filter)
{
    sail__jnode *n = &p->none;
    if (enter(p)) {
        int line = now(p)->line;
        bool minus = sail__jp_is(p, "-");
        if (minus || sail__jp_is(p, "+")) {
            next(p);
            n = sail__jnode_new(p, minus ? SAIL__JN_NEG : SAIL__JN_POS, line);
            n->a = unary(p, false);
            n = sail__jnode_depth(p, n);
        } else {
            n = sail__jp_primary(p);
        }
        n = postfix(p, n);
        if (with_filter)
            n = filtered(p, n);
    }
    p->depth--;
    return n;
}

typedef struct level {
    const char *op[4];
    sail__jop code[4];
} level;

static sail__jnode *binary(sail__jparser *p, int which)
{
    static const level levels[] = {
        {{"+", "-"}, {SAIL__J_ADD, SAIL__J_SUB}},
        {{"~"}, {0}},
        {{"*", "/", "//", "%"}, {SAIL__J_MUL, SAIL__J_DIV, SAIL__J_FLOORDIV, SAIL__J_MOD}},
        {{"**"}, {SAIL__J_POW}},
    };
    if (which == 4)
        return unary(p, true);
    int line = now(p)->line; /* Jinja's: of where the expression begins, of a longer one where its last operator stands */
    sail__jnode *left = binary(p, which + 1);
    const level *l = &levels[which];
    while (!p->failed) {
        int i = 0;
        while (i < 4 && l->op[i] && !sail__jp_is(p, l->op[i]))
            i++;
        if (i == 4 || !l->op[i])
            break;
        next(p);
        sail__jnode *right = binary(p, which + 1);
        if (which == 1) {
            sail__jnode *n = left;
            if (left->kind != SAIL__JN_CONCAT) { /* else it is one more of the same */
                n = sail__jnode_new(p, SAIL__JN_CONCAT, line);
                sail__jnode_add(p, n, left);
            }
            sail__jnode_add(p, n, right);
            left = n;
            continue;
        }
        sail__jnode *n = sail__jnode_new(p, SAIL__JN_BINARY, line);
        n->op = (short)l->code[i];
        n->a = left;
        n->b = right;
        left = sail__jnode_depth(p, n);
        line = now(p)->line;
    }
    return which == 1 && left->kind == SAIL__JN_CONCAT ? sail__jnode_depth(p, left)
                                                       : left; /* once: a chain may be long */
}

static int comparison(sail__jparser *p)
{
    static const struct {
        const char *op;
        sail__jop code;
    } known[] = {{"==", SAIL__J_EQ}, {"!=", SAIL__J_NE}, {"<", SAIL__J_LT},
                 {"<=", SAIL__J_LE}, {">", SAIL__J_GT},  {">=", SAIL__J_GE}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (sail__jp_skip(p, known[i].op))
            return known[i].code;
    if (sail__jp_skip_name(p, "in"))
        return SAIL__J_IN;
    if (sail__jp_is_name(p, "not") && text_is(after(p), SAIL__JT_NAME, "in")) {
        next(p);
        next(p);
        return SAIL__J_NOT_IN;
    }
    return -1;
}

static sail__jnode *compare(sail__jparser *p)
{
    int line = now(p)->line;
    sail__jnode *left = binary(p, 0), *n = NULL;
    for (int op; !p->failed && (op = comparison(p)) >= 0;) {
        if (!n) {
            n = sail__jnode_new(p, SAIL__JN_COMPARE, line);
            n->a = left;
        }
        sail__jnode *operand = sail__jnode_new(p, SAIL__JN_OPERAND, now(p)->line);
        operand->op = (short)op;
        operand->a = binary(p, 0);
        sail__jnode_add(p, n, sail__jnode_depth(p, operand));
    }
    return n ? sail__jnode_depth(p, n) : left;
}

static sail__jnode *negation(sail__jparser *p)
{
    if (!sail__jp_is_name(p, "not"))
        return compare(p);
    sail__jnode *n = sail__jnode_new(p, SAIL__JN_NOT, now(p)->line);
    if (enter(p)) {
        next(p);
        n->a = negation(p);
    }
    p->depth--;
    return sail__jnode_depth(p, n);
}

/* and, or: one node of all operands. */
static sail__jnode *logical(sail__jparser *p, bool any)
{
    int line = now(p)->line;
    sail__jnode *left = any ? logical(p, false) : negation(p), *n = NULL;
    while (!p->failed && sail__jp_skip_name(p, any ? "or" : "and")) {
        if (!n) {
            n = sail__jnode_new(p, any ? SAIL__JN_OR : SAIL__JN_AND, line);
            sail__jnode_add(p, n, left);
        }
        sail__jnode_add(p, n, any ? logical(p, false) : negation(p));
    }
    return n ? sail__jnode_depth(p, n) : left;
}

/* Does an `if` follow before this expression ends? */
static bool if_ahead(const sail__jparser *p)
{
    int open = 0;
    for (size_t i = p->at; i < p->n; i++) {
        const sail__jtoken *t = &p->tokens[i];
        if (t->kind == SAIL__JT_PRINT_END || t->kind == SAIL__JT_BLOCK_END)
            return false;
        if (t->kind == SAIL__JT_OP && (*t->p == '(' || *t->p == '[' || *t->p == '{'))
            open++;
        else if (t->kind == SAIL__JT_OP && (*t->p == ')' || *t->p == ']' || *t->p == '}') && --open < 0)
            return false;
        else if (open == 0 && t->kind == SAIL__JT_OP && (*t->p == ',' || *t->p == ':'))
            return false;
        else if (open == 0 && text_is(t, SAIL__JT_NAME, "if"))
            return true;
    }
    return false;
}

static sail__jnode *conditional(sail__jparser *p)
{
    int line = now(p)->line;
    bool soft = p->soft;
    p->soft = soft || if_ahead(p); /* a branch may name filters that are not there */
    sail__jnode *n = logical(p, true);
    while (!p->failed && sail__jp_skip_name(p, "if")) {
        sail__jnode *c = sail__jnode_new(p, SAIL__JN_COND, line);
        c->b = n;
        c->a = logical(p, true);
        c->c = sail__jp_skip_name(p, "else") ? sail__jp_expression(p, true) : NULL;
        n = sail__jnode_depth(p, c);
    }
    p->soft = soft;
    return n;
}

sail__jnode *sail__jp_expression(sail__jparser *p, bool with_condition)
{
    sail__jnode *n = &p->none;
    if (enter(p))
        n = with_condition ? conditional(p) : logical(p, true);
    p->depth--;
    return n;
}
