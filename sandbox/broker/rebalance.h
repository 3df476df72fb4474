/* The phases of one group: everybody is asked to join, a leader is chosen, assignments go out; and
 * the answers to the requests that waited for them. group.c decides when. The broker's thread.
 */
#pragma once

#include "sandbox/broker/group.h"

/* Answer a waiting request, if there is one. */
void answer_join(struct groups *groups, struct group *group, struct member *member, int16_t code);
void answer_sync(struct groups *groups, struct member *member, int16_t code);

/* Removes the member and answers what it waits for; does not start a rebalance. */
void remove_member(struct groups *groups, struct group *group, struct member *member);

/* The member has asked to join: starts a rebalance or takes part in the one under way. */
void await_join(struct groups *groups, struct group *group, struct member *member,
                struct call *call, int64_t now);

/* After a change of membership: starts a rebalance, or ends the joining when all have joined. */
void rebalance_or_complete(struct groups *groups, struct group *group, int64_t now);

/* The time for joining is up: goes on without those that have not. */
void complete_join(struct groups *groups, struct group *group, int64_t now);

/* Hands out the leader's assignment: the group is stable. */
void assign(struct groups *groups, struct group *group, const struct group_sync *sync, int64_t now);
