#include "worker/repair_line.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *repair_line(const struct config *config, enum request_kind job, int32_t partition,
                        char *out, size_t size)
{
    enum { PATH_SHOWN = 200 };
    const char *file = config->file ? config->file : "";
    if (strlen(file) > PATH_SHOWN)
        file = "FILE";
    snprintf(out, size, "privacy-call-worker ledger repair%s%s --topic %s --partition %" PRId32,
             *file ? " -c " : "", file, config->request_topics[job], partition);
    return out;
}
