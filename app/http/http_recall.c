/*
 * A small table of heads. Each is cut at what may differ from request to request: at the digits of
 * its Content-Length, and at the values of fields that mean nothing here and were seen to differ.
 *
 *     POST /event HTTP/1.1\r\nHost: a\r\nX-Id: 5f3c\r\nContent-Length: 38\r\n\r\n
 *     '-------------- piece -----------------'    '------ piece ------'  ' piece '
 *
 * Why the digits may differ: they change the length of the content and nothing else. That holds for
 * a head whose meaning does not depend on its Content-Length in another way. So one with Expect is
 * not remembered (it means more when content comes), nor a chunked one (it has no digits).
 *
 * Why the values may differ: only heads with plain fields (http_plain.h) are cut there. The request
 * line and the length of the content are all that such a head can say. It follows that a head which
 * is not in the table needs no full parser either, if one with its request line is there and both
 * have plain fields.
 *
 * Cost, in instructions a byte: half of one for a head that is in the table, one where it is cut,
 * three for plain fields of a head that is not, twenty for the full parser.
 *
 * Replacement. All connections share the table, so a client with ever new heads must neither drive
 * out what others use nor make every request pay for a copy. Once the table is full, one in
 * MISSES_PER_REPLACEMENT heads that are not in it is put there. If there is a head with the same
 * fields already, that one is cut where the two differ. Else one is replaced that was not recalled
 * since the search for such a one last came by (the clock algorithm). As long as there is an empty
 * slot no head is cut: whole it is found faster.
 */
#include "app/http/http_recall.h"

#include <assert.h>
#include <string.h>

#include "kernel/lib/bytes.h"

#define MISSES_PER_REPLACEMENT 64
#define DIGITS_MAX             5  /* of HTTP_BODY_BYTES_MAX */
#define STEP                   32 /* of a comparison */
#define HEAD_END               "\r\n\r\n"
#define HEAD_END_BYTES         4

_Static_assert(HTTP_BODY_BYTES_MAX < 100000, "DIGITS_MAX is wrong");
_Static_assert(HEAD_END_BYTES + 1 >= DIGITS_MAX, "digits are read without a look at the end");
_Static_assert((HTTP_RECALL_HEADS & (HTTP_RECALL_HEADS - 1)) == 0, "not a power of two");
_Static_assert(HTTP_PLAIN_FIELDS_MAX <= 32, "free_fields is too small");
_Static_assert(HTTP_HEAD_BYTES_MAX < UINT16_MAX, "an empty slot could match");

/* What follows a piece. */
enum then { THEN_END, THEN_DIGITS, THEN_VALUE };

void http_recall_init(struct http_recall *recall)
{
    memset(recall, 0, sizeof *recall);
    for (unsigned i = 0; i < HTTP_RECALL_HEADS; i++) {
        recall->head[i].quick_len = SIZE_MAX;
        recall->head[i].piece[0].len = UINT16_MAX; /* longer than any head */
    }
}

/* 0 if 32 bytes are the same. */
static inline uint64_t differ_32(const uint8_t *a, const uint8_t *b)
{
    return (bytes_load64(a) ^ bytes_load64(b)) | (bytes_load64(a + 8) ^ bytes_load64(b + 8)) |
           (bytes_load64(a + 16) ^ bytes_load64(b + 16)) |
           (bytes_load64(a + 24) ^ bytes_load64(b + 24));
}

/*
 * bytes_equal() of STEP bytes at least, the last step overlapping those before: no branch but the
 * loop's, as nearly always all of it is equal.
 */
