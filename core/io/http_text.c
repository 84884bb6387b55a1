/* http_text.c - addresses, and what a server says that refuses, for who speaks HTTP. */
#include <string.h>

#include "../base/node.h"
#include "http.h"

bool sail__http_here(const char *host, size_t n)
{
    const char *port = memchr(host, ':', n);
    const size_t name = port ? (size_t)(port - host) : n;
    return (name == 9 && !strncmp(host, "localhost", 9)) ||
           (!strncmp(host, "127.", 4) && strspn(host, "0123456789.") == name) || !strncmp(host, "[::1]", 5);
}

static const char *string(const sail_node *n)
{
    return n && n->kind == SAIL_NODE_STRING ? n->string.data : NULL;
}

const char *sail__http_complaint(const char *body, size_t size, sail_arena *a)
{
    sail_node *root;
    sail_err ignored;
    const char *text = NULL;
    if (sail__json_parse(a, body, size, "the reply", 1, &root, &ignored) == SAIL_OK) {
        text = string(sail__node_find(root, "error.message"));
        text = text ? text : string(sail__node_get(root, "error"));
        text = text ? text : string(sail__node_get(root, "message"));
    }
    char *copy = sail__arena_strndup(a, text ? text : body, strnlen(text ? text : body, 200));
    for (char *c = copy; c && *c; c++)
        if ((unsigned char)*c < ' ')
            *c = ' ';
    for (size_t n = copy ? strlen(copy) : 0; n > 0 && !sail__utf8_valid(copy, n); n--)
        copy[n - 1] = 0;
    return copy ? copy : "";
}

const char *sail__http_without(const char *secret, const char *text, sail_arena *a)
{
    size_t n = secret ? strlen(secret) : 0;
    if (!text || n == 0 || !strstr(text, secret))
        return text;
    sail_buf b = {0};
    for (const char *at; (at = strstr(text, secret)); text = at + n) {
        sail__buf_add(&b, text, (size_t)(at - text));
        sail__buf_str(&b, "[key]");
    }
    sail__buf_str(&b, text);
    const char *out = b.oom ? NULL : sail__arena_strdup(a, b.data);
    sail__buf_free(&b);
    return out ? out : "[key]";
}
