/* Recordings and what is sent in their place. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/audio.h"

struct sample {
    const char *bytes;
    size_t size;
};
/* clang-format off */ /* its versions differ about braces in macros */
#define SAMPLE(bytes) {bytes, sizeof(bytes) - 1}
/* clang-format on */

static void is_at_once(enum audio expected, struct sample sample, const char *type)
{
    enum audio audio = audio_judge(sample.bytes, sample.size, true, type);
    if (audio != expected)
        fail_msg("%.40s (%s): %d", sample.bytes, type, audio);
}

static void is_byte_by_byte(enum audio expected, struct sample sample, const char *type)
{
    for (size_t n = 0; n <= sample.size; n++) {
        enum audio audio = audio_judge(sample.bytes, n, false, type);
        if (audio == AUDIO_OPEN)
            continue;
        if (audio != expected)
            fail_msg("%.40s (%s), after %zu bytes: %d", sample.bytes, type, n, audio);
        break;
    }
}

static void is(enum audio expected, struct sample sample, const char *type)
{
    is_at_once(expected, sample, type);
    is_byte_by_byte(expected, sample, type);
}

static void marks_of_audio(void **state)
{
    (void)state;
    static const struct sample samples[] = {
        SAMPLE("RIFF\x24\0\0\0WAVEfmt "),
        SAMPLE("RIFF\x24\0\0\0some kind of wave"),
        SAMPLE("RIFFandtext"),
        SAMPLE("RF64\xff\xff\xff\xffWAVEds64"),
        SAMPLE("FORM\0\0\1\0AIFFCOMM"),
        SAMPLE("ID3\x04\0\0\0\0\0\0"),
        SAMPLE("\xff\xfb\x90\x64\0\0\0\0"),
        SAMPLE("\xff\xf3\x40\xc0\0\0\0\0"),
        SAMPLE("\xff\xf1\x50\x80\x02\x1f\xfc"),
        SAMPLE("OggS\0\2\0\0"),
        SAMPLE("fLaC\0\0\0\x22"),
        SAMPLE("#!AMR\n\x3c"),
        SAMPLE("#!AMR-WB\n\x04"),
        SAMPLE("\0\0\0\x20"
               "ftypM4A \0\0\0\0"),
        SAMPLE(".snd\0\0\0\x18"),
        SAMPLE("\x1a\x45\xdf\xa3\x9f\x42"),
        SAMPLE("\x02#!SILK_V3"),
    };
    static const char *const types[] = {"audio/x", "application/octet-stream", "", "text/plain"};
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++)
        for (size_t t = 0; t < 3 + (i != 6 && i != 7 && i != 8); t++)
            is(AUDIO_YES, samples[i], types[t]);
}