static inline bool equal_steps(const uint8_t *a, const uint8_t *b, size_t len)
{
    const size_t last = len - STEP;
    uint64_t differ = differ_32(a + last, b + last);
    for (size_t at = 0; at < last; at += STEP)
        differ |= differ_32(a + at, b + at);
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

static inline void set_found(struct http_recalled *found, const struct http_recall_head *head,
                             size_t head_len, size_t content_len)
{
    *found = (struct http_recalled){.head_len = head_len,
                                    .content_len = content_len,
                                    .request = &head->request,
                                    .mark = head->mark};
}

/* The most frequent kind: a head that ends with its Content-Length and is cut nowhere else. */
static inline __attribute__((always_inline)) bool matches_quickly(struct http_recall_head *head,
                                                                  const uint8_t *bytes, size_t len,
                                                                  struct http_recalled *found)
{
    const size_t quick_len = head->quick_len;
    const size_t left = len - quick_len;
    size_t content_len;

    /* The quick_len of any other is longer than anything. */
    if (__builtin_expect(len < quick_len, 0) || !equal_steps(bytes, head->bytes, quick_len) ||
        left <= HEAD_END_BYTES) /* else there are DIGITS_MAX bytes at least */
        return false;
    const size_t n = read_digits(bytes + quick_len, &content_len);
    if (n == 0 || content_len > HTTP_BODY_BYTES_MAX || left - n < HEAD_END_BYTES ||
        bytes_load32(bytes + quick_len + n) != bytes_load32((const uint8_t *)HEAD_END))
        return false;
    head->used_lately = true;
    set_found(found, head, quick_len + n + HEAD_END_BYTES, content_len);
    return true;
}

/* The end of the value at `at`, or where less than a word is left before `end`. */
static inline const uint8_t *skip_value(const uint8_t *at, const uint8_t *end)
{
    for (const uint8_t *const last = end - 8; at <= last; at += 8) {
        const uint64_t marked = http_plain_unprintable(bytes_load64(at));
        if (marked != 0)
            return at + (size_t)__builtin_ctzll(marked) / 8;
    }
    return at;
}

/* bytes_equal() of pieces, most of which are longer than a word or two. */
static inline bool is_piece(const uint8_t *bytes, const uint8_t *piece, size_t len)
{
    if (len < 8)
        return bytes_equal(bytes, piece, len);
    const size_t last = len - 8;
    uint64_t differ = bytes_load64(bytes + last) ^ bytes_load64(piece + last);
    for (size_t at = 0; at < last; at += 8)
        differ |= bytes_load64(bytes + at) ^ bytes_load64(piece + at);
    return differ == 0;
}

/* Any head, piece by piece. The piece that follows a value begins with the end of its line. */
static __attribute__((noinline)) bool matches(struct http_recall_head *head, const uint8_t *bytes,
                                              size_t len, struct http_recalled *found)
{
    const uint8_t *const end = bytes + (len < HTTP_HEAD_BYTES_MAX ? len : HTTP_HEAD_BYTES_MAX);
    const uint8_t *at = bytes;
    size_t content_len = 0;

    for (const struct http_recall_piece *piece = head->piece;; piece++) {
        if ((size_t)(end - at) < piece->len ||
            !is_piece(at, head->bytes + piece->begin, piece->len))
            return false;
        at += piece->len;
        if (piece->then == THEN_END)
            break;
        if (piece->then == THEN_VALUE) {
            at = skip_value(at, end);
            continue;
        }
        if (end - at < DIGITS_MAX) /* which are as many as a digit and the end of the head */
            return false;
        const size_t n = read_digits(at, &content_len);
        if (n == 0 || content_len > HTTP_BODY_BYTES_MAX)
            return false;
        at += n;
    }
    head->used_lately = true;
    set_found(found, head, (size_t)(at - bytes), content_len);
    return true;
}

/* ---- learning ---- */

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
static void find_digits(const uint8_t *head, size_t begin, size_t end,
                        struct http_plain_field *digits)
{
    while (begin < end && !is_digit(head[begin]))
        begin++;
    digits->value = (uint16_t)begin;
    while (is_digit(head[begin]))
        begin++;
    digits->end = (uint16_t)begin;
}

/*
 * Where a head is to be cut that is not all plain: the digits, or nowhere. False if what it means
 * may depend on its digits, or if it has more of them than we read.
 */
static bool find_cut(const uint8_t *head, size_t len, struct http_plain_field *digits)
{
    *digits = (struct http_plain_field){.meaning = HTTP_PLAIN_NOTHING};
    for (size_t begin = 0; begin < len;) {
        size_t end = begin;
        while (head[end] != '\n')
            end++;
        const uint8_t *const line = head + begin;
        if (is_name(line, end - begin, "expect") || is_name(line, end - begin, "transfer-encoding"))
            return false;
        if (is_name(line, end - begin, "content-length")) {
            digits->meaning = HTTP_PLAIN_LENGTH;
            find_digits(head, begin, end, digits);
        }
        begin = end + 1;
    }
    return digits->end - digits->value <= DIGITS_MAX;
}

/* Cuts the head, whose fields these are, at its digits and at the values of its free fields. */
static void cut(struct http_recall_head *head, const struct http_plain_field *field,
                unsigned fields)
{
    struct http_recall_piece *piece = head->piece;
    uint16_t begin = 0;

    for (unsigned i = 0; i < fields; i++) {
        const bool is_length = field[i].meaning == HTTP_PLAIN_LENGTH;
        if (!is_length && (head->free_fields >> i & 1) == 0)
            continue;
        *piece++ = (struct http_recall_piece){.begin = begin,
                                              .len = (uint16_t)(field[i].value - begin),
                                              .then = is_length ? THEN_DIGITS : THEN_VALUE};
        begin = field[i].end;
    }
    *piece = (struct http_recall_piece){.begin = begin, .len = (uint16_t)(head->len - begin)};
    const bool is_quick = piece == head->piece + 1 && head->piece->then == THEN_DIGITS &&
                          head->piece->len >= STEP && piece->len == HEAD_END_BYTES;
    head->quick_len = is_quick ? head->piece->len : SIZE_MAX;
}

/* A slot, or one whose head was not recalled for a while. NULL: none now. */
static struct http_recall_head *find_slot(struct http_recall *recall)
{
    if (recall->heads < HTTP_RECALL_HEADS)
        return &recall->head[recall->heads++];
    for (unsigned i = 0; i < HTTP_RECALL_HEADS; i++) {
        struct http_recall_head *const head =
            &recall->head[recall->replace_next++ & (HTTP_RECALL_HEADS - 1)];
        if (!head->used_lately)
            return head;
        head->used_lately = false;
    }
    return NULL; /* every one was in use; the next time one of them may not be */
}

/* A head that is offered: its fields, if they are plain; else at most its digits, as a field. */
struct offer {
    uint16_t len;
    uint16_t line_len; /* of the request line, if the fields are plain; else 0 */
    unsigned fields;
    struct http_plain_field field[HTTP_PLAIN_FIELDS_MAX];
    uint8_t bytes[HTTP_RECALL_HEAD_BYTES_MAX + HTTP_PLAIN_SLACK]; /* zeros after the head */
};

/* False if the head may not be remembered. */
static bool read_offer(struct offer *offer, const uint8_t *head, size_t len,
                       const struct http_request *request)
{
    struct http_plain plain;

    if (len > HTTP_RECALL_HEAD_BYTES_MAX || len < HEAD_END_BYTES ||
        memcmp(head + len - HEAD_END_BYTES, HEAD_END, HEAD_END_BYTES) != 0)
        return false;
    memset(offer, 0, sizeof *offer);
    memcpy(offer->bytes, head, len);
    offer->len = (uint16_t)len;
    size_t line_len = 1;
    while (head[line_len - 1] != '\n')
        line_len++;
    /* In HTTP/1.0 the connection would not persist without Connection: keep-alive. */
    if (request->minor != 0 &&
        http_plain_read(offer->bytes, len + HTTP_PLAIN_SLACK, line_len, &plain, offer->field)) {
        offer->line_len = (uint16_t)line_len;
        offer->fields = plain.fields;
        return true;
    }
    offer->fields = 1;
    return find_cut(head, len, offer->field);
}

/* Whether these runs of bytes, of `a` and of `b`, are the same. */
static bool is_same(const uint8_t *a, size_t a_begin, size_t a_end, const uint8_t *b,
                    size_t b_begin, size_t b_end)
{
    return a_end - a_begin == b_end - b_begin &&
           memcmp(a + a_begin, b + b_begin, a_end - a_begin) == 0;
}

/* Whether these fields of a head and an offer may differ as they do; *is_free if in their value. */
static bool may_differ(const uint8_t *head, const struct http_plain_field *of_head,
                       const uint8_t *offer, const struct http_plain_field *of_offer, bool *is_free)
{
    *is_free = false;
    if (!is_same(head, of_head->begin, of_head->value, offer, of_offer->begin, of_offer->value))
        return false;
    if (of_head->meaning == HTTP_PLAIN_LENGTH ||
        is_same(head, of_head->value, of_head->end, offer, of_offer->value, of_offer->end))
        return true;
    *is_free = of_head->meaning == HTTP_PLAIN_NOTHING;
    return *is_free;
}

/*
 * Cuts the head where the offer, whose fields are plain, differs: then the offer is in the table.
 * False, and nothing is done, if they have not the same request line and fields, or if they differ
 * in a field that means something or in too many.
 */
static bool cut_for(struct http_recall_head *head, const struct offer *offer)
{
    struct http_plain_field field[HTTP_PLAIN_FIELDS_MAX];
    struct http_plain plain;
    uint32_t free_fields = head->free_fields;

    if (!is_same(head->bytes, 0, head->line_len, offer->bytes, 0, offer->line_len))
        return false;
    const bool is_plain =
        http_plain_read(head->bytes, sizeof head->bytes, head->line_len, &plain, field);
    assert(is_plain);
    if (plain.fields != offer->fields)
        return false;
    for (unsigned i = 0; i < plain.fields; i++) {
        bool is_free;
        if (!may_differ(head->bytes, &field[i], offer->bytes, &offer->field[i], &is_free))
            return false;
        free_fields |= (uint32_t)is_free << i;
    }
    /* Each makes one piece more, and so may the digits. */
    if (__builtin_popcount(free_fields) > HTTP_RECALL_PIECES_MAX - 2)
        return false;
    head->free_fields = free_fields;
    cut(head, field, plain.fields);
    return true;
}

static void remember(struct http_recall *recall, uint8_t *hint, const uint8_t *bytes, size_t len,
                     const struct http_request *request, bool mark)
{
    struct offer offer;

    if (!read_offer(&offer, bytes, len, request))
        return;
    if (recall->heads == HTTP_RECALL_HEADS && offer.line_len != 0)
        for (unsigned slot = 0; slot < HTTP_RECALL_HEADS; slot++)
            if (cut_for(&recall->head[slot], &offer)) {
                *hint = (uint8_t)slot;
                return;
            }
    struct http_recall_head *const head = find_slot(recall);
    if (head == NULL)
        return;
    head->mark = mark;
    head->used_lately = false;
    head->line_len = offer.line_len;
    head->len = offer.len;
    head->free_fields = 0;
    head->request = *request;
    memcpy(head->bytes, offer.bytes, sizeof head->bytes);
    cut(head, offer.field, offer.fields);
    *hint = (uint8_t)(head - recall->head);
}

/* A head that is not known: remembered if it is its turn. */
static void miss(struct http_recall *recall, uint8_t *hint, const uint8_t *bytes, size_t len,
                 const struct http_request *request, bool mark)
{
    if (recall->skip > 0) {
        recall->skip--;
        return;
    }
    remember(recall, hint, bytes, len, request, mark);
    if (recall->heads == HTTP_RECALL_HEADS)
        recall->skip = MISSES_PER_REPLACEMENT - 1;
}

void http_recall_learn(struct http_recall *recall, uint8_t *hint, const uint8_t *head,
                       size_t head_len, const struct http_request *request, bool mark)
{
    /* Empty lines before a request are counted, so they have a meaning beyond their bytes. */
    if (head[0] != '\r')
        miss(recall, hint, head, head_len, request, mark);
}

/* ---- finding ---- */

static bool find_everywhere(struct http_recall *recall, uint8_t *hint, const uint8_t *bytes,
                            size_t len, struct http_recalled *found)
{
    for (unsigned slot = 0; slot < recall->heads; slot++)
        if (matches(&recall->head[slot], bytes, len, found)) {
            *hint = (uint8_t)slot;
            return true;
        }
    return false;
}

/* Whether `bytes` have the request line of a head in the table and, like it, plain fields. */
static bool is_like_one(const struct http_recall *recall, unsigned hint, const uint8_t *bytes,
                        size_t len, struct http_recalled *found)
{
    for (unsigned i = 0; i < HTTP_RECALL_HEADS; i++) {
        const struct http_recall_head *const head =
            &recall->head[(hint + i) & (HTTP_RECALL_HEADS - 1)];
        struct http_plain plain;
        if (head->line_len == 0 || len < head->line_len ||
            !is_piece(bytes, head->bytes, head->line_len))
            continue;
        if (!http_plain_read(bytes, len, head->line_len, &plain, NULL))
            return false;
        if (plain.has_length != head->request.has_length)
            continue;
        set_found(found, head, plain.head_len, plain.content_len);
        return true;
    }
    return false;
}

/*
 * Not the head that is hinted at. To look for it among the others is worth it as long as it is
 * found there; once it was not, plain heads do without until one of them is remembered.
 */
__attribute__((noinline)) static bool find_otherwise(struct http_recall *recall, uint8_t *hint,
                                                     const uint8_t *bytes, size_t len,
                                                     struct http_recalled *found)
{
    const bool at_once = recall->skip == 0;

    if (at_once && find_everywhere(recall, hint, bytes, len, found))
        return true;
    if (is_like_one(recall, *hint, bytes, len, found)) {
        miss(recall, hint, bytes, found->head_len, found->request, found->mark);
        return true;
    }
    return !at_once && find_everywhere(recall, hint, bytes, len, found);
}

bool http_recall_find(struct http_recall *recall, uint8_t *hint, const uint8_t *bytes, size_t len,
                      struct http_recalled *found)
{
    struct http_recall_head *const head = &recall->head[*hint & (HTTP_RECALL_HEADS - 1)];

    return matches_quickly(head, bytes, len, found) ||
           (head->quick_len == SIZE_MAX && matches(head, bytes, len, found)) ||
           find_otherwise(recall, hint, bytes, len, found);
}
