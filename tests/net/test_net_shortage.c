/* When there is not memory for all: who waits and who gives way; and windows that are too small. */
#include "lwip/priv/tcp_priv.h"
#include "net/core/conn_table.h"
#include "net/core/pool.h"
#include "net/core/server_state.h"
#include "tests/net/rig.h"

static struct peer peer, readers[60];
static struct rig_segment segment;

/* They read nothing of their answers; the first has waited longest. */
static void ask(unsigned first, unsigned count, const char *line)
{
    for (unsigned i = first; i < first + count; i++) {
        readers[i].holds_acks = true;
        peer_send(&readers[i], line);
        rig_poll();
        fake_clock_advance_ms(1);
    }
}

static void let_read(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        readers[i].holds_acks = false;
        for (unsigned round = 0; round < 20; round++)
            peer_take(&readers[i]);
    }
}

static unsigned count_resets(unsigned count)
{
    unsigned resets = 0;
    for (unsigned i = 0; i < count; i++) {
        peer_take(&readers[i]);
        resets += readers[i].reset;
    }
    return resets;
}

/* ---- who gives way ---- */

NET_TEST(a_segment_for_which_one_reader_frees_too_little_is_dropped_and_comes_again)
{
    static char train[1000];
    for (size_t at = 0; at < sizeof train; at += 2)
        memcpy(train + at, at + 2 == sizeof train ? "e\n" : "w\n", 2);
    rig_start_default(64);
    peers_connect(readers, 60, 6000);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    ask(0, 60, "b4300\n");
    rig_wait_ms(300);
    peer_send_bytes(&peer, train, sizeof train);
    rig_poll();
    EXPECT_EQ(rig_app.requests, 60);
    EXPECT_EQ(rig_counters().connections_gave_way, 1);
    EXPECT_EQ(rig_counters().memory_short, 1);
    EXPECT_EQ(count_resets(60), 1);
    EXPECT(readers[0].reset);
    for (unsigned i = 0; i < 20 && peer.received == 0; i++) {
        peer.next -= (uint32_t)sizeof train;
        peer_send_bytes(&peer, train, sizeof train);
        peer_take(&peer);
    }
    EXPECT_EQ(peer.received, 3);
    EXPECT(count_resets(60) < 10);
}

/* Somebody asks when the pool has so few full blocks: who of the readers is reset? */
static void ask_without_memory(uint32_t blocks)
{
    peer_init(&peer, 5000);
    peer_connect(&peer);
    while (pool_level(POOL_FULL) > blocks)
        EXPECT(pool_alloc(POOL_FULL_BYTES) != NULL);
    peer_send(&peer, "e\n");
    rig_poll();
    EXPECT(rig_counters().connections_gave_way > 0);
}

/* Of which nothing was sent yet: its window is closed. */
NET_TEST(who_holds_much_that_waits_for_its_window_gives_way_before_who_holds_little)
{
    rig_start_default(64);
    peers_connect(readers, 1, 6000);
    peer_init(&readers[1], 6001);
    readers[1].window = 0;
    peer_connect(&readers[1]);
    ask(0, 1, "e\n");
    ask(1, 1, "b24576\n");
    rig_wait_ms(300);
    ask_without_memory(20);
    EXPECT_EQ(count_resets(2), 1);
    EXPECT(readers[1].reset);
}

NET_TEST(who_holds_what_it_sent_and_nobody_took_gives_way_before_who_holds_little)
{
    rig_start_default(64);
    peers_connect(readers, 2, 6000);
    ask(0, 2, "e\n");
    while (pool_level(POOL_FULL) > 30) /* not enough, while output waits */
        EXPECT(pool_alloc(POOL_FULL_BYTES) != NULL);
    ask(1, 1, "e\n");
    EXPECT_EQ(rig_app.requests, 2);
    rig_wait_ms(300);
    ask_without_memory(16); /* too few to let it in, for which one gives way */
    EXPECT_EQ(count_resets(2), 1);
    EXPECT(readers[1].reset);
}

NET_TEST(who_has_waited_longest_gives_way_and_not_who_began_first)
{
    rig_start_default(64);
    peers_connect(readers, 3, 6000);
    ask(0, 3, "b24576\n");
    rig_wait_ms(300);
    readers[0].expected += 1460; /* it reads a segment */
    peer_send_ack(&readers[0]);
    readers[0].expected -= 1460;
    rig_wait_ms(260);
    ask_without_memory(20);
    EXPECT(rig_counters().connections_gave_way <= 2);
    EXPECT(count_resets(3) <= 2);
    EXPECT(readers[1].reset && !readers[0].reset);
}

