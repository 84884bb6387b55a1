/* pattern.c - string.find, match, gmatch and gsub with a matcher that counts its steps.
 *
 * Source: the Lua 5.4 reference manual, §6.4.1, for what patterns mean. Lua's own matcher runs in C, where no hook fires,
 * and takes time exponential in the number of repetitions; this one asks the clock every few thousand steps. */
#include "state.h"

#include <ctype.h>
#include <string.h>

enum { MAX_CAPTURES = 32, MAX_DEPTH = 200, STEPS_PER_LOOK = 4096 };
enum { OPEN = -1, POSITION = -2 };

typedef unsigned char byte;

typedef struct matcher {
    lua_State *L;
    const byte *text, *text_end, *pattern_end;
    int depth;
    unsigned steps;
    int captures;
    struct {
        const byte *from;
        ptrdiff_t len; /* or OPEN, POSITION */
    } capture[MAX_CAPTURES];
} matcher;

static const byte *match_here(matcher *m, const byte *s, const byte *p);

static void step(matcher *m)
{
    if (++m->steps >= STEPS_PER_LOOK) {
        m->steps = 0;
        sail__lua_tick(m->L);
    }
}

/* ---- one character ---- */

/* Past the item that begins at p: a character, %x, or a set. */
static const byte *item_end(matcher *m, const byte *p)
{
    if (p == m->pattern_end)
        luaL_error(m->L, "malformed pattern (it ends too early)");
    byte c = *p++;
    if (c == '%') {
        if (p == m->pattern_end)
            luaL_error(m->L, "malformed pattern (it ends with `%%`)");
        return p + 1;
    }
    if (c != '[')
        return p;
    if (p < m->pattern_end && *p == '^')
        p++;
    for (bool first = true;; first = false) { /* a ] that comes first is a member */
        if (p == m->pattern_end)
            luaL_error(m->L, "malformed pattern (missing `]`)");
        c = *p++;
        if (c == ']' && !first)
            return p;
        if (c == '%') {
            if (p == m->pattern_end)
                luaL_error(m->L, "malformed pattern (missing `]`)");
            p++;
        }
    }
}

static bool in_class(byte c, byte class)
{
    bool yes;
    switch (tolower(class)) {
    case 'a':
        yes = isalpha(c);
        break;
    case 'c':
        yes = iscntrl(c);
        break;
    case 'd':
        yes = isdigit(c);
        break;
    case 'g':
        yes = isgraph(c);
        break;
    case 'l':
        yes = islower(c);
        break;
    case 'p':
        yes = ispunct(c);
        break;
    case 's':
        yes = isspace(c);
        break;
    case 'u':
        yes = isupper(c);
        break;
    case 'w':
        yes = isalnum(c);
        break;
    case 'x':
        yes = isxdigit(c);
        break;
    default:
        return c == class; /* %. and the like: the character itself */
    }
    return isupper(class) ? !yes : yes;
}

/* p: after the [; end: the closing ]. */
static bool in_set(byte c, const byte *p, const byte *end)
{
    bool wanted = true, found = false;
    if (*p == '^') {
        wanted = false;
        p++;
    }
    while (p < end && !found) {
        if (*p == '%' && p + 1 < end) {
            found = in_class(c, p[1]);
            p += 2;
        } else if (p + 2 < end && p[1] == '-') {
            found = p[0] <= c && c <= p[2];
            p += 3;
        } else {
            found = *p++ == c;
        }
    }
    return found == wanted;
}

/* Whether the character at s is one that the item [p, end) stands for. */
static bool fits(matcher *m, const byte *s, const byte *p, const byte *end)
{
    step(m);
    if (s == m->text_end)
        return false;
    switch (*p) {
    case '.':
        return true;
    case '%':
        return in_class(*s, p[1]);
    case '[':
        return in_set(*s, p + 1, end - 1);
    default:
        return *s == *p;
    }
}

/* ---- repetitions ---- */

static const byte *most_first(matcher *m, const byte *s, const byte *p, const byte *end)
{
    ptrdiff_t n = 0;
    while (fits(m, s + n, p, end))
        n++;
    for (; n >= 0; n--) {
        const byte *r = match_here(m, s + n, end + 1);
        if (r)
            return r;
    }
    return NULL;
}

