#include "tests/load/workload.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_BYTES_MAX 512
#define BODY_BYTES_MAX 64

enum { SEEN_COUNTED = 1, SEEN_UNCERTAIN = 2 };

struct digits {
    char text[7];
    uint8_t len;
};

/* A request is head, two digits of Content-Length, and a body put together of four pieces. */
struct workload {
    enum workload_data data;
    size_t head_len, before_user_len, before_value_len, after_value_len;
    char head[HEAD_BYTES_MAX];
    char before_user[24], before_value[24], after_value[8];
    struct workload_tally counted, uncertain;
    struct digits value[WORKLOAD_VALUES];
    struct digits user[WORKLOAD_USERS];
    uint8_t seen[WORKLOAD_USERS];
};

static void workload_set_texts(struct workload *workload)
{
    const bool blanks = workload->data == WORKLOAD_FASTERAPI;
    strcpy(workload->before_user, blanks ? "{\"userId\": \"user_" : "{\"userId\":\"user_");
    strcpy(workload->before_value, blanks ? "\", \"value\": " : "\",\"value\":");
    strcpy(workload->after_value, blanks ? "}" : ".5}");
    workload->before_user_len = strlen(workload->before_user);
    workload->before_value_len = strlen(workload->before_value);
    workload->after_value_len = strlen(workload->after_value);
}

static void workload_set_digits(struct digits *digits, uint32_t number)
{
    char text[12];
    const int len = snprintf(text, sizeof text, "%u", (unsigned)number);
    assert(len > 0 && (size_t)len <= sizeof digits->text);
    memcpy(digits->text, text, (size_t)len);
    digits->len = (uint8_t)len;
}

struct workload *workload_create(enum workload_data data, const char *authority, bool close)
{
    struct workload *workload = calloc(1, sizeof *workload);
    if (workload == NULL) {
        fputs("tally-load: no memory for the requests\n", stderr);
        exit(2);
    }
    workload->data = data;
    const int len = snprintf(workload->head, sizeof workload->head,
                             "POST /event HTTP/1.1\r\nHost: %s\r\n"
                             "Content-Type: application/json\r\n%sContent-Length: ",
                             authority, close ? "Connection: close\r\n" : "");
    assert(len > 0 && (size_t)len < sizeof workload->head); /* options.c bounds the authority */
    workload->head_len = (size_t)len;
    workload_set_texts(workload);
    for (uint32_t i = 0; i < WORKLOAD_USERS; i++)
        workload_set_digits(&workload->user[i], i);
    for (uint32_t i = 0; i < WORKLOAD_VALUES; i++)
        workload_set_digits(&workload->value[i], i);
    return workload;
}

size_t workload_request_bytes_max(const struct workload *workload)
{
    return workload->head_len + 6 + BODY_BYTES_MAX;
}

static char *workload_append(char *out, const char *text, size_t len)
{
    memcpy(out, text, len);
    return out + len;
}

size_t workload_write(const struct workload *workload, uint64_t index, char *out)
{
    const struct digits *user = &workload->user[index % WORKLOAD_USERS];
    const struct digits *value = &workload->value[index % WORKLOAD_VALUES];
    const size_t body_len = workload->before_user_len + user->len + workload->before_value_len +
                            value->len + workload->after_value_len;
    assert(body_len >= 10 && body_len < BODY_BYTES_MAX);
    char *at = workload_append(out, workload->head, workload->head_len);
    *at++ = (char)('0' + body_len / 10);
    *at++ = (char)('0' + body_len % 10);
    at = workload_append(at, "\r\n\r\n", 4);
    at = workload_append(at, workload->before_user, workload->before_user_len);
    at = workload_append(at, user->text, user->len);
    at = workload_append(at, workload->before_value, workload->before_value_len);
    at = workload_append(at, value->text, value->len);
    at = workload_append(at, workload->after_value, workload->after_value_len);
    return (size_t)(at - out);
}

static void workload_tally_add(struct workload *workload, struct workload_tally *tally,
                               uint64_t index, uint8_t seen)
{
    tally->requests++;
    tally->half_sum += 2 * (index % WORKLOAD_VALUES) + (workload->data == WORKLOAD_GO ? 1 : 0);
    workload->seen[index % WORKLOAD_USERS] |= seen;
}

void workload_counted(struct workload *workload, uint64_t index)
{
    workload_tally_add(workload, &workload->counted, index, SEEN_COUNTED);
}

void workload_uncertain(struct workload *workload, uint64_t index)
{
    workload_tally_add(workload, &workload->uncertain, index, SEEN_UNCERTAIN);
}

struct workload_tallies workload_get_tallies(const struct workload *workload)
{
    struct workload_tallies tallies = {.counted = workload->counted,
                                       .uncertain = workload->uncertain};
    for (size_t i = 0; i < WORKLOAD_USERS; i++) {
        tallies.users_min += (workload->seen[i] & SEEN_COUNTED) != 0;
        tallies.users_max += workload->seen[i] != 0;
    }
    return tallies;
}