NET_TEST(who_has_waited_longest_does_not_give_way_to_itself)
{
    rig_start_default(64);
    peers_connect(readers, 1, 6000);
    ask(0, 1, "b24576\n");
    rig_wait_ms(300);
    while (pool_level(POOL_FULL) > 16)
        EXPECT(pool_alloc(POOL_FULL_BYTES) != NULL);
    peer_send(&readers[0], "e\n");
    rig_poll();
    EXPECT_EQ(rig_counters().memory_short, 1);
    EXPECT_EQ(rig_counters().connections_gave_way, 0);
    let_read(1);
    EXPECT_EQ(readers[0].received, 24576);
    EXPECT(!readers[0].reset);
}

/* As many as a batch can bring are passed over in search of one; these are more. */
NET_TEST(who_waits_for_memory_does_not_give_way_to_a_new_client)
{
    enum { READERS = 13, WAITING = 70 };
    static struct peer waiting[WAITING];
    rig_start_default(READERS + WAITING);
    peers_connect(waiting, WAITING, 7000);
    peers_connect(readers, READERS, 6000);
    ask(0, READERS, "b24576\n");
    for (unsigned i = 0; i < WAITING; i++) {
        peer_send(&waiting[i], "e\n");
        rig_poll();
    }
    EXPECT_EQ(rig_app.requests, READERS);
    peer_init(&peer, 5000);
    peer_send_syn(&peer);
    EXPECT(!peer_take_syn_ack(&peer));
    EXPECT_EQ(rig_counters().connections_refused, 1);
    let_read(READERS);
    for (unsigned i = 0; i < WAITING; i++)
        peer_expect(&waiting[i], "ok\n");
    peer_connect(&peer);
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
}

NET_TEST(nobody_is_a_slow_reader_before_the_machine_has_run_for_so_long)
{
    rig_start_default(16);
    server.ran_ns = 0; /* it has just started */
    peers_connect(readers, 8, 6000);
    rig_wait_ms(100);
    ask(0, 8, "b24576\n");
    EXPECT_EQ(rig_app.requests, 7); /* there was not memory for all */
    rig_wait_ms(100);
    EXPECT_EQ(rig_counters().connections_gave_way, 0);
    let_read(8);
    EXPECT_EQ(rig_app.requests, 8);
    EXPECT_EQ(count_resets(8), 0);
}

NET_TEST(stopping_waits_for_a_request_that_waits_for_memory)
{
    rig_start_default(16);
    peers_connect(readers, 8, 6000);
    ask(0, 8, "b24576\n");
    EXPECT_EQ(rig_app.requests, 7);
    server_stop();
    EXPECT_EQ(rig_app.closed, 7);
    let_read(8);
    EXPECT_EQ(rig_app.requests, 8);
    for (unsigned i = 0; i < 8; i++) {
        EXPECT_EQ(readers[i].received, 24576);
        EXPECT(readers[i].fin && !readers[i].reset);
    }
}

/* ---- bytes that were not taken, and no memory to keep them ---- */

/* Full blocks, as only these bytes take them: an answer's are a little smaller. */
static unsigned grants, refusals; /* so many times more, one after the other */

void *__real_pool_alloc(size_t bytes);
void *__wrap_pool_alloc(size_t bytes);

void *__wrap_pool_alloc(size_t bytes)
{
    if (refusals == 0 || bytes < POOL_FULL_BYTES)
        return __real_pool_alloc(bytes);
    if (grants > 0) {
        grants--;
        return __real_pool_alloc(bytes);
    }
    refusals--;
    return NULL;
}

/*
 * The send buffer is full after two of them: the others wait, in more than two blocks. So many are
 * granted, and then so often none.
 */
static unsigned ask_for_more_than_fits(unsigned blocks, unsigned times_none)
{
    static char text[6000] = "b20000\nb20000\nb20000\n";
    unsigned lines = 3;
    for (size_t at = strlen(text); at + 4 < sizeof text; at += 2, lines++)
        memcpy(text + at, "e\n", 2);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer.holds_acks = true;
    peer_send(&peer, text);
    grants = blocks;
    refusals = times_none;
    rig_poll();
    EXPECT_EQ(refusals, 0);
    return lines;
}

/* Those that have waited for longest, and nothing of the bytes is lost. */
static void expect_readers_to_give_way(unsigned blocks, unsigned count)
{
    rig_start_default(16);
    peers_connect(readers, 4, 6000);
    ask(0, 3, "e\n");
    const unsigned lines = ask_for_more_than_fits(blocks, count);
    EXPECT_EQ(rig_counters().connections_gave_way, count);
    EXPECT_EQ(count_resets(4), count);
    for (unsigned i = 0; i < count; i++)
        EXPECT(readers[i].reset);
    peer.holds_acks = false;
    for (unsigned i = 0; i < 400; i++) {
        peer_send_ack(&peer);
        peer_take(&peer);
    }
    EXPECT_EQ(rig_app.requests, 3 + lines);
    EXPECT_EQ(peer.received, 60000 + (lines - 3) * 3);
}

NET_TEST(for_bytes_that_cannot_be_kept_a_reader_gives_way)
{
    expect_readers_to_give_way(0, 1);
}

