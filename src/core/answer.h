/* Reads the platform's answers into an outcome (docs/platform-api.md). No I/O; the call thread
 * calls it. */
#pragma once

#include "core/attempt.h"
#include "core/config.h"
#include "core/recording_url.h"
#include "core/request.h"

/* Reads the body of a complete answer, with any status and in any encoding. Sets Flag, Msg,
 * virtualNumber and further members, and for a recording recording.url. The status is succeeded
 * with Flag 1 and HTTP 2xx, otherwise refused (with httpStatus unless it is 2xx). Returns 0; -1
 * if the answer is unreadable (not a JSON object, or deeper than 64 levels); or 1 if it is an
 * object without Flag, or with Flag null. With -1 and 1 the outcome is unchanged, and reason is
 * static text. */
int answer_read(struct outcome *outcome, enum request_kind kind, const struct attempt *attempt,
                const struct config *config, const char **reason);

/* Reads an answer that its status alone makes a refusal: refused with httpStatus, and Msg and
 * further members if the body has them. */
void answer_refused(struct outcome *outcome, enum request_kind kind, const struct attempt *attempt,
                    const struct config *config);

/* Whether Flag 1 stands anywhere in a body that cannot be read as a whole, because its end is
 * missing or damaged. O(bytes). */
bool answer_shows_success(const struct attempt *attempt, const struct config *config);

/* Adds the URL of a recording's file, from an answer that was read. */
enum recording_url answer_file_url(struct text *url, const struct attempt *attempt,
                                   const struct config *config);

/* The JSON body of a request to the platform, for either kind, in the documented order. */
struct text;
void answer_request_body(struct text *body, const struct request *request, const char *token,
                         const char *app_id);

/* The integer value of Flag (a number or a numeric string); otherwise -1, with *is_integer
 * false. */
int64_t answer_flag(const struct outcome *outcome, bool *is_integer);
