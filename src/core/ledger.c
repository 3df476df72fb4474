#include "core/ledger.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/memory.h"

#define PREFIX "pcw1"
static const char letters[] = {[LEDGER_FRESH] = 'f', [LEDGER_STARTED] = 's', [LEDGER_DONE] = 'd'};
/* No offset or sequence number is larger than this, so that adding to them cannot overflow. */
static const int64_t number_max = INT64_MAX / 4;
static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
enum {
    OFFSETS_PER_CHARACTER = 3,
    NAME_CHARACTERS = 4,
    NAME_BITS = 24,
    HEAD_MAX = sizeof PREFIX + 20 + 1 + (LEDGER_OWNER_SIZE - 1) + 1 + 8 + 1 +
               1, /* longest text before the coded part of the body */
};

void ledger_reset(struct ledger *ledger, int64_t base)
{
    ledger->base = base;
    ledger->doubt = false;
    ledger->doubt_count = 0;
    ledger->run_count = 0;
}

void ledger_add(struct ledger *ledger, enum ledger_mark mark, int64_t length)
{
    assert(length >= 0);
    if (!length)
        return;
    if (ledger->run_count && ledger->runs[ledger->run_count - 1].mark == mark) {
        ledger->runs[ledger->run_count - 1].length += length;
        return;
    }
    ledger->runs = memory_grow(ledger->runs, ledger->run_count, &ledger->run_capacity,
                               sizeof *ledger->runs, 16);
    ledger->runs[ledger->run_count++] = (struct ledger_run){mark, length};
}

void ledger_trim(struct ledger *ledger)
{
    while (ledger->run_count && ledger->runs[ledger->run_count - 1].mark == LEDGER_FRESH)
        ledger->run_count--;
    if (ledger->run_count && ledger->runs[0].mark == LEDGER_DONE) {
        ledger->base += ledger->runs[0].length;
        ledger->run_count--;
        memmove(ledger->runs, ledger->runs + 1, ledger->run_count * sizeof *ledger->runs);
    }
}

enum ledger_mark ledger_at(const struct ledger *ledger, int64_t offset)
{
    if (offset < ledger->base)
        return LEDGER_DONE;
    int64_t end = ledger->base;
    for (size_t i = 0; i < ledger->run_count; i++) {
        end += ledger->runs[i].length;
        if (offset < end)
            return ledger->runs[i].mark;
    }
    return LEDGER_FRESH;
}

static uint32_t crc32_add(uint32_t crc, const char *bytes, size_t n)
{
    return (uint32_t)crc32(crc, (const unsigned char *)bytes, (uInt)n);
}

static uint32_t checksum(int64_t base, const char *sequence, size_t sequence_size,
                         const char *owner, size_t owner_size, const char *body, size_t body_size)
{
    char number[24];
    int n = snprintf(number, sizeof number, "%" PRId64 ":", base);
    uint32_t crc = crc32_add(0, PREFIX ":", sizeof PREFIX);
    crc = crc32_add(crc, number, (size_t)n);
    crc = crc32_add(crc, sequence, sequence_size);
    crc = crc32_add(crc, ":", 1);
    crc = crc32_add(crc, owner, owner_size);
    crc = crc32_add(crc, ":", 1);
    return crc32_add(crc, body, body_size);
}

uint32_t ledger_name(const char *order_id)
{
    return crc32_add(0, order_id, strlen(order_id)) & ((1u << NAME_BITS) - 1);
}

static void encode_doubts(const struct ledger *ledger, struct text *out)
{
    if (!ledger->doubt_count)
        return;
    text_add(out, "x");
    for (size_t i = 0; i < ledger->doubt_count; i++)
        for (int shift = NAME_BITS - 6; shift >= 0; shift -= 6)
            text_append(out, &base64[ledger->doubts[i] >> shift & 63], 1);
    text_add(out, ".");
}

/* There may be thousands in one ledger: without printf. */
static void add_number(struct text *out, int64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    for (; number > 0; number /= 10)
        digits[--at] = (char)('0' + number % 10);
    text_append(out, digits + at, sizeof digits - at);
}

static void encode_runs(const struct ledger *ledger, struct text *out)
{
    text_add(out, ledger->doubt ? "R" : "r");
    for (size_t i = 0; i < ledger->run_count; i++) {
        text_append(out, &letters[ledger->runs[i].mark], 1);
        if (ledger->runs[i].length > 1)
            add_number(out, ledger->runs[i].length);
    }
}

static void encode_bits(const struct ledger *ledger, struct text *out)
{
    unsigned value = 0, filled = 0;
    text_add(out, ledger->doubt ? "B" : "b");
    for (size_t i = 0; i < ledger->run_count; i++) {
        for (int64_t n = ledger->runs[i].length; n > 0; n--) {
            value |= (unsigned)ledger->runs[i].mark << (2 * filled);
            if (++filled < OFFSETS_PER_CHARACTER)
                continue;
            text_append(out, &base64[value], 1);
            value = filled = 0;
        }
    }
    if (filled)
        text_append(out, &base64[value], 1);
}

