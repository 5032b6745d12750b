#include "tests/load/response.h"

#include <assert.h>
#include <string.h>

enum {
    STATE_VERSION,     /* "HTTP/1.x " so far: name_len bytes of it */
    STATE_STATUS,      /* three digits: value_len of them */
    STATE_REASON,      /* up to the end of the line */
    STATE_FIELD_START, /* first byte of a line: a name, or the empty line */
    STATE_NAME,
    STATE_VALUE_START, /* white space before the value */
    STATE_VALUE,
    STATE_HEAD_END, /* LF of the empty line */
    STATE_CONTENT,
    STATE_CONTENT_TO_CLOSE,
};

enum { FIELD_OTHER, FIELD_CONTENT_LENGTH, FIELD_CONNECTION, FIELD_TRANSFER_ENCODING };

#define WORD_TOO_LONG 255

void response_reset(struct response *response)
{
    memset(response, 0, offsetof(struct response, word));
}

bool response_is_idle(const struct response *response)
{
    return response->head_bytes == 0;
}

static char response_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static void response_add_to_word(struct response *response, uint8_t *len, char c)
{
    if (*len < sizeof response->word)
        response->word[(*len)++] = response_lower(c);
    else
        *len = WORD_TOO_LONG;
}

static bool response_word_is(const struct response *response, size_t len, const char *text)
{
    return len == strlen(text) && memcmp(response->word, text, len) == 0;
}

static void response_name_ends(struct response *response)
{
    const size_t len = response->name_len;
    response->field = FIELD_OTHER;
    if (response_word_is(response, len, "content-length"))
        response->field = FIELD_CONTENT_LENGTH;
    else if (response_word_is(response, len, "connection"))
        response->field = FIELD_CONNECTION;
    else if (response_word_is(response, len, "transfer-encoding"))
        response->field = FIELD_TRANSFER_ENCODING;
    response->value_len = 0;
    response->state = STATE_VALUE_START;
}

/* False if the field makes the response malformed. */
static bool response_value_ends(struct response *response)
{
    size_t len = response->value_len;
    while (len > 0 && len != WORD_TOO_LONG &&
           (response->word[len - 1] == ' ' || response->word[len - 1] == '\t'))
        len--;
    response->state = STATE_FIELD_START;
    response->name_len = 0;
    switch (response->field) {
    case FIELD_TRANSFER_ENCODING:
        return false;
    case FIELD_CONNECTION:
        if (response_word_is(response, len, "close"))
            response->close = true;
        else if (response_word_is(response, len, "keep-alive"))
            response->closes_by_default = false;
        return true;
    case FIELD_CONTENT_LENGTH:
        if (response->has_length || len == 0 || len > 18)
            return false;
        response->has_length = true;
        for (size_t i = 0; i < len; i++) {
            if (response->word[i] < '0' || response->word[i] > '9')
                return false;
            response->remaining = response->remaining * 10 + (uint64_t)(response->word[i] - '0');
        }
        return true;
    default:
        return true;
    }
}

static enum response_step response_head_ends(struct response *response)
{
    if (response->status < 200) { /* interim: the final response follows (RFC 9110 15.2) */
        if (response->has_length)
            return RESPONSE_MALFORMED;
        const uint32_t head_bytes = response->head_bytes;
        response_reset(response);
        response->head_bytes = head_bytes;
        return RESPONSE_MORE;
    }
    response->close |= response->closes_by_default;
    if (response->status == 204 || response->status == 304)
        return RESPONSE_DONE;
    if (!response->has_length) {
        response->close = true;
        response->state = STATE_CONTENT_TO_CLOSE;
        return RESPONSE_MORE;
    }
    response->content_bytes = response->remaining;
    response->state = STATE_CONTENT;
    return response->remaining == 0 ? RESPONSE_DONE : RESPONSE_MORE;
}

static enum response_step response_status_byte(struct response *response, char c)
{
    if (response->value_len < 3) {
        if (c < '0' || c > '9')
            return RESPONSE_MALFORMED;
        response->status = (uint16_t)(response->status * 10 + (c - '0'));
        response->value_len++;
        return RESPONSE_MORE;
    }
    if ((c != ' ' && c != '\r') || response->status < 100 || response->status > 599)
        return RESPONSE_MALFORMED;
    response->state = STATE_REASON;
    return RESPONSE_MORE;
}

