#include <stdio.h>
#include <string.h>

#include "simulation.h"

/* The guarantees, as they can be observed from outside of the workers. */

int task_of(const struct world *world, const struct request *request)
{
    return world->logs[request->position.partition].task_at[request->position.offset] - 1;
}

/* Whether the task has everything that it must have in the end. An invalid request needs a dead
 * letter and, if it has a key, a result. */
bool check_is_over(const struct task *task)
{
    return task->gone || ((task->key < 0 || task->results) && (!task->invalid || task->dead));
}

static bool may_be_unknown(const struct world *world, const struct task *task)
{
    if (!task->starter)
        return false;
    return task->doubted_by || task->outlived == task->starter ||
           world->unknown_allowed_at[task->starter] >= task->started_at;
}

/* The published result must be the platform's answer. */
static void check_answer(struct world *world, const struct task *task, enum status status)
{
    bool refused =
        task->told == END_REFUSED || task->told == END_NOT_FOUND || task->told == END_RETRY_FLAG;
    if ((status == STATUS_SUCCEEDED && task->told != END_SUCCEEDED) ||
        (status == STATUS_REFUSED && !refused))
        broken(world, "%d/%d is published as %s, and the platform said otherwise", task->log,
               (int)task->offset, status_name(status));
}

static void check_result(struct world *world, struct task *task, enum status status)
{
    struct log *log = &world->logs[task->log];
    bool call = task->kind == REQUEST_CALL;
    task->results++;
    task->result = status;
    world->counts.results++;
    world->counts.expired += status == STATUS_EXPIRED;
    world->counts.unavailable += status == STATUS_UNAVAILABLE;
    if (task->offset <= log->last_result[task->key])
        broken(world, "results of key %d in %d are out of order", task->key, task->log);
    log->last_result[task->key] = task->offset;
    if (call) /* recordings may be requested twice, with different answers */
        check_answer(world, task, status);
    if (status == STATUS_UNKNOWN) {
        world->counts.unknown++;
        if (!may_be_unknown(world, task))
            broken(world, "%d/%d is unknown for no good reason", task->log, (int)task->offset);
    } else if (call && task->posts && !task->forgotten && status != STATUS_SUCCEEDED &&
               status != STATUS_REFUSED) {
        broken(world, "%d/%d was called and is reported as not dialled", task->log,
               (int)task->offset);
    }
}

/* Checks a late outcome. The results of a commit of unknown outcome, which cannot be read back
 * because its partitions are gone, are published again as late outcomes: twice is better than
 * never. */
static void check_late(struct world *world, struct task *task, enum status status)
{
    world->counts.late++;
    task->late++;
    check_answer(world, task, status);
    if (!world->counts.unanswered && !world->counts.fenced &&
        (task->late > 1 || (task->results && task->result != STATUS_UNKNOWN)))
        broken(world, "%d/%d has a late outcome besides its result", task->log, (int)task->offset);
}

/* Checks a record that a transaction has written to the results or the dead letters. */
void check_published(struct world *world, const struct published *item)
{
    struct task *task = &world->tasks[item->task];
    bool was_over = check_is_over(task);
    say(world, "    %d/%d %s%s", task->log, (int)task->offset, status_name(item->status),
        item->type == ITEM_LATE   ? " (late)"
        : item->type == ITEM_GONE ? " (gone)"
                                  : "");
    switch (item->type) {
    case ITEM_RESULT:
        check_result(world, task, item->status);
        break;
    case ITEM_INVALID:
        task->dead++;
        if (!task->invalid)
            broken(world, "%d/%d is called invalid and is not", task->log, (int)task->offset);
        break;
    case ITEM_LATE:
        check_late(world, task, item->status);
        break;
    case ITEM_GONE:
        task->gone++;
        world->counts.gone++;
        if (!task->deleted)
            broken(world, "%d/%d is called gone and is not", task->log, (int)task->offset);
        break;
    }
    if (task->results + task->gone > 1 || task->dead > 1)
        broken(world, "%d/%d has two results", task->log, (int)task->offset);
    world->open_tasks -= !was_over && check_is_over(task) && !task->deleted;
}

