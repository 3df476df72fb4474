/* The members of one group and what they have in common; the steps of a rebalance are in
 * broker_group. The broker's thread. */
#pragma once

#include "sandbox/broker/group.h"

/* A new member at the end of the list, with a copy of everything. */
struct member *member_add(struct group *group, struct slice id, const struct group_join *join);

/* Takes over the protocols and time-outs of another join. */
void member_update(struct member *member, const struct group_join *join);

/* Removes and releases it; its calls must have been answered. */
void member_remove(struct group *group, struct member *member);

struct member *member_find(const struct group *group, struct slice id);
struct member *member_find_instance(const struct group *group, struct slice instance);

/* The member, when id and instance belong together; else NULL and a code. */
struct member *member_check(const struct group *group, struct slice id, struct slice instance,
                            int16_t *code);

/* Whether the join says just what the member said before. */
bool member_same_protocols(const struct member *member, const struct group_join *join);
void member_set_assignment(struct member *member, struct slice bytes);

/* Whether the join has a protocol that all members have. */
bool members_support(const struct group *group, const struct group_join *join);

bool members_have(const struct group *group, struct slice protocol);

/* The first protocol of the leader's that all members have. */
struct slice members_select(const struct group *group);

/* The longest rebalance time-out of all. */
int32_t members_rebalance_ms(const struct group *group);
