#define _GNU_SOURCE /* struct ucred, accept4 */
#include "tests/vhost/vhost_user.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/vhost/guest_memory.h"
#include "tests/vhost/rings.h"

/* Message types of the front end ("Front-end message types"). */
enum {
    GET_FEATURES = 1,
    SET_FEATURES = 2,
    SET_OWNER = 3,
    RESET_OWNER = 4,
    SET_MEM_TABLE = 5,
    SET_VRING_NUM = 8,
    SET_VRING_ADDR = 9,
    SET_VRING_BASE = 10,
    GET_VRING_BASE = 11,
    SET_VRING_KICK = 12,
    SET_VRING_CALL = 13,
    SET_VRING_ERR = 14,
    GET_PROTOCOL_FEATURES = 15,
    SET_PROTOCOL_FEATURES = 16,
    GET_QUEUE_NUM = 17,
    SET_VRING_ENABLE = 18,
    MESSAGES = 19
};

#define FLAG_VERSION          1u
#define FLAG_VERSION_MASK     3u
#define FLAG_REPLY            (1u << 2)
#define FLAG_NEED_REPLY       (1u << 3)

#define F_PROTOCOL_FEATURES   (1ULL << 30)
#define PROTOCOL_F_MQ         (1ULL << 0)
#define PROTOCOL_F_REPLY_ACK  (1ULL << 3)
#define PROTOCOL_FEATURES     (PROTOCOL_F_MQ | PROTOCOL_F_REPLY_ACK)

#define VRING_INDEX_MASK      0xffu
#define VRING_NO_FILE         (1u << 8)

#define MESSAGE_TIMEOUT_S     2 /* for the rest of a message that has begun */
#define MESSAGES_PER_POLL_MAX 64

struct header {
    uint32_t request, flags, bytes;
};

struct vring_state {
    uint32_t index, number;
};

struct vring_addresses {
    uint32_t index, flags;
    uint64_t desc, used, avail, log;
};

struct memory_table {
    uint32_t count, padding;
    struct guest_region regions[GUEST_MEMORY_REGIONS_MAX];
};

_Static_assert(sizeof(struct header) == 12, "vhost-user, Message Specification");
_Static_assert(sizeof(struct vring_addresses) == 40, "A vring address description");
_Static_assert(sizeof(struct guest_region) == 32, "Memory region description");

struct message {
    struct header header;
    union {
        uint64_t number;
        struct vring_state state;
        struct vring_addresses addresses;
        struct memory_table memory;
    } payload;
    int files[GUEST_MEMORY_REGIONS_MAX];
    uint32_t file_count;
};

static struct {
    int listener, front_end;
    bool bound;
    struct sockaddr_un address;
    uint64_t offered, accepted, protocol;
    const char *why;
} user = {.listener = -1, .front_end = -1};

/* ---- the socket ---- */

bool vhost_user_listen(const char *path, uint64_t features, const char **why)
{
    user.offered = features | F_PROTOCOL_FEATURES;
    user.address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(user.address.sun_path)) {
        errno = ENAMETOOLONG;
        *why = "socket";
        return false;
    }
    strcpy(user.address.sun_path, path);
    user.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (user.listener < 0) {
        *why = "socket";
        return false;
    }
    if (bind(user.listener, (const struct sockaddr *)&user.address, sizeof(user.address)) != 0) {
        *why = "bind";
        return false;
    }
    user.bound = true;
    *why = "listen";
    return listen(user.listener, 1) == 0;
}

bool vhost_user_accept(int timeout_ms)
{
    struct pollfd waiting = {.fd = user.listener, .events = POLLIN};

    if (poll(&waiting, 1, timeout_ms) != 1)
        return false;
    user.front_end = accept4(user.listener, NULL, NULL, SOCK_CLOEXEC);
    if (user.front_end < 0)
        return false;
    const struct timeval timeout = {.tv_sec = MESSAGE_TIMEOUT_S};
    return setsockopt(user.front_end, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) == 0;
}

