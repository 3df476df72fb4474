#include "sandbox/broker/coordinator/txn.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "sandbox/broker/wire/protocol.h"

enum {
    TIMEOUT_MAX_MS = 900000, /* transaction.max.timeout.ms */
    NO_EPOCH = -1,
};

/* With the names of Kafka's own states. */
enum txn_state { STATE_EMPTY, STATE_ONGOING, STATE_COMPLETE_COMMIT, STATE_COMPLETE_ABORT };

/* A partition or a group of the open transaction. */
struct part {
    struct list node; /* txn.parts */
    struct broker_partition *partition;
    struct broker_group *group;
};

struct txn {
    struct list node; /* txns.list */
    char *id;
    int64_t producer_id;
    int16_t epoch;
    int16_t previous_epoch; /* the epoch before the caller's own bump; NO_EPOCH: none */
    int32_t timeout_ms;
    enum txn_state state;
    int64_t deadline;
    struct list parts;
};

void broker_txns_init(struct broker_txns *txns)
{
    *txns = (struct broker_txns){.next_producer_id = 1000};
    list_init(&txns->list);
}

static void drop_parts(struct txn *txn)
{
    for (struct list *node; (node = list_take_first(&txn->parts));)
        free(list_of(node, struct part, node));
}

void broker_txns_fini(struct broker_txns *txns)
{
    for (struct list *node; (node = list_take_first(&txns->list));) {
        struct txn *txn = list_of(node, struct txn, node);
        drop_parts(txn);
        free(txn->id);
        free(txn);
    }
}

int64_t broker_txns_allocate(struct broker_txns *txns)
{
    return txns->next_producer_id++;
}

static struct txn *find(const struct broker_txns *txns, struct broker_slice id)
{
    list_each(node, &txns->list)
    {
        struct txn *txn = list_of(node, struct txn, node);
        if (broker_slice_equal(id, txn->id))
            return txn;
    }
    return NULL;
}

static struct txn *make(struct broker_txns *txns, struct broker_slice id)
{
    struct txn *txn = memory_zeroed(1, sizeof(*txn));
    txn->id = broker_slice_copy(id);
    txn->producer_id = broker_txns_allocate(txns);
    txn->epoch = txn->previous_epoch = NO_EPOCH;
    list_init(&txn->parts);
    list_append(&txns->list, &txn->node);
    return txn;
}

static void finish(struct txn *txn, bool commit)
{
    int64_t now = clock_wall_ms();
    list_each(node, &txn->parts)
    {
        struct part *part = list_of(node, struct part, node);
        if (part->partition)
            broker_partition_end_transaction(part->partition, txn->producer_id, txn->epoch, commit,
                                             now);
        else
            broker_offsets_end_transaction(&part->group->offsets, txn->producer_id, commit);
    }
    drop_parts(txn);
    txn->state = commit ? STATE_COMPLETE_COMMIT : STATE_COMPLETE_ABORT;
}

/* Aborts an open transaction under a new epoch, so that its producer can add nothing more. */
static void fence(struct txn *txn)
{
    txn->epoch++;
    txn->previous_epoch = NO_EPOCH;
    finish(txn, false);
}

int16_t broker_txns_init_producer(struct broker_txns *txns, struct broker_txn_caller *caller,
                                  int32_t timeout_ms)
{
    if (caller->transactional_id.length == 0)
        return CODE_INVALID_REQUEST;
    if (timeout_ms <= 0 || timeout_ms > TIMEOUT_MAX_MS)
        return CODE_INVALID_TRANSACTION_TIMEOUT;
    struct txn *txn = find(txns, caller->transactional_id);
    if (!txn)
        txn = make(txns, caller->transactional_id);
    bool knows = caller->producer_id >= 0 && txn->epoch != NO_EPOCH;
    bool again = knows && txn->previous_epoch != NO_EPOCH && caller->epoch == txn->previous_epoch;
    if (knows &&
        (caller->producer_id != txn->producer_id || (caller->epoch != txn->epoch && !again)))
        return CODE_PRODUCER_FENCED;
    if (txn->state == STATE_ONGOING)
        fence(txn);
    if (!again) {
        txn->previous_epoch = knows ? txn->epoch : NO_EPOCH;
        txn->epoch++;
    }
    txn->timeout_ms = timeout_ms;
    txn->state = STATE_EMPTY;
    caller->producer_id = txn->producer_id;
    caller->epoch = txn->epoch;
    return CODE_NONE;
}