static void documents(void **state)
{
    (void)state;
    static const struct sample samples[] = {
        SAMPLE("{\"Flag\":0}"),
        SAMPLE("\xef\xbb\xbf{\"Flag\":0,\"Msg\":\"\xe6\xb2\xa1\xe6\x9c\x89\"}"),
        SAMPLE(" \r\n\t [1]"),
        SAMPLE("{\"Msg\":\"\xc3\xbb\xd3\xd0\xc2\xbc\xd2\xf4\"}"), /* GBK */
        SAMPLE("{\"Msg\":\"cut \xe6\xb2\"}"),
        SAMPLE("<?xml version=\"1.0\"?><Error/>"),
        SAMPLE("<!DOCTYPE html><title>404</title>"),
        SAMPLE("no such recording"),
        SAMPLE("\xe6\xb2\xa1\xe6\x9c\x89\xe5\xbd\x95\xe9\x9f\xb3"),
        SAMPLE("\xc3\xbb\xd3\xd0\xc2\xbc\xd2\xf4"),
        /* GBK beyond GB2312, Big5, Shift-JIS, Latin-1, and the end of a C program's string */
        SAMPLE("\xc3\xbb\xd3\xd0\xe4\x9b\xd2\xf4\x99\x6e\xb0\xb8"),
        SAMPLE("\xa8\x53\xa6\xb3\xbf\xfd\xad\xb5\xc0\xc9\xae\xd7\xa1\x41\xbd\xd0\xb5\x79\xad"
               "\xd4"),
        SAMPLE("\x98\x5e\x89\xb9\x82\xaa\x82\xa0\x82\xe8\x82\xdc\x82\xb9\x82\xf1"),
        SAMPLE("Schl\xfcssel fehlt: nicht verf\xfcgbar"),
        /* GB18030: a character of four bytes, after and between others */
        SAMPLE("\xc2\xbc\xd2\xf4\xb2\xbb\xb4\xe6\xd4\xda:\x81\x39\xee\x39\x95\x34\xa5\x36"),
        SAMPLE("\xc2\xbc\xd2\xf4\x95\x34\xa5\x36\xb2\xbb\xb4\xe6\xd4\xda"),
        SAMPLE("no such recording\r\n\x1a"),
        SAMPLE("\xc3\xbb\xd3\xd0\xc2\xbc\xd2\xf4\r\n\x1a"),
        SAMPLE("{\"Flag\":0}\0"),
        SAMPLE("no such recording\0\0\0"),
        SAMPLE("404\0no such recording\0"),
        SAMPLE("error\0\xe6\xb2\xa1\xe6\x9c\x89\xe5\xbd\x95\xe9\x9f\xb3\0code\0"
               "404"),
        SAMPLE("<Error/>\r\n\0"),
        SAMPLE("bplist00\xd1\x01\x02TFlag"),
        SAMPLE("\xff\xfe{\0}\0"),
        SAMPLE("\xfe\xff\0{\0}"),
        SAMPLE("\xff\xfe\xa1\x6c\x09\x67"),
        SAMPLE("{\0\"\0F\0l\0a\0g\0\"\0:\0000\0}\0"),
        SAMPLE("\0{\0\"\0F\0l\0a\0g\0\"\0:\0000\0}"),
        SAMPLE("\0\0\0{\0\0\0}"),
        SAMPLE("                                                            {}"),
        SAMPLE("\x89PNG\r\n\x1a\n\0\0\0\x0d"),
        SAMPLE("\xff\xd8\xff\xe0\0\x10JFIF"),
        SAMPLE("RIFF\x24\0\0\0WEBPVP8 "),
        SAMPLE("%PDF-1.7\n\xe2\xe3\xcf\xd3"),
        SAMPLE("PK\x03\x04\x14\0\0\0"),
        SAMPLE("\x1f\x8b\x08\0\0\0\0\0\0\x03"),
        SAMPLE("\0\0\0\x1c"
               "ftypheic\0\0\0\0"),
        SAMPLE(""),
    };
    static const char *const types[] = {"audio/wav", "application/octet-stream", "", "text/html"};
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++)
        for (size_t t = 0; t < 4; t++)
            is(AUDIO_NO, samples[i], types[t]);
}

/* What telephones record without any mark: silence and noise in G.711, PCM, GSM. */
static void raw_audio(void **state)
{
    (void)state;
    enum { SIZE = 4000 };
    static char raw[SIZE];
    uint32_t random = 1;
    for (int kind = 0; kind < 6; kind++) {
        for (int i = 0; i < SIZE; i++) {
            random = random * 1664525 + 1013904223;
            static const unsigned char silence[] = {0xd5, 0xff, 0x7f, 0};
            unsigned char noise = (unsigned char)(random >> 24);
            raw[i] = (char)(kind < 4 ? silence[kind] : kind == 4 ? noise : i % 2 ? 0 : noise & 3);
        }
        is(AUDIO_YES, (struct sample){raw, SIZE}, "audio/basic");
        is(AUDIO_YES, (struct sample){raw, SIZE}, "application/octet-stream");
        is(AUDIO_NO, (struct sample){raw, SIZE}, "image/png");
        is(AUDIO_NO, (struct sample){raw, SIZE}, "application/problem+json; charset=utf-8");
    }
}

/* Low noise in A-law looks like pairs of characters, in nothing but capital letters. */
static void short_raw_audio(void **state)
{
    (void)state;
    enum { SIZE = 800 };
    static char raw[SIZE];
    uint32_t random = 1;
    for (int kind = 0; kind < 4; kind++) {
        for (int i = 0; i < SIZE; i++) {
            static const unsigned char silence[] = {0xd5, 0xff, 0};
            random = random * 1664525 + 1013904223;
            unsigned char noise = 0x50 | (random >> 24 & 0x8f);
            raw[i] = (char)(kind < 3 ? silence[kind] : noise);
        }
        is(AUDIO_YES, (struct sample){raw, SIZE}, "application/octet-stream");
    }
}

