/* The name of a recording's file in the store. No I/O; any thread. */
#pragma once

#include "base/text.h"

/* Adds <CallIdentifier>[.ext]. The extension is that of the Content-Type, or else that of the
 * file's URL (NULL: none), if it is an audio extension. */
void recording_file_name(struct text *name, const char *call_identifier, const char *content_type,
                         const char *url);
