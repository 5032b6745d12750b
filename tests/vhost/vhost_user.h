/*
 * The vhost-user protocol's back end (QEMU's docs/interop/vhost-user): the device's side of a
 * virtio-net device whose rings and memory the front end, QEMU, hands over a UNIX socket.
 *
 * One front end, one pair of queues. Messages are handled by the one thread that also polls the
 * rings, so nothing changes under its feet; it must call vhost_user_poll() every few milliseconds.
 * A message that is malformed, or that this back end did not offer to understand, ends it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Creates and listens on the socket. False: *why and errno say what is wrong. */
__attribute__((warn_unused_result)) bool vhost_user_listen(const char *path, uint64_t features,
                                                           const char **why);

/* Waits for the front end. False when it has not come in time. */
__attribute__((warn_unused_result)) bool vhost_user_accept(int timeout_ms);

/* Handles the messages that wait. False: the front end is gone, or *why says what it did. */
__attribute__((warn_unused_result)) bool vhost_user_poll(const char **why);

/* The process at the other end; 0: unknown. */
pid_t vhost_user_peer(void);

/* What the guest has accepted of the features. */
uint64_t vhost_user_features(void);

/* Closes, unmaps and unlinks everything. May be called at any time. */
void vhost_user_end(void);
