/*
 * The limits of a request: exactly there, one beyond, and streams that never end. Then the parser's
 * contract with its caller, and streams damaged at random.
 */
#include "app/http/http.h"
#include "tests/unit/http_means.h"
#include "tests/unit/random.h"

static char stream[TRANSCRIPT_PIECE_MAX];
static size_t stream_len;

static void begin(const char *text)
{
    stream_len = strlen(text);
    memcpy(stream, text, stream_len);
}

static void add(const char *text)
{
    memcpy(stream + stream_len, text, strlen(text));
    stream_len += strlen(text);
}

static void fill_to(size_t len, const char *text)
{
    const size_t text_len = strlen(text);
    for (size_t i = 0; stream_len < len; i++)
        stream[stream_len++] = text[i % text_len];
}

/* The stream is refused for what is there at `at`, and no earlier. */
static bool refused_at(size_t at, const char *want)
{
    char before[100];

    transcript_begin(&cut, NULL);
    transcript_feed(&cut, stream, at);
    if (cut.failed || cut.len >= sizeof before)
        return false;
    return long_means(stream, stream_len, at, want);
}

TEST(http_head_may_have_8192_bytes_and_no_more)
{
    static const char *const last[] = {"a\r\n\r\n", "\r\n\r\n", " \r\n\r\n"};

    for (size_t i = 0; i < 3; i++) {
        begin("GET / HTTP/1.1\r\nHost: a\r\nX: ");
        fill_to(HTTP_HEAD_BYTES_MAX - strlen(last[i]), "y");
        add(last[i]);
        add("GET / HTTP/1.0\r\n\r\n");
        CHECK(long_means(stream, stream_len, HTTP_HEAD_BYTES_MAX, "GET / 1k.GET / 0."));

        begin("GET / HTTP/1.1\r\nHost: a\r\nX: ");
        fill_to(HTTP_HEAD_BYTES_MAX + 1 - strlen(last[i]), "y");
        add(last[i]);
        CHECK(refused_at(HTTP_HEAD_BYTES_MAX, "!431 "));
    }
    /* Empty lines before it do not count. */
    begin("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nX: ");
    fill_to(HTTP_HEAD_BYTES_MAX, "y");
    add("\r\n\r\n");
    CHECK(long_means(stream, stream_len, HTTP_HEAD_BYTES_MAX, "GET / 1k."));
}

TEST(http_head_without_end_is_refused)
{
    static const char *const begins[] = {
        "",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nX: ",
        "GET / HTTP/1.1\r\nHost: ",
        "GET / HTTP/1.1\r\nContent-Length: ",
        "GET / HTTP/1.1\r\nTransfer-Encoding: ",
        "GET / HTTP/1.1\r\nConnection: ",
        "GET / HTTP/1.1\r\nConnection: ",
        "GET / HTTP/1.1\r\nHost:",
    };
    static const char *const goes_on[] = {"A", "X: y\r\n", "\xff", "a", "0", "x,", ",", "a, ", " "};

    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++) {
        begin(begins[i]);
        fill_to(9000, goes_on[i]);
        CHECK(refused_at(HTTP_HEAD_BYTES_MAX, "!431 "));
    }
}

TEST(http_target_may_have_2048_bytes_and_no_more)
{
    static const char *const begins[] = {"/", "/?", "/a?", "http://a/?", "http://", "http://a?"};
    static const char *const paths[] = {
        "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa+2016", "/", "/a", "/", "/", "/"};

    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++) {
        const size_t end = 4 + HTTP_TARGET_BYTES_MAX;
        char want[100] = "GET ";

        begin("GET ");
        add(begins[i]);
        fill_to(end, "a");
        add(" HTTP/1.1\r\nHost: a\r\n\r\n");
        strcpy(want + 4, paths[i]);
        strcpy(want + strlen(want), " 1k.");
        CHECK(long_means(stream, stream_len, end, want));

        begin("GET ");
        add(begins[i]);
        fill_to(end + 1, "a");
        CHECK(refused_at(end, "!414 "));
        begin("GET ");
        add(begins[i]);
        fill_to(end, "a");
        add("\n");
        CHECK(refused_at(end, "!400 "));
    }
}

