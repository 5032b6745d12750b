#include "app/http/response.h"

#include <assert.h>
#include <string.h>
#include <time.h>

#include "app/text/text.h"

/* ---- the date ---- */

void response_date_set(struct response_date *date, int64_t unix_s)
{
    static const char weekdays[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    assert(unix_s >= 0 && unix_s < RESPONSE_DATE_END);

    const time_t seconds = unix_s;
    struct tm tm;
    (void)gmtime_r(&seconds, &tm);
    struct text text = text_begin(date->text, sizeof date->text);
    text_put_bytes(&text, weekdays + tm.tm_wday * 3, 3);
    text_put(&text, ", ");
    text_put_padded(&text, (uint64_t)tm.tm_mday, 2);
    text_put(&text, " ");
    text_put_bytes(&text, months + tm.tm_mon * 3, 3);
    text_put(&text, " ");
    text_put_padded(&text, 1900u + (uint64_t)tm.tm_year, 4);
    text_put(&text, " ");
    text_put_padded(&text, (uint64_t)tm.tm_hour, 2);
    text_put(&text, ":");
    text_put_padded(&text, (uint64_t)tm.tm_min, 2);
    text_put(&text, ":");
    text_put_padded(&text, (uint64_t)tm.tm_sec, 2);
    text_put(&text, " GMT");
    assert(text_len(&text) == RESPONSE_DATE_BYTES);
    date->known = true;
    date->unix_s = unix_s;
}

/* ---- heads ---- */

/* RFC 9110 section 15 */
static const char *status_text(uint16_t status)
{
    switch (status) { /* GCOVR_EXCL_BR_LINE: each status that is ever used has its case */
    case 200:
        return "200 OK";
    case 204:
        return "204 No Content";
    case 400:
        return "400 Bad Request";
    case 404:
        return "404 Not Found";
    case 405:
        return "405 Method Not Allowed";
    case 408:
        return "408 Request Timeout";
    case 413:
        return "413 Content Too Large";
    case 414:
        return "414 URI Too Long";
    case 415:
        return "415 Unsupported Media Type";
    case 431:
        return "431 Request Header Fields Too Large";
    case 501:
        return "501 Not Implemented";
    case 503:
        return "503 Service Unavailable";
    case 505:
        return "505 HTTP Version Not Supported";
    case 507:
        return "507 Insufficient Storage";
    }
    assert(!"a status that has no text");
    return "500 Internal Server Error";
}

static void put_field(struct text *text, const char *name, const char *value)
{
    text_put(text, name);
    text_put(text, ": ");
    text_put(text, value);
    text_put(text, "\r\n");
}

size_t response_print_head(const struct response *response, const struct response_date *date,
                           char head[RESPONSE_HEAD_BYTES_MAX])
{
    struct text text = text_begin(head, RESPONSE_HEAD_BYTES_MAX);
    text_put(&text, "HTTP/1.1 ");
    text_put(&text, status_text(response->status));
    text_put(&text, "\r\n");
    if (date->known) {
        text_put(&text, "Date: ");
        text_put_bytes(&text, date->text, sizeof date->text);
        text_put(&text, "\r\n");
    }
    if (response->allow != NULL)
        put_field(&text, "Allow", response->allow);
    if (response->retry_after)
        put_field(&text, "Retry-After", "1");
    if (response->no_codings)
        put_field(&text, "Accept-Encoding", "identity");
    if (response->type != NULL)
        put_field(&text, "Content-Type", response->type);
    if (response->close)
        put_field(&text, "Connection", "close");
    else if (response->keep_alive)
        put_field(&text, "Connection", "keep-alive");
    if (response->status != 204) { /* RFC 9110 section 8.6: a 204 MUST NOT carry it */
        text_put(&text, "Content-Length: ");
        text_put_u64(&text, response->content_len);
        text_put(&text, "\r\n");
    }
    text_put(&text, "\r\n");
    return text_len(&text);
}

/* ---- the 200 of POST /event ---- */

void response_ok_prepare(struct response_ok *ok, const struct response_date *date)
{
    char head[RESPONSE_HEAD_BYTES_MAX];
    ok->bytes_each = response_print_head(&(struct response){.status = 200}, date, head);
    assert(ok->bytes_each <= RESPONSE_OK_BYTES_MAX);
    for (unsigned i = 0; i < RESPONSE_OK_COPIES_MAX; i++)
        memcpy(ok->copies + i * ok->bytes_each, head, ok->bytes_each);
}
