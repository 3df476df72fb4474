/* Tells a recording from what is sent in its place: by the first bytes of what came, with the
 * Content-Type's help where they leave it open. Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { AUDIO_HEAD = 2048 }; /* so many bytes always decide */

enum audio {
    AUDIO_OPEN, /* more bytes are needed */
    AUDIO_YES,
    AUDIO_NO,
};

/* Judges the first n bytes; whole: there are no more. AUDIO_YES are the containers and codecs that
 * have a mark, and without one what is neither text nor another known kind of file, and is not said
 * to be: recordings of telephones come raw, too (G.711, GSM, PCM). AUDIO_NO are documents (JSON,
 * XML, HTML, text, in any encoding), pictures, archives, programs. */
enum audio audio_judge(const char *bytes, size_t n, bool whole, const char *content_type);

/* What AUDIO_NO is, for people. */
const char *audio_describe(const char *bytes, size_t n);
