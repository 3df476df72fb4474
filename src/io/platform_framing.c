#include "io/platform_framing.h"

#include <string.h>
#include <strings.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

bool framing_next_member(const char **at, const char *end, struct framing_member *member)
{
    while (*at < end && (is_blank(**at) || **at == ','))
        ++*at;
    member->name = *at;
    while (*at < end && **at != ',')
        ++*at;
    member->size = (size_t)(*at - member->name);
    while (member->size && is_blank(member->name[member->size - 1]))
        member->size--;
    return member->size > 0;
}

bool framing_is_named(const struct framing_member *member, const char *name)
{
    return member->size == strlen(name) && strncasecmp(member->name, name, member->size) == 0;
}

static bool read_number(const struct framing_member *member, int64_t *number)
{
    *number = 0;
    for (size_t i = 0; i < member->size; i++) {
        if (member->name[i] < '0' || member->name[i] > '9' || i > 17)
            return false;
        *number = *number * 10 + (member->name[i] - '0');
    }
    return true;
}

void framing_length(struct framing *framing, const char *value, size_t size)
{
    struct framing_member member;
    const char *at = value;
    int64_t length;
    int members = 0;
    framing->lengths++;
    while (framing_next_member(&at, value + size, &member)) {
        members++;
        if (!read_number(&member, &length) || (framing->length_known && length != framing->length))
            framing->contradictory = true;
        else
            framing->length_known = true, framing->length = length;
    }
    framing->simple = members == 1 && !memchr(value, ',', size);
    if (!members)
        framing->contradictory = true;
}

static bool is_known(const struct framing_member *member)
{
    static const char *const known[] = {"gzip", "x-gzip", "deflate", "compress", "x-compress"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (framing_is_named(member, known[i]))
            return true;
    return false;
}

/* Some servers still send identity, which is no longer a coding. A coding after the chunks, or an
 * unknown one, makes the end ambiguous. */
static void take_coding(struct framing *framing, const struct framing_member *member,
                        framing_coding_told *told, void *argument)
{
    if (framing_is_named(member, "identity"))
        return;
    bool chunked = framing_is_named(member, "chunked");
    if (!chunked && (framing->chunked || !is_known(member)))
        framing->contradictory = true;
    framing->coding_count++;
    framing->chunked = chunked;
    if (!chunked)
        told(argument, member->name, member->size);
}

void framing_coding(struct framing *framing, const char *value, size_t size,
                    framing_coding_told *told, void *argument)
{
    struct framing_member member, whole = {value, size};
    const char *at = value;
    framing->codings++;
    while (framing_next_member(&at, value + size, &member))
        take_coding(framing, &member, told, argument);
    framing->simple = framing_is_named(&whole, "chunked");
}

/* With chunks the length does not count. With another coding alone, the length would be right only
 * for a reader that does not know the coding. */
void framing_settle(struct framing *framing)
{
    if (framing->coding_count && !framing->chunked && framing->lengths)
        framing->contradictory = true;
    if (framing->coding_count || framing->contradictory)
        framing->length_known = false;
}

bool framing_is_plain(const struct framing *framing)
{
    int lines = framing->lengths + framing->codings;
    return !framing->contradictory && (!lines || (lines == 1 && framing->simple));
}
