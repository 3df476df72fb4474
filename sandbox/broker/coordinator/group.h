/* The group coordinator: consumer groups of the classic protocol as a state machine without
 * network. A JoinGroup or SyncGroup that must wait is kept as the caller's `struct broker_call` and
 * answered through the hooks. Times are milliseconds of the caller's clock. The broker's thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "sandbox/broker/coordinator/offsets.h"
#include "sandbox/broker/wire/wire.h"

struct broker_call;

/* PREPARING: members have to join again. COMPLETING: the leader's assignment has not arrived.
 * STABLE: each member has its assignment. */
enum broker_group_state { GROUP_EMPTY, GROUP_PREPARING, GROUP_COMPLETING, GROUP_STABLE };

struct broker_group_protocol {
    struct broker_slice name, metadata;
};

struct broker_member {
    struct list node; /* group.members, in the order of joining */
    char *id;
    char *instance; /* NULL: dynamic */
    int32_t session_ms, rebalance_ms;
    struct broker_group_protocol *protocols; /* one block with their bytes after them */
    int32_t protocol_count;
    struct broker_slice assignment;  /* ours */
    bool joined;                     /* has asked to join in this rebalance */
    bool known;                      /* knows its id */
    struct broker_call *join, *sync; /* requests that wait for their answer */
    int64_t deadline;
};

struct broker_group {
    struct list node; /* groups.list */
    char *name;
    enum broker_group_state state;
    int32_t generation;
    char *protocol_type, *protocol; /* NULL until a member has joined */
    struct broker_member *leader;
    struct list members;
    int32_t member_count;
    int64_t join_deadline; /* in PREPARING */
    struct broker_offsets offsets;
};

/* How answers reach the network; each releases the call. */
struct broker_group_hooks {
    void (*joined)(struct broker_call *call, int16_t code, const struct broker_group *group,
                   const struct broker_member *member, struct broker_slice member_id);
    void (*synced)(struct broker_call *call, int16_t code, struct broker_slice assignment);
};

struct broker_groups {
    struct list list;
    struct broker_group_hooks hooks;
    int64_t next_member;
};

void broker_groups_init(struct broker_groups *groups, struct broker_group_hooks hooks);
/* Waiting calls must be gone. */
void broker_groups_fini(struct broker_groups *groups);

/* NULL: there is none. The second function makes the group then. */
struct broker_group *broker_groups_find(const struct broker_groups *groups,
                                        struct broker_slice name);
struct broker_group *broker_groups_make(struct broker_groups *groups, struct broker_slice name);

struct broker_group_join {
    struct broker_slice member, instance, client, protocol_type;
    int32_t session_ms, rebalance_ms;
    const struct broker_group_protocol *protocols;
    int32_t protocol_count;
};

/* Answers the call through the hook, now or later. */
void broker_group_join(struct broker_groups *groups, struct broker_group *group,
                       const struct broker_group_join *join, struct broker_call *call, int64_t now);

struct broker_group_assignment {
    struct broker_slice member, bytes;
};

struct broker_group_sync {
    struct broker_slice member, instance;
    int32_t generation;
    const struct broker_group_assignment *assignments;
    int32_t assignment_count;
};

/* Answers the call through the hook, now or later. group may be NULL. */
void broker_group_sync(struct broker_groups *groups, struct broker_group *group,
                       const struct broker_group_sync *sync, struct broker_call *call, int64_t now);

/* Return a code; group may be NULL. */
int16_t broker_group_heartbeat(struct broker_group *group, struct broker_slice member,
                               struct broker_slice instance, int32_t generation, int64_t now);
int16_t broker_group_leave(struct broker_groups *groups, struct broker_group *group,
                           struct broker_slice member, int64_t now);

/* Whether offsets may be committed under that membership. Returns a code. */
int16_t broker_group_check_commit(struct broker_group *group, struct broker_slice member,
                                  struct broker_slice instance, int32_t generation,
                                  bool transactional, int64_t now);

/* The bytes of the chosen protocol that a member joined with. */
struct broker_slice broker_group_metadata(const struct broker_group *group,
                                          const struct broker_member *member);

/* Removes members that were silent for too long, and ends joining whose time is over. */
void broker_groups_expire(struct broker_groups *groups, int64_t now);
/* When the next of these is due; INT64_MAX: never. */
int64_t broker_groups_deadline(const struct broker_groups *groups);

/* Forgets a waiting call whose connection is gone, and a member that does not know its id yet. */
void broker_groups_forget_call(struct broker_groups *groups, const struct broker_call *call,
                               int64_t now);
