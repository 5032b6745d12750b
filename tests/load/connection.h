/*
 * One connection of the load client: handshake, requests out, answers in. What happens to it is
 * counted in struct session; what it does next is engine.c's to decide.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/load/histogram.h"
#include "tests/load/options.h"
#include "tests/load/response.h"
#include "tests/load/workload.h"

enum connection_state {
    CONNECTION_CLOSED,
    CONNECTION_CONNECTING,
    CONNECTION_OPEN,
    CONNECTION_ENDING, /* answered with "Connection: close": the server's FIN is awaited */
};

/* A request whose answer has not come. */
struct in_flight {
    uint64_t index;
    uint64_t since_ns; /* when it was sent, or in an open loop meant to be sent */
};

struct connection {
    int fd;
    enum connection_state state;
    uint32_t first, count;  /* of the ring: the oldest, and how many */
    struct in_flight *ring; /* options.depth entries */
    uint64_t active_ns;     /* of the last progress: what timeouts count from */
    uint64_t claim_ns;      /* --close: since when it has a request to send */
    char *unsent;           /* what a short write left, from malloc(); NULL mostly */
    size_t unsent_len;
    struct response response;
    bool is_available; /* stands in the engine's queue of those that can take a request */
};

struct session_errors {
    uint64_t connect;   /* handshakes refused, unreachable or too slow */
    uint64_t reset;     /* connections that ended while an answer was awaited */
    uint64_t timeout;   /* connections given up because an answer did not come in time */
    uint64_t status;    /* answers other than 200 */
    uint64_t malformed; /* connections given up because what came was not HTTP */
};

/* What all connections share. */
struct session {
    const struct options *options;
    struct workload *workload;
    int epoll_fd;
    uint64_t next_index; /* of the next request to be sent */
    uint64_t completed;  /* requests answered or lost */
    uint64_t counted;    /* answered 200 */
    uint64_t lost;       /* sent, but no answer came: the server may have counted them or not */
    uint64_t answered_ns;
    int refusal;          /* errno of the last handshake if it was plainly refused; 0: it was not */
    uint64_t closed_idle; /* connections that the server closed while nothing was awaited */
    uint64_t unclosed;    /* --close: connections that the server did not close within a second */
    uint64_t statuses[500]; /* answers by status - 100 */
    struct session_errors errors;
    struct histogram latency; /* ns, of the answers that were 200 */
    struct response_memo memo;
    char *batch; /* requests written and not yet sent */
    size_t batch_len;
    char *received;
};

#define SESSION_RECEIVE_BYTES 65536

uint64_t session_now_ns(void);

/* Starts a handshake; the state is CONNECTING or OPEN then. False: counted as a connect error. */
bool connection_open(struct session *session, struct connection *connection);

/* The handshake has ended; false: without success, counted, and closed. */
bool connection_opened(struct session *session, struct connection *connection);

/* Requests that it could take now. */
uint32_t connection_room(const struct session *session, const struct connection *connection);

/* Adds the next request to the batch; up to connection_room() of them, then flush. */
void connection_add(struct session *session, struct connection *connection, uint64_t since_ns);

/* Sends the batch. A connection that fails is closed: see its state. */
void connection_flush(struct session *session, struct connection *connection);

/* The socket is writable again after a short write. */
void connection_writable(struct session *session, struct connection *connection);

/* The socket is readable, or has failed. */
void connection_readable(struct session *session, struct connection *connection);

/* Looks at its deadlines, and gives it up if one has passed. */
void connection_check_deadline(struct session *session, struct connection *connection,
                               uint64_t now_ns);

/* Closes; requests in flight are lost. */
void connection_close(struct session *session, struct connection *connection);
