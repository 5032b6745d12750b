/*
 * Header prediction (Jacobson 1990, "4BSD header prediction"; Stevens, TCP/IP Illustrated 2, 28.4):
 * nearly every segment of a connection in use is the one that was expected.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "net/core/conn.h"

struct tcp_hdr;

/*
 * Takes a segment for `conn` that is in order and nothing but data and an acknowledgement, and does
 * with it what lwIP would have done, no more and no less; the data, `len` bytes (not 0), are then
 * for the caller to deal with. guard.c has checked it, and its checksum is right. False: nothing
 * was done, lwIP must judge.
 */
bool predict_segment(struct server_conn *conn, const struct tcp_hdr *header, size_t len);
