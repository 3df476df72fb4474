#include <stdio.h>
#include <string.h>

#include "simulation.h"

/* The call thread: the real dispatch with its verdicts, breaker, limiter and back-off, driven like
 * the call thread drives it; and the platform, whose answers are late, broken or missing. Messages
 * between a process's two threads arrive in order, after some time. */

static uint64_t jitter(void *world)
{
    return draw(world, UINT64_MAX);
}

void caller_start(struct world *world, struct process *process)
{
    struct caller *caller = &process->caller;
    memset(caller, 0, sizeof *caller);
    dispatch_init(&caller->dispatch, &world->config, jitter, world);
    caller->due = INT64_MAX;
}

static void put(struct world *world, struct mailbox *box, struct mail mail)
{
    if (box->count == MAIL_MAX) {
        broken(world, "too many messages between the threads");
        return;
    }
    box->mail[(box->first + box->count++) % MAIL_MAX] = mail;
}

static struct mail take(struct mailbox *box)
{
    struct mail mail = box->mail[box->first];
    box->first = (box->first + 1) % MAIL_MAX;
    box->count--;
    return mail;
}

void caller_lend(struct world *world, struct job *job, struct request *request)
{
    say(world, "%s hands out %d/%d", job_name(job), request->position.partition,
        (int)request->position.offset);
    put(world, &job->process->caller.in, (struct mail){.type = MAIL_REQUEST, .request = request});
}

void caller_recall(struct world *world, struct job *job, const struct engine_action *action)
{
    say(world, "%s recalls", job_name(job));
    job->recalls |= action->partition == ENGINE_ALL ? ~0u : 1u << action->partition;
    put(world, &job->process->caller.in,
        (struct mail){.type = MAIL_RECALL, .kind = job->kind, .partition = action->partition});
}

static void recall(struct caller *caller, const struct mail *mail)
{
    for (size_t i = 0; i < caller->call_count; i++) {
        const struct record_position *position = &caller->calls[i].request->position;
        caller->calls[i].recalled |=
            mail->kind == position->kind &&
            (mail->partition == ENGINE_ALL || mail->partition == position->partition);
    }
    dispatch_recall(&caller->dispatch, mail->kind,
                    mail->partition == ENGINE_ALL ? DISPATCH_ALL : mail->partition);
}

static void receive(struct process *process)
{
    struct caller *caller = &process->caller;
    if (!caller->in.count)
        return;
    struct mail mail = take(&caller->in);
    if (mail.type == MAIL_REQUEST)
        dispatch_add(&caller->dispatch, mail.request);
    else
        recall(caller, &mail);
    caller->happened = true;
}

/* Tries. */

static void begin_try(struct world *world, struct process *process, struct request *request)
{
    struct caller *caller = &process->caller;
    const struct task *task = &world->tasks[task_of(world, request)];
    bool is_recording = task->kind == REQUEST_RECORDING;
    int64_t recordings = 0;
    if (task->expires_at < process_wall(world, process) && task->kind == REQUEST_CALL)
        broken(world, "%s tries %d/%d, which has expired", process_name(process->id), task->log,
               (int)task->offset);
    for (size_t i = 0; i < caller->call_count; i++)
        recordings += caller->calls[i].request->position.kind == REQUEST_RECORDING;
    int64_t slots = world->config.platform_max_in_flight;
    int64_t most = world->serves[REQUEST_CALL] && slots > 1 ? slots - 1 : slots; /* one for calls */
    if ((int64_t)caller->call_count >= slots ||
        (is_recording &&
         (recordings >= world->config.recording_max_in_flight || recordings >= most))) {
        broken(world, "%s has more tries at once than slots", process_name(process->id));
        return;
    }
    caller->calls[caller->call_count++] = (struct call){.request = request};
}

static void send_call_limit(struct world *world, struct process *process, int64_t calls)
{
    each_job(job, process)
    {
        if (job->client.state != CLIENT_GONE)
            put(world, &process->caller.out[job->kind],
                (struct mail){.type = MAIL_CALL_LIMIT, .calls = calls});
    }
}

static void turn(struct world *world, struct process *process)
{
    struct caller *caller = &process->caller;
    int64_t now = process_now(world, process), wall = process_wall(world, process), calls;
    struct request *request;
    if (caller->dispatch.breaker.state != BREAKER_CLOSED)
        caller->breaker_open_at = world->now;
    if (!caller->happened && now < caller->due && draw(world, 16))
        return; /* now and then an iteration without any work */
    bool early = !caller->happened && now < caller->due;
    while (!world->failed && (request = dispatch_next(&caller->dispatch, now, wall))) {
        if (early)
            broken(world, "%s could have tried before it was due", process_name(process->id));
        begin_try(world, process, request);
    }
    if (dispatch_take_limit_change(&caller->dispatch, &calls))
        send_call_limit(world, process, calls);
    while ((request = dispatch_take_done(&caller->dispatch)))
        put(world, &caller->out[request->position.kind],
            (struct mail){.type = MAIL_REQUEST, .request = request});
    caller->happened = false;
    caller->due = dispatch_wake_ms(&caller->dispatch);
}