/* The codes of G.711 for a sample of 16 bits. */
static unsigned char a_law(int sample)
{
    int size = (sample < 0 ? -sample - 1 : sample) >> 4, segment = 0;
    for (int rest = size; rest > 31; rest >>= 1)
        segment++;
    if (size > 15)
        segment++;
    int step = size >> (segment > 1 ? segment - 1 : 0) & 15;
    return (unsigned char)((sample < 0 ? 0 : 0x80) | segment << 4 | step) ^ 0x55;
}

static unsigned char mu_law(int sample)
{
    int size = abs(sample) + 132, segment = 7;
    while (segment && !(size & 128 << segment))
        segment--;
    return (unsigned char)~((sample < 0 ? 0x80 : 0) | segment << 4 | (size >> (segment + 3) & 15));
}

/* Of tones, hardly any byte is a control character. */
static void short_tones(void **state)
{
    (void)state;
    enum { SIZE = 1600, RATE = 8000 };
    static const int amplitudes[] = {560, 600, 800, 1000, 1500, 2000, 5000};
    static const int pitches[] = {350, 425, 450, 697, 1000};
    static char raw[SIZE];
    for (int kind = 0; kind < 2 * 7 * 5; kind++) {
        double pitch = pitches[kind % 5], amplitude = amplitudes[kind / 5 % 7], phase = 0.3;
        for (int i = 0; i < SIZE; i++) {
            int sample = (int)(amplitude * sin(2 * M_PI * pitch * i / RATE + phase * (kind & 1)));
            raw[i] = (char)(kind / 35 ? mu_law(sample) : a_law(sample));
        }
        is(AUDIO_YES, (struct sample){raw, SIZE}, "");
        is_at_once(AUDIO_YES, (struct sample){raw, SIZE}, "audio/x-alaw");
    }
}

/* Low noise in A-law may begin like JSON or HTML, and a long one has no control character either.
 * So may a tone in mu-law. */
static void sound_that_begins_as_markup(void **state)
{
    (void)state;
    enum { SIZE = 4000, RATE = 8000 };
    static char raw[SIZE];
    uint32_t random = 1;
    for (const char *first = "{[<\""; *first; first++)
        for (int loudest = 100; loudest <= 500; loudest += 100) {
            for (int i = 0; i < SIZE; i++) {
                random = random * 1664525 + 1013904223;
                raw[i] = (char)a_law((int)(random >> 16) % (2 * loudest) - loudest);
            }
            raw[0] = *first;
            is(AUDIO_YES, (struct sample){raw, SIZE}, "application/octet-stream");
        }
    for (int pitch = 350; pitch <= 1000; pitch += 50) {
        for (int i = 0; i < SIZE; i++)
            raw[i] = (char)mu_law((int)(900 * sin(2 * M_PI * pitch * i / RATE + 0.3)));
        raw[0] = '{';
        is(AUDIO_YES, (struct sample){raw, SIZE}, "audio/basic");
    }
}

