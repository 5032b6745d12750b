#include "app/http/response.h"

#include <assert.h>
#include <string.h>

#include "app/text/text.h"

/* ---- the date ---- */

#define SECONDS_A_DAY   86400
#define DAYS_A_400_YEAR 146097 /* the calendar's period */
#define DAYS_A_CENTURY  36524  /* of the first three in a period; the last has a day more */
#define DAYS_A_4_YEAR   1461   /* but for the last in a century, which has a day less */
#define DAYS_A_YEAR     365

struct civil {
    unsigned year, month, day; /* month 1 to 12, day 1 to 31 */
};

/*
 * Years are counted from 1 March, so that the leap day is the last of its year, and from the year
 * 0, where a period of 400 years begins: the divisions then need no table of leap years. A period's
 * very last day (29 February of a year divisible by 400) would divide into a fifth century, and a
 * leap year's last into a fifth year: hence the two corrections.
 */
static struct civil civil_from_days(int64_t days_since_1970)
{
    const uint64_t days = (uint64_t)(days_since_1970 + 719468); /* since 0000-03-01 */
    unsigned rest = (unsigned)(days % DAYS_A_400_YEAR);
    unsigned centuries = rest / DAYS_A_CENTURY;
    centuries -= centuries / 4;
    rest -= centuries * DAYS_A_CENTURY;
    const unsigned fours = rest / DAYS_A_4_YEAR;
    rest -= fours * DAYS_A_4_YEAR;
    unsigned ones = rest / DAYS_A_YEAR;
    ones -= ones / 4;
    rest -= ones * DAYS_A_YEAR;

    /* From March, months of 31, 30, 31, 30, 31 days repeat: 153 days; 5 * rest + 2 finds them. */
    const unsigned month = (5 * rest + 2) / 153;
    const unsigned day = rest - (153 * month + 2) / 5;
    const unsigned year =
        (unsigned)(days / DAYS_A_400_YEAR) * 400 + centuries * 100 + fours * 4 + ones;
    return (struct civil){
        .year = month < 10 ? year : year + 1,
        .month = month < 10 ? month + 3 : month - 9,
        .day = day + 1,
    };
}

void response_date_set(struct response_date *date, int64_t unix_s)
{
    static const char weekdays[] = "ThuFriSatSunMonTueWed"; /* 1970-01-01 was a Thursday */
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    assert(unix_s >= 0 && unix_s < RESPONSE_DATE_END);

    const int64_t days = unix_s / SECONDS_A_DAY;
    const unsigned second = (unsigned)(unix_s % SECONDS_A_DAY);
    const struct civil civil = civil_from_days(days);
    struct text text = text_begin(date->text, sizeof date->text);
    text_put_bytes(&text, weekdays + days % 7 * 3, 3);
    text_put(&text, ", ");
    text_put_padded(&text, civil.day, 2);
    text_put(&text, " ");
    text_put_bytes(&text, months + (civil.month - 1) * 3, 3);
    text_put(&text, " ");
    text_put_padded(&text, civil.year, 4);
    text_put(&text, " ");
    text_put_padded(&text, second / 3600, 2);
    text_put(&text, ":");
    text_put_padded(&text, second / 60 % 60, 2);
    text_put(&text, ":");
    text_put_padded(&text, second % 60, 2);
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
