/* The address that DHCP lends, and datagrams. */
#include "tests/net/rig.h"

static struct peer peer;
static uint8_t frame[FAKE_FRAME_BYTES_MAX];

#define LEASED            0x0a000005u

#define DHCP_ANSWER_BYTES 310

/* An OFFER (2) or ACK (5) to the client's last message; without a UDP checksum (RFC 768). */
static void write_dhcp_answer(uint8_t *out, const uint8_t *message, uint8_t type)
{
    static const uint8_t options[] = {99, 130, 83, 99, 53,  1,   0, 54, 4,   10, 0,
                                      0,  254, 1,  4,  255, 255, 0, 0,  51,  4,  0,
                                      0,  0,   60, 3,  4,   10,  0, 0,  254, 255};
    memset(out, 0, DHCP_ANSWER_BYTES);
    memset(out, 0xff, 6);
    memcpy(out + 6, "\x02\0\0\0\0\x01", 6);
    out[12] = 8;
    out[14] = 0x45;
    const size_t udp_len = 8 + 236 + sizeof options;
    out[16] = (uint8_t)((20 + udp_len) >> 8);
    out[17] = (uint8_t)(20 + udp_len);
    out[22] = 64;
    out[23] = 17;
    memcpy(out + 26, "\x0a\x00\x00\xfe\xff\xff\xff\xff", 8);
    const uint16_t sum = checksum16(out + 14, 20, 0);
    out[24] = (uint8_t)(sum >> 8);
    out[25] = (uint8_t)sum;
    out[35] = 67;
    out[37] = 68;
    out[38] = (uint8_t)(udp_len >> 8);
    out[39] = (uint8_t)udp_len;
    uint8_t *const bootp = out + 42;
    memcpy(bootp, message + 42, 44);
    bootp[0] = 2;
    memcpy(bootp + 16, "\x0a\x00\x00\x05", 4);
    memcpy(bootp + 236, options, sizeof options);
    bootp[236 + 6] = type;
    EXPECT_EQ(34 + udp_len, DHCP_ANSWER_BYTES);
}

static void dhcp_answer(const uint8_t *message, uint8_t type)
{
    uint8_t out[DHCP_ANSWER_BYTES];
    write_dhcp_answer(out, message, type);
    EXPECT(fake_netdev_arrive(out, sizeof out, false));
}

/* Waits for a DHCP message of the client; its type. */
static unsigned dhcp_message(void)
{
    for (int i = 0; i < 2000; i++) {
        rig_wait_ms(5);
        const size_t len = rig_other(frame);
        if (len > 300 && frame[23] == 17 && frame[37] == 67)
            return frame[42 + 242];
    }
    return 0;
}

NET_TEST(dhcp_gets_an_address_and_gives_it_up_when_the_lease_ends)
{
    struct server_config config = rig_config(16);
    config.address = 0;
    config.idle_ms = 1000000;
    rig_start(&config, &fake_netdev_default);
    fake_clock_advance_ms(5);
    EXPECT(!server_is_reachable());
    EXPECT_EQ(dhcp_message(), 1);
    dhcp_answer(frame, 2);
    EXPECT_EQ(dhcp_message(), 3);
    dhcp_answer(frame, 5);
    rig_wait_ms(100);
    EXPECT(server_is_reachable());
    EXPECT_EQ(server_address(), __builtin_bswap32(LEASED));
    EXPECT(strstr(fake_log_last(), "10.0.0.5/16 is up, MTU 1500") != NULL);
    while (rig_other(frame) > 0)
        continue;
    rig_server_address = LEASED;
    rig_introduce_peer();
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
    rig_discard();
    /* The lease of 60 s is not renewed: connections and address go. */
    for (int i = 0; i < 200; i++) {
        rig_wait_ms(1000);
        while (rig_other(frame) > 0)
            continue;
    }
    EXPECT(!server_is_reachable());
    EXPECT_EQ(rig_app.closed, 1);
    EXPECT(strstr(fake_log_last(), "gone") != NULL);
}

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
    struct server_config config = rig_config(16);
    config.address = 0;
    rig_start(&config, &fake_netdev_default);
    EXPECT_EQ(dhcp_message(), 1);
    dhcp_answer_summed(frame, 2, false, false);
    EXPECT_EQ(dhcp_message(), 1);
    dhcp_answer_summed(frame, 2, false, true);
    EXPECT_EQ(dhcp_message(), 3);
    dhcp_answer_summed(frame, 5, true, false);
    rig_wait_ms(100);
    EXPECT_EQ(server_address(), __builtin_bswap32(LEASED));
}
