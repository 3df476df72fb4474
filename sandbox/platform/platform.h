/* A simulated privacy-call platform: HTTPS on its own port, strict checks of requests, and faults
 * on demand. It runs in its own thread, which sandbox_platform_new starts and sandbox_platform_free
 * ends. The functions below are for the owner's thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct sandbox_platform;

/* Strings are copied. NULL or zero: the default in brackets. */
struct sandbox_platform_options {
    const char *address; /* where to listen, "host:port"; port 0 picks a free one ["127.0.0.1:0"] */
    const char *token;   /* the expected account authorization token [PLATFORM_TOKEN] */
    const char *app_id;  /* the expected application id [PLATFORM_APP_ID] */
    const char *version; /* SoftVersion, first part of the path [PLATFORM_VERSION] */
    const char *ca_file; /* where the CA's certificate is written, its key beside it for the next
                            start [a new file in TMPDIR, removed at the end] */
    const char *record_file;  /* POSTs are appended to it; NULL: they are not recorded */
    const char *const *names; /* further DNS names for the certificate, NULL at the end; or NULL */
    const char *const *fault_specs; /* faults in force from the start, NULL at the end; or NULL */
    uint64_t seed;                  /* of the random numbers for percentages */
    int utc_offset_minutes;         /* zone of the signed timestamp (0 is UTC) */
    bool any_timestamp;             /* accept timestamps that are not near now */
};

#define PLATFORM_TOKEN   "akwiKeKEKG01kfas63910IRJL6ask38fKF6"
#define PLATFORM_APP_ID  "774e5e14a0874r725bfb90351f1e84f677"
#define PLATFORM_VERSION "20171220"

/* Listens, writes the CA file and starts the thread. NULL: failed, error says why. */
struct sandbox_platform *sandbox_platform_new(const struct sandbox_platform_options *options,
                                              struct error *error);

/* "https://host:port" with the real port, and the path of the CA's certificate. Both strings live
 * as long as the platform. */
const char *sandbox_platform_address(const struct sandbox_platform *platform);
const char *sandbox_platform_ca_file(const struct sandbox_platform *platform);

/* Lifts all faults soon afterwards, like DELETE /sandbox/faults. Any thread. */
void sandbox_platform_lift_faults(struct sandbox_platform *platform);

/* Ends the thread and closes everything. platform may be NULL. */
void sandbox_platform_free(struct sandbox_platform *platform);
