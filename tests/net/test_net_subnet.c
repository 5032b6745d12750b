/* Subnets of two addresses and of one: no broadcast address, a gateway outside of the subnet. */
#include "tests/net/rig.h"

static struct peer peer;
static uint8_t frame[FAKE_FRAME_BYTES_MAX], request[FAKE_FRAME_BYTES_MAX];

static const uint8_t gateway_mac[6] = {0x02, 0, 0, 0, 0, 0x99};

#define ELSEWHERE 0xc0000209u /* 192.0.2.9: behind the gateway */

static void start(unsigned prefix, uint32_t gateway)
{
    struct server_config config = rig_config(16);
    config.netmask = __builtin_bswap32(~0u << (32 - prefix));
    config.gateway = __builtin_bswap32(gateway);
    rig_start(&config, &fake_netdev_default);
}

/* Whether an ARP request for the address is in `frame`. */
static bool asks_for(uint32_t address)
{
    const uint32_t target = __builtin_bswap32(address);
    return rig_other(frame) == 42 && frame[13] == 6 && frame[21] == 1 &&
           memcmp(frame + 38, &target, 4) == 0;
}

static void ping(uint32_t address)
{
    EXPECT(fake_netdev_arrive(request, rig_ping(address, 10, request), false));
}

/* The answer to ping() is the next frame, and goes to the gateway. */
static void expect_pong(void)
{
    EXPECT_EQ(rig_other(frame), 52);
    EXPECT_EQ(frame[34], 0);
    EXPECT(memcmp(frame, gateway_mac, 6) == 0);
}

/* It asks for the gateway, and its answer to ping() waits until it knows it. */
static void expect_pong_by(uint32_t gateway)
{
    EXPECT(asks_for(gateway));
    rig_introduce(gateway_mac, gateway);
    expect_pong();
    EXPECT_EQ(rig_other(frame), 42);
}

static void serves(uint32_t address)
{
    peer_init(&peer, 5000);
    peer.address = address;
    peer_connect(&peer);
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
}

/* RFC 3021: 10.0.0.2/31 and 10.0.0.3, whose host bits are all ones. */
NET_TEST(the_other_of_two_addresses_is_a_peer_and_no_broadcast)
{
    start(31, RIG_SERVER_ADDRESS + 1);
    ping(RIG_SERVER_ADDRESS + 1);
    expect_pong_by(RIG_SERVER_ADDRESS + 1);
    serves(RIG_SERVER_ADDRESS + 1);
    /* As the gateway, too. */
    ping(ELSEWHERE);
    expect_pong();
    serves(ELSEWHERE);
}

NET_TEST(in_a_subnet_of_four_the_last_address_is_for_broadcast)
{
    start(30, RIG_SERVER_ADDRESS - 1);
    ping(RIG_SERVER_ADDRESS + 1);
    EXPECT_EQ(rig_other(frame), 0);
    peer_init(&peer, 5000);
    peer.address = RIG_SERVER_ADDRESS + 1;
    peer_send_syn(&peer);
    EXPECT(!peer_take_syn_ack(&peer));
}

static void reaches_behind(uint32_t gateway)
{
    start(32, gateway);
    ping(ELSEWHERE);
    expect_pong_by(gateway);
    serves(ELSEWHERE);
    ping(gateway);
    expect_pong();
    serves(gateway);
}

NET_TEST(a_gateway_outside_the_subnet_is_resolved_on_the_link)
{
    reaches_behind(0xac100001u); /* 172.16.0.1 */
}

NET_TEST(a_gateway_with_a_link_local_address_is_resolved_on_the_link)
{
    reaches_behind(0xa9fe0101u); /* 169.254.1.1 */
}

NET_TEST(alone_in_the_subnet_without_a_gateway_it_serves_who_comes)
{
    start(32, 0);
    serves(RIG_SERVER_ADDRESS + 1);
    serves(ELSEWHERE);
    ping(ELSEWHERE);
    EXPECT_EQ(rig_other(frame), 0);
}
