/* Parses where the sandbox's servers listen: "host:port" or "[v6]:port". */
#pragma once

#include "base/error.h"

struct address {
    char host[256]; /* without brackets */
    char port[8];   /* 0 to 65535 */
};

/* Returns 0, or -1 for any other form. */
int address_split(struct address *address, const char *text, struct error *error);