static bool decode(struct world *world, int index, struct ledger *ledger)
{
    const struct log *log = &world->logs[index];
    struct error error;
    const char *metadata = log->metadata ? log->metadata : "";
    if (ledger_decode(ledger, log->committed < 0 ? 0 : log->committed, metadata, strlen(metadata),
                      &error)) {
        broken(world, "the ledger of %d cannot be read: %s", index, metadata);
        return false;
    }
    return true;
}

static bool holds(const struct world *world, int incarnation, int log)
{
    enum request_kind kind = world->logs[log].kind;
    for (int i = 0; i < world->process_count; i++)
        if (world->processes[i].jobs[kind].engine && world->processes[i].incarnation == incarnation)
            return world->processes[i].jobs[kind].client.owned & 1u << log;
    return false;
}

/* No process has more started calls than twice its slots. Calls of partitions that another process
 * has taken over do not count, even if that one cannot publish their `unknown` yet. */
void check_started(struct world *world)
{
    int started[INCARNATIONS_MAX] = {0};
    for (int i = 0; i < world->task_count; i++) {
        const struct task *task = &world->tasks[i];
        if (task->starter && (!task->inherited || task->resumed) &&
            holds(world, task->starter, task->log))
            started[task->starter]++;
    }
    for (int i = 1; i <= world->incarnations; i++)
        if (started[i] > 2 * world->options.slots)
            broken(world, "incarnation %d has %d calls started", i, started[i]);
}

static void check_mark(struct world *world, struct task *task, enum ledger_mark mark,
                       const char *owner, const struct transaction *transaction)
{
    bool started = mark == LEDGER_STARTED;
    if (started && task->kind != REQUEST_CALL)
        broken(world, "%d/%d is started and is no call", task->log, (int)task->offset);
    if (mark == LEDGER_DONE && !check_is_over(task) && !task->deleted)
        broken(world, "%d/%d is done in the ledger and has no result", task->log,
               (int)task->offset);
    if (mark == LEDGER_DONE && task->starter && !check_is_over(task))
        broken(world, "%d/%d was started, and nothing tells of its end", task->log,
               (int)task->offset);
    if (mark != LEDGER_DONE && (task->results || check_is_over(task)))
        broken(world, "%d/%d has a result and is not done in the ledger", task->log,
               (int)task->offset);
    if (mark == LEDGER_FRESH && task->kind == REQUEST_CALL && task->posts && !task->forgotten &&
        !task->deleted)
        broken(world, "%d/%d was called and its mark is gone", task->log, (int)task->offset);
    if (!started) {
        task->starter = task->inherited = task->resumed = task->dropped = task->given_up = 0;
    } else if (!task->starter && transaction) {
        task->starter = transaction->incarnation;
        task->started_at = transaction->opened_step;
    } else if (!task->starter) {
        broken(world, "%d/%d is started by a plain commit", task->log, (int)task->offset);
    }
    task->inherited |= started && (!*owner || !holds(world, task->starter, task->log));
}

/* Called after a commit: results and their 'done' are one fact. Notes which process has started
 * which request. transaction NULL: a plain commit, which starts nothing. */
void check_ledger(struct world *world, int index, const struct transaction *transaction)
{
    struct ledger ledger = {0};
    struct log *log = &world->logs[index];
    if (!decode(world, index, &ledger))
        return;
    for (int i = log->settled; i < log->task_count; i++) {
        struct task *task = &world->tasks[log->tasks[i]];
        check_mark(world, task, ledger_at(&ledger, task->offset), ledger.owner, transaction);
        log->settled += i == log->settled && task->offset < ledger.base;
    }
    ledger_fini(&ledger);
}

static void check_lane(struct world *world, const struct task *task)
{
    const struct log *log = &world->logs[task->log];
    for (int i = 0; i < log->task_count; i++) {
        const struct task *other = &world->tasks[log->tasks[i]];
        if (other->key != task->key || other == task || other->forgotten)
            continue;
        if (other->offset > task->offset && other->posts)
            broken(world, "%d/%d is called after %d, which came later", task->log,
                   (int)task->offset, (int)other->offset);
        if (other->offset < task->offset && other->running_until > world->now)
            broken(world, "%d/%d is called while %d may be running", task->log, (int)task->offset,
                   (int)other->offset);
    }
}