static const struct {
    int http_status;
    const char *body;
    bool performed; /* perhaps */
} endings[] = {
    [END_SUCCEEDED] = {200, "{\"Flag\":1,\"Msg\":\"8617000000001\"}", true},
    [END_REFUSED] = {200, "{\"Flag\":3,\"Msg\":\"no\"}", true},
    [END_NOT_FOUND] = {404, "", true},
    [END_FILE] = {200, "", true},
    [END_UNAUTHORIZED] = {401, "", false},
    [END_AUTH_FLAG] = {200, "{\"Flag\":9}", false},
    [END_THROTTLED] = {429, "", false},
    [END_RETRY_FLAG] = {200, "{\"Flag\":50}", false},
    [END_FAILED] = {500, "", true},
    [END_REQUEST_TIMEOUT] = {408, "", true},
    [END_RESET] = {0, "", true},
    [END_NO_ANSWER] = {0, "", true},
    [END_LATCHED] = {0, "", true},
    [END_CUT] = {200, "{\"Fl", true},
    [END_TOO_LARGE] = {200, "", true},
    [END_UNREADABLE] = {200, "<html>", true},
    [END_LOST] = {0, "", true},
};

static enum ending draw_ending(struct world *world, enum request_kind kind)
{
    if (world->now < world->ill_until || fault_occurs(world, FAULT_doubt))
        return END_FAILED + (enum ending)draw(world, END_LOST - END_FAILED + 1);
    if (fault_occurs(world, FAULT_declined))
        return END_UNAUTHORIZED + (enum ending)draw(world, END_RETRY_FLAG - END_UNAUTHORIZED + 1);
    if (draw(world, 4))
        return kind == REQUEST_RECORDING && draw(world, 2) ? END_FILE : END_SUCCEEDED;
    return draw(world, 2) ? END_REFUSED : END_NOT_FOUND;
}

/* The process learns how a try that was sent has ended. */
static void hear(const struct process *process, struct task *task, enum ending ending)
{
    bool declined =
        ending == END_UNAUTHORIZED || ending == END_AUTH_FLAG || ending == END_THROTTLED;
    if (!declined)
        task->told = ending;
    if (ending < END_FAILED)
        task->running_until = 0;
    else if (task->kind == REQUEST_CALL)
        task->doubted_by = process->incarnation;
}

static void end_try(struct world *world, struct process *process, size_t at,
                    struct attempt *attempt)
{
    struct caller *caller = &process->caller;
    struct request *request = caller->calls[at].request;
    struct task *task = &world->tasks[task_of(world, request)];
    struct classification classification;
    if (attempt->sends)
        hear(process, task, caller->calls[at].ending);
    caller->calls[at] = caller->calls[--caller->call_count];
    attempt->body = attempt->body ? attempt->body : "";
    attempt->body_size = strlen(attempt->body);
    dispatch_end(&caller->dispatch, request, attempt, process_now(world, process),
                 process_wall(world, process), &classification);
    say(world, "%s ends its try of %d/%d: %s", process_name(process->id), task->log,
        (int)task->offset, classification.code ? classification.code : "answered");
    caller->happened = true;
}

static void ring(struct world *world, struct task *task)
{
    world->counts.rings++;
    if (task->kind == REQUEST_CALL && ++task->rings > 1)
        broken(world, "%d/%d rings a second time", task->log, (int)task->offset);
}

/* The request is sent: from here on a phone may ring. */
static void post(struct world *world, struct process *process, struct call *call)
{
    struct task *task = &world->tasks[task_of(world, call->request)];
    call->ending = draw_ending(world, task->kind);
    call->sent = true;
    say(world, "%s posts %d/%d", process_name(process->id), task->log, (int)task->offset);
    check_post(world, process, task);
    check_recalled(world, process, call);
    if (!endings[call->ending].performed)
        return;
    task->posts++;
    world->counts.posts++;
    if (!process->clock_stood &&
        !process->has_duplicate) /* otherwise it is not known how long to wait */
        task->running_until =
            call->request->call.started_boot_ms + world->options.doubt_ms - process->boot_shift;
    if (call->ending < END_FAILED || draw(world, 3) == 0) {
        ring(world, task);
    } else if (world->post_count < POSTS_MAX && fault_occurs(world, FAULT_late_post)) {
        int64_t late = (int64_t)draw(world, 3 * (uint64_t)world->options.doubt_ms);
        world->posts[world->post_count++] =
            (struct post){(int)(task - world->tasks), world->now + late};
    }
}

void platform_step(struct world *world)
{
    for (size_t i = 0; i < world->post_count; i++) {
        struct post *late = &world->posts[i];
        if (world->now < late->arrives_at)
            continue;
        say(world, "the request %d/%d arrives late", world->tasks[late->task].log,
            (int)world->tasks[late->task].offset);
        ring(world, &world->tasks[late->task]);
        *late = world->posts[--world->post_count];
        return;
    }
}

