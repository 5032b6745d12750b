#include "net/flow/unread.h"

#include <string.h>

#include "lwip/pbuf.h"
#include "net/core/pool.h"

struct conn_spill {
    struct conn_spill *next;
    uint16_t begin, end; /* what is left of `bytes` */
    uint16_t size;
    uint8_t bytes[];
};

/* Segments of a few bytes share a block. */
#define SPILL_BYTES_MIN 112
#define SPILL_BYTES_MAX (POOL_FULL_BYTES - sizeof(struct conn_spill))

void unread_add(struct server_conn *conn, struct pbuf *p)
{
    if (conn->unread_first == NULL) {
        conn->unread_first = p;
        conn->unread_offset = 0;
    } else {
        conn->unread_last->next = p;
    }
    while (p->next != NULL)
        p = p->next;
    conn->unread_last = p;
}

static void free_first_pbuf(struct server_conn *conn)
{
    struct pbuf *const p = conn->unread_first;
    conn->unread_first = p->next;
    conn->unread_offset = 0;
    p->next = NULL;
    (void)pbuf_free(p);
}

__attribute__((noinline)) static void free_first_spill(struct server_conn *conn)
{
    struct conn_spill *const spill = conn->spill_first;
    conn->spill_first = spill->next;
    pool_free(spill);
}

void unread_forget(struct server_conn *conn)
{
    while (conn->unread_first != NULL)
        free_first_pbuf(conn);
    while (conn->spill_first != NULL)
        free_first_spill(conn);
}

size_t unread_next(struct server_conn *conn, const uint8_t **bytes)
{
    if (conn->spill_first != NULL) {
        const struct conn_spill *const spill = conn->spill_first;
        *bytes = spill->bytes + spill->begin;
        return (size_t)(spill->end - spill->begin);
    }
    while (conn->unread_first != NULL && conn->unread_first->len == conn->unread_offset)
        free_first_pbuf(conn);
    const struct pbuf *p = conn->unread_first;
    if (p == NULL)
        return 0;
    *bytes = (const uint8_t *)p->payload + conn->unread_offset;
    size_t len = (size_t)(p->len - conn->unread_offset);
    for (p = p->next; p != NULL && (const uint8_t *)p->payload == *bytes + len; p = p->next)
        len += p->len;
    return len;
}

static void take_from_pbufs(struct server_conn *conn, size_t len)
{
    while (len > 0) {
        const size_t here = (size_t)(conn->unread_first->len - conn->unread_offset);
        if (len < here) {
            conn->unread_offset = (uint16_t)(conn->unread_offset + len);
            return;
        }
        len -= here;
        free_first_pbuf(conn);
    }
}

void unread_take(struct server_conn *conn, size_t len)
{
    if (conn->spill_first == NULL) {
        take_from_pbufs(conn, len);
        return;
    }
    conn->spill_first->begin = (uint16_t)(conn->spill_first->begin + len);
    if (conn->spill_first->begin == conn->spill_first->end)
        free_first_spill(conn);
}

__attribute__((noinline)) size_t unread_discard(struct server_conn *conn)
{
    const uint8_t *bytes;
    size_t discarded = 0;
    size_t len;
    while ((len = unread_next(conn, &bytes)) > 0) {
        unread_take(conn, len);
        discarded += len;
    }
    return discarded;
}

/* Room for `len` bytes, if it can be had in one block. */
static struct conn_spill *add_spill(struct server_conn *conn, size_t len)
{
    size_t room = len < SPILL_BYTES_MIN ? SPILL_BYTES_MIN : len;
    room = room < SPILL_BYTES_MAX ? room : SPILL_BYTES_MAX;
    struct conn_spill *const spill = pool_alloc(sizeof *spill + room);
    if (spill == NULL)
        return NULL;
    *spill = (struct conn_spill){.next = NULL, .begin = 0, .end = 0, .size = (uint16_t)room};
    if (conn->spill_first == NULL)
        conn->spill_first = spill;
    else
        conn->spill_last->next = spill;
    conn->spill_last = spill;
    return spill;
}

size_t unread_blocks(size_t len)
{
    return len / SPILL_BYTES_MAX + 1;
}

bool unread_is_small(size_t len)
{
    return len <= POOL_LARGE_BYTES - sizeof(struct conn_spill);
}

/* As many of the bytes as fit the last block, or a new one; 0 if memory is out. */
static size_t copy_some(struct server_conn *conn, const uint8_t *bytes, size_t len)
{
    struct conn_spill *spill = conn->spill_first == NULL ? NULL : conn->spill_last;
    if (spill == NULL || spill->end == spill->size)
        spill = add_spill(conn, len);
    if (spill == NULL)
        return 0;
    const size_t room = (size_t)(spill->size - spill->end);
    const size_t n = len < room ? len : room;
    memcpy(spill->bytes + spill->end, bytes, n);
    spill->end = (uint16_t)(spill->end + n);
    return n;
}

size_t unread_copy(struct server_conn *conn, const uint8_t *bytes, size_t len)
{
    size_t copied = 0, n;
    while (copied < len && (n = copy_some(conn, bytes + copied, len - copied)) > 0)
        copied += n;
    return copied;
}

bool unread_keep(struct server_conn *conn)
{
    while (conn->unread_first != NULL) {
        const struct pbuf *const p = conn->unread_first;
        const size_t len = (size_t)(p->len - conn->unread_offset);
        if (len == 0) {
            free_first_pbuf(conn);
            continue;
        }
        const size_t n = copy_some(conn, (const uint8_t *)p->payload + conn->unread_offset, len);
        if (n == 0)
            return false;
        take_from_pbufs(conn, n);
    }
    return true;
}
