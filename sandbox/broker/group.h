/* The group coordinator: consumer groups of the classic protocol as a state machine without
 * network. A JoinGroup or SyncGroup that must wait is kept as the caller's `struct call` and
 * answered through the hooks. Times are milliseconds of the caller's clock. The broker's thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "sandbox/broker/offsets.h"
#include "sandbox/broker/wire.h"

struct call;

/* Members that have to join again; the leader's assignment is awaited; everybody has one. */
enum group_state { GROUP_EMPTY, GROUP_PREPARING, GROUP_COMPLETING, GROUP_STABLE };

struct group_protocol {
    struct slice name, metadata;
};

struct member {
    struct list node; /* group.members, in the order of joining */
    char *id;
    char *instance; /* NULL: dynamic */
    int32_t session_ms, rebalance_ms;
    struct group_protocol *protocols; /* with their bytes in one block behind them */
    int32_t protocol_count;
    struct slice assignment;  /* ours */
    bool joined;              /* has asked to join in this rebalance */
    bool known;               /* has been told its id */
    struct call *join, *sync; /* requests that wait for their answer */
    int64_t deadline;
};

struct group {
    struct list node; /* groups.list */
    char *name;
    enum group_state state;
    int32_t generation;
    char *protocol_type, *protocol; /* NULL while nobody joined */
    struct member *leader;
    struct list members;
    int32_t member_count;
    int64_t join_deadline; /* in PREPARING */
    struct offsets offsets;
};

/* How answers reach the network; each releases the call. */
struct group_hooks {
    void (*joined)(struct call *call, int16_t code, const struct group *group,
                   const struct member *member, struct slice member_id);
    void (*synced)(struct call *call, int16_t code, struct slice assignment);
};

struct groups {
    struct list list;
    struct group_hooks hooks;
    int64_t next_member;
};

void groups_init(struct groups *groups, struct group_hooks hooks);
/* Waiting calls must be gone. */
void groups_fini(struct groups *groups);

/* NULL when there is none; the second one makes it. */
struct group *groups_find(const struct groups *groups, struct slice name);
struct group *groups_make(struct groups *groups, struct slice name);

struct group_join {
    struct slice member, instance, client, protocol_type;
    int32_t session_ms, rebalance_ms;
    const struct group_protocol *protocols;
    int32_t protocol_count;
};

/* Answers the call through the hook, now or later. */
void group_join(struct groups *groups, struct group *group, const struct group_join *join,
                struct call *call, int64_t now);

struct group_assignment {
    struct slice member, bytes;
};

struct group_sync {
    struct slice member, instance;
    int32_t generation;
    const struct group_assignment *assignments;
    int32_t assignment_count;
};

/* Answers the call through the hook, now or later. group may be NULL. */
void group_sync(struct groups *groups, struct group *group, const struct group_sync *sync,
                struct call *call, int64_t now);

/* Return a code; group may be NULL. */
int16_t group_heartbeat(struct group *group, struct slice member, struct slice instance,
                        int32_t generation, int64_t now);
int16_t group_leave(struct groups *groups, struct group *group, struct slice member, int64_t now);

/* Whether offsets may be committed under that membership. Returns a code. */
int16_t group_check_commit(struct group *group, struct slice member, struct slice instance,
                           int32_t generation, bool transactional, int64_t now);

/* The bytes of the chosen protocol that a member joined with. */
struct slice group_metadata(const struct group *group, const struct member *member);

/* Removes members that were silent for too long and ends joining whose time is up. */
void groups_expire(struct groups *groups, int64_t now);
/* When the next one would; INT64_MAX: never. */
int64_t groups_deadline(const struct groups *groups);

/* Forgets a waiting call whose connection is gone, and a member that has not been told its id. */
void groups_forget_call(struct groups *groups, const struct call *call, int64_t now);
