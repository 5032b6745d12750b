/*
 * The other half of header prediction (predict.h): nearly every turn ends with one segment of data,
 * on a connection that has nothing to mend and nothing waiting.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lwip/priv/tcp_priv.h"
#include "net/core/conn.h"

/*
 * Sends `len` bytes (at least 1) as the next segment of `conn`, and opens the window by the `taken`
 * bytes that the application has read, as tcp_write(), tcp_recved() and tcp_output() would, no more
 * and no less. False: it is not a plain case, or there is no memory or descriptor for it; nothing
 * was done, and lwIP must do it.
 */
__attribute__((warn_unused_result)) bool reply_send(struct server_conn *conn, const uint8_t *bytes,
                                                    size_t len, struct server_kept *kept,
                                                    size_t taken);
