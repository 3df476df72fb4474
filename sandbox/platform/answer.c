#include "sandbox/platform/answer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "sandbox/platform/http.h"

enum { TONE_BYTES = 1600, SAMPLE_RATE = 8000, FILE_BYTES_MAX = 1 << 30 };

#define CLOSED_HOST "127.0.0.1:1" /* nobody listens there */

static const char type_json[] = "application/json;charset=utf-8";

void sandbox_answer_fini(struct sandbox_answer *answer)
{
    text_fini(&answer->body);
    text_fini(&answer->extra);
}

static void begin(struct sandbox_answer *answer, int status, const char *type)
{
    answer->status = status;
    answer->type = type;
    answer->zeros = 0;
    text_clear(&answer->extra);
    text_clear(&answer->body);
}

void sandbox_answer_flag(struct sandbox_answer *answer, int status, int64_t flag,
                         const char *message)
{
    begin(answer, status, type_json);
    text_printf(&answer->body, "{\"Flag\": %" PRId64 ", \"Msg\": ", flag);
    text_json(&answer->body, message, strlen(message));
    text_add(&answer->body, "}");
}

static uint64_t hash(const char *text)
{
    uint64_t x = hash_add(HASH_EMPTY, text, strlen(text));
    x = (x ^ (x >> 31)) * 0x94d049bb133111ebu;
    return x ^ (x >> 29);
}

void sandbox_answer_call(struct sandbox_answer *answer, const struct sandbox_platform_body *body,
                         uint64_t call)
{
    char pool[24];
    const char *number = body->virtual_number;
    if (!number || !*number) {
        snprintf(pool, sizeof pool, "171%08" PRIu64, hash(body->callee) % 100000000);
        number = pool;
    }
    number += *number == '+';
    if (body->virtual_number && body->virtual_number[0] == '+' && !strncmp(number, "86", 2))
        number += 2;
    begin(answer, 200, type_json);
    text_printf(&answer->body,
                "{\"Flag\": 1, \"Msg\": \"86%s\", \"CallIdentifier\": \"%020" PRIu64 "%012" PRIu64
                "\"}",
                number, hash(body->caller) * 3 + hash(body->callee), call % 1000000000000);
}

static void add_little_endian(struct text *out, uint32_t value, int bytes)
{
    for (; bytes > 0; bytes--, value >>= 8)
        text_append(out, &(unsigned char){value & 0xff}, 1);
}

/* The head of a WAV file: PCM, mono, 16 bits. */
static void add_wav_head(struct text *out, uint32_t data_bytes)
{
    text_add(out, "RIFF");
    add_little_endian(out, 36 + data_bytes, 4);
    text_add(out, "WAVEfmt ");
    add_little_endian(out, 16, 4);
    add_little_endian(out, 1, 2);
    add_little_endian(out, 1, 2);
    add_little_endian(out, SAMPLE_RATE, 4);
    add_little_endian(out, SAMPLE_RATE * 2, 4);
    add_little_endian(out, 2, 2);
    add_little_endian(out, 16, 2);
    text_add(out, "data");
    add_little_endian(out, data_bytes, 4);
}

/* The text after a prefix; NULL: it has another one. */
static const char *text_after(const char *text, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(text, prefix, length) ? NULL : text + length;
}

void sandbox_answer_file(struct sandbox_answer *answer, const char *call_identifier)
{
    const char *rest = text_after(call_identifier, "json-moved-");
    if (rest) {
        begin(answer, 302, "text/html");
        text_add(&answer->body, "<html><body>moved</body></html>\n");
        text_printf(&answer->extra, "Location: /sandbox/recordings/json-%s.wav\r\n", rest);
        return;
    }
    rest = text_after(call_identifier, "json-");
    const char *size_text = text_after(rest ? rest : call_identifier, "size-");
    begin(answer, 200, "audio/wav");
    if (size_text) {
        unsigned long size = strtoul(size_text, NULL, 10);
        answer->zeros = size < FILE_BYTES_MAX ? size : FILE_BYTES_MAX;
        add_wav_head(&answer->body, (uint32_t)answer->zeros);
        return;
    }
    add_wav_head(&answer->body, TONE_BYTES);
    uint32_t step = 400 + hash(call_identifier) % 400; /* each call has its own pitch */
    for (uint32_t i = 0; i < TONE_BYTES / 2; i++) {
        uint32_t phase = i * step * 8 % 65536;
        uint32_t level = phase < 32768 ? phase : 65535 - phase;
        add_little_endian(&answer->body, level / 2 - 8192, 2);
    }
}

void sandbox_answer_recording(struct sandbox_answer *answer, const char *call_identifier,
                              struct sandbox_http_span host)
{
    if (text_after(call_identifier, "none-")) {
        sandbox_answer_flag(answer, 200, 1004, "no such recording");
        return;
    }
    if (!text_after(call_identifier, "json-")) {
        sandbox_answer_file(answer, call_identifier);
        return;
    }
    struct text url = {0};
    text_add(&url, "https://");
    if (text_after(call_identifier, "json-closed-"))
        text_add(&url, CLOSED_HOST);
    else
        text_append(&url, host.data, host.length);
    text_printf(&url, "/sandbox/recordings/%s.wav", call_identifier);
    sandbox_answer_flag(answer, 200, 1, url.data);
    text_fini(&url);
}

static void spoil_status(struct sandbox_answer *answer, int status)
{
    begin(answer, status, "text/html");
    if (status == 204 || status == 304)
        answer->type = NULL;
    else
        text_printf(&answer->body, "<html><body>%d %s</body></html>\n", status,
                    sandbox_http_reason(status));
    if (status >= 300 && status < 400)
        text_add(&answer->extra, "Location: /sandbox/redirected\r\n");
}

static void spoil_flag(struct sandbox_answer *answer, int64_t flag, const char *quote)
{
    begin(answer, 200, type_json);
    text_printf(&answer->body, "{\"Flag\": %s%" PRId64 "%s, \"Msg\": \"%s\"}", quote, flag, quote,
                flag == 1 ? "8617100000000" : "a failure that was asked for");
}

static void spoil_size(struct sandbox_answer *answer, size_t size)
{
    begin(answer, 200, type_json);
    text_add(&answer->body, "{\"Flag\": 1, \"Msg\": \"8617100000000\", \"Padding\": \"");
    while (answer->body.length + 2 < size)
        text_append(&answer->body, "x", 1);
    text_add(&answer->body, "\"}");
}

void sandbox_answer_spoil(struct sandbox_answer *answer, const struct sandbox_fault_choice *fault)
{
    switch (fault->outcome) {
    case FAULT_STATUS:
        spoil_status(answer, (int)fault->value);
        break;
    case FAULT_FLAG:
        spoil_flag(answer, fault->value, "");
        break;
    case FAULT_FLAG_TEXT:
        spoil_flag(answer, fault->value, "\"");
        break;
    case FAULT_NO_FLAG:
        begin(answer, 200, type_json);
        text_add(&answer->body, "{\"Msg\": \"8617100000000\"}");
        break;
    case FAULT_BROKEN_JSON:
        begin(answer, 200, type_json);
        text_add(&answer->body, "{\"Flag\": 1, \"Msg\": \"86171");
        break;
    case FAULT_BIG_ANSWER:
        spoil_size(answer, (size_t)fault->value);
        break;
    default:
        break;
    }
}
