/*
 * A line at a time. Its end is looked for from its beginning, name and all, so that where the next
 * line begins is known before anything is said about this one: a processor works on several of them
 * at once. What else is found out (is this a name, are these digits) decides no address.
 */
#include "app/http/http_plain.h"

#include "app/http/http.h"
#include "kernel/lib/bytes.h"

#define WORD              8
#define BEHIND            16 /* bytes that may be read from the end of a line */
#define LINE_END          0x0a0d
#define LENGTH_DIGITS_MAX 5

_Static_assert(HTTP_BODY_BYTES_MAX < 100000, "LENGTH_DIGITS_MAX is wrong");
_Static_assert(HTTP_PLAIN_SLACK + 4 >= BEHIND, "two line ends and what follows them are fewer");

#define EVERY(byte) (UINT64_C(0x0101010101010101) * (byte))

/* As http_plain_unprintable(): no letter, digit, '-' or '.'. The bytes before it are ASCII. */
static inline uint64_t no_word(uint64_t word)
{
    const uint64_t low = word | EVERY(0x20);
    const uint64_t letters = (low + EVERY(0x80 - 'a')) ^ (low + EVERY(0x80 - 'z' - 1));
    const uint64_t others = (word + EVERY(0x80 - '-')) ^ (word + EVERY(0x80 - '9' - 1));
    const uint64_t no_slash = (word ^ EVERY('/')) + EVERY(0x7f);
    return ~((letters | others) & no_slash) & EVERY(0x80);
}

static inline unsigned first(uint64_t marked)
{
    return (unsigned)__builtin_ctzll(marked) / 8;
}

/* The first byte from `at` that is not of a word; in a line there is one, its end. */
static inline const uint8_t *skip_word(const uint8_t *at)
{
    for (;; at += WORD) {
        const uint64_t marked = no_word(bytes_load64(at));
        if (marked != 0)
            return at + first(marked);
    }
}

/* The end of the line that `at` is in, if it and BEHIND bytes are not beyond `last`; else NULL. */
static inline const uint8_t *find_line_end(const uint8_t *at, const uint8_t *last)
{
    uint64_t marked = 0;
    for (; at <= last; at += WORD)
        if ((marked = http_plain_unprintable(bytes_load64(at))) != 0)
            break;
    at += marked != 0 ? first(marked) : 0;
    return at <= last && bytes_load16(at) == LINE_END ? at : NULL;
}

/* Letters are lowered; of the other bytes of a name none changes. */
static inline uint64_t lower64(const uint8_t *bytes)
{
    return bytes_load64(bytes) | EVERY(0x20);
}

static inline uint32_t lower32(const uint8_t *bytes)
{
    return bytes_load32(bytes) | 0x20202020u;
}

#define FOUR(a, b, c, d)                                                                           \
    ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

static inline uint64_t eight(const char *text)
{
    return bytes_load64((const uint8_t *)text);
}

/* uri-host [ ":" port ] (RFC 9110 7.2), the whole value. */
static inline bool take_host(const uint8_t *value, const uint8_t *end, struct http_plain *plain)
{
    const uint8_t *at = skip_word(value);
    if (at == value || plain->has_host)
        return false;
    if (*at == ':')
        do
            at++;
        while (*at >= '0' && *at <= '9');
    plain->has_host = true;
    return at == end;
}

static inline bool take_length(const uint8_t *value, const uint8_t *end, struct http_plain *plain)
{
    const size_t digits = (size_t)(end - value);
    if (digits - 1 >= LENGTH_DIGITS_MAX || plain->has_length)
        return false;
    for (; value < end; value++) {
        const unsigned digit = (unsigned)*value - '0';
        if (digit > 9)
            return false;
        plain->content_len = plain->content_len * 10 + digit;
    }
    plain->has_length = true;
    return plain->content_len <= HTTP_BODY_BYTES_MAX;
}

static bool is_keep_alive(const uint8_t *value, const uint8_t *end)
{
    return end - value == 10 && lower64(value) == eight("keep-ali") &&
           lower64(value + 2) == eight("ep-alive");
}

static inline bool is_content_length(const uint8_t *name, size_t len)
{
    return len == 14 && lower64(name) == eight("content-") &&
           lower64(name + 6) == eight("t-length");
}

/* What a field with this name says; all bytes of the name are of a word. False: it is not plain. */
static inline bool take_field(const uint8_t *name, size_t name_len, const uint8_t *value,
                              const uint8_t *end, struct http_plain *plain,
                              enum http_plain_meaning *meaning)
{
    *meaning = HTTP_PLAIN_NOTHING;
    switch (lower32(name)) {
    case FOUR('h', 'o', 's', 't'):
        if (name_len != 4)
            return true;
        *meaning = HTTP_PLAIN_OTHER;
        return take_host(value, end, plain);
    case FOUR('c', 'o', 'n', 't'):
        if (name_len == 12) /* Content-Type */
            return true;
        *meaning = HTTP_PLAIN_LENGTH;
        return is_content_length(name, name_len) && take_length(value, end, plain);
    case FOUR('c', 'o', 'n', 'n'):
        *meaning = HTTP_PLAIN_OTHER;
        return is_keep_alive(value, end);
    case FOUR('t', 'r', 'a', 'n'): /* Transfer-Encoding */
    case FOUR('e', 'x', 'p', 'e'): /* Expect */
        return false;
    default:
        return true;
    }
}

bool http_plain_read(const uint8_t *bytes, size_t len, size_t begin, struct http_plain *plain,
                     struct http_plain_field *fields)
{
    const size_t most = HTTP_HEAD_BYTES_MAX + HTTP_PLAIN_SLACK;
    if (len > most)
        len = most;
    if (len < begin + BEHIND)
        return false;
    const uint8_t *const last = bytes + len - BEHIND;
    const uint8_t *at = bytes + begin;
    *plain = (struct http_plain){0};
    do {
        enum http_plain_meaning meaning;
        const uint8_t *const end = find_line_end(at, last);
        if (end == NULL)
            return false;
        const uint8_t *const name_end = skip_word(at);
        const uint8_t *const value = name_end + 1 + (name_end[1] == ' ');
        if (name_end == at || *name_end != ':' ||
            !take_field(at, (size_t)(name_end - at), value, end, plain, &meaning))
            return false;
        if (fields != NULL) {
            if (plain->fields == HTTP_PLAIN_FIELDS_MAX)
                return false;
            fields[plain->fields++] = (struct http_plain_field){.begin = (uint16_t)(at - bytes),
                                                                .value = (uint16_t)(value - bytes),
                                                                .end = (uint16_t)(end - bytes),
                                                                .meaning = (uint8_t)meaning};
        }
        at = end + 2;
    } while (bytes_load16(at) != LINE_END);
    plain->head_len = (size_t)(at + 2 - bytes);
    return plain->has_host;
}
