/* /status: the state of the worker as JSON (docs/http.md). HTTP thread. */
#pragma once

#include <stdbool.h>

#include "base/text.h"
#include "worker/metrics.h"

void status_render(struct metrics *metrics, bool ready, struct text *out);
