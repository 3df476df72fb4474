#include "sandbox/platform/service.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"

static void violate(struct sandbox_service *service, struct sandbox_exchange *exchange,
                    struct sandbox_verdict verdict)
{
    sandbox_stats_violation(&service->stats, verdict.problem);
    sandbox_answer_flag(&exchange->answer, verdict.status, verdict.flag, verdict.problem);
}

/* Whether a phone may have rung, judged by what the client learns from the outcome. */
static bool may_ring(const struct sandbox_fault_choice *fault)
{
    if (fault->outcome == FAULT_STATUS)
        return fault->value < 300 || fault->value >= 500 || fault->value == 408;
    if (fault->outcome == FAULT_FLAG || fault->outcome == FAULT_FLAG_TEXT)
        return fault->value == 1;
    return true;
}

static void note(struct sandbox_service *service, const struct sandbox_platform_body *body,
                 const struct sandbox_fault_subject *subject, uint64_t connection,
                 const char *fault, const char *violation)
{
    sandbox_record_write(&service->record,
                         &(struct sandbox_record_entry){.wall_ms = clock_wall_ms(),
                                                        .endpoint = subject->endpoint,
                                                        .caller = body->caller,
                                                        .callee = body->callee,
                                                        .call_identifier = body->call_identifier,
                                                        .fault = fault,
                                                        .violation = violation,
                                                        .connection = connection});
}

static void post_good(struct sandbox_service *service, enum sandbox_endpoint endpoint,
                      const struct sandbox_http_request *request, struct sandbox_exchange *exchange,
                      const struct sandbox_platform_body *body)
{
    size_t count;
    if (endpoint == ENDPOINT_CALL) {
        if (may_ring(&exchange->fault))
            sandbox_stats_rung(&service->stats, &exchange->counted);
        sandbox_answer_call(&exchange->answer, body, ++service->calls);
    } else {
        sandbox_answer_recording(&exchange->answer, body->call_identifier,
                                 sandbox_http_header(request, "host", &count));
    }
    sandbox_answer_spoil(&exchange->answer, &exchange->fault);
}

static void post(struct sandbox_service *service, enum sandbox_endpoint endpoint,
                 const struct sandbox_http_request *request, uint64_t connection,
                 struct sandbox_exchange *exchange)
{
    struct sandbox_platform_body body;
    struct sandbox_verdict verdict =
        sandbox_checks_request(&service->credentials, endpoint, request, clock_wall_ms(), &body);
    exchange->posted = true;
    if (endpoint == ENDPOINT_CALL)
        sandbox_stats_call(&service->stats, &exchange->counted, body.caller, body.callee);
    else
        sandbox_stats_recording(&service->stats, &exchange->counted, body.call_identifier);
    struct sandbox_fault_subject subject = {.endpoint =
                                                endpoint == ENDPOINT_CALL ? "call" : "recording",
                                            .caller = body.caller,
                                            .callee = body.callee,
                                            .call_identifier = body.call_identifier,
                                            .occurrence = exchange->counted.occurrence};
    if (!verdict.problem)
        exchange->fault = sandbox_faults_choose(&service->faults, &subject);
    const char *fault =
        exchange->fault.outcome ? sandbox_faults_name(exchange->fault.outcome) : NULL;
    note(service, &body, &subject, connection, fault, verdict.problem);
    if (verdict.problem)
        violate(service, exchange, verdict);
    else
        post_good(service, endpoint, request, exchange, &body);
    sandbox_platform_body_fini(&body);
}

/* GET /sandbox/recordings/ID.wav: anybody may have the file, and a client that sends credentials
 * for it is at fault: no Authorization, no query (the URL in the answer has none) and no body. */
static void get_file(struct sandbox_service *service, const struct sandbox_http_request *request,
                     struct sandbox_http_span name, uint64_t connection,
                     struct sandbox_exchange *exchange)
{
    size_t count;
    sandbox_http_header(request, "authorization", &count);
    bool secret = count || request->query.data || request->body.length;
    const char *problem = secret ? "credentials were sent with the GET of a file" : NULL;
    char *id = memory_copy(name.data, name.length - 4);
    struct sandbox_fault_subject subject = {.endpoint = "file",
                                            .call_identifier = id,
                                            .occurrence = sandbox_stats_file(&service->stats, id)};
    if (!problem)
        exchange->fault = sandbox_faults_choose(&service->faults, &subject);
    const char *fault =
        exchange->fault.outcome ? sandbox_faults_name(exchange->fault.outcome) : NULL;
    note(service, &(struct sandbox_platform_body){.call_identifier = id}, &subject, connection,
         fault, problem);
    if (problem) {
        violate(service, exchange, (struct sandbox_verdict){400, 9040, problem});
    } else {
        sandbox_answer_file(&exchange->answer, id);
        sandbox_answer_spoil(&exchange->answer, &exchange->fault);
    }
    free(id);
}

