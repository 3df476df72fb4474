/* The command that repairs a partition, for the log and the page. Any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/config.h"

enum { REPAIR_LINE = 600 };

/* Writes it to out (of REPAIR_LINE), with this worker's configuration file. Returns out. */
const char *repair_line(const struct config *config, enum request_kind job, int32_t partition,
                        char *out, size_t size);
