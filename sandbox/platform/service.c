#include "sandbox/platform/service.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"

static void violate(struct service *service, struct exchange *exchange, struct verdict verdict)
{
    stats_violation(&service->stats, verdict.problem);
    answer_flag(&exchange->answer, verdict.status, verdict.flag, verdict.problem);
}

/* Whether a phone may have rung, judged by what the client learns from the outcome. */
static bool may_ring(const struct fault_choice *fault)
{
    if (fault->outcome == FAULT_STATUS)
        return fault->value < 300 || fault->value >= 500 || fault->value == 408;
    if (fault->outcome == FAULT_FLAG || fault->outcome == FAULT_FLAG_TEXT)
        return fault->value == 1;
    return true;
}

static void note(struct service *service, const struct platform_body *body,
                 const struct fault_subject *subject, uint64_t connection, const char *fault,
                 const char *violation)
{
    record_write(&service->record, &(struct record_entry){.wall_ms = clock_wall_ms(),
                                                          .endpoint = subject->endpoint,
                                                          .caller = body->caller,
                                                          .callee = body->callee,
                                                          .call_identifier = body->call_identifier,
                                                          .fault = fault,
                                                          .violation = violation,
                                                          .connection = connection});
}

static void post_good(struct service *service, enum endpoint endpoint,
                      const struct http_request *request, struct exchange *exchange,
                      const struct platform_body *body)
{
    size_t count;
    if (endpoint == ENDPOINT_CALL) {
        if (may_ring(&exchange->fault))
            stats_rung(&service->stats, &exchange->counted);
        answer_call(&exchange->answer, body, ++service->calls);
    } else {
        answer_recording(&exchange->answer, body->call_identifier,
                         http_header(request, "host", &count));
    }
    answer_spoil(&exchange->answer, &exchange->fault);
}

static void post(struct service *service, enum endpoint endpoint,
                 const struct http_request *request, uint64_t connection, struct exchange *exchange)
{
    struct platform_body body;
    struct verdict verdict =
        checks_request(&service->credentials, endpoint, request, clock_wall_ms(), &body);
    exchange->posted = true;
    if (endpoint == ENDPOINT_CALL)
        stats_call(&service->stats, &exchange->counted, body.caller, body.callee);
    else
        stats_recording(&service->stats, &exchange->counted, body.call_identifier);
    struct fault_subject subject = {.endpoint = endpoint == ENDPOINT_CALL ? "call" : "recording",
                                    .caller = body.caller,
                                    .callee = body.callee,
                                    .call_identifier = body.call_identifier,
                                    .occurrence = exchange->counted.occurrence};
    if (!verdict.problem)
        exchange->fault = faults_choose(&service->faults, &subject);
    const char *fault = exchange->fault.outcome ? faults_name(exchange->fault.outcome) : NULL;
    note(service, &body, &subject, connection, fault, verdict.problem);
    if (verdict.problem)
        violate(service, exchange, verdict);
    else
        post_good(service, endpoint, request, exchange, &body);
    platform_body_fini(&body);
}

/* GET /sandbox/recordings/ID.wav: anybody may have the file, and a client that sends credentials
 * for it is at fault: no Authorization, no query (the URL in the answer has none) and no body. */
static void get_file(struct service *service, const struct http_request *request,
                     struct http_span name, uint64_t connection, struct exchange *exchange)
{
    size_t count;
    http_header(request, "authorization", &count);
    bool secret = count || request->query.data || request->body.length;
    const char *problem = secret ? "credentials were sent with the GET of a file" : NULL;
    char *id = memory_copy(name.data, name.length - 4);
    struct fault_subject subject = {
        .endpoint = "file", .call_identifier = id, .occurrence = stats_file(&service->stats, id)};
    if (!problem)
        exchange->fault = faults_choose(&service->faults, &subject);
    const char *fault = exchange->fault.outcome ? faults_name(exchange->fault.outcome) : NULL;
    note(service, &(struct platform_body){.call_identifier = id}, &subject, connection, fault,
         problem);
    if (problem) {
        violate(service, exchange, (struct verdict){400, 9040, problem});
    } else {
        answer_file(&exchange->answer, id);
        answer_spoil(&exchange->answer, &exchange->fault);
    }
    free(id);
}