static void show_faults(struct sandbox_service *service, struct sandbox_exchange *exchange)
{
    struct sandbox_answer *answer = &exchange->answer;
    sandbox_answer_flag(answer, 200, 1, "");
    answer->type = "text/plain";
    text_clear(&answer->body);
    sandbox_faults_print(&service->faults, &answer->body);
    text_add(&answer->body, "\n");
}

/* POST replaces the faults in force; PATCH adds to them. */
static void set_faults(struct sandbox_service *service, const struct sandbox_http_request *request,
                       struct sandbox_exchange *exchange)
{
    struct sandbox_faults fresh;
    struct error error;
    bool replace = sandbox_http_span_is(request->method, "POST");
    sandbox_faults_init(&fresh, service->faults.seed);
    char *spec = memory_copy(request->body.data, request->body.length);
    if (sandbox_faults_add(replace ? &fresh : &service->faults, spec, &error)) {
        sandbox_answer_flag(&exchange->answer, 400, 9050, error.text);
        sandbox_faults_fini(&fresh);
    } else {
        if (replace) {
            sandbox_faults_fini(&service->faults);
            service->faults = fresh;
        }
        exchange->faults_changed = true;
        show_faults(service, exchange);
    }
    free(spec);
}

static void control_faults(struct sandbox_service *service,
                           const struct sandbox_http_request *request,
                           struct sandbox_exchange *exchange)
{
    if (sandbox_http_span_is(request->method, "POST") ||
        sandbox_http_span_is(request->method, "PATCH")) {
        set_faults(service, request, exchange);
        return;
    }
    if (sandbox_http_span_is(request->method, "DELETE")) {
        sandbox_faults_clear(&service->faults);
        exchange->faults_changed = true;
    }
    show_faults(service, exchange);
}

static void control_stats(struct sandbox_service *service,
                          const struct sandbox_http_request *request,
                          struct sandbox_exchange *exchange)
{
    struct text faults = {0};
    text_add(&faults, "");
    sandbox_faults_print(&service->faults, &faults);
    if (sandbox_http_span_is(request->method, "DELETE"))
        sandbox_stats_reset(&service->stats);
    sandbox_answer_flag(&exchange->answer, 200, 1, "");
    text_clear(&exchange->answer.body);
    sandbox_stats_print(&service->stats, faults.data, &exchange->answer.body);
    text_fini(&faults);
}

/* Whether the path is that of a file: what follows the prefix, with ".wav" at its end. */
static bool is_file(struct sandbox_http_span path, struct sandbox_http_span *name)
{
    static const char prefix[] = "/sandbox/recordings/";
    size_t length = sizeof prefix - 1;
    if (path.length < length + 5 || memcmp(path.data, prefix, length) != 0 ||
        memcmp(path.data + path.length - 4, ".wav", 4) != 0)
        return false;
    *name = (struct sandbox_http_span){path.data + length, path.length - length};
    return true;
}

static void route(struct sandbox_service *service, const struct sandbox_http_request *request,
                  uint64_t connection, struct sandbox_exchange *exchange)
{
    enum sandbox_endpoint endpoint;
    struct sandbox_http_span name;
    if (!sandbox_checks_endpoint(&service->credentials, request->path, &endpoint)) {
        if (sandbox_http_span_is(request->method, "POST"))
            post(service, endpoint, request, connection, exchange);
        else
            violate(service, exchange,
                    (struct sandbox_verdict){405, 9001, "the method is not POST"});
        return;
    }
    exchange->control = true;
    if (sandbox_http_span_is(request->path, "/sandbox/faults")) {
        control_faults(service, request, exchange);
    } else if (sandbox_http_span_is(request->path, "/sandbox/stats")) {
        control_stats(service, request, exchange);
    } else if (is_file(request->path, &name) && sandbox_http_span_is(request->method, "GET")) {
        exchange->control = false;
        get_file(service, request, name, connection, exchange);
    } else {
        exchange->control = false;
        violate(service, exchange,
                (struct sandbox_verdict){404, 9001, "the path is none of the platform's"});
    }
}

void sandbox_exchange_begin(struct sandbox_service *service,
                            const struct sandbox_http_request *request, uint64_t connection,
                            struct sandbox_exchange *exchange)
{
    *exchange = (struct sandbox_exchange){0};
    route(service, request, connection, exchange);
}

void sandbox_exchange_begin_broken(struct sandbox_service *service, const char *problem,
                                   struct sandbox_exchange *exchange)
{
    *exchange = (struct sandbox_exchange){0};
    violate(service, exchange, (struct sandbox_verdict){400, 9002, problem});
}

void sandbox_exchange_end(struct sandbox_service *service, struct sandbox_exchange *exchange,
                          bool answered)
{
    sandbox_stats_end(&service->stats, &exchange->counted);
    if (exchange->posted && answered)
        service->stats.status[exchange->answer.status]++;
    else if (exchange->posted)
        service->stats.unanswered++;
    sandbox_answer_fini(&exchange->answer);
    *exchange = (struct sandbox_exchange){0};
}
