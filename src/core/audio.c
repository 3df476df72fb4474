#include "core/audio.h"

#include <string.h>
#include <strings.h>

#include "base/text.h"

enum {
    MARK_BYTES = 36, /* all signatures are within that many bytes */
    RIFF_HEAD = 12,
};

struct mark {
    const char *bytes;
    size_t size, at;
};
/* clang-format off */ /* its versions differ about braces in macros */
#define MARK(at, bytes) {bytes, sizeof(bytes) - 1, at}
/* clang-format on */

static const struct mark sounds[] = {
    MARK(8, "WAVE"),
    MARK(8, "AIFF"),
    MARK(8, "AIFC"),
    MARK(8, "QLCM"),
    MARK(8, "AVI "),
    MARK(0, "ID3"),
    MARK(0, "OggS"),
    MARK(0, "fLaC"),
    MARK(0, "#!AMR"),
    MARK(0, "#!EVRC"),
    MARK(0, "#!QCP"),
    MARK(0, ".snd"),
    MARK(0, "dns."),
    MARK(0, "#!SILK"),
    MARK(1, "#!SILK"),
    MARK(0, "caff"),
    MARK(0, "wvpk"),
    MARK(0, "MAC "),
    MARK(0, "TTA1"),
    MARK(0, "MPCK"),
    MARK(0, "NIST_1A"),
    MARK(0, ".RMF"),
    MARK(0, "FLV\x01"),
    MARK(0, "DSD "),
    MARK(0, "\x1a\x45\xdf\xa3"),
    MARK(0, "\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    MARK(0, "Creative Voice File"),
    MARK(4, "moov"),
    MARK(4, "mdat"),
    MARK(4, "wide"),
    MARK(4, "free"),
    MARK(4, "skip"),
    MARK(4, "pnot"),
    MARK(0, "\x64\xa3\x01\x00\x00"),
    MARK(0, "\x64\xa3\x02\x00\x00"),
    MARK(0, "\x64\xa3\x03\x00\x00"),
};

static const struct mark pictures[] = {
    MARK(0, "\x89PNG\r\n"), MARK(0, "\xff\xd8\xff"), MARK(0, "GIF8"), MARK(8, "WEBP"),
    MARK(0, "II*\0"),       MARK(0, "MM\0*"),        MARK(0, "8BPS"), MARK(0, "\0\0\x01\0"),
    MARK(8, "heic"),        MARK(8, "heix"),         MARK(8, "mif1"), MARK(8, "avif"),
    MARK(8, "crx "),
};

static const struct mark other_files[] = {
    MARK(0, "%PDF"),
    MARK(0, "PK\x03\x04"),
    MARK(0, "PK\x05\x06"),
    MARK(0, "\x1f\x8b\x08"),
    MARK(0, "BZh"),
    MARK(0, "\xfd"
            "7zXZ"),
    MARK(0, "7z\xbc\xaf\x27"),
    MARK(0, "\x28\xb5\x2f\xfd"),
    MARK(0, "Rar!"),
    MARK(0, "\x7f"
            "ELF"),
    MARK(0, "MZ\x90\0"),
    MARK(0, "\xca\xfe\xba\xbe"),
    MARK(0, "\xd0\xcf\x11\xe0\xa1\xb1"),
    MARK(0, "SQLite format 3"),
    MARK(0, "wOFF"),
    MARK(0, "bplist00"),
};

static bool has_mark(const struct mark *marks, size_t count, const char *bytes, size_t n)
{
    for (size_t i = 0; i < count; i++)
        if (n >= marks[i].at + marks[i].size &&
            memcmp(bytes + marks[i].at, marks[i].bytes, marks[i].size) == 0)
            return true;
    return false;
}
#define HAS_MARK(marks, bytes, n) has_mark(marks, sizeof(marks) / sizeof *(marks), bytes, n)

static bool is_picture(const char *bytes, size_t n)
{
    return HAS_MARK(pictures, bytes, n);
}

/* A frame of MPEG audio, or of AAC in ADTS, where another one may follow. */
static bool is_mpeg_frame(const unsigned char *p, size_t n)
{
    if (n < 4 || p[0] != 0xff || (p[1] & 0xe0) != 0xe0)
        return false;
    bool adts = (p[1] & 0xf6) == 0xf0 && (p[2] >> 2 & 0x0f) < 13;
    bool mpeg = (p[1] & 0x18) != 0x08 && (p[1] & 0x06) != 0 && (p[2] & 0xf0) != 0xf0 &&
                (p[2] & 0xf0) != 0 && (p[2] & 0x0c) != 0x0c;
    return adts || mpeg;
}

/* ---- text */

static bool is_control(unsigned char c)
{
    return (c < ' ' && !(c >= '\t' && c <= '\r') && c != 0x1b) || c == 0x7f;
}

static bool has_control(const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (is_control((unsigned char)bytes[i]))
            return true;
    return false;
}

/* The length up to the last complete character. */
static size_t whole_characters(const char *bytes, size_t n)
{
    for (size_t cut = 0; cut < 4 && cut < n; cut++)
        if (((unsigned char)bytes[n - 1 - cut] & 0xc0) != 0x80)
            return (unsigned char)bytes[n - 1 - cut] < 0x80 ? n : n - 1 - cut;
    return n;
}

/* Also a text that is cut within a character. */
static bool is_utf8_text(const char *bytes, size_t n)
{
    return !has_control(bytes, n) &&
           (text_is_utf8(bytes, n) || text_is_utf8(bytes, whole_characters(bytes, n)));
}

/* A character of four bytes in GB18030. */
static bool is_quad(const unsigned char *p, size_t n)
{
    return n >= 4 && p[0] > 0x80 && p[0] < 0xff && p[1] >= '0' && p[1] <= '9' && p[2] > 0x80 &&
           p[2] < 0xff && p[3] >= '0' && p[3] <= '9';
}

/* Whether the bytes are characters of one and of two bytes, as in GBK, and of four, as in GB18030.
 * Those of Big5 and Shift-JIS look like GBK's. */
static bool are_pairs(const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] < 0x80)
            continue;
        if (is_quad(p + i, n - i)) {
            i += 3;
            continue;
        }
        if (p[i] == 0x80 || p[i] == 0xff || ++i == n || p[i] < 0x40 || p[i] == 0x7f || p[i] == 0xff)
            return false;
    }
    return true;
}

