/* The faults in force: reads their SPEC grammar and decides which of them hits a request. A
 * decision depends on the seed, the rule, and the request's numbers and how often they came, not on
 * the order of arrival: a run with the same seed fails the same requests. The platform's thread
 * (before it starts, the owner's). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

enum fault_kind {
    FAULT_NONE,
    FAULT_LATENCY,   /* modifies the answer: it comes later */
    FAULT_SLOW_BODY, /* the answer's body comes in pieces */
    FAULT_LAST,      /* the connection ends with the answer */
    FAULT_STATUS,    /* an outcome, as those below up to FAULT_HANG: the first that hits is taken */
    FAULT_FLAG,
    FAULT_FLAG_TEXT,
    FAULT_NO_FLAG,
    FAULT_BROKEN_JSON,
    FAULT_BIG_ANSWER,
    FAULT_CUT_BODY,
    FAULT_CLOSE,
    FAULT_RESET,
    FAULT_HANG,
    FAULT_RESET_BEFORE, /* of a connection, as those below */
    FAULT_RESET_ACCEPT,
    FAULT_HANG_ACCEPT,
    FAULT_REFUSE,
    FAULT_IDLE_CLOSE,
    FAULT_IDLE_408,
};

struct fault;

struct faults {
    struct fault *items;
    size_t count;
    uint64_t seed, draws;
};

/* What a request is, for the faults that ask for it; members may be NULL. */
struct fault_subject {
    const char *endpoint; /* "call", "recording" or "file" */
    const char *caller, *callee, *call_identifier;
    uint64_t occurrence; /* how many requests with these numbers came before */
};

/* What is to happen to a request. */
struct fault_choice {
    enum fault_kind outcome; /* FAULT_NONE: the true answer */
    int64_t value;           /* of the outcome: a status, a Flag, a size */
    int64_t latency_ms, slow_body_ms;
    bool last;
};

void faults_init(struct faults *faults, uint64_t seed);
void faults_fini(struct faults *faults);

/* Adds what a SPEC says, all of it or nothing. */
int faults_add(struct faults *faults, const char *spec, struct error *error);

/* Lifts all of them. */
void faults_clear(struct faults *faults);

struct fault_choice faults_choose(struct faults *faults, const struct fault_subject *subject);

/* Whether a fault of a connection hits now. */
bool faults_hit_connection(struct faults *faults, enum fault_kind kind);

/* The value of the first fault of a kind: of FAULT_REFUSE, FAULT_IDLE_CLOSE and FAULT_IDLE_408 a
 * time in ms; -1: none in force. */
int64_t faults_value(const struct faults *faults, enum fault_kind kind);

/* Drops the faults of a kind. */
void faults_drop(struct faults *faults, enum fault_kind kind);

/* The name of an outcome as it stands in a SPEC. */
const char *faults_name(enum fault_kind kind);

/* Adds the faults in force in the SPEC grammar. */
void faults_print(const struct faults *faults, struct text *out);

/* The grammar, for --help. */
extern const char faults_help[];
