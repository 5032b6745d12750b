/* The address that DHCP lends, and datagrams. */
#include "tests/net/rig.h"

static struct peer peer;
static uint8_t frame[FAKE_FRAME_BYTES_MAX];

#define LEASED   0x0a000005u
#define SERVER   0x0a0000feu
#define INFINITE UINT32_MAX

enum { DISCOVER = 1, OFFER = 2, REQUEST = 3, DHCP_ACK = 5, NAK = 6 };

#define DHCP_ANSWER_BYTES 340

static const uint8_t server_mac[6] = {0x02, 0, 0, 0, 0, 0xfe};

/* What the server lends. */
static struct {
    uint32_t lease_s, renew_s, rebind_s; /* the latter two 0: not told */
    uint32_t netmask;
} lent = {.lease_s = 60, .netmask = 0xffff0000};

static uint8_t *put_option(uint8_t *at, uint8_t code, uint32_t value)
{
    *at++ = code;
    *at++ = 4;
    put32(at, value);
    return at + 4;
}

/* From option 53 on, whose value is `type`. */
static void put_options(uint8_t *at, uint8_t type)
{
    memcpy(at, (const uint8_t[]){99, 130, 83, 99, 53, 1, type}, 7);
    at = put_option(at + 7, 54, SERVER);
    at = put_option(at, 1, lent.netmask);
    at = put_option(at, 51, lent.lease_s);
    at = put_option(at, 3, SERVER);
    if (lent.renew_s != 0)
        at = put_option(at, 58, lent.renew_s);
    if (lent.rebind_s != 0)
        at = put_option(at, 59, lent.rebind_s);
    *at = 255;
}

/* An answer to the client's message; without a UDP checksum (RFC 768). */
static void write_dhcp_answer(uint8_t *out, const uint8_t *message, uint8_t type)
{
    memset(out, 0, DHCP_ANSWER_BYTES);
    memset(out, 0xff, 6);
    memcpy(out + 6, server_mac, 6);
    out[12] = 8;
    out[14] = 0x45;
    put16(out + 16, DHCP_ANSWER_BYTES - 14);
    out[22] = 64;
    out[23] = 17;
    put32(out + 26, SERVER);
    put32(out + 30, 0xffffffff);
    put16(out + 24, checksum16(out + 14, 20, 0));
    put16(out + 34, 67);
    put16(out + 36, 68);
    put16(out + 38, DHCP_ANSWER_BYTES - 34);
    uint8_t *const bootp = out + 42;
    memcpy(bootp, message + 42, 44);
    bootp[0] = 2;
    put32(bootp + 16, LEASED);
    put_options(bootp + 236, type);
}

static void dhcp_answer(const uint8_t *message, uint8_t type)
{
    uint8_t out[DHCP_ANSWER_BYTES];
    write_dhcp_answer(out, message, type);
    EXPECT(fake_netdev_arrive(out, sizeof out, false));
}

/*
 * Waits for a DHCP message of the client, so many ms at a time and at most; its type, 0 if there is
 * none. Whoever is asked for by ARP meanwhile is there.
 */
static unsigned dhcp_message_within(uint64_t ms, uint64_t step_ms)
{
    for (uint64_t passed = 0; passed < ms; passed += step_ms) {
        fake_clock_advance_ms(step_ms);
        rig_poll();
        size_t len;
        while ((len = rig_other(frame)) > 0) {
            if (len == 42 && frame[13] == 6 && frame[21] == 1)
                rig_introduce(server_mac, SERVER);
            if (len > 300 && frame[23] == 17 && frame[37] == 67)
                return frame[42 + 242];
        }
    }
    return 0;
}

static unsigned dhcp_message(void)
{
    return dhcp_message_within(10000, 5);
}

static bool is_to_all(void)
{
    return frame[0] == 0xff && frame[30] == 0xff;
}