/* Refusals that are longer than what is no recording by its size alone. */
static void long_refusals(void **state)
{
    (void)state;
    static const struct sample sentences[] = {
        /* GBK, Big5, Shift-JIS, EUC-KR, Latin-1, GB18030 */
        SAMPLE("\xc2\xbc\xd2\xf4\xb2\xbb\xb4\xe6\xd4\xda\xbb\xf2\xd2\xd1\xb9\xfd\xc6\xda\xa3\xac"
               "\xc7\xeb\xc9\xd4\xba\xf3\xd6\xd8\xca\xd4\xa1\xa3\xc8\xe7\xd3\xd0\xd2\xc9\xce\xca"
               "\xc7\xeb\xc1\xaa\xcf\xb5\xbf\xcd\xb7\xfe\xa3\xac\xba\xf4\xbd\xd0\xb1\xea\xca\xb6"
               "\xce\xde\xd0\xa7\xa1\xa3"),
        SAMPLE("\xbf\xfd\xad\xb5\xc0\xc9\xae\xd7\xa4\xa3\xa6s\xa6\x62\xa9\xce\xa4w\xb8g\xb9L\xb4"
               "\xc1\xa1\x41\xbd\xd0\xb5y\xab\xe1\xa6\x41\xb8\xd5\xa1\x43\xa6p\xa6\xb3\xba\xc3\xb0"
               "\xdd\xbd\xd0\xc1p\xb5\xb8\xab\xc8\xaa\x41\xa4H\xad\xfb\xa1\x43"),
        SAMPLE("\x98^\x89\xb9\x83t\x83@"
               "\x83\x43\x83\x8b\x82\xaa\x8c\xa9\x82\xc2\x82\xa9\x82\xe8\x82\xdc\x82\xb9\x82\xf1"
               "\x81\x42\x82\xb5\x82\xce\x82\xe7\x82\xad\x82\xb5\x82\xc4\x82\xa9\x82\xe7\x82\xa8"
               "\x8e\x8e\x82\xb5\x82\xad\x82\xbe\x82\xb3\x82\xa2\x81\x42"),
        SAMPLE("\xb3\xec\xc0\xbd \xc6\xc4\xc0\xcf\xc0\xcc \xc1\xb8\xc0\xe7\xc7\xcf\xc1\xf6 "
               "\xbe\xca\xbd\xc0\xb4\xcf\xb4\xd9. \xb3\xaa\xc1\xdf\xbf\xa1 \xb4\xd9\xbd\xc3 "
               "\xbd\xc3\xb5\xb5\xc7\xd8 \xc1\xd6\xbd\xca\xbd\xc3\xbf\xc0. \xc1\xa1\xb0\xcb "
               "\xc1\xdf\xc0\xd4\xb4\xcf\xb4\xd9."),
        SAMPLE("Die Aufzeichnung ist nicht verf\xfcgbar. Bitte versuchen Sie es sp\xe4ter noch "
               "einmal."),
        SAMPLE("\xc2\xbc\xd2\xf4\xb2\xbb\xb4\xe6\xd4\xda\xbb\xf2\xd2\xd1\xb9\xfd\xc6\xda\xa3\xac"
               "\xc7\xeb\xc9\xd4\xba\xf3\xd6\xd8\xca\xd4\x95\x34\xb2\x35\xa1\xa3\xc8\xe7\xd3\xd0"
               "\xd2\xc9\xce\xca\xc7\xeb\xc1\xaa\xcf\xb5\xbf\xcd\xb7\xfe\x81\x39\xee\x39\xa3\xac"
               "\xba\xf4\xbd\xd0\xb1\xea\xca\xb6\xce\xde\xd0\xa7\xa1\xa3"),
    };
    static const char *const types[] = {"", "audio/wav"};
    char text[AUDIO_HEAD];
    for (size_t i = 0; i < 2 * (sizeof sentences / sizeof *sentences); i++) {
        const struct sample *sentence = &sentences[i / 2];
        size_t n = sentence->size, size = 0;
        for (; size + n < AUDIO_HEAD; size += n) {
            memcpy(text + size, sentence->bytes, n);
            is_at_once(AUDIO_NO, (struct sample){text, size + n}, types[i % 2]);
        }
        is_byte_by_byte(AUDIO_NO, (struct sample){text, size}, types[i % 2]); /* and the shorter */
    }
}

static void long_documents(void **state)
{
    (void)state;
    enum { SIZE = 5000 };
    char *text = malloc(SIZE);
    for (int kind = 0; kind < 3; kind++) {
        static const char *const parts[] = {"<p>some text</p>\n", "\xe6\xb2\xa1\xe6\x9c\x89 ",
                                            "t\0e\0x\0t\0 \0"};
        static const size_t sizes[] = {17, 7, 10};
        for (size_t i = 0; i < SIZE; i++)
            text[i] = parts[kind][i % sizes[kind]];
        is(AUDIO_NO, (struct sample){text, SIZE}, "audio/mpeg");
    }
    free(text);
}