static const byte *fewest_first(matcher *m, const byte *s, const byte *p, const byte *end)
{
    for (;; s++) {
        const byte *r = match_here(m, s, end + 1);
        if (r)
            return r;
        if (!fits(m, s, p, end))
            return NULL;
    }
}

/* ---- what begins with % and is more than a class ---- */

static const byte *balanced(matcher *m, const byte *s, const byte *p)
{
    if (m->pattern_end - p < 2)
        luaL_error(m->L, "malformed pattern (`%%b` needs two characters)");
    if (s == m->text_end || *s != p[0])
        return NULL;
    int64_t open = 1;
    while (++s < m->text_end) {
        step(m);
        if (*s == p[1]) {
            if (--open == 0)
                return s + 1;
        } else if (*s == p[0]) {
            open++;
        }
    }
    return NULL;
}

static bool at_frontier(matcher *m, const byte *s, const byte *p, const byte *end)
{
    byte before = s == m->text ? '\0' : s[-1], here = s == m->text_end ? '\0' : *s;
    return !in_set(before, p + 1, end - 1) && in_set(here, p + 1, end - 1);
}

static const byte *repeated_capture(matcher *m, const byte *s, byte digit)
{
    int i = digit - '1';
    if (i < 0 || i >= m->captures || m->capture[i].len < 0)
        luaL_error(m->L, "invalid capture index %%%d in pattern", i + 1);
    size_t n = (size_t)m->capture[i].len;
    m->steps += (unsigned)(n / 64);
    return (size_t)(m->text_end - s) >= n && memcmp(m->capture[i].from, s, n) == 0 ? s + n : NULL;
}

/* ---- captures ---- */

static const byte *open_capture(matcher *m, const byte *s, const byte *p, int what)
{
    if (m->captures == MAX_CAPTURES)
        luaL_error(m->L, "too many captures");
    m->capture[m->captures].from = s;
    m->capture[m->captures].len = what;
    m->captures++;
    const byte *r = match_here(m, s, p);
    if (!r)
        m->captures--;
    return r;
}

static const byte *close_capture(matcher *m, const byte *s, const byte *p)
{
    int i = m->captures - 1;
    while (i >= 0 && m->capture[i].len != OPEN)
        i--;
    if (i < 0)
        luaL_error(m->L, "invalid pattern capture");
    m->capture[i].len = s - m->capture[i].from;
    const byte *r = match_here(m, s, p);
    if (!r)
        m->capture[i].len = OPEN;
    return r;
}

/* ---- the pattern from p on, at s: where the match ends, or NULL ---- */

static const byte *match_rest(matcher *m, const byte *s, const byte *p)
{
    while (p != m->pattern_end) {
        step(m);
        if (*p == '(')
            return p + 1 < m->pattern_end && p[1] == ')' ? open_capture(m, s, p + 2, POSITION)
                                                          : open_capture(m, s, p + 1, OPEN);
        if (*p == ')')
            return close_capture(m, s, p + 1);
        if (*p == '$' && p + 1 == m->pattern_end)
            return s == m->text_end ? s : NULL;
        byte next = *p == '%' && p + 1 < m->pattern_end ? p[1] : '\0';
        if (next == 'b') {
            s = balanced(m, s, p + 2);
            p += 4;
        } else if (next == 'f') {
            p += 2;
            if (p == m->pattern_end || *p != '[')
                luaL_error(m->L, "missing `[` after `%%f` in pattern");
            const byte *end = item_end(m, p);
            s = at_frontier(m, s, p, end) ? s : NULL;
            p = end;
        } else if (isdigit(next)) {
            s = repeated_capture(m, s, next);
            p += 2;
        } else {
            const byte *end = item_end(m, p);
            byte times = end < m->pattern_end ? *end : '\0';
            if (times == '*')
                return most_first(m, s, p, end);
            if (times == '-')
                return fewest_first(m, s, p, end);
            bool one = fits(m, s, p, end);
            if (times == '+')
                return one ? most_first(m, s + 1, p, end) : NULL;
            if (times == '?') {
                const byte *r = one ? match_here(m, s + 1, end + 1) : NULL;
                if (r)
                    return r;
                p = end + 1;
                continue;
            }
            s = one ? s + 1 : NULL;
            p = end;
        }
        if (!s)
            return NULL;
    }
    return s;
}