/* Without an address at first. */
static void start(void)
{
    struct server_config config = rig_config(16);
    config.address = 0;
    config.idle_ms = 86400000;
    rig_start(&config, &fake_netdev_default);
}

/* It asks for an address, and is lent one. */
static void lend(void)
{
    EXPECT_EQ(dhcp_message(), DISCOVER);
    dhcp_answer(frame, OFFER);
    EXPECT_EQ(dhcp_message(), REQUEST);
    dhcp_answer(frame, DHCP_ACK);
}

/* With the address, as it is lent. */
static void start_leased(void)
{
    start();
    lend();
    rig_poll();
    EXPECT_EQ(server_address(), __builtin_bswap32(LEASED));
    rig_server_address = LEASED;
    rig_introduce_peer();
    rig_introduce(server_mac, SERVER);
}

NET_TEST(dhcp_gets_an_address_and_gives_it_up_when_the_lease_ends)
{
    start();
    fake_clock_advance_ms(5);
    EXPECT(!server_is_reachable());
    lend();
    rig_wait_ms(100);
    EXPECT(server_is_reachable());
    EXPECT_EQ(server_address(), __builtin_bswap32(LEASED));
    EXPECT(strstr(fake_log_last(), "10.0.0.5/16 is up, MTU 1500") != NULL);
    rig_server_address = LEASED;
    rig_introduce_peer();
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
    rig_discard();
    /* The lease of 60 s is not renewed: connections and address go. */
    rig_wait_ms(59800);
    EXPECT(server_is_reachable());
    EXPECT_EQ(rig_app.closed, 0);
    rig_wait_ms(200);
    EXPECT(!server_is_reachable());
    EXPECT_EQ(rig_app.closed, 1);
    EXPECT(strstr(fake_log_last(), "gone") != NULL);
}

/* ---- the lease ---- */

#define MARGIN_MS 100 /* a tick of the server's timers, and more */

/* The next message comes after so long, and is a renewal; `step_ms` at a time. */
static void expect_renewal(uint64_t after_ms, uint64_t step_ms)
{
    EXPECT_EQ(dhcp_message_within(after_ms - MARGIN_MS, step_ms), 0);
    EXPECT_EQ(dhcp_message_within(2 * MARGIN_MS + step_ms, step_ms), REQUEST);
}

static void renew_often(uint32_t lease_s)
{
    lent.lease_s = lease_s;
    start_leased();
    peer_init(&peer, 5000);
    peer_connect(&peer);
    for (unsigned i = 0; i < 10; i++) {
        expect_renewal(lease_s / 2 * 1000, 5);
        EXPECT(!is_to_all());
        EXPECT(memcmp(frame, server_mac, 6) == 0);
        dhcp_answer(frame, DHCP_ACK);
        peer_send(&peer, "e\n");
        peer_expect(&peer, "ok\n");
    }
    EXPECT_EQ(rig_app.closed, 0);
    EXPECT_EQ(server_address(), __builtin_bswap32(LEASED));
}

/* RFC 2131 section 4.4.5. */
NET_TEST(a_lease_of_60_s_is_renewed_at_half_of_it_and_no_connection_ends)
{
    renew_often(60);
}

NET_TEST(a_lease_of_45_s_is_renewed_at_half_of_it_and_no_connection_ends)
{
    renew_often(45);
}

NET_TEST(a_lease_of_8_s_is_renewed_at_half_of_it_and_no_connection_ends)
{
    renew_often(8);
}

/* And not a second later. Nothing is released: it is over. */
NET_TEST(a_lease_of_45_s_that_nobody_renews_is_used_for_45_s)
{
    lent.lease_s = 45;
    start_leased();
    EXPECT_EQ(dhcp_message_within(44900, 5), REQUEST);         /* T1 */
    EXPECT_EQ(dhcp_message_within(44900 - 22000, 5), REQUEST); /* T2 */
    EXPECT_EQ(dhcp_message_within(45000 - 39000 - MARGIN_MS, 5), 0);
    EXPECT(server_is_reachable());
    EXPECT_EQ(dhcp_message_within(2 * MARGIN_MS, 5), DISCOVER);
    EXPECT(!server_is_reachable());
    /* It asks until somebody lends one again. */
    lend();
    rig_wait_ms(100);
    EXPECT(server_is_reachable());
    expect_renewal(22000 - 100, 5);
}

