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
struct service {
    struct credentials credentials;
    struct faults faults;
    struct stats stats;
    struct record record;
    uint64_t calls; /* calls answered with success; their identifiers count up with it */
};

/* One request between its arrival and its end. */
struct exchange {
    struct answer answer;
    struct fault_choice fault;
    struct stats_request counted;
    bool posted;         /* a POST to one of the two endpoints */
    bool control;        /* a request to the sandbox itself */
    bool faults_changed; /* the request has changed the faults in force */
};

/* Decides everything about a request. The caller ends the exchange with exchange_end. */
void exchange_begin(struct service *service, const struct http_request *request,
                    uint64_t connection, struct exchange *exchange);

/* The same for bytes that are not an HTTP request. */
void exchange_begin_broken(struct service *service, const char *problem, struct exchange *exchange);

/* Counts how the exchange ended (answered: the answer was sent) and releases what it holds. A
 * second call does nothing. */
void exchange_end(struct service *service, struct exchange *exchange, bool answered);
