/* What happens with one request: it is checked, counted, recorded, meets the faults in force, and
 * gets an answer. No input or output but the test record. The platform's thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "sandbox/platform/answer.h"
#include "sandbox/platform/faults.h"
#include "sandbox/platform/record.h"
#include "sandbox/platform/signature.h"
#include "sandbox/platform/stats.h"

/* The platform's state apart from its connections. */
struct service {
    struct credentials credentials;
    struct faults faults;
    struct stats stats;
    struct record record;
    uint64_t calls; /* answered with success, for their identifiers */
};

/* One request between its arrival and its end. */
struct exchange {
    struct answer answer;
    struct fault_choice fault;
    struct stats_request counted;
    bool posted;         /* to one of the two endpoints */
    bool control;        /* to the sandbox itself */
    bool faults_changed; /* the faults in force are no longer the same */
};

/* Decides everything about a request that was read from a connection. Ended by exchange_end. */
void exchange_begin(struct service *service, const struct http_request *request,
                    uint64_t connection, struct exchange *exchange);

/* The same for bytes that are no request. */
void exchange_begin_broken(struct service *service, const char *problem, struct exchange *exchange);

/* Counts how it ended (answered: the answer's status was sent) and releases what the exchange
 * holds. Twice is harmless. */
void exchange_end(struct service *service, struct exchange *exchange, bool answered);