static int16_t check(struct broker_txns *txns, const struct broker_txn_caller *caller,
                     struct txn **txn)
{
    *txn = find(txns, caller->transactional_id);
    if (!*txn || (*txn)->producer_id != caller->producer_id)
        return CODE_INVALID_PRODUCER_ID_MAPPING;
    return (*txn)->epoch == caller->epoch ? CODE_NONE : CODE_INVALID_PRODUCER_EPOCH;
}

static bool has_part(const struct txn *txn, const struct broker_partition *partition,
                     const struct broker_group *group)
{
    if (txn->state != STATE_ONGOING)
        return false;
    list_each(node, &txn->parts)
    {
        const struct part *part = list_of(node, struct part, node);
        if (part->partition == partition && part->group == group)
            return true;
    }
    return false;
}

static int16_t add_part(struct broker_txns *txns, const struct broker_txn_caller *caller,
                        struct broker_partition *partition, struct broker_group *group, int64_t now)
{
    struct txn *txn;
    int16_t code = check(txns, caller, &txn);
    if (code != CODE_NONE)
        return code;
    if (txn->state != STATE_ONGOING) {
        txn->state = STATE_ONGOING;
        txn->deadline = now + txn->timeout_ms;
    }
    if (has_part(txn, partition, group))
        return CODE_NONE;
    struct part *part = memory_zeroed(1, sizeof(*part));
    part->partition = partition;
    part->group = group;
    list_append(&txn->parts, &part->node);
    return CODE_NONE;
}

int16_t broker_txns_add_partition(struct broker_txns *txns, const struct broker_txn_caller *caller,
                                  struct broker_partition *partition, int64_t now)
{
    return add_part(txns, caller, partition, NULL, now);
}

int16_t broker_txns_add_group(struct broker_txns *txns, const struct broker_txn_caller *caller,
                              struct broker_group *group, int64_t now)
{
    return add_part(txns, caller, NULL, group, now);
}

static int16_t check_part(struct broker_txns *txns, const struct broker_txn_caller *caller,
                          const struct broker_partition *partition,
                          const struct broker_group *group)
{
    struct txn *txn;
    int16_t code = check(txns, caller, &txn);
    if (code != CODE_NONE)
        return code;
    return has_part(txn, partition, group) ? CODE_NONE : CODE_INVALID_TXN_STATE;
}

int16_t broker_txns_check_partition(struct broker_txns *txns,
                                    const struct broker_txn_caller *caller,
                                    const struct broker_partition *partition)
{
    return check_part(txns, caller, partition, NULL);
}

int16_t broker_txns_check_group(struct broker_txns *txns, const struct broker_txn_caller *caller,
                                const struct broker_group *group)
{
    return check_part(txns, caller, NULL, group);
}

int16_t broker_txns_end(struct broker_txns *txns, const struct broker_txn_caller *caller,
                        bool commit)
{
    struct txn *txn;
    int16_t code = check(txns, caller, &txn);
    if (code != CODE_NONE)
        return code;
    if (txn->state == STATE_ONGOING) {
        finish(txn, commit);
        return CODE_NONE;
    }
    /* The same request again, because the first answer was lost. */
    return txn->state == (commit ? STATE_COMPLETE_COMMIT : STATE_COMPLETE_ABORT)
               ? CODE_NONE
               : CODE_INVALID_TXN_STATE;
}

bool broker_txns_expire(struct broker_txns *txns, int64_t now)
{
    bool any = false;
    list_each(node, &txns->list)
    {
        struct txn *txn = list_of(node, struct txn, node);
        if (txn->state != STATE_ONGOING || txn->deadline > now)
            continue;
        log_info("broker: transaction of %s timed out after %d ms: aborted", txn->id,
                 (int)txn->timeout_ms);
        fence(txn);
        any = true;
    }
    return any;
}

int64_t broker_txns_deadline(const struct broker_txns *txns)
{
    int64_t deadline = INT64_MAX;
    list_each(node, &txns->list)
    {
        const struct txn *txn = list_of(node, struct txn, node);
        if (txn->state == STATE_ONGOING && txn->deadline < deadline)
            deadline = txn->deadline;
    }
    return deadline;
}
