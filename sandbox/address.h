/* Where the sandbox's servers listen, as it is written: "host:port" or "[v6]:port". */
#pragma once

#include "base/error.h"

struct address {
    char host[256]; /* without brackets */
    char port[8];   /* 0 to 65535 */
};

/* Returns 0; or -1 when it is written otherwise. */
int address_split(struct address *address, const char *text, struct error *error);
