/*
 * A small table of heads, each cut in two at the digits of its Content-Length:
 *
 *     POST /event HTTP/1.1\r\nHost: a\r\nContent-Length: 38\r\nAccept: x\r\n\r\n
 *     '----------------- prefix -----------------------' '----- suffix -----'
 *
 * The digits are all that differs between two requests of one client, and all that they change is
 * the content's length. That holds for a head whose meaning does not depend on its Content-Length
 * in another way, so one with Expect is not remembered (it means more when content comes), nor a
 * chunked one (it has no digits). A head without Content-Length is all prefix.
 *
 * Cost. A hit is a comparison of the head, 8 bytes at a time: half an instruction a byte and less
 * than a hundred besides, where parsing takes twenty a byte. Of a head that is not the one, the
 * last 8 bytes of its prefix are looked at, where they would have to be: heads of other lengths are
 * out after a handful of instructions. Since a client could fill the table with heads alike in
 * that, at most HEADS_COMPARED_MAX of them, beside the one that the hint names, are compared
 * further.
 *
 * Replacement. The table is shared, so a client with ever new heads must neither drive out what
 * others use nor make every request pay for a copy. Once the table is full only one in
 * MISSES_PER_REPLACEMENT heads offered gets in, and it takes the place of one that was not
 * recalled since the search for a place last came by (the clock algorithm).
 */
#include "app/http/http_recall.h"

#include <string.h>

#include "app/text/bytes.h"

#define HEADS_COMPARED_MAX     2 /* beside the hinted one */
#define MISSES_PER_REPLACEMENT 16
#define DIGITS_MAX             5  /* of HTTP_BODY_BYTES_MAX */
#define PREFIX_BYTES_MIN       32 /* begin_with_prefix() */
#define SUFFIX_BYTES_MIN       4  /* a line end and the blank line */

_Static_assert(HTTP_BODY_BYTES_MAX < 100000, "DIGITS_MAX is wrong");
_Static_assert(SUFFIX_BYTES_MIN + 1 >= DIGITS_MAX, "digits are read without a look at the end");
_Static_assert((HTTP_RECALL_HEADS & (HTTP_RECALL_HEADS - 1)) == 0, "not a power of two");

void http_recall_init(struct http_recall *recall)
{
    memset(recall, 0, sizeof *recall);
    for (unsigned i = 0; i < HTTP_RECALL_HEADS; i++)
        recall->prefix_len[i] = recall->head[i].prefix_len = SIZE_MAX;
}

/* Is the prefix's end where it would have to be? `len` is below SIZE_MAX, an empty slot's. */
static inline bool may_match(const struct http_recall *recall, unsigned slot, const uint8_t *bytes,
                             size_t len)
{
    const size_t prefix_len = recall->prefix_len[slot];
    return prefix_len <= len && bytes_load64(bytes + prefix_len - 8) == recall->prefix_end[slot];
}

/* 0 if 32 bytes are the same. */
static inline uint64_t differ_32(const uint8_t *a, const uint8_t *b)
{
    return (bytes_load64(a) ^ bytes_load64(b)) | (bytes_load64(a + 8) ^ bytes_load64(b + 8)) |
           (bytes_load64(a + 16) ^ bytes_load64(b + 16)) |
           (bytes_load64(a + 24) ^ bytes_load64(b + 24));
}

/*
 * Whether `bytes` begin with the head's prefix, 32 bytes at a time, the last 32 overlapping those
 * before them: no branch but the loop's, as nearly always all of it is equal.
 */
static inline bool begin_with_prefix(const uint8_t *bytes, const struct http_recall_head *head)
{
    const size_t last = head->prefix_len - 32;
    uint64_t differ = differ_32(bytes + last, head->bytes + last);
    for (size_t at = 0; at < last; at += 32)
        differ |= differ_32(bytes + at, head->bytes + at);
    return differ == 0;
}

/* Reads the digits at `digits`, DIGITS_MAX of them at most; returns how many there are. */
static inline size_t read_digits(const uint8_t *digits, size_t *number)
{
    const unsigned tens = (unsigned)digits[0] - '0', ones = (unsigned)digits[1] - '0';
    if (__builtin_expect(tens < 10 && ones < 10 && digits[2] == '\r', 1)) {
        *number = 10 * tens + ones;
        return 2;
    }
    size_t n = 0;
    *number = 0;
    for (unsigned digit; n < DIGITS_MAX && (digit = (unsigned)digits[n] - '0') < 10; n++)
        *number = *number * 10 + digit;
    return n;
}

static __attribute__((noinline)) bool begins_with_fields(const uint8_t *bytes,
                                                         const struct http_recall_head *head)
{
    return bytes_equal(bytes, head->bytes + head->prefix_len, head->suffix_len);
}

/* Mostly Content-Length is the last field, and no more than the end of the head follows it. */
static inline bool begins_with_suffix(const uint8_t *bytes, const struct http_recall_head *head)
{
    if (head->suffix_len != SUFFIX_BYTES_MIN)
        return begins_with_fields(bytes, head);
    return bytes_load32(bytes) == bytes_load32(head->bytes + head->prefix_len);
}

/* The prefix is not longer than `len`. */
static inline __attribute__((always_inline)) bool matches(struct http_recall_head *head,
                                                          const uint8_t *bytes, size_t len,
                                                          struct http_recalled *found)
{
    const size_t prefix_len = head->prefix_len, suffix_len = head->suffix_len;
    const size_t left = len - prefix_len;
    size_t n = 0, content_len = 0;

