/*
 * Header prediction (Jacobson 1990, "4BSD header prediction"; Stevens, TCP/IP Illustrated 2, 28.4):
 * nearly every segment of a connection in use is the one that was expected.
 */
#pragma once

#include <stdbool.h>

#include "net/conn.h"

struct pbuf;

/*
 * Takes a segment for `conn` that is in order and nothing but data and an acknowledgement, and does
 * with it what lwIP would have done, no more and no less. `p` begins with the IP header; it was
 * checked by guard.c and its checksum is right. False: nothing was done, lwIP must judge.
 */
bool predict_segment(struct server_conn *conn, struct pbuf *p);
