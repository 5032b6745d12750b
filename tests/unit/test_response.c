#include "app/http/response.h"

#include "app/text/text.h"
#include "tests/test.h"

static bool date_is(int64_t unix_s, const char *expected)
{
    struct response_date date;
    response_date_set(&date, unix_s);
    const bool same = memcmp(date.text, expected, RESPONSE_DATE_BYTES) == 0;
    if (!same)
        test_print("%.*s instead of %s", RESPONSE_DATE_BYTES, date.text, expected);
    return same && date.known && date.unix_s == unix_s;
}

TEST(response_dates_are_imf_fixdates)
{
    CHECK(date_is(0, "Thu, 01 Jan 1970 00:00:00 GMT"));
    CHECK(date_is(784111777, "Sun, 06 Nov 1994 08:49:37 GMT")); /* RFC 9110 5.6.7 */
    CHECK(date_is(951782400, "Tue, 29 Feb 2000 00:00:00 GMT")); /* a leap year, divisible by 400 */
    CHECK(date_is(951868799, "Tue, 29 Feb 2000 23:59:59 GMT"));
    CHECK(date_is(951868800, "Wed, 01 Mar 2000 00:00:00 GMT"));
    CHECK(date_is(1709164800, "Thu, 29 Feb 2024 00:00:00 GMT"));
    CHECK(date_is(1767225599, "Wed, 31 Dec 2025 23:59:59 GMT"));
    CHECK(date_is(2147483648, "Tue, 19 Jan 2038 03:14:08 GMT"));
    CHECK(date_is(4107542399, "Sun, 28 Feb 2100 23:59:59 GMT")); /* no leap year */
    CHECK(date_is(4107542400, "Mon, 01 Mar 2100 00:00:00 GMT"));
    CHECK(date_is(253402300799, "Fri, 31 Dec 9999 23:59:59 GMT"));
}

static bool is_leap(unsigned year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Against a calendar that counts days one by one, through a whole period of 400 years and more. */
TEST(response_dates_follow_the_calendar)
{
    static const char weekdays[] = "ThuFriSatSunMonTueWed";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    static const unsigned char lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned year = 1970, month = 0, day = 1;
    for (int64_t days = 0; year < 2402; days++) {
        char expected[RESPONSE_DATE_BYTES];
        struct text text = text_begin(expected, sizeof expected);
        text_put_bytes(&text, weekdays + days % 7 * 3, 3);
        text_put(&text, ", ");
        text_put_padded(&text, day, 2);
        text_put(&text, " ");
        text_put_bytes(&text, months + month * 3, 3);
        text_put(&text, " ");
        text_put_padded(&text, year, 4);
        text_put(&text, " 12:34:56 GMT");
        struct response_date date;
        response_date_set(&date, days * 86400 + 45296);
        CHECK(memcmp(date.text, expected, sizeof expected) == 0);

        const unsigned length = lengths[month] + (month == 1 && is_leap(year) ? 1u : 0u);
        if (day++ == length) {
            day = 1;
            year += month == 11;
            month = (month + 1) % 12;
        }
    }
}

static bool head_is(const struct response *response, const struct response_date *date,
                    const char *expected)
{
    char head[RESPONSE_HEAD_BYTES_MAX];
    const size_t len = response_print_head(response, date, head);
    const bool same = len == strlen(expected) && memcmp(head, expected, len) == 0;
    if (!same)
        test_print("%.*s", (int)len, head);
    return same;
}

static const struct response_date no_date;

TEST(response_heads_say_what_they_are_told)
{
    struct response_date date;
    response_date_set(&date, 784111777);
    CHECK(head_is(&(struct response){.status = 200}, &no_date,
                  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    CHECK(head_is(&(struct response){.status = 200, .type = "text/html", .content_len = 12345},
                  &date,
                  "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                  "Content-Type: text/html\r\nContent-Length: 12345\r\n\r\n"));
    CHECK(head_is(&(struct response){.status = 204, .allow = "POST"}, &no_date,
                  "HTTP/1.1 204 No Content\r\nAllow: POST\r\n\r\n"));
    CHECK(head_is(&(struct response){.status = 400, .close = true, .keep_alive = true}, &no_date,
                  "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"));
    CHECK(head_is(&(struct response){.status = 200, .keep_alive = true}, &no_date,
                  "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"));
}

TEST(response_heads_fit_at_their_longest)
{
    struct response_date date;
    response_date_set(&date, 784111777);
    char head[RESPONSE_HEAD_BYTES_MAX];
    const struct response response = {
        .status = 431,
        .keep_alive = true,
        .allow = "GET, HEAD, POST, OPTIONS",
        .type = RESPONSE_TYPE_METRICS,
        .content_len = SIZE_MAX,
    };
    CHECK(response_print_head(&response, &date, head) <= sizeof head);
}

TEST(response_ok_is_copied_to_be_sent_in_trains)
{
    struct response_date date;
    response_date_set(&date, 784111777);
    static struct response_ok ok;
    response_ok_prepare(&ok, &date);
    static const char expected[] =
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n";
    CHECK_EQ(ok.bytes_each, sizeof expected - 1);
    for (unsigned i = 0; i < RESPONSE_OK_COPIES_MAX; i++)
        CHECK(memcmp(ok.copies + i * ok.bytes_each, expected, ok.bytes_each) == 0);
}

TEST(text_puts_numbers)
{
    char buffer[64];
    struct text text = text_begin(buffer, sizeof buffer);
    text_put_u64(&text, 0);
    text_put(&text, " ");
    text_put_u64(&text, UINT64_MAX);
    text_put(&text, " ");
    text_put_padded(&text, 7, 3);
    text_put_padded(&text, 1234, 3);
    text_put(&text, " ");
    text_put_double(&text, -0.5);
    static const char expected[] = "0 18446744073709551615 0071234 -0.5";
    CHECK_EQ(text_len(&text), sizeof expected - 1);
    CHECK(memcmp(buffer, expected, text_len(&text)) == 0);
}