static void go_on_unsent(struct world *world, struct process *process, size_t at)
{
    struct call *call = &process->caller.calls[at];
    const struct call_state *state = &call->request->call;
    int64_t now = process_now(world, process);
    struct attempt attempt = {.retry_after_ms = -1};
    if (now > state->lease_until_ms) {
        attempt.lease_over = true;
    } else if (now >= state->started_boot_ms + world->options.doubt_ms) {
        attempt.failure = FAILURE_TIMEOUT;
    } else if (world->now < world->outage_until || fault_occurs(world, FAULT_unsent)) {
        static const enum attempt_failure failures[] = {FAILURE_RESOLVE, FAILURE_CONNECT,
                                                        FAILURE_TLS, FAILURE_RESET};
        attempt.failure = failures[draw(world, 4)];
    } else {
        post(world, process, call);
        return;
    }
    end_try(world, process, at, &attempt);
}

static void go_on_sent(struct world *world, struct process *process, size_t at)
{
    struct call *call = &process->caller.calls[at];
    enum ending ending = call->ending;
    int64_t until = call->request->call.started_boot_ms + world->options.doubt_ms;
    struct attempt attempt = {.sends = 1, .retry_after_ms = -1};
    if (process_now(world, process) >= until) {
        call->ending = END_NO_ANSWER;
        attempt.failure = FAILURE_TIMEOUT;
        end_try(world, process, at, &attempt);
        return;
    }
    if (ending == END_LOST || (!world->calm && draw(world, 3)))
        return;
    attempt.http_status = endings[ending].http_status;
    attempt.body = endings[ending].body;
    attempt.complete = attempt.http_status && ending != END_CUT && ending != END_TOO_LARGE;
    attempt.end_proven = attempt.complete;
    attempt.is_file = ending == END_FILE;
    attempt.too_large = ending == END_TOO_LARGE;
    attempt.resend_blocked = ending == END_LATCHED;
    if (ending == END_RESET || ending == END_CUT)
        attempt.failure = ending == END_CUT ? FAILURE_CUT : FAILURE_RESET;
    else if (ending == END_NO_ANSWER || ending == END_LATCHED)
        attempt.failure = FAILURE_NO_ANSWER;
    if (ending == END_THROTTLED && draw(world, 2))
        attempt.retry_after_ms = (int64_t)draw(world, 3000);
    end_try(world, process, at, &attempt);
}

void caller_step(struct world *world, struct process *process)
{
    struct caller *caller = &process->caller;
    switch (draw(world, 5)) {
    case 0:
    case 1:
        for (size_t n = draw(world, 4) ? MAIL_MAX : 1; n && caller->in.count; n--)
            receive(process);
        break;
    case 2:
        turn(world, process);
        return;
    default:
        if (!caller->call_count)
            break;
        size_t at = draw(world, caller->call_count);
        if (caller->calls[at].sent)
            go_on_sent(world, process, at);
        else
            go_on_unsent(world, process, at);
    }
    if (!world->failed && draw(world, 2))
        turn(world, process);
}

static void give_back(struct world *world, struct job *job, struct request *request)
{
    struct task *task = &world->tasks[task_of(world, request)];
    const struct outcome *outcome = &request->outcome;
    enum call_end end = request->call.end;
    say(world, "%s gets %d/%d back: %s", job_name(job), task->log, (int)task->offset,
        end == CALL_FINISHED   ? status_name(outcome->status)
        : end == CALL_NOT_SENT ? "not sent"
                               : "returned");
    bool answered = end == CALL_FINISHED && outcome->answered && task->kind == REQUEST_CALL &&
                    (outcome->status == STATUS_SUCCEEDED || outcome->status == STATUS_REFUSED);
    if (answered)
        task->answered_by = job->process->incarnation;
    if (answered && request->state == REQUEST_ORPHAN)
        task->owed_by = job->process->incarnation;
    engine_call_ended(job->engine, request, job_now(world, job));
}

void caller_take(struct world *world, struct job *job)
{
    struct mailbox *box = &job->process->caller.out[job->kind];
    for (size_t n = draw(world, 4) ? MAIL_MAX : 1; n && box->count; n--) {
        struct mail mail = take(box);
        if (mail.type == MAIL_CALL_LIMIT)
            engine_set_call_limit(job->engine, mail.calls);
        else
            give_back(world, job, mail.request);
    }
}

static void free_all(struct list *list)
{
    for (struct list *at; (at = list_take_first(list));)
        request_free(list_of(at, struct request, dispatch_node));
}

static void free_box(struct mailbox *box)
{
    while (box->count)
        request_free(take(box).request);
}

void caller_drop_all(struct process *process)
{
    struct caller *caller = &process->caller;
    free_box(&caller->in);
    for (int kind = 0; kind < REQUEST_KINDS; kind++)
        free_box(&caller->out[kind]);
    free_all(&caller->dispatch.waiting[REQUEST_CALL]);
    free_all(&caller->dispatch.waiting[REQUEST_RECORDING]);
    free_all(&caller->dispatch.flying);
    free_all(&caller->dispatch.done);
    caller->call_count = 0;
}
