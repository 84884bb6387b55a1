/* plugin_check_tell.c - one check of a plugin, told to who asked and counted. */
#include "plugin_check.h"

#include <stdio.h>

bool sail__checked(sail__checking *c, const char *what, bool holds, const char *detail, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, detail);
    vsnprintf(text, sizeof text, detail, ap);
    va_end(ap);
    c->done++;
    if (!holds && !c->failed++)
        snprintf(c->first, sizeof c->first, "%.60s: %.180s", what, text);
    if (c->report)
        c->report(c->user, what, holds, text);
    return holds;
}