NET_TEST(for_bytes_of_which_a_part_cannot_be_kept_a_reader_gives_way)
{
    expect_readers_to_give_way(2, 1);
}

NET_TEST(for_bytes_that_cannot_be_kept_as_many_readers_give_way_as_it_takes)
{
    expect_readers_to_give_way(1, 2);
}

NET_TEST(for_bytes_that_lwip_judged_as_many_readers_give_way_as_it_takes)
{
    rig_vouches = false;
    expect_readers_to_give_way(1, 2);
}

static void expect_a_reset_if_nobody_gives_way(void)
{
    rig_start_default(16);
    const struct rig_levels before = rig_levels();
    (void)ask_for_more_than_fits(0, 1);
    peer_take(&peer);
    EXPECT(peer.reset);
    EXPECT_EQ(rig_app.closed, 1);
    const struct rig_levels after = rig_levels();
    EXPECT(memcmp(&before, &after, sizeof before) == 0);
    /* Nothing of its answers goes to somebody else. */
    peers_connect(readers, 1, 6000);
    peer_send(&readers[0], "e\n");
    peer_expect(&readers[0], "ok\n");
}

NET_TEST(who_sent_bytes_that_cannot_be_kept_is_reset_if_nobody_gives_way)
{
    expect_a_reset_if_nobody_gives_way();
}

NET_TEST(who_sent_bytes_that_lwip_judged_and_cannot_be_kept_is_reset_if_nobody_gives_way)
{
    rig_vouches = false;
    expect_a_reset_if_nobody_gives_way();
}

/* ---- a window smaller than what waits ---- */

static unsigned split_fails; /* so many times more */

err_t __real_tcp_split_unsent_seg(struct tcp_pcb *pcb, u16_t split);
err_t __wrap_tcp_split_unsent_seg(struct tcp_pcb *pcb, u16_t split);

err_t __wrap_tcp_split_unsent_seg(struct tcp_pcb *pcb, u16_t split)
{
    if (split_fails == 0)
        return __real_tcp_split_unsent_seg(pcb, split);
    split_fails--;
    return ERR_MEM;
}

/* "bye\n", FIN, in a window of two bytes. */
static void expect_the_fin_last(void)
{
    size_t received = 0;
    bool fin = false;
    peer_init(&peer, 4000);
    peer.window = 2;
    peer_connect(&peer);
    peer_send(&peer, "c\n");
    for (unsigned i = 0; i < 1000 && !fin; i++) {
        rig_wait_ms(5);
        while (peer_next(&peer, &segment)) {
            if (segment.number != peer.expected)
                continue;
            received += segment.len;
            fin = (segment.flags & FIN) != 0;
            peer.expected += (uint32_t)segment.len + fin;
            peer_send_ack(&peer);
        }
    }
    EXPECT(fin);
    EXPECT_EQ(received, 4);
}

/* lwIP leaves the FIN on both halves of a segment that it splits for a small window. */
NET_TEST(the_fin_of_a_split_segment_comes_last)
{
    rig_start_default(16);
    expect_the_fin_last();
}

/* Nor shall lwIP split it, whose turn comes in the third tick, if there is memory just then. */
NET_TEST(the_fin_of_a_segment_that_could_not_be_split_at_first_comes_last)
{
    rig_start_default(16);
    split_fails = 3;
    expect_the_fin_last();
    EXPECT_EQ(split_fails, 0);
}

/*
 * lwIP stops the persist timer before it sends. Should something leave it running nevertheless:
 * lwIP's timer asserts that nothing is in flight, and what fits the window is not to be split.
 */
static void start_persist_timer(void)
{
    struct tcp_pcb *const pcb = conns_find(conns_key(lwip_htonl(peer.address), peer.port))->pcb;
    EXPECT(pcb->unsent != NULL && pcb->persist_backoff == 0);
    pcb->persist_backoff = 1;
}

NET_TEST(a_persist_timer_while_output_is_in_flight_halts_nothing)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_send(&peer, "b20000\n"); /* more than the congestion window lets out */
    rig_poll();
    start_persist_timer();
    rig_wait_ms(300);
    for (unsigned i = 0; i < 20; i++)
        peer_take(&peer);
    EXPECT_EQ(peer.received, 20000);
}

NET_TEST(a_persist_timer_while_the_window_is_open_loses_no_fin)
{
    rig_start_with_transmit_ring(8);
    peers_connect(readers, 8, 6000);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    fake_netdev_stall(true);
    for (unsigned i = 0; i < 8; i++)
        peer_send(&readers[i], "e\n");
    peer_send(&peer, "c\n");
    rig_poll();
    EXPECT_EQ(fake_netdev_transmit_held(), 8);
    for (unsigned slice = 0; slice < 8; slice++) { /* one of them is this connection's */
        start_persist_timer();
        fake_clock_advance_ms(32);
        (void)server_poll();
    }
    fake_netdev_stall(false);
    peer_expect(&peer, "bye\n");
    EXPECT(peer.fin);
}
