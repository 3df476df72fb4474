#include "core/recording_file.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum { EXTENSION_MAX = 5 };

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

/* The bytes behind the last dot of the path's last segment, when they are few, letters or digits.
 */
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
    if (dot[-1] != '.' || *size == 0 || *size > EXTENSION_MAX)
        return NULL;
    for (const char *at = dot; at < end; at++)
        if (!isalnum((unsigned char)*at))
            return NULL;
    return dot;
}

void recording_file_name(struct text *name, const char *call_identifier, const char *content_type,
                         const char *url)
{
    const char *extension = extension_of_type(content_type);
    size_t size = extension ? strlen(extension) : 0;
    if (!extension && url)
        extension = extension_of_url(url, &size);
    text_add(name, call_identifier);
    if (!extension)
        return;
    text_add(name, ".");
    for (size_t i = 0; i < size; i++)
        text_append(name, &(char){(char)tolower((unsigned char)extension[i])}, 1);
}
