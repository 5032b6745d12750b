/* The table of connections, when it has no record to give. */
#include "lwip/priv/tcp_priv.h"
#include "net/core/conn_table.h"
#include "net/core/pool.h"
#include "tests/net/rig.h"

static struct peer peer;
static struct rig_segment segment;

/*
 * Takes every record, as if so many connections had ended in one batch; returns the last. There are
 * more than a batch has frames, so it does not happen: but that is not the table's to know.
 */
static struct server_conn *take_all_records(void)
{
    static struct tcp_pcb nobody;
    struct server_conn *last = NULL;
    for (uint64_t key = 0; conns_count(CONN_FREE) > 0; key++) {
        last = conns_add(key, &nobody);
        EXPECT(last != NULL);
        conns_drop(last);
    }
    EXPECT(conns_add(conns_key(0, 1), &nobody) == NULL);
    return last;
}

/* A connection takes one, however it came about, and nothing else does. */
NET_TEST(blocks_for_pcbs_are_for_pcbs)
{
    static uint8_t frame[FAKE_FRAME_BYTES_MAX];
    const size_t bytes = LWIP_MEM_ALIGN_SIZE(sizeof(struct tcp_pcb));
    rig_start_default(16);
    uint32_t level = pool_level(POOL_PCB);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    EXPECT_EQ(pool_level(POOL_PCB), --level);
    EXPECT(pool_alloc(bytes) != NULL);
    EXPECT_EQ(pool_level(POOL_PCB), level);
    /* Nor after a SYN that was damaged, and made no connection. */
    const struct rig_segment syn = {
        .address = RIG_PEER_ADDRESS, .port = 5001, .server_port = RIG_PORT, .flags = SYN};
    const size_t len = rig_frame(&syn, frame);
    frame[50] ^= 1;
    EXPECT(fake_netdev_arrive(frame, len, false));
    rig_poll();
    EXPECT(pool_alloc(bytes) != NULL);
    EXPECT_EQ(pool_level(POOL_PCB), level);
    for (uint32_t forged = 0; forged < 200; forged++) {
        rig_arrive_forged_syn(forged);
        rig_poll();
    }
    level = pool_level(POOL_PCB);
    peer_init(&peer, 5002);
    peer_connect(&peer);
    EXPECT_EQ(rig_counters().syn_cookies_accepted, 1);
    EXPECT_EQ(pool_level(POOL_PCB), level - 1);
}

NET_TEST(a_syn_that_finds_no_record_is_dropped_and_served_when_it_comes_again)
{
    rig_start_default(16);
    const struct rig_levels before = rig_levels();
    struct server_conn *const last = take_all_records();
    peer_init(&peer, 5000);
    peer_send_syn(&peer);
    EXPECT(!peer_next(&peer, &segment));
    const struct rig_levels after = rig_levels();
    EXPECT(memcmp(&before, &after, sizeof before) == 0);
    conns_release(last);
    peer_connect(&peer);
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
}

NET_TEST(a_cookie_that_finds_no_record_is_good_when_it_comes_again)
{
    rig_start_default(16);
    for (uint32_t forged = 0; forged < 200; forged++) { /* half-open slots are taken */
        rig_arrive_forged_syn(forged);
        rig_poll();
    }
    rig_discard();
    peer_init(&peer, 5000);
    peer_send_syn(&peer);
    EXPECT(peer_take_syn_ack(&peer));
    struct server_conn *const last = take_all_records();
    peer_send(&peer, "e\n");
    EXPECT(!peer_next(&peer, &segment));
    EXPECT_EQ(rig_counters().syn_cookies_accepted, 0);
    conns_release(last);
    peer.next -= 2;
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
    EXPECT_EQ(rig_counters().syn_cookies_accepted, 1);
}
