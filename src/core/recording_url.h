/* The URL of a recording's file: finds it in an answer, and decides whether it may be fetched. No
 * I/O; any thread. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/text.h"
#include "core/config.h"

/* Whether the text is a path to a member (recording.url.member): names with dots between them, each
 * followed by any number of [index]. */
bool recording_url_is_path(const char *path);

/* Whether the text is a list of host names, also *.name, with commas between them
 * (recording.url.hosts). */
bool recording_url_are_hosts(const char *hosts);

enum recording_url {
    RECORDING_URL_NONE,     /* there is none */
    RECORDING_URL_UNUSABLE, /* the member is not an http(s) URL */
    RECORDING_URL_FOUND,
};

/* Finds the URL in an answer and adds it in a form that can be sent: without white space around it,
 * and with characters that a URL must not contain as %XX. With recording.url.member it is the value
 * of that member, and may be relative to the request's URL. Otherwise it is Msg, or the first URL
 * in the order of the members, at any depth. */
enum recording_url recording_url_find(struct text *url, const json_t *answer,
                                      const struct config *config);

/* Whether the text is an http(s) URL. */
bool recording_url_is_http(const char *url);

/* Why the settings do not allow that URL, as a text for people; NULL: they allow it. */
const char *recording_url_refusal(const char *url, const struct config *config);

/* Removes the user information of each URL in the text, with any scheme, in place. Returns the new
 * size. */
size_t recording_url_drop_users(char *text, size_t size);

/* Adds the URL with escapes in place of bytes that a URL cannot have: blanks, controls, any that is
 * not ASCII. */
void recording_url_add_escaped(struct text *out, const char *url, size_t size);

/* Adds the URL without user information and fragment. */
void recording_url_add_plain(struct text *out, const char *url);
