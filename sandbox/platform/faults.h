/* The faults in force: parses their SPEC grammar and decides which fault hits a request. A decision
 * depends on the seed, the rule, the request's numbers and how often these came before, not on the
 * order of arrival: two runs with the same seed fail the same requests. The platform's thread;
 * before that thread starts, the owner's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

enum sandbox_fault_kind {
    FAULT_NONE,
    FAULT_LATENCY,   /* delays the answer */
    FAULT_SLOW_BODY, /* sends the answer's body in pieces */
    FAULT_LAST,      /* the connection ends with the answer */
    FAULT_STATUS,    /* up to FAULT_HANG: outcomes; the first that hits counts */
    FAULT_FLAG,
    FAULT_FLAG_TEXT,
    FAULT_NO_FLAG,
    FAULT_BROKEN_JSON,
    FAULT_BIG_ANSWER,
    FAULT_CUT_BODY,
    FAULT_CLOSE,
    FAULT_RESET,
    FAULT_HANG,
    FAULT_RESET_BEFORE, /* from here on: faults of connections */
    FAULT_RESET_ACCEPT,
    FAULT_HANG_ACCEPT,
    FAULT_REFUSE,
    FAULT_IDLE_CLOSE,
    FAULT_IDLE_408,
};

struct sandbox_fault;

struct sandbox_faults {
    struct sandbox_fault *items;
    size_t count;
    uint64_t seed, draws;
};

/* What the faults may match in a request. Members may be NULL. */
struct sandbox_fault_subject {
    const char *endpoint; /* "call", "recording" or "file" */
    const char *caller, *callee, *call_identifier;
    uint64_t occurrence; /* how many requests with these numbers came before */
};

/* What happens to a request. */
struct sandbox_fault_choice {
    enum sandbox_fault_kind outcome; /* FAULT_NONE: the regular answer */
    int64_t value;                   /* of the outcome: a status, a Flag, a size */
    int64_t latency_ms, slow_body_ms;
    bool last;
};

void sandbox_faults_init(struct sandbox_faults *faults, uint64_t seed);
void sandbox_faults_fini(struct sandbox_faults *faults);

/* Adds the faults of a SPEC; none of them if one is wrong. */
int sandbox_faults_add(struct sandbox_faults *faults, const char *spec, struct error *error);

/* Lifts all of them. */
void sandbox_faults_clear(struct sandbox_faults *faults);

struct sandbox_fault_choice sandbox_faults_choose(struct sandbox_faults *faults,
                                                  const struct sandbox_fault_subject *subject);

/* Whether a connection fault of that kind hits now. */
bool sandbox_faults_hit_connection(struct sandbox_faults *faults, enum sandbox_fault_kind kind);

/* The value of the first fault of a kind (for FAULT_REFUSE, FAULT_IDLE_CLOSE and FAULT_IDLE_408 a
 * time in ms); -1: none is in force. */
int64_t sandbox_faults_value(const struct sandbox_faults *faults, enum sandbox_fault_kind kind);

/* Drops the faults of a kind. */
void sandbox_faults_drop(struct sandbox_faults *faults, enum sandbox_fault_kind kind);

/* The name of an outcome, as in a SPEC. */
const char *sandbox_faults_name(enum sandbox_fault_kind kind);

/* Adds the faults in force to `out`, in the SPEC grammar. */
void sandbox_faults_print(const struct sandbox_faults *faults, struct text *out);

/* The grammar, for --help. */
extern const char sandbox_faults_help[];
