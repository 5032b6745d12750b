#include "app/http/endpoint.h"

#include <string.h>

#define BIT(method) (1u << (method))

static const struct {
    const char *path; /* NULL: none of its own */
    const char *label;
    const char *allow;
    unsigned methods; /* those that are answered with 200 */
    enum http_method main;
} endpoints[ENDPOINT_COUNT] = {
    [ENDPOINT_EVENT] = {"/event", "/event", "POST, OPTIONS", BIT(HTTP_POST), HTTP_POST},
    [ENDPOINT_STATS] = {"/stats", "/stats", "GET, HEAD, OPTIONS", BIT(HTTP_GET) | BIT(HTTP_HEAD),
                        HTTP_GET},
    [ENDPOINT_HEALTH] = {"/health", "/health", "GET, HEAD, OPTIONS", BIT(HTTP_GET) | BIT(HTTP_HEAD),
                         HTTP_GET},
    [ENDPOINT_METRICS] = {"/metrics", "/metrics", "GET, HEAD, OPTIONS",
                          BIT(HTTP_GET) | BIT(HTTP_HEAD), HTTP_GET},
    [ENDPOINT_PAGE] = {"/", "/", "GET, HEAD, OPTIONS", BIT(HTTP_GET) | BIT(HTTP_HEAD), HTTP_GET},
    [ENDPOINT_SERVER] = {NULL, "other", "GET, HEAD, POST, OPTIONS", 0, HTTP_METHOD_OTHER},
    [ENDPOINT_OTHER] = {NULL, "other", NULL, 0, HTTP_METHOD_OTHER},
};

enum endpoint endpoint_find(const struct http_request *request)
{
    for (unsigned i = 0; i < ENDPOINT_COUNT; i++) {
        const char *const path = endpoints[i].path;
        if (path != NULL && strlen(path) == request->path_len &&
            memcmp(path, request->path, request->path_len) == 0)
            return (enum endpoint)i;
    }
    if (request->method == HTTP_OPTIONS && request->path_len == 1 && request->path[0] == '*')
        return ENDPOINT_SERVER;
    return ENDPOINT_OTHER;
}

uint16_t endpoint_status(enum endpoint endpoint, enum http_method method)
{
    if (endpoint == ENDPOINT_OTHER)
        return 404;
    if (method == HTTP_OPTIONS)
        return 204;
    return (endpoints[endpoint].methods & BIT(method)) != 0 ? 200 : 405;
}

const char *endpoint_allow(enum endpoint endpoint)
{
    return endpoints[endpoint].allow;
}

enum endpoint endpoint_main(enum endpoint endpoint, enum http_method method)
{
    return endpoints[endpoint].main == method ? endpoint : ENDPOINT_OTHER;
}

enum http_method endpoint_main_method(enum endpoint endpoint)
{
    return endpoints[endpoint].main;
}

const char *endpoint_label(enum endpoint endpoint)
{
    return endpoints[endpoint].label;
}

const char *endpoint_method_label(enum http_method method)
{
    static const char *const labels[METHOD_COUNT] = {
        [HTTP_GET] = "GET",         [HTTP_HEAD] = "HEAD",          [HTTP_POST] = "POST",
        [HTTP_OPTIONS] = "OPTIONS", [HTTP_METHOD_OTHER] = "other",
    };
    return labels[method];
}