/* Called when a transaction gets offsets: a successor must find the transaction's owner in the
 * ledger. */
void check_named(struct world *world, const struct job *job, int index)
{
    struct ledger ledger = {0};
    if (!decode(world, index, &ledger))
        return;
    if (strcmp(ledger.owner, world->owners[job->process->id]) != 0)
        broken(world, "%s has offsets of %d in a transaction, and the ledger names '%s'",
               job_name(job), index, ledger.owner);
    ledger_fini(&ledger);
}

/* Called when a plain commit replaces a ledger: the owner's open transaction must have been ended
 * since the owner wrote that ledger. */
void check_replaced(struct world *world, int id, int index)
{
    struct ledger ledger = {0};
    if (!decode(world, index, &ledger))
        return;
    if (ledger.owner[0] && strcmp(ledger.owner, world->owners[id]) != 0 &&
        world->transactions[world->logs[index].kind * IDS + process_id(ledger.owner)].ended_at <
            world->logs[index].written_at)
        broken(world, "%s takes %d over from %s and has not ended it", process_name(id), index,
               ledger.owner);
    ledger_fini(&ledger);
}

/* Called when a process gives a partition up. The successor must publish `unknown` for calls that
 * are started there, so the process must have waited long enough for them. */
static void check_let_go(struct world *world, const struct job *job, int index, int64_t wait_until)
{
    const struct log *log = &world->logs[index];
    for (int i = log->settled; i < log->task_count; i++) {
        struct task *task = &world->tasks[log->tasks[i]];
        if (task->starter != job->process->incarnation || task->inherited ||
            task->outlived == job->process->incarnation)
            continue;
        if (job_now(world, job) < wait_until)
            broken(world, "%s lets %d go while %d is started, %d ms too early", job_name(job),
                   index, (int)task->offset, (int)(wait_until - job_now(world, job)));
        task->outlived = job->process->incarnation;
    }
}

/* Called when a plain commit is sent: a commit without an owner releases the partition. */
void check_plain_commit(struct world *world, const struct job *job,
                        const struct stored_ledger *commit)
{
    struct error error;
    struct ledger ledger = {0};
    if (ledger_decode(&ledger, commit->offset, commit->metadata, commit->metadata_size, &error))
        broken(world, "%s commits what cannot be read", job_name(job));
    else if (!ledger.owner[0])
        check_let_go(world, job, commit->partition, job->drain_until[commit->partition]);
    ledger_fini(&ledger);
}

/* Called when a process gives partitions back. A partition that it has not released must have been
 * given up because all transactions were aborted for a whole session after the drain. A member has
 * no other reason to do so. */
void check_given_back(struct world *world, const struct job *job, unsigned logs)
{
    const struct client *client = &job->client;
    bool member =
        !client->lost && group_is_member(group_of(world, job), client->member, client->generation);
    int64_t session_ms = 2 * world->options.lease_ms;
    for (int log = 0; log < world->log_count; log++) {
        struct ledger ledger = {0};
        if (!(logs & 1u << log) || !decode(world, log, &ledger))
            continue;
        if (!strcmp(ledger.owner, world->owners[job->process->id]))
            check_let_go(world, job, log, member ? job->drain_until[log] + session_ms : INT64_MIN);
        ledger_fini(&ledger);
    }
}

/* Called when a process gives back partitions that it has lost by its own clock, while the group
 * still counts it as a member. It must have published the outcomes of calls that it started there,
 * unless it has waited long enough for them; or unless it had lost the partition before and did not
 * go on from memory: then it is its own successor, and publishes what it knows without the
 * partition. */
void check_handed_over(struct world *world, const struct job *job, unsigned logs)
{
    const struct client *client = &job->client;
    int64_t since = client->answered_at ? client->answered_at : world->now;
    bool all = true;
    for (int i = 0; i < world->task_count; i++) {
        struct task *task = &world->tasks[i];
        if (!(logs & 1u << task->log) || task->kind != job->kind ||
            task->starter != job->process->incarnation || task->given_up)
            continue;
        if (world->now < since + world->options.drain_ms &&
            job_now(world, job) < job->drain_until[task->log])
            broken(world, "%s lets %d go, which it has lost, while %d is started, %d ms too early",
                   job_name(job), task->log, (int)task->offset,
                   (int)(since + world->options.drain_ms - world->now));
        task->outlived = job->process->incarnation;
        all = false;
    }
    world->counts.handed_over += all;
}