/* Pages in GBK, longer than what is judged. */
static void long_markup_in_gbk(void **state)
{
    (void)state;
    static const struct sample pages[] = {
        SAMPLE("<!DOCTYPE html>\n<html><head><meta http-equiv=\"Content-Type\" c"
               "ontent=\"text/html; charset=gbk\"><title>\xcf\xb5\xcd\xb3\xb4"
               "\xed\xce\xf3</title></head>\n<body><div class=\"error\"><h1>\xba"
               "\xdc\xb1\xa7\xc7\xb8\xa3\xac\xc4\xfa\xb7\xc3\xce\xca\xb5\xc4\xc2"
               "\xbc\xd2\xf4\xce\xc4\xbc\xfe\xb2\xbb\xb4\xe6\xd4\xda\xbb\xf2\xd2"
               "\xd1\xb9\xfd\xc6\xda</h1><p>\xbf\xc9\xc4\xdc\xb5\xc4\xd4\xad\xd2"
               "\xf2\xa3\xba\xce\xc4\xbc\xfe\xd2\xd1\xb1\xbb\xc9\xbe\xb3\xfd\xa3"
               "\xac\xc1\xb4\xbd\xd3\xd2\xd1\xca\xa7\xd0\xa7\xa3\xac\xbb\xf2\xd5"
               "\xdf\xc4\xfa\xc3\xbb\xd3\xd0\xb7\xc3\xce\xca\xc8\xa8\xcf\xde\xa1"
               "\xa3\xc7\xeb\xbc\xec\xb2\xe9\xb5\xd8\xd6\xb7\xca\xc7\xb7\xf1\xd5"
               "\xfd\xc8\xb7\xa3\xac\xbb\xf2\xc9\xd4\xba\xf3\xd4\xd9\xca\xd4\xa1"
               "\xa3\xc8\xe7\xd3\xd0\xd2\xc9\xce\xca\xc7\xeb\xc1\xaa\xcf\xb5\xbf"
               "\xcd\xb7\xfe\xa3\xac\xba\xf4\xbd\xd0\xb1\xea\xca\xb6\xce\xde\xd0"
               "\xa7\xa1\xa3</p><a href=\"/index.html\">\xb7\xb5\xbb\xd8\xca\xd7"
               "\xd2\xb3</a></div>\n<script>var code=404;var message=\"\xc2\xbc"
               "\xd2\xf4\xb2\xbb\xb4\xe6\xd4\xda\";</script></body></html>\n"),
        SAMPLE("{\"Flag\":0,\"Msg\":\"\xc2\xbc\xd2\xf4\xb2\xbb\xb4\xe6\xd4\xda"
               "\xbb\xf2\xd2\xd1\xb9\xfd\xc6\xda\xa3\xac\xc7\xeb\xc9\xd4\xba\xf3"
               "\xd6\xd8\xca\xd4\xa1\xa3\xc8\xe7\xd3\xd0\xd2\xc9\xce\xca\xc7\xeb"
               "\xc1\xaa\xcf\xb5\xbf\xcd\xb7\xfe\xa3\xac\xba\xf4\xbd\xd0\xb1\xea"
               "\xca\xb6\xce\xde\xd0\xa7\xa1\xa3\xba\xdc\xb1\xa7\xc7\xb8\xa3\xac"
               "\xc4\xfa\xb7\xc3\xce\xca\xb5\xc4\xc2\xbc\xd2\xf4\xce\xc4\xbc\xfe"
               "\xb2\xbb\xb4\xe6\xd4\xda\"}"),
    };
    static char text[2 * AUDIO_HEAD];
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        for (size_t at = 0; at < sizeof text; at++)
            text[at] = pages[i].bytes[at % pages[i].size];
        is(AUDIO_NO, (struct sample){text, sizeof text}, "audio/wav");
        is(AUDIO_NO, pages[i], "application/octet-stream");
    }
}

static void words_for_people(void **state)
{
    (void)state;
    assert_non_null(strstr(audio_describe("\xef\xbb\xbf {", 5), "JSON"));
    assert_non_null(strstr(audio_describe("\n<html>", 7), "HTML"));
    assert_non_null(strstr(audio_describe("words", 5), "text"));
    assert_non_null(strstr(audio_describe("GIF89a", 6), "picture"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_of_audio),
        cmocka_unit_test(documents),
        cmocka_unit_test(raw_audio),
        cmocka_unit_test(short_raw_audio),
        cmocka_unit_test(short_tones),
        cmocka_unit_test(long_refusals),
        cmocka_unit_test(long_documents),
        cmocka_unit_test(words_for_people),
        cmocka_unit_test(sound_that_begins_as_markup),
        cmocka_unit_test(long_markup_in_gbk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