/* What long content of `a`, `b`, `c` and so on looks like in a transcript, and then `rest`. */
static const char *with_content(size_t len, const char *rest)
{
    static struct transcript text;
    uint32_t checksum = 0;

    for (size_t i = 0; i < len; i++)
        checksum = (checksum ^ (uint8_t) "abc"[i % 3]) * 16777619;
    transcript_begin(&text, NULL);
    transcript_add_text(&text, "POST /event 1kl{");
    transcript_add_number(&text, len);
    transcript_add_text(&text, ":");
    transcript_add_number(&text, checksum);
    transcript_add_text(&text, "}");
    transcript_add_text(&text, rest);
    return text.text;
}

TEST(http_content_may_have_65536_bytes_and_no_more)
{
    begin(FIELDS("Content-Length: 65536\r\n"));
    const size_t head = stream_len;
    fill_to(head + 65536, "abc");
    add("GET / HTTP/1.0\r\n\r\n");
    CHECK(long_means(stream, stream_len, head, with_content(65536, ".GET / 0.")));

    begin(CHUNKED("8001\r\n"));
    fill_to(stream_len + 0x8001, "abc");
    add("\r\n7fff\r\n");
    fill_to(stream_len + 0x7fff, "abc");
    add("\r\n");
    const size_t full = stream_len;
    add("0\r\n\r\n");
    CHECK(long_means(stream, stream_len, full, with_content(65536, ".")));
    stream_len = full;
    add("1");
    CHECK(long_means(stream, stream_len, full, with_content(65536, "!413 ")));
}

/* Only what a client adds without need is bounded by bytes: a size's digits are few already. */
TEST(http_chunks_may_be_as_small_as_they_like)
{
    begin(CHUNKED(""));
    for (size_t i = 0; i < 10000; i++) {
        const char chunk[] = {'1', '\r', '\n', "abc"[i % 3], '\r', '\n', '\0'};
        add(chunk);
    }
    add("0\r\n\r\n");
    CHECK(as_written(stream, stream_len, with_content(10000, ".")));
}

TEST(http_chunk_extensions_and_trailers_may_have_8192_bytes_together)
{
    /* An extension counts from its semicolon through the carriage return. */
    for (size_t beyond = 0; beyond <= 1; beyond++) {
        begin(CHUNKED("1"));
        const size_t head = stream_len;
        fill_to(head + 4096, ";a");
        add("\r\nx\r\n1");
        const size_t second = stream_len;
        fill_to(second + 4096 - 2 - 2 + beyond, ";b");
        add("\r\ny\r\n0\r\n\r\n");
        if (beyond == 0)
            CHECK(long_means(stream, stream_len, second + 4094, "POST /event 1kl{xy}."));
        else
            CHECK(long_means(stream, stream_len, stream_len - 1, "POST /event 1kl{xy}!431 "));

        begin(CHUNKED("0\r\n"));
        const size_t trailers = stream_len;
        add("T: ");
        fill_to(trailers + 8192 - 4 + beyond, "t");
        add("\r\n\r\n");
        CHECK(long_means(stream, stream_len, stream_len - 1,
                         beyond == 0 ? "POST /event 1kl." : "POST /event 1kl!431 "));
    }
    begin(CHUNKED("1;"));
    fill_to(9000, "a");
    CHECK(long_means(stream, stream_len, 8192 + 50, "POST /event 1kl!431 "));
    begin(CHUNKED("1"));
    fill_to(9000, " ");
    CHECK(long_means(stream, stream_len, 8192 + 50, "POST /event 1kl!431 "));
    begin(CHUNKED("0\r\n"));
    fill_to(9000, "T: u\r\n");
    CHECK(long_means(stream, stream_len, 8192 + 50, "POST /event 1kl!431 "));
}

/* ---- the contract with the caller ---- */

static struct http_parser parser;
static struct http_body body;
static size_t taken;

static enum http_step next(const char *text)
{
    return http_next(&parser, (const uint8_t *)text, strlen(text), &taken, &body);
}

TEST(http_gives_content_in_the_pieces_it_came_in)
{
    const char text[] = FIELDS("Content-Length: 10\r\n") "01234567";
    const char more[] = "89GET";

    http_reset(&parser);
    CHECK_EQ(next(text), HTTP_READY);
    CHECK_EQ(taken, sizeof text - 1 - 8);
    CHECK(parser.request.has_length && parser.request.path_len == 6);
    CHECK_EQ(next(""), HTTP_MORE);
    CHECK_EQ(taken, 0);
    CHECK_EQ(next(text + sizeof text - 1 - 8), HTTP_BODY);
    CHECK_EQ(taken, 8);
    CHECK(body.bytes == (const uint8_t *)text + sizeof text - 1 - 8 && body.len == 8);
    CHECK_EQ(next(more), HTTP_BODY);
    CHECK_EQ(taken, 2);
    CHECK(body.bytes == (const uint8_t *)more && body.len == 2);
    CHECK_EQ(next(more + 2), HTTP_DONE);
    CHECK_EQ(taken, 0);
}

