/* The phases of one group: all members are asked to join, a leader is chosen, assignments are sent;
 * and the answers to the requests that waited for these. group.c decides when. The broker's
 * thread. */
#pragma once

#include "sandbox/broker/coordinator/group.h"

/* Answer a waiting request, if there is one. */
void broker_rebalance_answer_join(struct broker_groups *groups, struct broker_group *group,
                                  struct broker_member *member, int16_t code);
void broker_rebalance_answer_sync(struct broker_groups *groups, struct broker_member *member,
                                  int16_t code);

/* Removes the member and answers what it waits for; does not start a rebalance. */
void broker_rebalance_remove(struct broker_groups *groups, struct broker_group *group,
                             struct broker_member *member);

/* The member has asked to join: starts a rebalance, or takes part in the running one. */
void broker_rebalance_await_join(struct broker_groups *groups, struct broker_group *group,
                                 struct broker_member *member, struct broker_call *call,
                                 int64_t now);

/* After a change of membership: starts a rebalance, or ends the joining when all have joined. */
void broker_rebalance_or_complete(struct broker_groups *groups, struct broker_group *group,
                                  int64_t now);

/* The time for joining is over: goes on without members that have not joined. */
void broker_rebalance_complete_join(struct broker_groups *groups, struct broker_group *group,
                                    int64_t now);

/* Hands out the leader's assignment: the group is stable. */
void broker_rebalance_assign(struct broker_groups *groups, struct broker_group *group,
                             const struct broker_group_sync *sync, int64_t now);
