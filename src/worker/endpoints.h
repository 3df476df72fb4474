/* What the HTTP server serves: /metrics, /livez, /readyz, /status and a page for people. Everything
 * is read from struct metrics, without blocking another thread. */
#pragma once

#include "io/http.h"
#include "worker/metrics.h"

/* For http_new; the argument is the struct metrics, with its threads running. */
extern const struct http_handler endpoints;
