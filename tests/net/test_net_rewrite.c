/*
 * A device that goes on writing to a frame after it has handed it over: what was checked is what
 * counts.
 */
#include <unistd.h>

#include "lwip/priv/tcp_priv.h"
#include "net/core/conn_table.h"
#include "net/wire/guard.h"
#include "tests/net/rig.h"

#define ETHERNET  14
#define HEADERS   54 /* Ethernet, IP and TCP, without options */
#define OPTION_AT 54
#define HANG_S    20 /* a loop without end would take for ever */

static struct peer peer;

/* What the device overwrites with zeros once the frame has been checked. */
static struct {
    size_t from, len;
    unsigned times;
} rewrite;

enum guard_kind __real_guard_check(const struct guard_self *self, const uint8_t *bytes, size_t len,
                                   size_t total_len, struct guard_frame *frame);
enum guard_kind __wrap_guard_check(const struct guard_self *self, const uint8_t *bytes, size_t len,
                                   size_t total_len, struct guard_frame *frame);

enum guard_kind __wrap_guard_check(const struct guard_self *self, const uint8_t *bytes, size_t len,
                                   size_t total_len, struct guard_frame *frame)
{
    const enum guard_kind kind = __real_guard_check(self, bytes, len, total_len, frame);
    if (rewrite.len > 0) {
        fake_netdev_overwrite(rewrite.from, rewrite.len);
        rewrite.times++;
    }
    return kind;
}

static void rewrite_what_comes(size_t from, size_t len)
{
    (void)alarm(HANG_S);
    rewrite.from = from;
    rewrite.len = len;
    rewrite.times = 0;
}

static void expect_rewritten(unsigned times)
{
    EXPECT_EQ(rewrite.times, times);
    rewrite.len = 0;
}

static void expect_syn_is_answered(void)
{
    rewrite_what_comes(OPTION_AT + 1, 1); /* the length of the MSS option */
    peer_init(&peer, 5000);
    peer_send_syn(&peer);
    rig_poll();
    expect_rewritten(1);
    EXPECT(peer_take_syn_ack(&peer));
}

NET_TEST(a_syn_whose_option_loses_its_length_is_answered_with_a_cookie_as_it_was)
{
    rig_start_default(16);
    for (uint32_t forged = 0; forged < 200; forged++) {
        rig_arrive_forged_syn(forged);
        rig_poll();
    }
    rig_discard();
    expect_syn_is_answered();
    EXPECT(rig_counters().syn_cookies_sent > 0);
}

NET_TEST(a_syn_whose_option_loses_its_length_begins_the_connection_as_it_was)
{
    rig_start_default(16);
    expect_syn_is_answered();
    peer_send_ack(&peer);
    rig_poll();
    const struct server_conn *const conn =
        conns_find(conns_key(__builtin_bswap32(peer.address), peer.port));
    EXPECT(conn != NULL && conn->phase == CONN_OPEN);
    EXPECT_EQ(conn->pcb->mss, peer.mss);
}

static void expect_served_whatever_becomes_of_the_headers(void)
{
    rewrite_what_comes(0, HEADERS);
    peer_send(&peer, "e\n");
    rig_poll();
    expect_rewritten(1);
    peer_expect(&peer, "ok\n");
}

NET_TEST(a_segment_whose_headers_change_is_served_as_it_was)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    expect_served_whatever_becomes_of_the_headers();
    rig_vouches = false; /* lwIP has it, and sums it */
    expect_served_whatever_becomes_of_the_headers();
    EXPECT_EQ(rig_app.requests, 2);
}

NET_TEST(a_segment_out_of_order_whose_headers_change_is_kept_as_it_was)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    rewrite_what_comes(0, HEADERS);
    peer_segment(&peer, ACK | PSH, peer.next + 1, peer.expected, "\n", 1);
    rig_poll();
    peer_segment(&peer, ACK | PSH, peer.next, peer.expected, "e", 1);
    rig_poll();
    expect_rewritten(2);
    peer.next += 2;
    peer_expect(&peer, "ok\n");
}

NET_TEST(a_segment_in_pieces_whose_headers_change_is_served_as_it_was)
{
    static char text[5000];
    memset(text, 'e', sizeof text);
    text[sizeof text - 1] = '\n';
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    fake_netdev_scatter(1);
    rewrite_what_comes(0, HEADERS);
    peer_send_bytes(&peer, text, sizeof text);
    rig_poll();
    expect_rewritten(1);
    peer_expect(&peer, "ok\n");
}

NET_TEST(a_ping_whose_headers_change_is_answered_as_it_was)
{
    static uint8_t frame[FAKE_FRAME_BYTES_MAX], answer[FAKE_FRAME_BYTES_MAX];
    rig_start_default(16);
    const size_t len = rig_ping(RIG_PEER_ADDRESS, 200, frame);
    rewrite_what_comes(0, ETHERNET + 28);
    EXPECT(fake_netdev_arrive(frame, len, true));
    EXPECT_EQ(rig_other(answer), len);
    expect_rewritten(1);
    EXPECT(memcmp(answer + ETHERNET + 28, frame + ETHERNET + 28, 200) == 0);
}