NET_TEST(a_renewal_that_is_lost_is_made_up_for_by_a_rebind)
{
    lent.lease_s = 120;
    start_leased();
    for (unsigned i = 0; i < 3; i++) {
        expect_renewal(60000, 5);
        EXPECT(!is_to_all());
        expect_renewal(45000, 5);
        EXPECT(is_to_all());
        dhcp_answer(frame, DHCP_ACK);
    }
    EXPECT_EQ(server_address(), __builtin_bswap32(LEASED));
}

/* A lease is counted from when it was asked for: here 5 s before the answer came. */
NET_TEST(an_answer_that_comes_late_makes_the_lease_no_longer)
{
    start();
    EXPECT_EQ(dhcp_message(), DISCOVER);
    dhcp_answer(frame, OFFER);
    EXPECT_EQ(dhcp_message(), REQUEST);
    rig_wait_ms(1000);
    dhcp_answer(frame, DHCP_ACK);
    rig_wait_ms(5);
    rig_server_address = LEASED;
    rig_introduce(server_mac, SERVER);
    expect_renewal(29000, 5);
}

#define HOUR_MS 3600000ULL
#define DAY_MS  (24 * HOUR_MS)

/* Step by step as fast as can be; but the answers come in time. */
static void expect_long_renewal(uint64_t after_ms)
{
    const uint64_t step_ms = 30000;
    EXPECT_EQ(dhcp_message_within(after_ms - 2 * step_ms, step_ms), 0);
    EXPECT_EQ(dhcp_message_within(4 * step_ms, step_ms), REQUEST);
    EXPECT(!is_to_all());
    dhcp_answer(frame, DHCP_ACK);
    rig_poll();
}

/* More than 16 bits of seconds. */
NET_TEST(a_lease_of_10_days_is_renewed_after_5)
{
    lent.lease_s = 864000;
    start_leased();
    for (unsigned i = 0; i < 3; i++)
        expect_long_renewal(5 * DAY_MS);
    EXPECT_EQ(server_address(), __builtin_bswap32(LEASED));
}

/* More than 16 bits of minutes. */
NET_TEST(a_lease_of_200_days_is_renewed_after_100)
{
    lent.lease_s = 200 * 86400;
    start_leased();
    expect_long_renewal(100 * DAY_MS);
    EXPECT_EQ(server_address(), __builtin_bswap32(LEASED));
}

/* RFC 2131 section 3.3. */
NET_TEST(an_infinite_lease_needs_no_renewal)
{
    lent.lease_s = INFINITE;
    start_leased();
    EXPECT_EQ(dhcp_message_within(200 * DAY_MS, 60000), 0);
    EXPECT_EQ(server_address(), __builtin_bswap32(LEASED));
}

NET_TEST(the_longest_finite_lease_is_kept)
{
    lent.lease_s = INFINITE - 1; /* 136 years */
    start_leased();
    EXPECT_EQ(dhcp_message_within(200 * DAY_MS, 60000), 0);
    EXPECT_EQ(server_address(), __builtin_bswap32(LEASED));
}

NET_TEST(a_lease_that_is_renewed_for_ever_does_not_end)
{
    start_leased();
    expect_renewal(30000, 5);
    lent.lease_s = INFINITE;
    dhcp_answer(frame, DHCP_ACK);
    EXPECT_EQ(dhcp_message_within(DAY_MS, 30000), 0);
    EXPECT_EQ(server_address(), __builtin_bswap32(LEASED));
}

