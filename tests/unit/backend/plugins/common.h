/* common.h - what the test plugins share: a table of functions made up for the test. */
#include <stddef.h>

#include <sail/plugin.h>

struct test_ops {
    uint32_t size;
    int (*answer)(void);
    int (*later)(void); /* a function that older plugins lack */
};
