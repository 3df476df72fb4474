/* A simulated privacy-call platform: HTTPS on a port of its own, strict about what it is sent, with
 * faults on demand. It runs in a thread of its own, which platform_new starts and platform_free
 * ends; the functions below are for the owner's thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct platform;

/* Strings are copied. NULL or zero takes what stands in brackets. */
struct platform_options {
    const char *address; /* where to listen, "host:port"; port 0 picks a free one ["127.0.0.1:0"] */
    const char *token;   /* the account authorization token that is expected [PLATFORM_TOKEN] */
    const char *app_id;  /* the application id that is expected [PLATFORM_APP_ID] */
    const char *version; /* SoftVersion, first part of the path [PLATFORM_VERSION] */
    const char *ca_file; /* where the CA's certificate is written, its key beside it for the next
                            start [a new file in TMPDIR, removed at the end] */
    const char *record_file;  /* where POSTs are recorded, appended; NULL: nowhere */
    const char *const *names; /* further DNS names for the certificate, NULL at the end; or NULL */
    const char *const *fault_specs; /* faults in force from the start, NULL at the end; or NULL */
    uint64_t seed;                  /* of what the percentages draw */
    int utc_offset_minutes;         /* zone of the signed timestamp (0 is UTC) */
    bool any_timestamp;             /* accept timestamps that are not near now */
};

#define PLATFORM_TOKEN   "akwiKeKEKG01kfas63910IRJL6ask38fKF6"
#define PLATFORM_APP_ID  "774e5e14a0874r725bfb90351f1e84f677"
#define PLATFORM_VERSION "20171220"

/* Listens, writes the CA file and starts the thread. NULL: failed, error says why. */
struct platform *platform_new(const struct platform_options *options, struct error *error);

/* "https://host:port" with the real port, and the path of the CA's certificate. They live as long
 * as the platform. */
const char *platform_address(const struct platform *platform);
const char *platform_ca_file(const struct platform *platform);

/* Lifts all faults, as DELETE /sandbox/faults does; takes effect soon after. Any thread. */
void platform_lift_faults(struct platform *platform);

/* Ends the thread, closes everything; NULL is harmless. */
void platform_free(struct platform *platform);
