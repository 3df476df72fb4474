/* The URL of a recording's file: where it stands in an answer, and whether it may be fetched. Pure;
 * any thread. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/text.h"
#include "core/config.h"

/* Whether the text is a path to a member (recording.url.member): names with dots between them, each
 * with any number of [index] behind it. */
bool recording_url_is_path(const char *path);

/* Whether the text is a list of host names, also *.name, with commas between them
 * (recording.url.hosts). */
bool recording_url_are_hosts(const char *hosts);

enum recording_url {
    RECORDING_URL_NONE,     /* there is none */
    RECORDING_URL_UNUSABLE, /* what stands there is no http(s) URL */
    RECORDING_URL_FOUND,
};

/* Finds the URL in an answer and adds it in a form that can be sent: without white space around it,
 * what may not stand in a URL as %XX. With recording.url.member it is that member's, and may be
 * relative to the URL that was asked; else it is Msg's, or the first one in the order in which
 * members stand, nested ones too. */
enum recording_url recording_url_find(struct text *url, const json_t *answer,
                                      const struct config *config);

/* Whether the text is an http(s) URL. */
bool recording_url_is_http(const char *url);

/* Why the settings do not let that URL be fetched, in words for people; NULL: they do. */
const char *recording_url_refusal(const char *url, const struct config *config);

/* Drops the user information of each URL in the text, whatever its scheme, in place; returns its
 * size then. */
size_t recording_url_drop_users(char *text, size_t size);

/* Adds the URL without user information and fragment. */
void recording_url_add_plain(struct text *out, const char *url);
