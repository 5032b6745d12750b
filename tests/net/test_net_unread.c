/* Bytes that wait to be read, where some of the pbufs that lwIP gives have none. */
#include "net/core/pool.h"
#include "net/flow/unread.h"
#include "tests/net/rig.h"

static struct server_conn conn;

/* A pbuf of so many bytes, and as many blocks as it takes to keep them. */
static struct pbuf *make_pbuf(const char *text)
{
    struct pbuf *const p = pbuf_alloc(PBUF_RAW, (u16_t)strlen(text), PBUF_RAM);
    EXPECT(p != NULL);
    memcpy(p->payload, text, strlen(text));
    return p;
}

static void expect_next(const char *text)
{
    const uint8_t *bytes;
    const size_t len = unread_next(&conn, &bytes);
    EXPECT_EQ(len, strlen(text));
    EXPECT(len == 0 || memcmp(bytes, text, len) == 0);
    unread_take(&conn, len);
}

NET_TEST(an_empty_pbuf_is_nothing_to_read)
{
    rig_start_default(16);
    const struct rig_levels before = rig_levels();
    unread_add(&conn, make_pbuf(""));
    expect_next("");
    EXPECT(unread_is_empty(&conn));
    unread_add(&conn, make_pbuf(""));
    unread_add(&conn, make_pbuf(""));
    unread_add(&conn, make_pbuf("e\n"));
    expect_next("e\n");
    EXPECT(unread_is_empty(&conn));
    const struct rig_levels after = rig_levels();
    EXPECT(memcmp(&before, &after, sizeof before) == 0);
}

NET_TEST(an_empty_pbuf_is_nothing_to_keep)
{
    rig_start_default(16);
    const struct rig_levels before = rig_levels();
    unread_add(&conn, make_pbuf(""));
    unread_add(&conn, make_pbuf("e\n"));
    EXPECT(unread_keep(&conn));
    EXPECT(conn.unread_first == NULL);
    expect_next("e\n");
    EXPECT(unread_is_empty(&conn));
    const struct rig_levels after = rig_levels();
    EXPECT(memcmp(&before, &after, sizeof before) == 0);
}

/* lwIP takes away what is old from the front of a chain, and leaves what that empties in it. */
NET_TEST(a_segment_whose_first_pieces_are_old_is_taken_from_where_it_is_new)
{
    static struct peer peer;
    static char lines[5000];
    rig_start_default(16);
    for (unsigned i = 0; i < sizeof lines; i += 2)
        memcpy(lines + i, "w\n", 2);
    memcpy(lines + sizeof lines - 2, "e\n", 2);
    fake_netdev_scatter(1); /* pieces of 2,048 bytes */
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_send_bytes(&peer, lines, 4500);
    peer.next -= 4500;
    peer_send_bytes(&peer, lines, sizeof lines);
    (void)server_poll();
    EXPECT_EQ(rig_app.requests, sizeof lines / 2);
    peer_expect(&peer, "ok\n");
    EXPECT_EQ(fake_netdev_receive_free(), 256);
}
