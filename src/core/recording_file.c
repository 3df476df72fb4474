#include "core/recording_file.h"

#include <string.h>
#include <strings.h>

static const struct {
    const char *type, *extension;
} types[] = {
    {"audio/wav", "wav"},   {"audio/x-wav", "wav"},     {"audio/wave", "wav"},
    {"audio/mpeg", "mp3"},  {"audio/mp3", "mp3"},       {"audio/vnd.wave", "wav"},
    {"audio/mp4", "m4a"},   {"audio/x-m4a", "m4a"},     {"audio/m4a", "m4a"},
    {"audio/aac", "aac"},   {"audio/ogg", "ogg"},       {"audio/opus", "opus"},
    {"audio/amr", "amr"},   {"audio/amr-wb", "awb"},    {"audio/flac", "flac"},
    {"audio/basic", "au"},  {"audio/webm", "weba"},     {"video/mp4", "mp4"},
    {"video/webm", "webm"}, {"application/ogg", "ogg"},
};

static const char *extension_of_type(const char *content_type)
{
    size_t n = strcspn(content_type, "; \t");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strlen(types[i].type) == n && !strncasecmp(types[i].type, content_type, n))
            return types[i].extension;
    return NULL;
}

/* The other extensions of recordings. No other extension is used, so that a server of the store's
 * files is never made to serve programs. */
static const char *const extensions[] = {
    "wav",  "mp3", "m4a",  "aac", "ogg",  "oga",  "opus", "amr",  "awb",  "flac", "au", "snd",
    "weba", "mp4", "webm", "aif", "aiff", "aifc", "wma",  "gsm",  "alaw", "ulaw", "al", "ul",
    "pcm",  "raw", "vox",  "spx", "3gp",  "caf",  "mka",  "g729", "silk", "mp2",
};

/* The extension in the last segment of the URL's path, if it is an audio extension. */
static const char *extension_of_url(const char *url, size_t *size)
{
    const char *path = strstr(url, "://");
    path = path ? strchr(path + 3, '/') : NULL;
    if (!path)
        return NULL;
    const char *end = path + strcspn(path, "?#"), *dot = end;
    while (dot > path && dot[-1] != '.' && dot[-1] != '/')
        dot--;
    *size = (size_t)(end - dot);
    for (size_t i = 0; dot[-1] == '.' && i < sizeof extensions / sizeof *extensions; i++)
        if (strlen(extensions[i]) == *size && !strncasecmp(extensions[i], dot, *size))
            return extensions[i];
    return NULL;
}

void recording_file_name(struct text *name, const char *call_identifier, const char *content_type,
                         const char *url)
{
    const char *extension = extension_of_type(content_type);
    size_t size;
    if (!extension && url)
        extension = extension_of_url(url, &size);
    text_add(name, call_identifier);
    if (!extension)
        return;
    text_add(name, ".");
    text_add(name, extension);
}
