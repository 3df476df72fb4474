/* Handles one request: checks, counts and records it, applies the faults in force, and makes the
 * answer. The only I/O is the test record. The platform's thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "sandbox/platform/answer.h"
#include "sandbox/platform/faults.h"
#include "sandbox/platform/record.h"
#include "sandbox/platform/signature.h"
#include "sandbox/platform/stats.h"

/* The platform's state apart from its connections. */
struct sandbox_service {
    struct sandbox_credentials credentials;
    struct sandbox_faults faults;
    struct sandbox_stats stats;
    struct sandbox_record record;
    uint64_t calls; /* calls answered with success; their identifiers count up with it */
};

/* One request between its arrival and its end. */
struct sandbox_exchange {
    struct sandbox_answer answer;
    struct sandbox_fault_choice fault;
    struct sandbox_stats_request counted;
    bool posted;         /* a POST to one of the two endpoints */
    bool control;        /* a request to the sandbox itself */
    bool faults_changed; /* the request has changed the faults in force */
};

/* Decides everything about a request. The caller ends the exchange with sandbox_exchange_end. */
void sandbox_exchange_begin(struct sandbox_service *service,
                            const struct sandbox_http_request *request, uint64_t connection,
                            struct sandbox_exchange *exchange);

/* The same for bytes that are not an HTTP request. */
void sandbox_exchange_begin_broken(struct sandbox_service *service, const char *problem,
                                   struct sandbox_exchange *exchange);

/* Counts how the exchange ended (answered: the answer was sent) and releases what it holds. A
 * second call does nothing. */
void sandbox_exchange_end(struct sandbox_service *service, struct sandbox_exchange *exchange,
                          bool answered);
