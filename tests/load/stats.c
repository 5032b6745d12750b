#include "tests/load/stats.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/load/response.h"

#define ANSWER_BYTES_MAX 65536

/* The text of the number that is the value of `member`, which stands in quotes. */
static bool stats_member(const char *json, const char *member, char number[STATS_NUMBER_BYTES_MAX])
{
    static const char blanks[] = " \t\r\n";
    const char *at = strstr(json, member);
    if (at == NULL)
        return false;
    at += strlen(member);
    at += strspn(at, blanks);
    if (*at++ != ':')
        return false;
    at += strspn(at, blanks);
    const size_t len = strspn(at, "0123456789+-.eE");
    if (len == 0 || len >= STATS_NUMBER_BYTES_MAX)
        return false;
    memcpy(number, at, len);
    number[len] = '\0';
    return true;
}

static bool stats_count(const char *json, const char *member, uint64_t *count)
{
    char number[STATS_NUMBER_BYTES_MAX];
    char *end;
    if (!stats_member(json, member, number) || number[0] < '0' || number[0] > '9')
        return false;
    errno = 0;
    *count = strtoull(number, &end, 10);
    return *end == '\0' && errno == 0;
}

bool stats_read(const char *json, struct stats *stats)
{
    return stats_count(json, "\"totalRequests\"", &stats->total_requests) &&
           stats_count(json, "\"uniqueUsers\"", &stats->unique_users) &&
           stats_member(json, "\"sum\"", stats->sum) && stats_member(json, "\"avg\"", stats->avg);
}

static bool stats_failed(char *error, const char *what)
{
    snprintf(error, STATS_ERROR_BYTES_MAX, "GET /stats: %s: %s", what, strerror(errno));
    return false;
}

/* Reads one response whole into `answer`; its content is left there, terminated. */
static bool stats_receive(int fd, char *answer, char *error)
{
    struct response response;
    size_t have = 0;
    response_reset(&response);
    for (;;) {
        const ssize_t got = recv(fd, answer + have, ANSWER_BYTES_MAX - have, 0);
        if (got < 0)
            return stats_failed(error, "no answer");
        size_t taken = 0;
        enum response_step step = RESPONSE_MALFORMED;
        if (got > 0)
            step = response_feed(&response, answer + have, (size_t)got, &taken);
        else if (response_ends_here(&response))
            step = RESPONSE_DONE;
        have += taken;
        if (step == RESPONSE_MALFORMED || have == ANSWER_BYTES_MAX ||
            (step == RESPONSE_DONE && response.status != 200)) {
            snprintf(error, STATS_ERROR_BYTES_MAX, "GET /stats: not a whole answer of status 200");
            return false;
        }
        if (step == RESPONSE_DONE) {
            memmove(answer, answer + have - response.content_bytes, response.content_bytes);
            answer[response.content_bytes] = '\0';
            return true;
        }
    }
}

bool stats_fetch(const struct sockaddr_in *address, const char *authority, uint32_t timeout_ms,
                 struct stats *stats, char error[STATS_ERROR_BYTES_MAX])
{
    static char answer[ANSWER_BYTES_MAX + 1];
    char request[512];
    const int len =
        snprintf(request, sizeof request,
                 "GET /stats HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", authority);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return stats_failed(error, "socket");
    const struct timeval timeout = {.tv_sec = timeout_ms / 1000,
                                    .tv_usec = timeout_ms % 1000 * 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    bool good = false;
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) != 0)
        stats_failed(error, "cannot connect");
    else if (send(fd, request, (size_t)len, MSG_NOSIGNAL) != len)
        stats_failed(error, "cannot send");
    else
        good = stats_receive(fd, answer, error);
    close(fd);
    if (good && !stats_read(answer, stats)) {
        snprintf(error, STATS_ERROR_BYTES_MAX, "GET /stats: not the four numbers: %.80s", answer);
        return false;
    }
    return good;
}
