/* What the file of a recording is called in the store. Pure; any thread. */
#pragma once

#include "base/text.h"

/* Adds <CallIdentifier>[.ext]: the extension is that of the Content-Type, or else the one of the
 * file's URL (NULL: none) when it is one of audio. */
void recording_file_name(struct text *name, const char *call_identifier, const char *content_type,
                         const char *url);