static const byte *match_here(matcher *m, const byte *s, const byte *p)
{
    if (++m->depth > MAX_DEPTH)
        luaL_error(m->L, "pattern too complex");
    const byte *r = match_rest(m, s, p);
    m->depth--;
    return r;
}

/* ---- results ---- */

/* Capture i; the whole match where the pattern has none. */
static void push_capture(matcher *m, int i, const byte *from, const byte *to)
{
    if (i >= m->captures) {
        if (i > 0)
            luaL_error(m->L, "invalid capture index %%%d", i + 1);
        lua_pushlstring(m->L, (const char *)from, (size_t)(to - from));
    } else if (m->capture[i].len == POSITION) {
        lua_pushinteger(m->L, m->capture[i].from - m->text + 1);
    } else if (m->capture[i].len == OPEN) {
        luaL_error(m->L, "unfinished capture");
    } else {
        lua_pushlstring(m->L, (const char *)m->capture[i].from, (size_t)m->capture[i].len);
    }
}

static int push_captures(matcher *m, const byte *from, const byte *to)
{
    int n = m->captures ? m->captures : 1;
    luaL_checkstack(m->L, n, "too many captures");
    for (int i = 0; i < n; i++)
        push_capture(m, i, from, to);
    return n;
}

static const byte *try_at(matcher *m, const byte *s, const byte *p)
{
    m->captures = 0;
    m->depth = 0;
    return match_here(m, s, p);
}

/* string.find's and gmatch's third argument as an offset; false: beyond the end. */
static bool start_of(lua_State *L, int i, size_t n, size_t *start)
{
    lua_Integer at = luaL_optinteger(L, i, 1);
    if (at < 0)
        at = at < -(lua_Integer)n ? 1 : (lua_Integer)n + at + 1;
    else if (at == 0)
        at = 1;
    *start = (size_t)(at - 1);
    return *start <= n;
}

static int find_or_match(lua_State *L, bool find)
{
    size_t n, m;
    const char *s = luaL_checklstring(L, 1, &n), *p = luaL_checklstring(L, 2, &m);
    size_t start;
    if (!start_of(L, 3, n, &start)) {
        lua_pushnil(L);
        return 1;
    }
    if (find && (lua_toboolean(L, 4) || (strlen(p) == m && !strpbrk(p, "^$*+?.([%-")))) {
        const char *at = m ? memmem(s + start, n - start, p, m) : s + start;
        if (!at) {
            lua_pushnil(L);
            return 1;
        }
        lua_pushinteger(L, at - s + 1);
        lua_pushinteger(L, at - s + (lua_Integer)m);
        return 2;
    }
    matcher c = {.L = L, .text = (const byte *)s, .text_end = (const byte *)s + n, .pattern_end = (const byte *)p + m};
    const byte *pattern = (const byte *)p;
    bool anchored = m > 0 && *p == '^';
    for (const byte *at = c.text + start;; at++) {
        const byte *end = try_at(&c, at, pattern + anchored);
        if (end && find) {
            lua_pushinteger(L, at - c.text + 1);
            lua_pushinteger(L, end - c.text);
            return 2 + (c.captures ? push_captures(&c, at, end) : 0);
        }
        if (end)
            return push_captures(&c, at, end);
        if (anchored || at >= c.text_end)
            break;
    }
    lua_pushnil(L);
    return 1;
}

static int find(lua_State *L) { return find_or_match(L, true); }
static int match(lua_State *L) { return find_or_match(L, false); }