/* Called when a process that stops leaves the group. A lost partition may come back until an
 * assignment says that it does not, and only this process knows the outcomes of calls that it
 * started there: so it waits for that as long as for a drain. */
void check_stopped(struct world *world, const struct job *job)
{
    for (int i = 0; i < world->task_count; i++) {
        const struct task *task = &world->tasks[i];
        const struct log *log = &world->logs[task->log];
        struct ledger ledger = {0};
        if (task->kind != job->kind || !(job->lost & 1u << task->log) || task->given_up ||
            task->starter != job->process->incarnation ||
            log->writer != job->process->incarnation ||
            job_now(world, job) >= job->process->stop_until || !decode(world, task->log, &ledger))
            continue;
        if (ledger_at(&ledger, task->offset) == LEDGER_STARTED)
            broken(world, "%s leaves %d/%d, which it has started, %d ms too early", job_name(job),
                   task->log, (int)task->offset,
                   (int)(job->process->stop_until - job_now(world, job)));
        ledger_fini(&ledger);
    }
}

/* Called when a request is handed to the call thread. */
void check_start(struct world *world, const struct job *job, const struct request *request)
{
    struct engine_partition_stats view;
    for (size_t i = 0; engine_get_partition_stats(job->engine, i, &view); i++)
        if (view.partition == request->position.partition && !view.active)
            broken(world, "%s hands out %d/%d in a drain", job_name(job), view.partition,
                   (int)request->position.offset);
}

/* Transactions prove the membership, but only heartbeats keep it. A process whose heartbeats got
 * lost is no longer a member, and does not know that before it is reported and its calls are
 * recalled. */
static bool is_unaware(const struct world *world, const struct process *process)
{
    return world->now < process->deaf_until + world->session_ms;
}

/* Called when a call is about to be made. In three cases only its uniqueness can be checked: the
 * clock of the process stood still together with the process; another process with the same
 * instance.id has replaced it; or the lease lets the call outlive the drain of its partition. */
void check_post(struct world *world, struct process *process, struct task *task)
{
    struct ledger ledger = {0};
    if (task->kind != REQUEST_CALL || !decode(world, task->log, &ledger))
        return;
    const char *name = process_name(process->id);
    enum ledger_mark mark = ledger_at(&ledger, task->offset);
    bool mine = !strcmp(ledger.owner, world->owners[process->id]);
    ledger_fini(&ledger);
    if (task->posts)
        broken(world, "%s calls %d/%d a second time", name, task->log, (int)task->offset);
    if (task->invalid)
        broken(world, "%s calls %d/%d, which is invalid", name, task->log, (int)task->offset);
    if (mark == LEDGER_FRESH)
        broken(world, "%s calls %d/%d, which is not started", name, task->log, (int)task->offset);
    if (process->clock_stood || process->has_duplicate || task->outlived == process->incarnation ||
        is_unaware(world, process))
        return;
    if (check_is_over(task))
        broken(world, "%s calls %d/%d, which has its result", name, task->log, (int)task->offset);
    if (mark != LEDGER_STARTED || !mine)
        broken(world, "%s calls %d/%d, which is not started in its name", name, task->log,
               (int)task->offset);
    check_lane(world, task);
}

/* A recalled request must not be sent any more, and a drain recalls all requests. job->asleep: the
 * engine has done everything that it can do now. */
void check_recalled(struct world *world, const struct process *process, const struct call *call)
{
    const struct record_position *position = &call->request->position;
    const struct job *job = &process->jobs[position->kind];
    bool drains = call->request->state == REQUEST_HANDED &&
                  job->drain_until[position->partition] < INT64_MAX / 2;
    if (call->recalled)
        broken(world, "%s calls %d/%d, which was recalled", process_name(process->id),
               position->partition, (int)position->offset);
    if (drains && job->asleep && !(job->recalls & 1u << position->partition))
        broken(world, "%s calls %d/%d in a drain and has not recalled it",
               process_name(process->id), position->partition, (int)position->offset);
}