TEST(http_needs_no_byte_beyond_a_request)
{
    http_reset(&parser);
    CHECK_EQ(next(HOST("a")), HTTP_READY);
    CHECK_EQ(taken, strlen(HOST("a")));
    CHECK_EQ(next(""), HTTP_DONE);

    http_reset(&parser);
    CHECK_EQ(next(CHUNKED("")), HTTP_READY);
    CHECK_EQ(next("5\r\nhello\r\n0\r\n\r\nGET"), HTTP_BODY);
    CHECK_EQ(taken, 8);
    CHECK_EQ(body.len, 5);
    CHECK_EQ(next("\r\n0\r\n\r\nGET"), HTTP_DONE);
    CHECK_EQ(taken, 7);
}

TEST(http_goes_on_with_the_content_of_a_head_it_did_not_read)
{
    const struct http_request request = {.method = HTTP_POST, .minor = 1, .has_length = true};

    http_reset(&parser);
    http_begin_content(&parser, &request, 3);
    CHECK(!http_is_idle(&parser));
    CHECK_EQ(parser.request.method, HTTP_POST);
    CHECK_EQ(next("ab"), HTTP_BODY);
    CHECK_EQ(next("cd"), HTTP_BODY);
    CHECK_EQ(taken, 1);
    CHECK_EQ(next("d"), HTTP_DONE);
    CHECK_EQ(taken, 0);

    http_reset(&parser);
    http_begin_content(&parser, &request, 0);
    CHECK_EQ(next(""), HTTP_DONE);
}

/* ---- damage ---- */

/* One byte replaced, removed or put in, or a stretch said twice. */
static void damage(void)
{
    static const char bytes[] = "\r\n\r\n \t:;,0159afgGH\"#/?*\x01\x7f\xff";
    const size_t at = random_below((uint32_t)stream_len);
    const char byte = bytes[random_below(sizeof bytes)];
    size_t width = 1;

    switch (random_below(4)) {
    case 0:
        stream[at] = byte;
        break;
    case 1:
        memmove(stream + at, stream + at + 1, stream_len - at - 1);
        stream_len--;
        break;
    case 2:
        memmove(stream + at + 1, stream + at, stream_len - at);
        stream[at] = byte;
        stream_len++;
        break;
    default:
        width += random_below((uint32_t)(stream_len - at));
        memmove(stream + at + width, stream + at, stream_len - at);
        stream_len += width;
    }
}

TEST(http_damaged_streams_mean_the_same_however_cut)
{
    static const char *const streams[] = {
        HOST("a") FIELDS("Content-Length: 5\r\n") "hello" HOST("b"),
        CHUNKED("5;a=b\r\nhello\r\n0\r\nT: u\r\n\r\n") "GET / HTTP/1.0\r\n\r\n",
        FIELDS("Expect: 100-continue\r\nConnection: close, x\r\nContent-Length: 2\r\n") "{}",
        "OPTIONS * HTTP/1.1\r\nUser-Agent: somebody/1.0 (x)\r\nHost: [::1]:8080\r\n\r\n",
        "POST http://a:80/event?q HTTP/1.1\r\nHost: a:80\r\nTransfer-Encoding: "
        "chunked\r\n\r\n0\r\n\r\n",
    };

    for (size_t round = 0; round < 3000; round++) {
        begin(streams[random_below(sizeof streams / sizeof *streams)]);
        for (uint32_t n = 1 + random_below(3); n > 0 && stream_len > 1; n--)
            damage();
        transcript_begin(&whole, NULL);
        transcript_feed(&whole, stream, stream_len);
        transcript_end(&whole);
        CHECK(!whole.stuck);
        for (uint32_t piece_max = 1; piece_max < 40; piece_max += 19) {
            transcript_begin(&cut, NULL);
            for (size_t at = 0, len; at < stream_len; at += len) {
                len = 1 + random_below(piece_max);
                len = len < stream_len - at ? len : stream_len - at;
                transcript_feed(&cut, stream + at, len);
            }
            CHECK(same_as_whole(stream, stream_len, "in random pieces up to", piece_max));
        }
    }
}