/* Whether bytes without control characters are rather raw sound in G.711. Both halves of its waves
 * are alike but for the highest bit. Its low sound in A-law is only letters (0x40 and above), and
 * the same with the highest bit; text has other bytes too: blanks, digits, first bytes of pairs. */
static bool is_like_sound(const unsigned char *p, size_t n)
{
    enum { NO_RECORDING = 64 }; /* so few bytes are less than 10 ms */
    if (n < NO_RECORDING)
        return false;
    size_t counts[256] = {0}, no_letters = 0, alike = 0;
    for (size_t i = 0; i < n; i++) {
        counts[p[i]]++;
        no_letters += (p[i] & 0x40) == 0;
    }
    for (size_t i = 0; i < 128; i++)
        alike += 2 * (counts[i] < counts[i + 128] ? counts[i] : counts[i + 128]);
    return no_letters * 16 < n || alike * 2 >= n;
}

/* Whether a short text is in an encoding of pairs, or of single bytes and mostly ASCII, as
 * Latin-1. */
static bool is_other_text(const char *bytes, size_t n)
{
    const unsigned char *p = (const unsigned char *)bytes;
    size_t ascii = 0;
    for (size_t i = 0; i < n; i++)
        ascii += p[i] < 0x80;
    return !has_control(bytes, n) && !is_like_sound(p, n) &&
           (ascii * 4 >= n * 3 || are_pairs(p, n));
}

/* The length without the end of a C program's string or of a text from DOS. What is nothing but
 * zeros is silence. */
static size_t without_end_marks(const char *bytes, size_t n)
{
    enum { CTRL_Z = 0x1a };
    size_t length = n;
    while (length && (!bytes[length - 1] || bytes[length - 1] == CTRL_Z))
        length--;
    return length ? length : n;
}

/* UTF-16 and UTF-32: ASCII with zeros between. At least half of a markup text is ASCII. */
static bool is_wide_text(const char *bytes, size_t n)
{
    const unsigned char *p = (const unsigned char *)bytes;
    size_t zeros[4] = {0}, quarter = n / 4;
    if (n < 4)
        return false;
    if (!memcmp(bytes, "\xff\xfe", 2) || !memcmp(bytes, "\xfe\xff", 2) ||
        !memcmp(bytes, "\0\0\xfe\xff", 4))
        p += 4, n -= 4, quarter = n / 4;
    if (!quarter)
        return true;
    for (size_t i = 0; i < quarter * 4; i++) {
        zeros[i % 4] += !p[i];
        if (p[i] && is_control(p[i]) && !p[i ^ 1])
            return false;
    }
    size_t even = zeros[0] + zeros[2], odd = zeros[1] + zeros[3];
    return (even == 0 && odd > quarter) || (odd == 0 && even > quarter) ||
           (zeros[1] == quarter && zeros[2] == quarter && zeros[0] + zeros[3] == quarter);
}

