/* Distinguishes recordings from other content by the first bytes, and by the Content-Type if the
 * bytes do not decide. No I/O; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { AUDIO_HEAD = 2048 }; /* that many bytes always decide */

enum audio {
    AUDIO_OPEN, /* more bytes are needed */
    AUDIO_YES,
    AUDIO_NO,
};

/* Judges the first n bytes; whole: there are no more. AUDIO_YES: containers and codecs with a
 * signature, and bytes without one that are neither text nor another known kind of file, and whose
 * Content-Type names none, because telephone recordings may be raw (G.711, GSM, PCM). AUDIO_NO:
 * documents (JSON, XML, HTML, text, in any encoding), pictures, archives, programs. */
enum audio audio_judge(const char *bytes, size_t n, bool whole, const char *content_type);

/* What content that is AUDIO_NO is, as a text for people. */
const char *audio_describe(const char *bytes, size_t n);
