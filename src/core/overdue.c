#include "core/overdue.h"

int64_t overdue_deadline_ms(const struct request *request, const struct config *config)
{
    if (request->call.attempts == 0 || config->call_deadline_ms == 0)
        return INT64_MAX;
    return request->call.first_started_boot_ms + config->call_deadline_ms;
}

/* Older than call.max.age.ms by its Kafka timestamp; one in the future counts as now. */
static bool too_old(const struct request *request, const struct config *config, int64_t wall_ms)
{
    int64_t timestamp = request->raw.timestamp_ms;
    return config->call_max_age_ms > 0 && timestamp >= 0 && timestamp < wall_ms &&
           wall_ms - timestamp > config->call_max_age_ms;
}

bool overdue_end(struct request *request, const struct config *config, int64_t now_ms,
                 int64_t wall_ms)
{
    bool is_call = request->place.kind == REQUEST_CALL;
    if (is_call && wall_ms > request->event.expires_at_ms)
        outcome_set(&request->outcome, STATUS_EXPIRED, "expired", "expiresAt has passed", wall_ms);
    else if (is_call && too_old(request, config, wall_ms))
        outcome_set(&request->outcome, STATUS_EXPIRED, "too-old",
                    "the request is older than call.max.age.ms", wall_ms);
    else if (now_ms >= overdue_deadline_ms(request, config))
        outcome_set(&request->outcome, STATUS_UNAVAILABLE, "deadline-passed",
                    "every try within call.deadline.ms failed before anything was performed",
                    wall_ms);
    else
        return false;
    return true;
}