/* And is asked for no more often than once a second. */
NET_TEST(a_lease_of_no_time_ends_after_a_second)
{
    lent.lease_s = 0;
    start_leased();
    EXPECT_EQ(dhcp_message_within(1000 - MARGIN_MS, 5), 0);
    EXPECT_EQ(dhcp_message_within(2 * MARGIN_MS, 5), DISCOVER);
    EXPECT(!server_is_reachable());
}

NET_TEST(times_to_renew_and_rebind_are_the_servers_if_it_tells_them)
{
    lent.renew_s = 10;
    lent.rebind_s = 20;
    start_leased();
    expect_renewal(10000, 5);
    expect_renewal(10000, 5);
    EXPECT(is_to_all());
}

static void expect_times_of_ours(uint32_t renew_s, uint32_t rebind_s)
{
    lent.renew_s = renew_s;
    lent.rebind_s = rebind_s;
    start_leased();
    expect_renewal(30000, 5);
    EXPECT(!is_to_all());
    expect_renewal(22000, 5);
    EXPECT(is_to_all());
}

NET_TEST(a_time_to_renew_after_that_to_rebind_is_not_taken)
{
    expect_times_of_ours(50, 40);
}

NET_TEST(a_time_to_rebind_after_the_end_is_not_taken)
{
    expect_times_of_ours(10, 60);
}

NET_TEST(a_time_to_renew_that_never_comes_is_not_taken)
{
    expect_times_of_ours(INFINITE, 0);
}

/* Of which no call of a timer tells. */
NET_TEST(a_lease_runs_on_while_the_host_stops_the_machine)
{
    lent.lease_s = 3600;
    start_leased();
    fake_clock_advance_ms(2000 * 1000); /* T1 was after 1,800 s */
    EXPECT_EQ(dhcp_message_within(MARGIN_MS, 5), REQUEST);
    EXPECT(!is_to_all());
    expect_renewal((3150 - 2000) / 2 * 1000, 5);
    EXPECT(!is_to_all());
    dhcp_answer(frame, DHCP_ACK);
    rig_poll();
    fake_clock_advance_ms(3300 * 1000); /* T2 after 3,150 */
    EXPECT_EQ(dhcp_message_within(MARGIN_MS, 5), REQUEST);
    EXPECT(is_to_all());
    dhcp_answer(frame, DHCP_ACK);
    rig_poll();
    fake_clock_advance_ms(3600 * 1000);
    EXPECT_EQ(dhcp_message_within(MARGIN_MS, 5), DISCOVER);
    EXPECT(!server_is_reachable());
}

/* lwIP asks whether it still may have it, and nobody answers; until the end it may (3.2). */
NET_TEST(an_address_is_kept_until_the_lease_ends_when_the_link_was_down)
{
    start_leased();
    peer_init(&peer, 5000);
    peer_connect(&peer);
    fake_netdev_set_link(false);
    rig_wait_ms(1000);
    fake_netdev_set_link(true);
    rig_wait_ms(58000);
    EXPECT_EQ(server_address(), __builtin_bswap32(LEASED));
    EXPECT_EQ(rig_app.closed, 0);
    rig_discard();
    rig_wait_ms(1500);
    EXPECT(!server_is_reachable());
    EXPECT_EQ(rig_app.closed, 1);
    EXPECT_EQ(dhcp_message(), DISCOVER);
}

NET_TEST(a_lease_that_is_confirmed_when_the_link_was_down_goes_on)
{
    start_leased();
    fake_netdev_set_link(false);
    rig_wait_ms(20000);
    fake_netdev_set_link(true);
    EXPECT_EQ(dhcp_message(), REQUEST);
    EXPECT(is_to_all());
    dhcp_answer(frame, DHCP_ACK);
    rig_poll();
    expect_renewal(30000, 5);
    EXPECT(!is_to_all());
}

