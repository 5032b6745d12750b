/*
 * What the appliance should know: the plain model of the aggregate, and the life of each event.
 *
 * Every event has a value of its own, so it is known again wherever it turns up. The simulator is
 * linked with --wrap=stats_add: model.c sees each event at the moment it is counted, and knows
 * whether it may be (its request was sent to the last byte, nobody counted it before, it was not
 * meant to be refused). Answers are then held against that: 200 if and only if it was counted.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum event_fate {
    FATE_PENDING,
    FATE_COUNTED,
    FATE_FULL, /* no room for its user */
};

enum event_rule {
    RULE_GOOD,      /* to be counted */
    RULE_REFUSED,   /* its body is wrong: must never be counted */
    RULE_DOUBTFUL,  /* a mutated request: may be counted, or not */
    RULE_UNREACHED, /* behind the end of what the connection may ask: must never be counted */
};

#define MODEL_USERS_MAX      4096
#define MODEL_USER_BYTES_MAX 700

/* A new event of a user; its number, from 1. `doubled`: twice its value. */
uint32_t model_new_event(uint32_t user, enum event_rule rule);
int64_t model_doubled_value(uint32_t event);
uint32_t model_user_of(uint32_t event);

/* The request is on the wire as a whole: from now on it may be counted. */
void model_event_sent(uint32_t event);

/* Nothing can come of it any more: it must not be counted from now on, if it was not yet. */
void model_event_over(uint32_t event);

enum event_fate model_fate(uint32_t event);

/* The id of a user, decoded; returns its length. */
size_t model_user_id(uint32_t user, uint8_t id[MODEL_USER_BYTES_MAX]);

/* Whether a user has found no room. */
bool model_is_full(void);

/* Events counted so far. */
uint64_t model_count(void);

/* Whether the text is a right answer of GET /stats asked for when `count_min` had been counted. */
void model_check_stats(const char *text, size_t len, uint64_t count_min);

/* Whether what the appliance holds in memory is what the model holds. */
void model_check_aggregate(void);
