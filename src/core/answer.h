/* Reads the platform's answers (platform-api.md, 1 and 2) into an outcome. Pure; the call thread
 * calls it. */
#pragma once

#include "core/request.h"

/* Reads a complete answer's body of an HTTP 2xx. Sets status succeeded or refused with Flag, Msg,
 * virtualNumber and further members. Returns 0, or -1 when it is unreadable (no JSON object, or
 * without Flag), leaving the outcome untouched; reason is then static text. For recordings a URL in
 * Msg or another member is put into outcome->recording.url. */
int answer_read(struct outcome *outcome, enum request_kind kind, const char *body, size_t size,
                const char **reason);

/* Reads what there is of an answer with another status (3xx, 4xx): refused with httpStatus, and
 * Flag and Msg where the body has them. */
void answer_refused(struct outcome *outcome, enum request_kind kind, int http_status,
                    const char *body, size_t size);

/* The JSON body of a request to the platform, for either kind, in the documented order. */
struct text;
void answer_request_body(struct text *body, const struct request *request, const char *token,
                         const char *app_id);

/* The integer that Flag is (number or numeric string), or -1 with *is_integer false. */
int64_t answer_flag(const struct outcome *outcome, bool *is_integer);