    if (!begin_with_prefix(bytes, head))
        return false;
    if (suffix_len > 0) {
        if (left <= suffix_len) /* else there are DIGITS_MAX bytes at least */
            return false;
        n = read_digits(bytes + prefix_len, &content_len);
        if (n == 0 || content_len > HTTP_BODY_BYTES_MAX || left - n < suffix_len ||
            !begins_with_suffix(bytes + prefix_len + n, head))
            return false;
    }
    head->used_lately = true;
    *found = (struct http_recalled){.head_len = prefix_len + n + suffix_len,
                                    .content_len = content_len,
                                    .request = &head->request,
                                    .mark = head->mark};
    return true;
}

/* Not the head that the hint named. */
__attribute__((noinline)) static bool find_elsewhere(struct http_recall *recall, uint8_t *hint,
                                                     const uint8_t *bytes, size_t len,
                                                     struct http_recalled *found)
{
    unsigned compared = 0;

    for (unsigned i = 1; i < HTTP_RECALL_HEADS && compared < HEADS_COMPARED_MAX; i++) {
        const unsigned slot = (*hint + i) & (HTTP_RECALL_HEADS - 1);
        if (!may_match(recall, slot, bytes, len))
            continue;
        if (matches(&recall->head[slot], bytes, len, found)) {
            *hint = (uint8_t)slot;
            return true;
        }
        compared++;
    }
    return false;
}

bool http_recall_find(struct http_recall *recall, uint8_t *hint, const uint8_t *bytes, size_t len,
                      struct http_recalled *found)
{
    struct http_recall_head *const head = &recall->head[*hint & (HTTP_RECALL_HEADS - 1)];

    if (__builtin_expect(head->prefix_len <= len, 1) && matches(head, bytes, len, found))
        return true;
    return find_elsewhere(recall, hint, bytes, len, found);
}

/* ---- learning ---- */

/* Where a head is to be cut: the digits; begin == end for none. */
struct cut {
    size_t begin, end;
};

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static bool is_name(const uint8_t *line, size_t len, const char *name)
{
    const size_t name_len = strlen(name);

    if (len <= name_len || line[name_len] != ':')
        return false;
    for (size_t i = 0; i < name_len; i++) {
        const uint8_t letter = line[i];
        if ((letter >= 'A' && letter <= 'Z' ? letter | 0x20 : letter) != (uint8_t)name[i])
            return false;
    }
    return true;
}

/* The digits within a line "Content-Length: 38 \r\n" that the parser has accepted. */
static struct cut find_digits(const uint8_t *head, size_t begin, size_t end)
{
    struct cut cut;

    while (begin < end && !is_digit(head[begin]))
        begin++;
    cut.begin = begin;
    while (begin < end && is_digit(head[begin]))
        begin++;
    cut.end = begin;
    return cut;
}

/* False if what the head means may depend on its digits, or if it has more of them than we read. */
static bool find_cut(const uint8_t *head, size_t len, struct cut *cut)
{
    *cut = (struct cut){.begin = len, .end = len};
    for (size_t begin = 0; begin < len;) {
        size_t end = begin;
        while (end < len && head[end] != '\n')
            end++;
        const uint8_t *const line = head + begin;
        if (is_name(line, end - begin, "expect") || is_name(line, end - begin, "transfer-encoding"))
            return false;
        if (is_name(line, end - begin, "content-length"))
            *cut = find_digits(head, begin, end);
        begin = end + 1;
    }
    return cut->end - cut->begin <= DIGITS_MAX;
}

/* An empty slot, or one whose head was not recalled for a while. HTTP_RECALL_HEADS: none now. */
static unsigned find_slot(struct http_recall *recall)
{
    for (unsigned i = 0; i < HTTP_RECALL_HEADS; i++)
        if (recall->prefix_len[i] == SIZE_MAX)
            return i;
    if (++recall->misses < MISSES_PER_REPLACEMENT)
        return HTTP_RECALL_HEADS;
    recall->misses = 0;
    for (unsigned i = 0; i < HTTP_RECALL_HEADS; i++) {
        const unsigned slot = recall->replace_next++ & (HTTP_RECALL_HEADS - 1);
        if (!recall->head[slot].used_lately)
            return slot;
        recall->head[slot].used_lately = false;
    }
    return HTTP_RECALL_HEADS; /* every one was in use; the next time one of them may not be */
}

void http_recall_learn(struct http_recall *recall, uint8_t *hint, const uint8_t *head,
                       size_t head_len, const struct http_request *request, bool mark)
{
    struct cut cut;

    /* Empty lines before a request are counted, so they have a meaning beyond their bytes. */
    if (head_len > HTTP_RECALL_HEAD_BYTES_MAX || head[0] == '\r')
        return;
    const unsigned slot = find_slot(recall);
    if (slot == HTTP_RECALL_HEADS || !find_cut(head, head_len, &cut) ||
        cut.begin < PREFIX_BYTES_MIN)
        return;
    struct http_recall_head *const known = &recall->head[slot];
    known->request = *request;
    known->mark = mark;
    known->suffix_len = (uint16_t)(head_len - cut.end);
    memcpy(known->bytes, head, cut.begin);
    memcpy(known->bytes + cut.begin, head + cut.end, head_len - cut.end);
    recall->prefix_len[slot] = known->prefix_len = cut.begin;
    recall->prefix_end[slot] = bytes_load64(head + cut.begin - 8);
    known->used_lately = false;
    *hint = (uint8_t)slot;
}
