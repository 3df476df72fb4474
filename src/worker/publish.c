#include "worker/publish.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"

void publish_init(struct publish *publish, const struct config *config, enum request_kind job)
{
    *publish = (struct publish){
        .job = job,
        .names = {.group = config->group_ids[job], .dead_letters = config->dead_letters}};
    for (int kind = 0; kind < REQUEST_KINDS; kind++) {
        publish->names.request_topics[kind] = config->request_topics[kind];
        publish->names.result_topics[kind] = config->result_topics[kind];
    }
}

static void render(struct publish *publish, struct record *record, const struct engine_item *item)
{
    const struct result_names *names = &publish->names;
    switch (item->type) {
    case ITEM_RESULT:
        result_render(record, names, item->request, item->reduced);
        break;
    case ITEM_INVALID:
        dead_letter_render(record, names, item->request, "invalid", item->reduced);
        break;
    case ITEM_LATE:
        dead_letter_render(record, names, item->request, "late-outcome", item->reduced);
        break;
    case ITEM_GONE:
        record_gone_render(record, names, item->request->position,
                           "a call was started for this request, and the broker has deleted its "
                           "record since: it may have been "
                           "dialled, and its order id is lost");
        break;
    }
}

static void count(struct published *counts, const struct engine_item *item)
{
    switch (item->type) {
    case ITEM_RESULT:
        counts->results[item->request->position.kind][item->request->outcome.status]++;
        break;
    case ITEM_INVALID:
        counts->dead_letters[DEAD_LETTER_INVALID]++;
        break;
    case ITEM_LATE:
        counts->dead_letters[DEAD_LETTER_LATE]++;
        break;
    case ITEM_GONE:
        counts->dead_letters[DEAD_LETTER_GONE]++;
        break;
    }
}

struct kafka_transaction *publish_fill(struct publish *publish, const struct engine_item *items,
                                       size_t item_count, const struct stored_ledger *ledgers,
                                       size_t ledger_count)
{
    if (item_count > publish->record_capacity) {
        publish->records = memory_extend(publish->records, publish->record_capacity, item_count,
                                         sizeof *publish->records);
        publish->record_capacity = item_count;
    }
    publish->counts = (struct published){0};
    publish->items = items;
    for (size_t i = 0; i < item_count; i++) {
        render(publish, &publish->records[i], &items[i]);
        if (items[i].keyed)
            record_give_key(&publish->records[i], &publish->names, items[i].request->position);
        count(&publish->counts, &items[i]);
    }
    publish->transaction = (struct kafka_transaction){.records = publish->records,
                                                      .record_count = item_count,
                                                      .ledgers = ledgers,
                                                      .ledger_count = ledger_count};
    return &publish->transaction;
}

void publish_log_refused(const struct publish *publish, const enum record_refusal *refused)
{
    for (size_t i = 0; i < publish->transaction.record_count; i++) {
        const struct engine_item *item = &publish->items[i];
        if (refused[i] != REFUSED_FOR_SIZE || !item->reduced)
            continue;
        struct log_about about = request_about(
            item->request, publish->names.request_topics[item->request->position.kind]);
        log_write(LOG_ERROR, &about,
                  "the broker refuses the %s of this request even in its smallest form: change "
                  "topic %s (max.message.bytes); %s",
                  item->type == ITEM_RESULT ? "result" : "dead letter", publish->records[i].topic,
                  item->type == ITEM_LATE
                      ? "this late outcome is dropped"
                      : "nothing more of its partition is dialled or published, and it is offered "
                        "again each minute");
    }
}

void publish_fini(struct publish *publish)
{
    for (size_t i = 0; i < publish->record_capacity; i++)
        record_fini(&publish->records[i]);
    free(publish->records);
    *publish = (struct publish){0};
}