/* The largest number of started requests that earlier processes have left in that log. Their marks
 * may be gone from the ledger before this process learns of them. */
static int64_t left_started(struct world *world, int index, int incarnation)
{
    struct log *log = &world->logs[index];
    int count = 0;
    for (int i = 0; i < log->task_count; i++) {
        int starter = world->tasks[log->tasks[i]].starter;
        count += starter && starter != incarnation;
    }
    if (count > log->left_max)
        log->left_max = count;
    return log->left_max;
}

bool check_is_stuck(const struct job *job)
{
    struct engine_partition_stats view;
    for (size_t i = 0; engine_get_partition_stats(job->engine, i, &view); i++)
        if (view.halted)
            return true;
    return false;
}

/* In the calm time, and with nothing running, requests wait at most for a doubt or a back-off. */
static void check_idle(struct world *world, struct job *job, const struct engine_stats *all)
{
    enum { BACKOFF_MAX_MS = 10000, SLACK_MS = 3000 };
    const struct caller *caller = &job->process->caller;
    int64_t doubt_ms = world->options.doubt_ms;
    int64_t most = (doubt_ms > BACKOFF_MAX_MS ? doubt_ms : BACKOFF_MAX_MS) + SLACK_MS;
    bool idle = world->calm && all->waiting_lanes && !all->handed && !all->started &&
                !job->process->stopping && !job->client.asked && !job->renewing &&
                job->transact == PHASE_IDLE && job->working == WORK_NONE && !world->refusal.on &&
                caller->dispatch.breaker.state == BREAKER_CLOSED && !caller->out[job->kind].count &&
                !check_is_stuck(job);
    if (!idle)
        job->idle_since = world->now;
    else if (world->now - job->idle_since > most)
        broken(world, "%s lets %zu order ids wait for nothing", job_name(job), all->waiting_lanes);
}

/* In the calm time a stop ends soon after its drain, plus the cost of a rebalance at the same time:
 * the drains of others, and the session of a dead member. */
static void check_stop(struct world *world, const struct process *process)
{
    enum { SLACK_MS = 10000 };
    int64_t most = 2 * (world->options.drain_ms + world->session_ms) + SLACK_MS;
    if (world->calm && !world->refusal.on && process->stopping &&
        world->now - process->stops_since > most)
        broken(world, "%s is told to stop and does not end", process_name(process->id));
}

/* In the calm time revoked partitions are given back soon after their drain: the process waits for
 * no call any more, only for running requests to Kafka. (A newer generation accepts none of
 * these.) */
static void check_drain(struct world *world, struct job *job)
{
    enum { SLACK_MS = 30000 };
    struct client *client = &job->client;
    bool drains = world->calm && !world->refusal.on && client->asked == ASKED_UNASSIGN &&
                  !client->lost && !check_is_stuck(job);
    if (!world->calm || world->refusal.on ||
        (transaction_of(world, job)->forgotten && !transaction_of(world, job)->told) ||
        !group_is_member(group_of(world, job), client->member, client->generation))
        client->asked_since = world->now;
    for (int log = 0; drains && log < world->log_count; log++) {
        int64_t until = job->drain_until[log] - job->process->boot_shift;
        if (!(client->asked_logs & 1u << log))
            continue;
        if (until < client->asked_since)
            until = client->asked_since;
        if (world->now > until + (world->commit_max ? 3 * SLACK_MS : SLACK_MS))
            broken(world, "%s does not give %d back", job_name(job), log);
    }
}

/* A ledger that is too long, in a transaction of its own, must not be sent again at once unless it
 * has become shorter. Each assignment may send it once: another process may have had the partition
 * in between and shortened the ledger, and only the next transaction shows that. */
void check_offered(struct world *world, struct job *job)
{
    enum { PAUSE_MS = 900 };
    const struct stored_ledger *ledger = job->transaction.ledgers;
    int log = ledger->partition;
    int64_t now = job_now(world, job);
    if (job->transaction.ledger_count != 1)
        return;
    if (job->too_long[log].size && ledger->metadata_size >= job->too_long[log].size &&
        now - job->too_long[log].at < PAUSE_MS)
        broken(world, "%s offers a ledger of %d again that is too long", job_name(job), log);
    job->too_long[log].size = ledger->metadata_size;
    job->too_long[log].at = now;
}