static void show_faults(struct service *service, struct exchange *exchange)
{
    struct answer *answer = &exchange->answer;
    answer_flag(answer, 200, 1, "");
    answer->type = "text/plain";
    text_clear(&answer->body);
    faults_print(&service->faults, &answer->body);
    text_add(&answer->body, "\n");
}

/* POST replaces the faults in force; PATCH adds to them. */
static void set_faults(struct service *service, const struct http_request *request,
                       struct exchange *exchange)
{
    struct faults fresh;
    struct error error;
    bool replace = http_span_is(request->method, "POST");
    faults_init(&fresh, service->faults.seed);
    char *spec = memory_copy(request->body.data, request->body.length);
    if (faults_add(replace ? &fresh : &service->faults, spec, &error)) {
        answer_flag(&exchange->answer, 400, 9050, error.text);
        faults_fini(&fresh);
    } else {
        if (replace) {
            faults_fini(&service->faults);
            service->faults = fresh;
        }
        exchange->faults_changed = true;
        show_faults(service, exchange);
    }
    free(spec);
}

static void control_faults(struct service *service, const struct http_request *request,
                           struct exchange *exchange)
{
    if (http_span_is(request->method, "POST") || http_span_is(request->method, "PATCH")) {
        set_faults(service, request, exchange);
        return;
    }
    if (http_span_is(request->method, "DELETE")) {
        faults_clear(&service->faults);
        exchange->faults_changed = true;
    }
    show_faults(service, exchange);
}

static void control_stats(struct service *service, const struct http_request *request,
                          struct exchange *exchange)
{
    struct text faults = {0};
    text_add(&faults, "");
    faults_print(&service->faults, &faults);
    if (http_span_is(request->method, "DELETE"))
        stats_reset(&service->stats);
    answer_flag(&exchange->answer, 200, 1, "");
    text_clear(&exchange->answer.body);
    stats_print(&service->stats, faults.data, &exchange->answer.body);
    text_fini(&faults);
}

/* Whether the path is that of a file: what follows the prefix, with ".wav" at its end. */
static bool is_file(struct http_span path, struct http_span *name)
{
    static const char prefix[] = "/sandbox/recordings/";
    size_t length = sizeof prefix - 1;
    if (path.length < length + 5 || memcmp(path.data, prefix, length) != 0 ||
        memcmp(path.data + path.length - 4, ".wav", 4) != 0)
        return false;
    *name = (struct http_span){path.data + length, path.length - length};
    return true;
}

static void route(struct service *service, const struct http_request *request, uint64_t connection,
                  struct exchange *exchange)
{
    enum endpoint endpoint;
    struct http_span name;
    if (!checks_endpoint(&service->credentials, request->path, &endpoint)) {
        if (http_span_is(request->method, "POST"))
            post(service, endpoint, request, connection, exchange);
        else
            violate(service, exchange, (struct verdict){405, 9001, "the method is not POST"});
        return;
    }
    exchange->control = true;
    if (http_span_is(request->path, "/sandbox/faults")) {
        control_faults(service, request, exchange);
    } else if (http_span_is(request->path, "/sandbox/stats")) {
        control_stats(service, request, exchange);
    } else if (is_file(request->path, &name) && http_span_is(request->method, "GET")) {
        exchange->control = false;
        get_file(service, request, name, connection, exchange);
    } else {
        exchange->control = false;
        violate(service, exchange,
                (struct verdict){404, 9001, "the path is none of the platform's"});
    }
}

void exchange_begin(struct service *service, const struct http_request *request,
                    uint64_t connection, struct exchange *exchange)
{
    *exchange = (struct exchange){0};
    route(service, request, connection, exchange);
}

void exchange_begin_broken(struct service *service, const char *problem, struct exchange *exchange)
{
    *exchange = (struct exchange){0};
    violate(service, exchange, (struct verdict){400, 9002, problem});
}

void exchange_end(struct service *service, struct exchange *exchange, bool answered)
{
    stats_end(&service->stats, &exchange->counted);
    if (exchange->posted && answered)
        service->stats.status[exchange->answer.status]++;
    else if (exchange->posted)
        service->stats.unanswered++;
    answer_fini(&exchange->answer);
    *exchange = (struct exchange){0};
}
