#include "core/overdue.h"

#include <stdio.h>

/* The remaining time: negative when it is over, INT64_MAX without a limit. */

static int64_t left_of_expiry(const struct request *request, int64_t wall_ms)
{
    int64_t expires_at_ms = request->event.expires_at_ms;
    return expires_at_ms == INT64_MAX ? INT64_MAX : expires_at_ms - wall_ms;
}

/* The time until EndMinute, if it is an instant: the binding must end later than now. */
static int64_t left_of_binding(const struct request *request, int64_t wall_ms)
{
    int64_t ends_at_ms = request->event.ends_at_ms;
    return ends_at_ms == 0 ? INT64_MAX : ends_at_ms - 1 - wall_ms;
}

/* The time until the call is too old by its Kafka timestamp. A timestamp in the future counts as
 * now. */
static int64_t left_of_age(const struct request *request, const struct overdue_limits *limits,
                           int64_t wall_ms)
{
    int64_t timestamp_ms = request->raw.timestamp_ms;
    if (limits->max_age_ms == 0 || timestamp_ms < 0)
        return INT64_MAX;
    return limits->max_age_ms - (wall_ms > timestamp_ms ? wall_ms - timestamp_ms : 0);
}

int64_t overdue_deadline_ms(const struct request *request, const struct overdue_limits *limits)
{
    if (request->position.kind != REQUEST_CALL || request->call.attempts == 0 ||
        limits->deadline_ms == 0)
        return INT64_MAX;
    return request->call.first_started_boot_ms + limits->deadline_ms;
}

int64_t overdue_at_ms(const struct request *request, const struct overdue_limits *limits,
                      int64_t now_ms, int64_t wall_ms)
{
    if (request->position.kind != REQUEST_CALL)
        return INT64_MAX;
    int64_t expiry = left_of_expiry(request, wall_ms);
    int64_t age = left_of_age(request, limits, wall_ms);
    int64_t binding = left_of_binding(request, wall_ms);
    int64_t left = expiry < age ? expiry : age;
    left = left < binding ? left : binding;
    int64_t over = left == INT64_MAX ? left : now_ms + left + 1;
    int64_t deadline = overdue_deadline_ms(request, limits);
    return over < deadline ? over : deadline;
}

static void deadline_passed(struct request *request, int64_t wall_ms)
{
    const char *code = request->call.last_code;
    char message[160];
    snprintf(message, sizeof message,
             "every try within call.deadline.ms failed before anything was performed%s%s",
             code ? ", the last one with " : "", code ? code : "");
    outcome_set(&request->outcome, STATUS_UNAVAILABLE, "deadline-passed", message, wall_ms);
}

bool overdue_end(struct request *request, const struct overdue_limits *limits, int64_t now_ms,
                 int64_t wall_ms)
{
    if (overdue_at_ms(request, limits, now_ms, wall_ms) > now_ms)
        return false;
    if (request->outcome
            .answered) /* the platform has answered an earlier try, and asked for another one */
        request->outcome.finished_at_ms = wall_ms;
    else if (left_of_binding(request, wall_ms) < 0)
        outcome_set(&request->outcome, STATUS_INVALID, "member-invalid",
                    "EndMinute: must be later than now, and the call was about to be sent",
                    wall_ms);
    else if (left_of_expiry(request, wall_ms) < 0)
        outcome_set(&request->outcome, STATUS_EXPIRED, "expired", "expiresAt has passed", wall_ms);
    else if (left_of_age(request, limits, wall_ms) < 0)
        outcome_set(&request->outcome, STATUS_EXPIRED, "too-old",
                    "the request is older than call.max.age.ms", wall_ms);
    else
        deadline_passed(request, wall_ms);
    return true;
}