static int64_t span_of(const struct ledger *ledger)
{
    int64_t span = 0;
    for (size_t i = 0; i < ledger->run_count; i++)
        span += ledger->runs[i].length;
    return span;
}

void ledger_encode(const struct ledger *ledger, struct text *out)
{
    struct text body = {0};
    char sequence[24];
    encode_doubts(ledger, &body);
    size_t before = body.length;
    encode_runs(ledger, &body);
    if ((int64_t)(body.length - before) > span_of(ledger) / OFFSETS_PER_CHARACTER + 2) {
        body.length = before;
        encode_bits(ledger, &body);
    }
    int n = snprintf(sequence, sizeof sequence, "%" PRIu64, ledger->sequence);
    uint32_t crc = checksum(ledger->base, sequence, (size_t)n, ledger->owner, strlen(ledger->owner),
                            body.data, body.length);
    text_printf(out, PREFIX ":%s:%s:%08" PRIx32 ":", sequence, ledger->owner, crc);
    text_append(out, body.data, body.length);
    text_fini(&body);
}

static int decode_runs(struct ledger *ledger, const char *body, size_t size)
{
    for (size_t i = 0; i < size;) {
        const char *letter = memchr(letters, body[i++], sizeof letters);
        int64_t length = 0;
        size_t from = i;
        if (!letter)
            return -1;
        for (; i < size && body[i] >= '0' && body[i] <= '9'; i++) {
            if (length > INT64_MAX / 100)
                return -1;
            length = length * 10 + (body[i] - '0');
        }
        if (i == from)
            length = 1;
        if (length < 1 || length > number_max - span_of(ledger))
            return -1;
        ledger_add(ledger, (enum ledger_mark)(letter - letters), length);
    }
    return 0;
}

static int decode_bits(struct ledger *ledger, const char *body, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const char *character = body[i] ? strchr(base64, body[i]) : NULL;
        if (!character)
            return -1;
        unsigned value = (unsigned)(character - base64);
        for (int k = 0; k < OFFSETS_PER_CHARACTER; k++, value >>= 2) {
            if ((value & 3) == 3)
                return -1;
            ledger_add(ledger, (enum ledger_mark)(value & 3), 1);
        }
    }
    return 0;
}

/* Reads x…. from the beginning of the body, if it is there. */
static int decode_doubts(struct ledger *ledger, const char **body, size_t *size)
{
    const char *end = **body == 'x' ? memchr(*body, '.', *size) : NULL;
    if (**body != 'x')
        return 0;
    if (!end || end + 1 == *body + *size || (end - *body - 1) % NAME_CHARACTERS ||
        end - *body - 1 > NAME_CHARACTERS * LEDGER_DOUBTS)
        return -1;
    for (const char *at = *body + 1; at < end; ledger->doubt_count++) {
        uint32_t name = 0;
        for (int i = 0; i < NAME_CHARACTERS; i++, at++) {
            const char *character = *at ? strchr(base64, *at) : NULL;
            if (!character)
                return -1;
            name = name << 6 | (uint32_t)(character - base64);
        }
        ledger->doubts[ledger->doubt_count] = name;
    }
    *size -= (size_t)(end + 1 - *body);
    *body = end + 1;
    return 0;
}

struct fields {
    const char *at[5];
    size_t size[5];
};

/* Splits at the first four colons. */
static int split(struct fields *fields, const char *metadata, size_t size)
{
    const char *at = metadata, *end = metadata + size;
    for (int i = 0; i < 4; i++) {
        const char *colon = memchr(at, ':', (size_t)(end - at));
        if (!colon)
            return -1;
        fields->at[i] = at;
        fields->size[i] = (size_t)(colon - at);
        at = colon + 1;
    }
    fields->at[4] = at;
    fields->size[4] = (size_t)(end - at);
    return 0;
}

static int decode_fields(struct ledger *ledger, const struct fields *f)
{
    static const char owner_characters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    char number[24], expected[9];
    if (f->size[1] < 1 || f->size[1] > 19 || f->size[2] >= LEDGER_OWNER_SIZE || f->size[3] != 8 ||
        f->size[4] < 1)
        return -1;
    memcpy(number, f->at[1], f->size[1]);
    number[f->size[1]] = '\0';
    int64_t sequence;
    if (text_to_integer(number, 0, number_max, &sequence))
        return -1;
    for (size_t i = 0; i < f->size[2]; i++)
        if (!f->at[2][i] || !strchr(owner_characters, f->at[2][i]))
            return -1;
    uint32_t crc =
        checksum(ledger->base, f->at[1], f->size[1], f->at[2], f->size[2], f->at[4], f->size[4]);
    snprintf(expected, sizeof expected, "%08" PRIx32, crc);
    if (memcmp(expected, f->at[3], 8) != 0)
        return -1;
    ledger->sequence = (uint64_t)sequence;
    memcpy(ledger->owner, f->at[2], f->size[2]);
    ledger->owner[f->size[2]] = '\0';
    const char *body = f->at[4];
    size_t size = f->size[4];
    if (decode_doubts(ledger, &body, &size))
        return -1;
    char coding = *body;
    ledger->doubt = coding == 'R' || coding == 'B';
    if (coding == 'r' || coding == 'R')
        return decode_runs(ledger, body + 1, size - 1);
    return coding == 'b' || coding == 'B' ? decode_bits(ledger, body + 1, size - 1) : -1;
}