/* What is asked of all servers is not asked of one: T1 comes while it selects an offer. */
NET_TEST(a_lease_is_not_renewed_while_another_is_asked_for)
{
    lent.renew_s = 40;
    lent.rebind_s = 55;
    start_leased();
    rig_wait_ms(25000);
    fake_netdev_set_link(false);
    rig_wait_ms(1000);
    fake_netdev_set_link(true);
    while (dhcp_message() == REQUEST)
        EXPECT(is_to_all());
    dhcp_answer(frame, OFFER);
    for (unsigned i = 0; i < 4; i++) {
        EXPECT_EQ(dhcp_message_within(20000, 5), REQUEST);
        EXPECT(is_to_all());
    }
    dhcp_answer(frame, DHCP_ACK);
    rig_poll();
    expect_renewal(40000, 5);
    EXPECT(!is_to_all());
}

NET_TEST(an_address_that_the_server_takes_back_is_given_up_at_once)
{
    start_leased();
    expect_renewal(30000, 5);
    dhcp_answer(frame, NAK);
    EXPECT_EQ(dhcp_message(), DISCOVER);
    EXPECT(!server_is_reachable());
    /* The lease is over, and so does not end when it would have ended. */
    rig_wait_ms(60000);
    EXPECT(strstr(fake_log_last(), "the address is gone") != NULL);
    rig_discard();
    EXPECT_EQ(dhcp_message_within(61000, 5), DISCOVER);
    dhcp_answer(frame, OFFER);
    EXPECT_EQ(dhcp_message(), REQUEST);
    dhcp_answer(frame, DHCP_ACK);
    rig_poll();
    expect_renewal(30000, 5);
}

/* RFC 3021, and alone: the server is where the gateway is. */
static void lend_small_subnet(uint32_t netmask)
{
    start();
    lent.netmask = netmask;
    lend();
    rig_poll();
    rig_server_address = LEASED;
    peer_init(&peer, 5000);
    peer.address = LEASED ^ 1;
    peer_connect(&peer);
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
    expect_renewal(30000, 5);
    EXPECT(memcmp(frame, server_mac, 6) == 0);
    /* The netmask is another one: and so is what is for all. */
    lent.netmask = 0xfffffffc;
    dhcp_answer(frame, DHCP_ACK);
    rig_poll();
    EXPECT(strstr(fake_log_last(), "/30 is up") != NULL);
}

NET_TEST(a_subnet_of_two_addresses_is_lent)
{
    lend_small_subnet(0xfffffffe);
}

NET_TEST(a_subnet_of_one_address_is_lent)
{
    lend_small_subnet(0xffffffff);
}

/* ---- datagrams ---- */

/* With a checksum, right or wrong. */
static void dhcp_answer_summed(const uint8_t *message, uint8_t type, bool is_right,
                               bool vouched_for)
{
    uint8_t out[DHCP_ANSWER_BYTES];
    const uint32_t udp_len = sizeof out - 34;
    write_dhcp_answer(out, message, type);
    put16(out + 40, (uint16_t)~sum16(out + 34, udp_len, sum16(out + 26, 8, 17 + udp_len)));
    out[41] ^= is_right ? 0 : 1;
    EXPECT(fake_netdev_arrive(out, sizeof out, vouched_for));
}

NET_TEST(a_datagram_with_a_wrong_checksum_is_taken_only_if_the_device_vouches_for_it)
{
    start();
    EXPECT_EQ(dhcp_message(), DISCOVER);
    dhcp_answer_summed(frame, OFFER, false, false);
    EXPECT_EQ(dhcp_message(), DISCOVER);
    dhcp_answer_summed(frame, OFFER, false, true);
    EXPECT_EQ(dhcp_message(), REQUEST);
    dhcp_answer_summed(frame, DHCP_ACK, true, false);
    rig_wait_ms(100);
    EXPECT_EQ(server_address(), __builtin_bswap32(LEASED));
}
