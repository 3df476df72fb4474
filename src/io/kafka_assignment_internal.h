/* What the files about the assignment share; private to them: kafka_assignment.c (the rules; what
 * rebalances ask and the handler answers), kafka_slots.c (the partitions), kafka_assign_calls.c
 * (librdkafka's calls), kafka_membership.c, kafka_leave.c and kafka_restart.c. Kafka thread. */
#pragma once

#include "io/kafka_internal.h"

/* kafka_slots.c */

/* The partition's slot, which is made if there is none. The partition has passed may_exist
 * (kafka_assignment.c). */
struct kafka_slot *kafka_slot_get(struct kafka *kafka, enum request_kind kind, int32_t partition);
/* The slot of what librdkafka names, or NULL. */
struct kafka_slot *kafka_slot_of(struct kafka *kafka, const rd_kafka_topic_partition_t *at);
/* The slot after `last` (NULL: the first), or NULL. */
struct kafka_slot *kafka_slot_next(struct kafka *kafka, const struct kafka_slot *last);

#define each_slot(slot, kafka)                                                                     \
    for (struct kafka_slot *slot = kafka_slot_next(kafka, NULL); slot;                             \
         slot = kafka_slot_next(kafka, slot))

/* Changes the state of all slots in `from`. */
void kafka_slots_move(struct kafka *kafka, enum kafka_slot_state from, enum kafka_slot_state to);
/* Adds the slot to those for the handler. */
void kafka_slot_report(struct kafka_assignment *a, const struct kafka_slot *slot);
/* Collects the slots in that state, for the handler. */
size_t kafka_slots_collect(struct kafka *kafka, enum kafka_slot_state state);
/* Whether no partition is ours, pending, or fetched. */
bool kafka_slots_empty(struct kafka *kafka);

/* kafka_assign_calls.c */

/* Stops reading what is not owned any more, or is being given back. */
void kafka_stop_leaving(struct kafka *kafka);
/* The same, and the call for which an assignment or a revocation waits. */
void kafka_answer(struct kafka *kafka, enum kafka_question question);
/* Repeats it if it failed, because librdkafka may be waiting for it. */
void kafka_answer_again(struct kafka *kafka, int64_t now_ms);

/* kafka_membership.c */

/* Stores the current membership for rule 6, if there is one. Returns its generation; -1: none. */
int32_t kafka_membership_keep(struct kafka *kafka);

/* kafka_assignment.c */

/* What is unanswered is overtaken (rule 1). */
void kafka_pending_cancel(struct kafka *kafka);
/* Reports pending partitions to the handler as assigned. If there are none, it answers librdkafka
 * at once. */
void kafka_pending_notify(struct kafka *kafka);
/* After partitions have gone: other members need the rights for them now. Those that stay try again
 * what a broker has refused, and so tell again if a right is missing. */
void kafka_rights_ask_anew(struct kafka *kafka);

/* kafka_leave.c */

/* Closes the consumer, or begins to, when nothing is being given back any more. */
void kafka_close_begin(struct kafka *kafka);
/* Closes the consumer when a leave no longer waits for an answer (rule 9). */
void kafka_leaving_serve(struct kafka *kafka, int64_t now_ms);
/* Notes the end of a close, or gives it up. */
void kafka_closing_serve(struct kafka *kafka, int64_t now_ms);

/* kafka_restart.c */

/* Reports partitions whose log or committed state has changed unexpectedly as overtaken and as
 * assigned again, so that their committed state is read again. The group is not involved. */
void kafka_restarts_serve(struct kafka *kafka);
/* Reports partitions that their topic did not have as assigned again when that is due. */
void kafka_absent_serve(struct kafka *kafka, int64_t now_ms);
/* Serves unreadable slots, and slots to be opened again; usually there are none. */
void kafka_rereads_serve(struct kafka *kafka, int64_t now_ms);