/* Upvalues: text, pattern, offset of the next try, end of the last match (-1: none). */
static int gmatch_next(lua_State *L)
{
    size_t n, m;
    const char *s = lua_tolstring(L, lua_upvalueindex(1), &n), *p = lua_tolstring(L, lua_upvalueindex(2), &m);
    lua_Integer last = lua_tointeger(L, lua_upvalueindex(4));
    matcher c = {.L = L, .text = (const byte *)s, .text_end = (const byte *)s + n, .pattern_end = (const byte *)p + m};
    for (const byte *at = c.text + lua_tointeger(L, lua_upvalueindex(3)); at <= c.text_end; at++) {
        const byte *end = try_at(&c, at, (const byte *)p);
        if (!end || end - c.text == last)
            continue;
        lua_pushinteger(L, end - c.text);
        lua_copy(L, -1, lua_upvalueindex(3));
        lua_replace(L, lua_upvalueindex(4));
        return push_captures(&c, at, end);
    }
    return 0;
}

static int gmatch(lua_State *L)
{
    size_t n, start;
    luaL_checklstring(L, 1, &n);
    luaL_checkstring(L, 2);
    if (!start_of(L, 3, n, &start))
        start = n + 1;
    lua_settop(L, 2);
    lua_pushinteger(L, (lua_Integer)start);
    lua_pushinteger(L, -1);
    lua_pushcclosure(L, gmatch_next, 4);
    return 1;
}

/* The replacement of one match onto the buffer. Returns whether it changed anything. */
static bool add_replacement(matcher *m, luaL_Buffer *b, const byte *from, const byte *to)
{
    lua_State *L = m->L;
    int type = lua_type(L, 3);
    if (type == LUA_TFUNCTION) {
        lua_pushvalue(L, 3);
        int n = push_captures(m, from, to);
        lua_call(L, n, 1);
    } else if (type == LUA_TTABLE) {
        push_capture(m, 0, from, to);
        lua_gettable(L, 3);
    } else {
        size_t n;
        const char *r = lua_tolstring(L, 3, &n);
        for (size_t i = 0; i < n; i++) {
            step(m);
            if (r[i] != '%') {
                luaL_addchar(b, r[i]);
                continue;
            }
            i++;
            if (i < n && r[i] == '%') {
                luaL_addchar(b, '%');
            } else if (i < n && r[i] == '0') {
                luaL_addlstring(b, (const char *)from, (size_t)(to - from));
            } else if (i < n && isdigit((byte)r[i])) {
                push_capture(m, r[i] - '1', from, to);
                luaL_tolstring(L, -1, NULL);
                lua_remove(L, -2);
                luaL_addvalue(b);
            } else {
                luaL_error(L, "invalid use of `%%` in a replacement string");
            }
        }
        return true;
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(b, (const char *)from, (size_t)(to - from));
        return false;
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid replacement value (%s)", luaL_typename(L, -1));
    luaL_addvalue(b);
    return true;
}

static int gsub(lua_State *L)
{
    size_t n, k;
    const char *s = luaL_checklstring(L, 1, &n), *p = luaL_checklstring(L, 2, &k);
    int type = lua_type(L, 3);
    luaL_argexpected(L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE, 3,
                     "string/function/table");
    lua_Integer most = luaL_optinteger(L, 4, (lua_Integer)n + 1), count = 0;
    bool anchored = k > 0 && *p == '^', changed = false;
    matcher m = {.L = L, .text = (const byte *)s, .text_end = (const byte *)s + n, .pattern_end = (const byte *)p + k};
    const byte *at = m.text, *last = NULL;
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    while (count < most) {
        const byte *end = try_at(&m, at, (const byte *)p + anchored);
        if (end && end != last) {
            count++;
            changed |= add_replacement(&m, &b, at, end);
            at = last = end;
        } else if (at < m.text_end) {
            luaL_addchar(&b, (char)*at);
            at++;
        } else {
            break;
        }
        if (anchored)
            break;
    }
    if (!changed) {
        lua_pushvalue(L, 1);
    } else {
        luaL_addlstring(&b, (const char *)at, (size_t)(m.text_end - at));
        luaL_pushresult(&b);
    }
    lua_pushinteger(L, count);
    return 2;
}

void sail__lua_open_pattern(lua_State *L)
{
    static const luaL_Reg own[] = {{"find", find}, {"match", match}, {"gmatch", gmatch}, {"gsub", gsub}, {NULL, NULL}};
    lua_getglobal(L, "string");
    luaL_setfuncs(L, own, 0);
    lua_pop(L, 1);
}