/* A claim that is refused for good is repeated some times for the partition alone, and then not
 * before another assignment. From then on the partition must be shown as halted. */
void check_claim_refused(struct world *world, struct job *job)
{
    enum { CLAIMS_MAX = 10 };
    struct engine_partition_stats view;
    int log = job->work.ledgers->partition;
    if (job->work.ledger_count != 1 || job->client.asked != ASKED_ASSIGN)
        return;
    if (++job->claims_refused[log] > CLAIMS_MAX)
        broken(world, "%s claims %d again and again", job_name(job), log);
    for (size_t i = 0; engine_get_partition_stats(job->engine, i, &view); i++)
        if (view.partition == log && view.active)
            broken(world, "%s has %d, though its claim is refused", job_name(job), log);
}

/* Called when a process was refused something for so long that it is not passing. If a partition is
 * the cause, the engine must name it; for everything else the process's thread counts the
 * failures. */
void check_refused(struct world *world, const struct job *job)
{
    const struct refusal *refusal = &world->refusal;
    bool holds =
        refusal->what == ASK_OFFSETS || (refusal->what == ASK_PRODUCE && job->refusal.holds);
    if (holds && refusal->for_good && !check_is_stuck(job))
        broken(world, "%s is refused records or offsets for good and halts nothing", job_name(job));
}

enum { STILL_MS = 120000 /* a log that has not moved for so long stands still */ };

/* Marks that cannot be removed, because the results are refused, count as started calls, too. */
static bool may_start(const struct world *world, const struct job *job)
{
    struct engine_stats view;
    engine_get_stats(job->engine, &view);
    return (int64_t)view.started < 2 * world->options.slots;
}

/* While the breaker is open, requests wait for the platform. */
static bool is_held_by_any(const struct world *world, int log)
{
    for (int i = 0; i < world->process_count; i++) {
        const struct job *job = &world->processes[i].jobs[world->logs[log].kind];
        if (job->engine && !job->process->stopping && job->client.owned & 1u << log &&
            world->now - job->process->caller.breaker_open_at > STILL_MS && may_start(world, job))
            return true;
    }
    return false;
}

/* If records of one log have been refused for minutes, the other logs must go on: no request waits
 * that was never begun, unless the brokers refuse the length that the ledger of its log needs. */
void check_others_went_on(struct world *world)
{
    const struct refusal *refusal = &world->refusal;
    for (int i = 0; refusal->log >= 0 && i < world->task_count; i++) {
        const struct task *task = &world->tasks[i];
        const struct log *log = &world->logs[task->log];
        bool waits = !check_is_over(task) && !task->deleted && is_held_by_any(world, task->log) &&
                     world->now - log->moved_at > STILL_MS &&
                     (!log->too_long_at || world->now - log->too_long_at > STILL_MS);
        if (task->log != refusal->log && waits)
            broken(world, "%d/%d is held back by what is refused of %d", task->log,
                   (int)task->offset, refusal->log);
    }
}

/* Checks the window. In addition to it, a job may hold requests that it, or predecessors, had
 * started and that retention has deleted. (These are counted only if necessary, because that walks
 * over all requests.) */
static void check_window(struct world *world, const struct job *job,
                         const struct engine_partition_stats *view)
{
    const struct engine_options *options = &world->options;
    int64_t allowed = options->window + 2 * options->slots;
    if ((int64_t)view->unfinished > allowed &&
        (int64_t)view->unfinished >
            allowed + left_started(world, view->partition, job->process->incarnation))
        broken(world, "%s holds %zu of partition %d", job_name(job), view->unfinished,
               view->partition);
}

/* Checks the memory limit. In addition to it, a job may hold one request of each partition, and
 * requests that predecessors had started. */
static void check_memory(struct world *world, const struct job *job, const struct engine_stats *all)
{
    int64_t allowed = world->options.memory_bytes + RECORD_MAX * ((int64_t)all->partitions + 1);
    struct engine_partition_stats view;
    for (size_t i = 0; (int64_t)all->bytes > allowed; i++) {
        if (!engine_get_partition_stats(job->engine, i, &view)) {
            broken(world, "%s holds %zu bytes", job_name(job), all->bytes);
            return;
        }
        allowed += RECORD_MAX * left_started(world, view.partition, job->process->incarnation);
    }
}