/* Checks what the checksum cannot show: whether a worker could have written these marks. Returns
 * the contradiction, or NULL. */
static const char *contradiction(const struct ledger *ledger)
{
    int64_t started = 0;
    for (size_t i = 0; i < ledger->run_count; i++)
        if (ledger->runs[i].mark == LEDGER_STARTED)
            started += ledger->runs[i].length;
    if (started > LEDGER_STARTED_MAX)
        return "it claims more started calls than any worker makes";
    if (ledger->run_count && ledger->runs[0].mark == LEDGER_DONE)
        return "it claims that its own base is finished";
    return NULL;
}

void ledger_encode_within(struct ledger *ledger, int64_t max, struct text *out)
{
    ledger_encode(ledger, out);
    if ((int64_t)out->length <= max || !ledger->doubt_count)
        return;
    ledger->doubt_count = 0;
    ledger->doubt = true;
    text_clear(out);
    ledger_encode(ledger, out);
}

size_t ledger_size_for(const struct ledger *ledger, const char *owner)
{
    struct ledger named = *ledger; /* the runs are only read */
    struct text text = {0};
    snprintf(named.owner, sizeof named.owner, "%s", owner);
    ledger_encode_within(&named, LEDGER_MAX, &text);
    size_t size = text.length;
    text_fini(&text);
    return size;
}

static void forget_all(struct ledger *ledger, int64_t base)
{
    ledger_reset(ledger, base);
    ledger->sequence = 0;
    ledger->owner[0] = '\0';
}

bool ledger_is_halt(const char *metadata, size_t size)
{
    return size == strlen(LEDGER_HALT) && !memcmp(metadata, LEDGER_HALT, size);
}

int ledger_decode(struct ledger *ledger, int64_t base, const char *metadata, size_t size,
                  struct error *error)
{
    struct fields fields;
    forget_all(ledger, base);
    if (base < 0 || base > number_max)
        return error_set(error, "at an offset that cannot be one (%" PRId64 ")", base);
    if (!size)
        return 0;
    if (ledger_is_halt(metadata, size))
        return error_set(error, "the mark of a worker that found the committed offset gone and "
                                "could not tell what had been done");
    if (size > LEDGER_MAX)
        return error_set(error, "%zu characters long, and a ledger has %d at most", size,
                         LEDGER_MAX);
    if (split(&fields, metadata, size) || fields.size[0] != strlen(PREFIX) ||
        memcmp(fields.at[0], PREFIX, strlen(PREFIX)) != 0)
        return error_set(
            error, "%zu characters that are no ledger of a version known here (" PREFIX ")", size);
    if (decode_fields(ledger, &fields)) {
        forget_all(ledger, base);
        return error_set(
            error, "a damaged ledger (%zu characters; its checksum or its coding is wrong)", size);
    }
    const char *wrong = contradiction(ledger);
    if (wrong) {
        forget_all(ledger, base);
        return error_set(error, "a damaged ledger (%zu characters; %s)", size, wrong);
    }
    ledger_trim(ledger);
    return 0;
}

size_t ledger_bound(int64_t undone, int64_t span)
{
    /* Runs: every undone offset costs its own letter at most and one done run behind it: a letter
     * and digits(length), and digits(n) <= 1 + log10(n), which is largest in sum when all are
     * equally long. */
    double k = (double)(undone < 1 ? 1 : undone), n = (double)(span < undone ? undone
                                                               : span < 1    ? 1
                                                                             : span);
    double runs = k * (3 + log10(n / k < 1 ? 1 : n / k)) + 1;
    double bits = n / OFFSETS_PER_CHARACTER + 2;
    double body = runs < bits ? runs : bits;
    return body > 1e9 ? (size_t)1e9 : HEAD_MAX + (size_t)body + 1;
}

int64_t ledger_doubts_size(size_t count)
{
    return (int64_t)count * NAME_CHARACTERS + 2;
}

int64_t ledger_sure_span(int64_t most)
{
    return (most - HEAD_MAX - 4) * OFFSETS_PER_CHARACTER;
}

void ledger_fini(struct ledger *ledger)
{
    free(ledger->runs);
    *ledger = (struct ledger){0};
}
