/* Which request reaches which route, and the status that it finds there. */
#include "app/http/endpoint.h"

#include "tests/test.h"

static enum endpoint find(enum http_method method, const char *path)
{
    struct http_request request = {.method = method, .path_len = (uint16_t)strlen(path)};
    memcpy(request.path, path,
           request.path_len < sizeof request.path ? request.path_len : sizeof request.path);
    return endpoint_find(&request);
}

TEST(endpoints_are_found_by_their_whole_path)
{
    static const struct {
        const char *path;
        enum endpoint endpoint;
    } rows[] = {
        {"/event", ENDPOINT_EVENT},   {"/stats", ENDPOINT_STATS},
        {"/health", ENDPOINT_HEALTH}, {"/metrics", ENDPOINT_METRICS},
        {"/", ENDPOINT_PAGE},         {"", ENDPOINT_OTHER},
        {"/even", ENDPOINT_OTHER},    {"/events", ENDPOINT_OTHER},
        {"/Event", ENDPOINT_OTHER},   {"//", ENDPOINT_OTHER},
        {"x", ENDPOINT_OTHER},        {"/a-path-of-more-bytes-than-are-kept", ENDPOINT_OTHER},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (unsigned method = 0; method < METHOD_COUNT; method++)
            CHECK_EQ(find((enum http_method)method, rows[i].path), rows[i].endpoint);
}

TEST(an_asterisk_is_the_server_to_options_alone)
{
    CHECK_EQ(find(HTTP_OPTIONS, "*"), ENDPOINT_SERVER);
    CHECK_EQ(find(HTTP_OPTIONS, "**"), ENDPOINT_OTHER);
    CHECK_EQ(find(HTTP_GET, "*"), ENDPOINT_OTHER);
    CHECK_EQ(find(HTTP_POST, "*"), ENDPOINT_OTHER);
}

/* What each path says to GET, HEAD, POST, OPTIONS and any other method. */
TEST(every_route_and_method_has_the_status_of_the_contract)
{
    static const uint16_t statuses[ENDPOINT_COUNT][METHOD_COUNT] = {
        [ENDPOINT_EVENT] = {405, 405, 200, 204, 405},
        [ENDPOINT_STATS] = {200, 200, 405, 204, 405},
        [ENDPOINT_HEALTH] = {200, 200, 405, 204, 405},
        [ENDPOINT_METRICS] = {200, 200, 405, 204, 405},
        [ENDPOINT_PAGE] = {200, 200, 405, 204, 405},
        [ENDPOINT_SERVER] = {405, 405, 405, 204, 405},
        [ENDPOINT_OTHER] = {404, 404, 404, 404, 404},
    };
    for (unsigned endpoint = 0; endpoint < ENDPOINT_COUNT; endpoint++)
        for (unsigned method = 0; method < METHOD_COUNT; method++)
            CHECK_EQ(endpoint_status((enum endpoint)endpoint, (enum http_method)method),
                     statuses[endpoint][method]);
}

TEST(every_endpoint_is_there_for_one_method)
{
    static const enum http_method mains[ENDPOINT_COUNT] = {
        [ENDPOINT_EVENT] = HTTP_POST,         [ENDPOINT_STATS] = HTTP_GET,
        [ENDPOINT_HEALTH] = HTTP_GET,         [ENDPOINT_METRICS] = HTTP_GET,
        [ENDPOINT_PAGE] = HTTP_GET,           [ENDPOINT_SERVER] = HTTP_METHOD_OTHER,
        [ENDPOINT_OTHER] = HTTP_METHOD_OTHER,
    };
    for (enum endpoint e = 0; e < ENDPOINT_COUNT; e++) {
        CHECK_EQ(endpoint_main_method(e), mains[e]);
        for (enum http_method m = 0; m < METHOD_COUNT; m++)
            if (e != ENDPOINT_SERVER || m == HTTP_OPTIONS)
                CHECK_EQ(endpoint_main(e, m), m == mains[e] ? e : ENDPOINT_OTHER);
    }
}