static enum response_step response_version_byte(struct response *response, char c)
{
    static const char version[] = "HTTP/1.x ";
    const size_t at = response->name_len;
    if (at == 7 && (c == '0' || c == '1'))
        response->closes_by_default = c == '0';
    else if (at == 7 || c != version[at])
        return RESPONSE_MALFORMED;
    response->name_len++;
    if (at + 1 == sizeof version - 1) {
        response->state = STATE_STATUS;
        response->value_len = 0;
    }
    return RESPONSE_MORE;
}

static enum response_step response_head_byte(struct response *response, char c)
{
    switch (response->state) {
    case STATE_VERSION:
        return response_version_byte(response, c);
    case STATE_STATUS:
        return response_status_byte(response, c);
    case STATE_REASON:
        if (c == '\n') {
            response->state = STATE_FIELD_START;
            response->name_len = 0;
        }
        return RESPONSE_MORE;
    case STATE_FIELD_START:
        if (c == '\r') {
            response->state = STATE_HEAD_END;
            return RESPONSE_MORE;
        }
        if (c == ':' || c == ' ' || c == '\t' || c == '\n')
            return RESPONSE_MALFORMED;
        response->state = STATE_NAME;
        response_add_to_word(response, &response->name_len, c);
        return RESPONSE_MORE;
    case STATE_NAME:
        if (c == ':')
            response_name_ends(response);
        else if (c <= ' ')
            return RESPONSE_MALFORMED;
        else
            response_add_to_word(response, &response->name_len, c);
        return RESPONSE_MORE;
    case STATE_VALUE_START:
        if (c == ' ' || c == '\t')
            return RESPONSE_MORE;
        response->state = STATE_VALUE;
        __attribute__((fallthrough));
    case STATE_VALUE:
        if (c == '\n')
            return response_value_ends(response) ? RESPONSE_MORE : RESPONSE_MALFORMED;
        if (c != '\r' && response->field != FIELD_OTHER)
            response_add_to_word(response, &response->value_len, c);
        return RESPONSE_MORE;
    default:
        assert(response->state == STATE_HEAD_END);
        return c == '\n' ? response_head_ends(response) : RESPONSE_MALFORMED;
    }
}

enum response_step response_feed(struct response *response, const char *bytes, size_t len,
                                 size_t *taken)
{
    assert(len > 0);
    size_t i = 0;
    while (i < len && response->state < STATE_CONTENT) {
        if (++response->head_bytes > RESPONSE_HEAD_BYTES_MAX) {
            *taken = i;
            return RESPONSE_MALFORMED;
        }
        const enum response_step step = response_head_byte(response, bytes[i++]);
        if (step != RESPONSE_MORE) {
            *taken = i;
            return step;
        }
    }
    if (response->state == STATE_CONTENT) {
        const size_t left = len - i;
        const size_t run = response->remaining < left ? (size_t)response->remaining : left;
        response->remaining -= run;
        *taken = i + run;
        return response->remaining == 0 ? RESPONSE_DONE : RESPONSE_MORE;
    }
    if (response->state == STATE_CONTENT_TO_CLOSE)
        response->content_bytes += len - i;
    *taken = len;
    return RESPONSE_MORE;
}

bool response_ends_here(const struct response *response)
{
    return response->state == STATE_CONTENT_TO_CLOSE;
}

void response_memo_learn(struct response_memo *memo, const struct response *response,
                         const char *bytes, size_t len)
{
    if (response->status != 200 || response->close || response->content_bytes != 0 ||
        len > RESPONSE_MEMO_BYTES_MAX)
        return;
    memcpy(memo->bytes, bytes, len);
    memo->len = len;
}

size_t response_memo_match(const struct response_memo *memo, const char *bytes, size_t len)
{
    if (memo->len == 0 || len < memo->len || memcmp(bytes, memo->bytes, memo->len) != 0)
        return 0;
    return memo->len;
}