/* Whether the text begins like JSON, XML or HTML, after white space and a byte order mark. */
static bool begins_as_markup(const char *bytes, size_t n)
{
    if (n >= 3 && !memcmp(bytes, "\xef\xbb\xbf", 3))
        bytes += 3, n -= 3;
    while (n && *bytes && strchr(" \t\r\n\v\f", *bytes))
        bytes++, n--;
    return n && (*bytes == '{' || *bytes == '[' || *bytes == '<' || *bytes == '"');
}

/* Whether this is JSON, XML or HTML, in whatever encoding. */
static bool is_markup(const char *bytes, size_t n)
{
    return begins_as_markup(bytes, n) && !has_control(bytes, n) &&
           !is_like_sound((const unsigned char *)bytes, n);
}

/* Whether these are a C program's strings, one after another. */
static bool are_strings(const char *bytes, size_t n)
{
    size_t count = 0;
    for (size_t at = 0, length; at < n; at += length + 1, count++) {
        length = strnlen(bytes + at, n - at);
        if (!length || !is_utf8_text(bytes + at, length))
            return false;
    }
    return count * 6 <= n; /* not PCM, most of whose last bytes may be zero */
}

static bool is_text(const char *bytes, size_t n, bool whole)
{
    bool small = whole && n < AUDIO_HEAD;
    bool marked_wide =
        n >= 2 && n % 2 == 0 && (!memcmp(bytes, "\xff\xfe", 2) || !memcmp(bytes, "\xfe\xff", 2));
    if (is_wide_text(bytes, n) || (small && marked_wide))
        return true;
    n = whole ? without_end_marks(bytes, n) : n;
    return is_utf8_text(bytes, n) || is_markup(bytes, n) ||
           (small && (is_other_text(bytes, n) || are_strings(bytes, n)));
}

/* ---- the judgement */

/* Whether the Content-Type names another kind of content. */
static bool is_said_to_be_another(const char *content_type)
{
    static const char *const others[] = {"text/",
                                         "image/",
                                         "font/",
                                         "multipart/",
                                         "message/",
                                         "application/json",
                                         "application/xml",
                                         "application/xhtml",
                                         "application/pdf",
                                         "application/zip",
                                         "application/javascript",
                                         "application/problem",
                                         "application/gzip",
                                         "application/x-gzip",
                                         "application/x-www-form-urlencoded"};
    size_t n = strcspn(content_type, "; \t");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strncasecmp(content_type, others[i], strlen(others[i])) == 0)
            return true;
    return (n > 5 && !strncasecmp(content_type + n - 5, "+json", 5)) ||
           (n > 4 && !strncasecmp(content_type + n - 4, "+xml", 4));
}

enum audio audio_judge(const char *bytes, size_t n, bool whole, const char *content_type)
{
    if (is_picture(bytes, n) || HAS_MARK(other_files, bytes, n))
        return AUDIO_NO;
    if (n >= 4 && !memcmp(bytes, "RIFF", 4)) /* any RIFF except WebP pictures */
        return n >= RIFF_HEAD || whole ? AUDIO_YES : AUDIO_OPEN;
    bool mp4 = n >= 12 && !memcmp(bytes + 4, "ftyp", 4);
    if (mp4 || HAS_MARK(sounds, bytes, n))
        return AUDIO_YES;
    if (n < MARK_BYTES && !whole)
        return AUDIO_OPEN;
    if (is_text(bytes, n, whole))
        return whole || n >= AUDIO_HEAD ? AUDIO_NO : AUDIO_OPEN;
    if (is_mpeg_frame((const unsigned char *)bytes, n))
        return AUDIO_YES;
    if (n < AUDIO_HEAD && !whole)
        return AUDIO_OPEN;
    return is_said_to_be_another(content_type) ? AUDIO_NO : AUDIO_YES;
}

const char *audio_describe(const char *bytes, size_t n)
{
    while (n && *bytes && strchr(" \t\r\n\v\f\xef\xbb\xbf\xff\xfe", *bytes))
        bytes++, n--;
    if (n && (*bytes == '{' || *bytes == '['))
        return "it is a JSON document, and no audio";
    if (n && *bytes == '<')
        return "it is an XML or HTML document, and no audio";
    if (is_picture(bytes, n))
        return "it is a picture, and no audio";
    if (is_utf8_text(bytes, n))
        return "it is text, and no audio";
    return "it is no audio";
}