pid_t vhost_user_peer(void)
{
    struct ucred peer = {0};
    socklen_t len = sizeof(peer);

    if (getsockopt(user.front_end, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return 0;
    return peer.pid;
}

uint64_t vhost_user_features(void)
{
    return user.accepted;
}

void vhost_user_end(void)
{
    rings_stop_all();
    guest_memory_unmap();
    if (user.front_end >= 0)
        close(user.front_end);
    if (user.listener >= 0)
        close(user.listener);
    if (user.bound)
        unlink(user.address.sun_path);
    user.front_end = user.listener = -1;
    user.bound = false;
}

/* ---- handlers: true if the message was good; those that answer put it into its payload ---- */

static bool on_get_features(struct message *message)
{
    message->payload.number = user.offered;
    return true;
}

static bool on_set_features(struct message *message)
{
    const uint64_t accepted = message->payload.number;

    if ((accepted & ~user.offered) != 0)
        return false;
    user.accepted = accepted;
    rings_set_features(accepted);
    if ((accepted & F_PROTOCOL_FEATURES) == 0) /* "Ring states": then they need not be enabled */
        return rings_set_enabled(RINGS_TO_GUEST, true) && rings_set_enabled(RINGS_FROM_GUEST, true);
    return true;
}

static bool on_set_owner(struct message *message)
{
    (void)message;
    return true;
}

static bool on_reset_owner(struct message *message)
{
    (void)message;
    rings_stop_all();
    return true;
}

static bool on_set_mem_table(struct message *message)
{
    const struct memory_table *const table = &message->payload.memory;
    const uint32_t count = table->count;

    if (count > GUEST_MEMORY_REGIONS_MAX || count != message->file_count ||
        message->header.bytes !=
            offsetof(struct memory_table, regions) + count * sizeof(struct guest_region))
        return false;
    message->file_count = 0; /* taken over */
    if (!guest_memory_map(table->regions, message->files, count, &user.why))
        return false;
    return rings_remap();
}

static bool on_set_vring_num(struct message *message)
{
    return rings_set_size(message->payload.state.index, message->payload.state.number);
}

static bool on_set_vring_addr(struct message *message)
{
    const struct vring_addresses *const a = &message->payload.addresses;

    return rings_set_addresses(a->index, a->desc, a->avail, a->used);
}

static bool on_set_vring_base(struct message *message)
{
    return rings_set_base(message->payload.state.index, message->payload.state.number);
}

static bool on_get_vring_base(struct message *message)
{
    if (message->payload.state.index >= RINGS_COUNT)
        return false;
    message->payload.state.number = rings_stop(message->payload.state.index);
    return true;
}

/* The descriptor of KICK, CALL and ERR; -1 where the message says that there is none. */
static bool take_file(struct message *message, int *file)
{
    const bool none = (message->payload.number & VRING_NO_FILE) != 0;

    *file = -1;
    if (message->file_count != (none ? 0u : 1u))
        return false;
    if (!none)
        *file = message->files[0];
    message->file_count = 0;
    return true;
}

/* It starts the ring. The descriptor is not needed: the ring is polled. */
static bool on_set_vring_kick(struct message *message)
{
    int file;

    if (!take_file(message, &file))
        return false;
    if (file >= 0)
        close(file);
    return rings_start((uint32_t)(message->payload.number & VRING_INDEX_MASK));
}

static bool on_set_vring_call(struct message *message)
{
    int file;

    return take_file(message, &file) &&
           rings_set_call((uint32_t)(message->payload.number & VRING_INDEX_MASK), file);
}

static bool on_set_vring_err(struct message *message)
{
    int file;

    if (!take_file(message, &file))
        return false;
    if (file >= 0)
        close(file); /* an error ends the whole program */
    return true;
}

static bool on_get_protocol_features(struct message *message)
{
    message->payload.number = PROTOCOL_FEATURES;
    return true;
}

static bool on_set_protocol_features(struct message *message)
{
    user.protocol = message->payload.number;
    return (user.protocol & ~PROTOCOL_FEATURES) == 0;
}

static bool on_get_queue_num(struct message *message)
{
    message->payload.number = 1;
    return true;
}

static bool on_set_vring_enable(struct message *message)
{
    return message->payload.state.number <= 1 &&
           rings_set_enabled(message->payload.state.index, message->payload.state.number == 1);
}

#define ANY_BYTES UINT32_MAX /* the handler checks */

static const struct {
    bool (*handle)(struct message *message);
    uint32_t bytes;       /* of the payload */
    uint32_t reply_bytes; /* 0: no answer of its own */
    uint32_t files_max;
} handlers[MESSAGES] = {
    [GET_FEATURES] = {on_get_features, 0, 8, 0},
    [SET_FEATURES] = {on_set_features, 8, 0, 0},
    [SET_OWNER] = {on_set_owner, 0, 0, 0},
    [RESET_OWNER] = {on_reset_owner, 0, 0, 0},
    [SET_MEM_TABLE] = {on_set_mem_table, ANY_BYTES, 0, GUEST_MEMORY_REGIONS_MAX},
    [SET_VRING_NUM] = {on_set_vring_num, 8, 0, 0},
    [SET_VRING_ADDR] = {on_set_vring_addr, 40, 0, 0},
    [SET_VRING_BASE] = {on_set_vring_base, 8, 0, 0},
    [GET_VRING_BASE] = {on_get_vring_base, 8, 8, 0},
    [SET_VRING_KICK] = {on_set_vring_kick, 8, 0, 1},
    [SET_VRING_CALL] = {on_set_vring_call, 8, 0, 1},
    [SET_VRING_ERR] = {on_set_vring_err, 8, 0, 1},
    [GET_PROTOCOL_FEATURES] = {on_get_protocol_features, 0, 8, 0},
    [SET_PROTOCOL_FEATURES] = {on_set_protocol_features, 8, 0, 0},
    [GET_QUEUE_NUM] = {on_get_queue_num, 0, 8, 0},
    [SET_VRING_ENABLE] = {on_set_vring_enable, 8, 0, 0},
};

/* ---- messages ---- */

static bool refuse(const char *why)
{
    if (user.why == NULL)
        user.why = why;
    return false;
}

/* Keeps the files of a received message; false if there are more than fit. */
static bool keep_files(struct message *message, struct msghdr *received)
{
    bool good = (received->msg_flags & MSG_CTRUNC) == 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(received); c != NULL; c = CMSG_NXTHDR(received, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int file;
            memcpy(&file, CMSG_DATA(c) + i * sizeof(int), sizeof(file));
            if (message->file_count < GUEST_MEMORY_REGIONS_MAX) {
                message->files[message->file_count++] = file;
            } else {
                close(file);
                good = false;
            }
        }
    }
    return good;
}

enum receive { RECEIVE_NOTHING, RECEIVE_MESSAGE, RECEIVE_END };

static enum receive receive_header(struct message *message)
{
    union {
        char bytes[CMSG_SPACE(GUEST_MEMORY_REGIONS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec vector = {&message->header, sizeof(message->header)};
    struct msghdr received = {.msg_iov = &vector,
                              .msg_iovlen = 1,
                              .msg_control = control.bytes,
                              .msg_controllen = sizeof(control.bytes)};
    const ssize_t len = recvmsg(user.front_end, &received, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return RECEIVE_NOTHING;
    if (len == 0) {
        refuse("the front end (QEMU) has gone");
        return RECEIVE_END;
    }
    if (len < 0 || !keep_files(message, &received) || len != sizeof(message->header)) {
        refuse("a message whose header is cut, or with too many files");
        return RECEIVE_END;
    }
    return RECEIVE_MESSAGE;
}

static bool receive_payload(struct message *message)
{
    const uint32_t bytes = message->header.bytes;

    if (bytes > sizeof(message->payload))
        return false;
    return bytes == 0 ||
           recv(user.front_end, &message->payload, bytes, MSG_WAITALL) == (ssize_t)bytes;
}

static bool reply(struct message *message, uint32_t bytes)
{
    struct iovec vectors[] = {{&message->header, sizeof(message->header)},
                              {&message->payload, bytes}};
    const struct msghdr sent = {.msg_iov = vectors, .msg_iovlen = 2};

    message->header.flags = FLAG_VERSION | FLAG_REPLY;
    message->header.bytes = bytes;
    return sendmsg(user.front_end, &sent, MSG_NOSIGNAL) ==
           (ssize_t)(sizeof(message->header) + bytes);
}

static bool handle(struct message *message)
{
    const struct header header = message->header;

    if ((header.flags & FLAG_VERSION_MASK) != FLAG_VERSION || (header.flags & FLAG_REPLY) != 0)
        return refuse("a message of another version");
    if (header.request >= MESSAGES || handlers[header.request].handle == NULL)
        return refuse("a message of a type that was not offered");
    if ((handlers[header.request].bytes != ANY_BYTES &&
         handlers[header.request].bytes != header.bytes) ||
        message->file_count > handlers[header.request].files_max)
        return refuse("a message of the wrong length, or with files too many");
    if (!handlers[header.request].handle(message))
        return refuse("a message whose content is impossible");
    if (handlers[header.request].reply_bytes != 0)
        return reply(message, handlers[header.request].reply_bytes) || refuse("no reply possible");
    if ((header.flags & FLAG_NEED_REPLY) != 0 && (user.protocol & PROTOCOL_F_REPLY_ACK) != 0) {
        message->payload.number = 0;
        return reply(message, 8) || refuse("no reply possible");
    }
    return true;
}

bool vhost_user_poll(const char **why)
{
    for (unsigned i = 0; i < MESSAGES_PER_POLL_MAX; i++) {
        struct message message = {.file_count = 0};
        const enum receive got = receive_header(&message);
        bool good = got == RECEIVE_MESSAGE;

        if (good)
            good = receive_payload(&message) ? handle(&message) : refuse("a message that is cut");
        for (uint32_t j = 0; j < message.file_count; j++)
            close(message.files[j]);
        if (got == RECEIVE_NOTHING)
            return true;
        if (!good) {
            *why = user.why;
            return false;
        }
    }
    return true;
}
