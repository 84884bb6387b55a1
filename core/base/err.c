/* err.c - errors as data. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../sail/err.h"

/* Cut a UTF-8 string that filled its buffer at a whole character. */
static void cut(char *s, size_t size)
{
    size_t n = strlen(s);
    if (n + 1 < size)
        return;
    while (n > 0 && ((unsigned char)s[n - 1] & 0xC0) == 0x80)
        n--;
    if (n > 0 && (unsigned char)s[n - 1] >= 0xC0)
        s[n - 1] = '\0';
}

sail_code sail_fail(sail_err *err, sail_code code, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        char text[sizeof err->message];
        va_start(ap, fmt);
        vsnprintf(text, sizeof text, fmt, ap);
        va_end(ap);
        cut(text, sizeof text);
        memcpy(err->message, text, strlen(text) + 1);
        err->code = code;
    }
    return code;
}

sail_code sail_fail_in(sail_err *err, const char *fmt, ...)
{
    if (!err)
        return SAIL_E_BUG;
    char prefix[sizeof err->message], text[sizeof err->message];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(prefix, sizeof prefix, fmt, ap);
    va_end(ap);
    memcpy(text, err->message, sizeof text);
    int n = snprintf(err->message, sizeof err->message, "%s: ", prefix);
    if (n >= 0 && (size_t)n < sizeof err->message)
        snprintf(err->message + n, sizeof err->message - (size_t)n, "%s", text);
    cut(err->message, sizeof err->message);
    return err->code;
}

const char *sail_code_text(sail_code code)
{
    static const char *const text[] = {"done",
#define ERR(name, status, text) text,
#include "../sail/errors.def"
#undef ERR
    };
    return (unsigned)code < SAIL_E_COUNT ? text[code] : "unknown error";
}

int sail_code_status(sail_code code)
{
    static const unsigned char status[] = {0,
#define ERR(name, status, text) status,
#include "../sail/errors.def"
#undef ERR
    };
    return (unsigned)code < SAIL_E_COUNT ? status[code] : 1;
}
