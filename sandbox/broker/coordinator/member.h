/* The members of one group, and what they have in common. The steps of a rebalance are in
 * rebalance.h. The broker's thread. */
#pragma once

#include "sandbox/broker/coordinator/group.h"

/* A new member at the end of the list, with a copy of everything. */
struct broker_member *broker_member_add(struct broker_group *group, struct broker_slice id,
                                        const struct broker_group_join *join);

/* Updates the protocols and time-outs from another join. */
void broker_member_update(struct broker_member *member, const struct broker_group_join *join);

/* Removes and releases it; its calls must have been answered. */
void broker_member_remove(struct broker_group *group, struct broker_member *member);

struct broker_member *broker_member_find(const struct broker_group *group, struct broker_slice id);
struct broker_member *broker_member_find_instance(const struct broker_group *group,
                                                  struct broker_slice instance);

/* The member, if id and instance belong together; otherwise NULL and a code. */
struct broker_member *broker_member_check(const struct broker_group *group, struct broker_slice id,
                                          struct broker_slice instance, int16_t *code);

/* Whether the join has the same protocols as the member. */
bool broker_member_same_protocols(const struct broker_member *member,
                                  const struct broker_group_join *join);
void broker_member_set_assignment(struct broker_member *member, struct broker_slice bytes);

/* Whether the join has a protocol that all members have. */
bool broker_members_support(const struct broker_group *group, const struct broker_group_join *join);

bool broker_members_have(const struct broker_group *group, struct broker_slice protocol);

/* The first protocol of the leader's that all members have. */
struct broker_slice broker_members_select(const struct broker_group *group);

/* The longest rebalance time-out of all. */
int32_t broker_members_rebalance_ms(const struct broker_group *group);
