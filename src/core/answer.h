/* Reads the platform's answers (platform API, 1 and 2) into an outcome. Pure; the call thread calls
 * it. */
#pragma once

#include "core/attempt.h"
#include "core/config.h"
#include "core/recording_url.h"
#include "core/request.h"

/* Reads the body of an answer that came as a whole, with whatever status and in whatever encoding.
 * Sets Flag, Msg, virtualNumber and further members, and for a recording recording.url; the status
 * is succeeded with Flag 1 and HTTP 2xx, else refused (with httpStatus unless 2xx). Returns 0, or
 * -1 when it is unreadable (no JSON object, deeper than 64 levels, without Flag, or with Flag
 * null), leaving the outcome untouched; reason is then static text. */
int answer_read(struct outcome *outcome, enum request_kind kind, const struct attempt *attempt,
                const struct config *config, const char **reason);

/* Reads what there is of an answer whose status alone makes it a refusal: refused with httpStatus,
 * and Msg and further members where the body has them. */
void answer_refused(struct outcome *outcome, enum request_kind kind, const struct attempt *attempt,
                    const struct config *config);

/* Where the file of a recording is by an answer that was read: adds its URL. */
enum recording_url answer_file_url(struct text *url, const struct attempt *attempt,
                                   const struct config *config);

/* The JSON body of a request to the platform, for either kind, in the documented order. */
struct text;
void answer_request_body(struct text *body, const struct request *request, const char *token,
                         const char *app_id);

/* The integer that Flag is (number or numeric string), or -1 with *is_integer false. */
int64_t answer_flag(const struct outcome *outcome, bool *is_integer);