/* Checks limits of memory and time, and that counters and lists are correct. */
void check_job(struct world *world, struct job *job)
{
    enum { TAKE_MAX = 128 };
    const struct engine_options *options = &world->options;
    struct engine_partition_stats view;
    struct engine_stats all;
    engine_get_stats(job->engine, &all);
    size_t ready = 0, bytes = 0;
    for (size_t i = 0; engine_get_partition_stats(job->engine, i, &view); i++) {
        ready += view.ready_lanes;
        bytes += view.unfinished_bytes;
        if (view.active && !view.unfinished && !engine_wants(job->engine, view.partition))
            broken(world, "%s holds nothing of partition %d, and yet reads nothing of it",
                   job_name(job), view.partition);
        check_window(world, job, &view);
        if ((int64_t)view.unfinished_bytes > options->window_bytes + RECORD_MAX * TAKE_MAX)
            broken(world, "%s holds %zu bytes of partition %d", job_name(job),
                   view.unfinished_bytes, view.partition);
        if ((int64_t)view.ledger_size > options->ledger_max)
            broken(world, "%s has a ledger of %zu", job_name(job), view.ledger_size);
        if (view.needs_repair)
            broken(world, "%s cannot read partition %d", job_name(job), view.partition);
    }
    if (ready != all.ready_lanes || bytes != all.bytes)
        broken(world, "%s counts %zu lanes and %zu bytes where there are %zu and %zu",
               job_name(job), all.ready_lanes, all.bytes, ready, bytes);
    const char *wrong = engine_contradiction(job->engine);
    if (wrong)
        broken(world, "%s: %s", job_name(job), wrong);
    check_memory(world, job, &all);
    check_idle(world, job, &all);
    check_stop(world, job->process);
    check_drain(world, job);
    if ((int64_t)all.handed > 2 * options->slots)
        broken(world, "%s has handed out %zu", job_name(job), all.handed);
}

static bool is_alive(const struct world *world, int incarnation)
{
    for (int i = 0; i < world->process_count; i++)
        if (world->processes[i].state != PROCESS_DEAD &&
            world->processes[i].incarnation == incarnation)
            return true;
    return false;
}

/* Whether a process owes a late outcome: it knows an outcome that no other process could
 * publish. */
static bool late_is_owed(const struct world *world, const struct task *task)
{
    bool unknown = task->results && task->result == STATUS_UNKNOWN;
    if (task->late)
        return false;
    return (task->owed_by && is_alive(world, task->owed_by)) ||
           (unknown && task->answered_by && is_alive(world, task->answered_by));
}

static const char *not_done(const struct world *world, int *log, int *offset)
{
    for (int i = 0; i < world->task_count; i++) {
        const struct task *task = &world->tasks[i];
        *log = task->log, *offset = (int)task->offset;
        if (!check_is_over(task) && !task->deleted)
            return "never gets a result";
        if (late_is_owed(world, task))
            return "never gets its late outcome published";
    }
    for (*log = 0; *log < world->log_count; ++*log) {
        const struct log *at = &world->logs[*log];
        *offset = (int)at->committed;
        if (at->committed != at->end && (at->committed > 0 || at->end != 0))
            return "is committed no further";
    }
    for (*log = *offset = 0; *log < TRANSACTIONS; ++*log)
        if (world->transactions[*log].state != TRANSACTION_NONE)
            return "has a transaction that stays open";
    return world->post_count ? "has a request that is still on its way" : NULL;
}

/* Checks the end of the run: every request has one result, and the committed offset is the end of
 * the log. */
bool check_all_done(struct world *world, bool say_why)
{
    int log = 0, offset = 0;
    if (!say_why && (world->task_count < world->plan.events || world->open_tasks))
        return false;
    const char *why = not_done(world, &log, &offset);
    if (why && say_why) {
        broken(world, "%d/%d %s within %d steps without faults", log, offset, why, CALM_STEPS_MAX);
        world->violation = why;
    } else if (!why && world->open_tasks) {
        broken(world, "%d requests are open and none is", world->open_tasks);
    }
    return !why;
}
