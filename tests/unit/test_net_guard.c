#include "net/wire/guard.h"
#include "tests/octets.h"
#include "tests/test.h"

static const struct guard_self self = {{2, 0, 0, 0, 0, 2}, 0x0200000a};
static struct guard_frame frame;

/* A SYN from 10.0.0.1 port 4,660 to 10.0.0.2 port 8,080, with an MSS option. */
static const uint8_t syn[58] = {
    2,    0,    0, 0,  0, 2, 2, 0, 0,  0, 0,    1,    8,    0, /* Ethernet */
    0x45, 0,    0, 44, 0, 1, 0, 0, 64, 6, 0x66, 0xc9, 10,   0,    0, 1, 10, 0, 0, 2, 0x12, 0x34,
    0x1f, 0x90, 1, 2,  3, 4, 0, 0, 0,  0, 0x60, 2,    0xff, 0xff, 0, 0, 0,  0, 2, 4, 5,    0xb4};

static uint8_t bytes[64];

/* Once the IP checksum is made right. */
static enum guard_kind check_bytes(void)
{
    uint32_t sum = 0;
    bytes[24] = bytes[25] = 0;
    for (unsigned i = 14; i < 34; i += 2)
        sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    bytes[24] = (uint8_t)(~sum >> 8);
    bytes[25] = (uint8_t)~sum;
    return guard_check(&self, bytes, sizeof syn, sizeof syn, &frame);
}

static enum guard_kind check_changed(unsigned at, uint8_t value)
{
    memcpy(bytes, syn, sizeof syn);
    bytes[at] = value;
    return check_bytes();
}

TEST(guard_tells_what_a_segment_is)
{
    CHECK_EQ(guard_check(&self, syn, sizeof syn, sizeof syn, &frame), GUARD_SEGMENT);
    CHECK_EQ(frame.payload_len, 44);
    CHECK_EQ(frame.segment.source, 0x0100000a);
    CHECK_EQ(frame.segment.source_port, 0x1234);
    CHECK_EQ(frame.segment.port, 8080);
    CHECK_EQ(frame.segment.number, 0x01020304);
    CHECK_EQ(frame.segment.ack, 0);
    CHECK_EQ(frame.segment.window, 0xffff);
    CHECK_EQ(frame.segment.flags, 2);
}

TEST(guard_refuses_what_contradicts_itself)
{
    static const struct {
        unsigned at;
        uint8_t value;
        const char *why;
    } changes[] = {
        {5, 3, "another machine's"},
        {0, 3, "multicast"},
        {6, 3, "from a group"},
        {12, 0x86, "another protocol"},
        {14, 0x65, "version 6"},
        {14, 0x44, "a header too short"},
        {14, 0x46, "IP options"},
        {17, 19, "shorter than a header"},
        {17, 45, "longer than the frame"},
        {17, 39, "shorter than TCP's header"},
        {20, 0x20, "more fragments"},
        {21, 1, "a fragment"},
        {26, 127, "from loopback"},
        {46, 0x40, "a TCP header too short"},
        {46, 0x70, "a TCP header too long"},
        {47, 0, "no flags"},
        {47, 1, "only FIN"},
        {47, 3, "SYN and FIN"},
        {47, 6, "SYN and RST"},
        {55, 0, "an option of no length"},
        {55, 1, "an option of length 1"},
        {55, 5, "an option cut off"},
    };
    for (unsigned i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        if (check_changed(changes[i].at, changes[i].value) != GUARD_REFUSED)
            test_print("accepted: %s", changes[i].why);
        CHECK_EQ(check_changed(changes[i].at, changes[i].value), GUARD_REFUSED);
    }
    CHECK_EQ(check_changed(20, 0x40), GUARD_SEGMENT); /* "don't fragment" */
    CHECK_EQ(check_changed(33, 3), GUARD_IP);         /* to another address */
    CHECK_EQ(check_changed(23, 47), GUARD_IP);        /* a protocol lwIP will refuse */
}

/* `bytes`, once they are sent to all. */
static enum guard_kind check_broadcast(void)
{
    memset(bytes, 0xff, 6);
    return check_bytes();
}

static enum guard_kind check_broadcast_protocol(uint8_t protocol)
{
    memcpy(bytes, syn, sizeof syn);
    bytes[23] = protocol;
    put16(bytes + 38, 24); /* a UDP length */
    return check_broadcast();
}

/* RFC 1122 section 3.3.6. */
TEST(guard_takes_of_what_is_sent_to_all_only_arp_and_udp_to_all)
{
    CHECK_EQ(check_broadcast_protocol(6), GUARD_REFUSED);
    CHECK_EQ(check_broadcast_protocol(1), GUARD_REFUSED);
    CHECK_EQ(check_broadcast_protocol(47), GUARD_REFUSED);
    CHECK_EQ(check_broadcast_protocol(17), GUARD_REFUSED);
    put32(bytes + 30, 0xffffffff);
    CHECK_EQ(check_broadcast(), GUARD_IP);
    put32(bytes + 30, 0x0a000003);
    CHECK_EQ(check_broadcast(), GUARD_IP); /* as DHCP may, to an address that is not ours yet */
    for (size_t len = 14; len < 14 + 20; len++)
        CHECK_EQ(guard_check(&self, bytes, len, sizeof syn, &frame), GUARD_REFUSED);
    /* To all, and no less. */
    for (unsigned i = 0; i < 6; i++) {
        (void)check_broadcast();
        bytes[i] = 0xfe;
        CHECK_EQ(guard_check(&self, bytes, sizeof syn, sizeof syn, &frame), GUARD_REFUSED);
    }
    const uint8_t arp[42] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, [12] = 8, 6};
    CHECK_EQ(guard_check(&self, arp, 42, 42, &frame), GUARD_ARP);
}

static enum guard_kind check_tagged(uint16_t tag, size_t len)
{
    memcpy(bytes, syn, 12);
    put16(bytes + 12, 0x8100);
    put16(bytes + 14, tag);
    memcpy(bytes + 16, syn + 12, sizeof syn - 12);
    return guard_check(&self, bytes, len, 62, &frame);
}

TEST(guard_tells_a_priority_tag_from_another_vlans)
{
    CHECK_EQ(check_tagged(0, 62), GUARD_TAGGED);
    for (unsigned bit = 0; bit < 16; bit++)
        CHECK_EQ(check_tagged((uint16_t)(1 << bit), 62), bit < 12 ? GUARD_REFUSED : GUARD_TAGGED);
    /* The tag must be there, and the type behind it. */
    for (size_t len = 14; len < 18; len++)
        CHECK_EQ(check_tagged(0, len), GUARD_REFUSED);
    CHECK_EQ(check_tagged(0, 18), GUARD_TAGGED);
    put16(bytes + 16, 0x8100); /* one behind the other */
    CHECK_EQ(guard_check(&self, bytes, 62, 62, &frame), GUARD_REFUSED);
    (void)check_tagged(0, 62);
    bytes[5] = 3; /* another machine's */
    CHECK_EQ(guard_check(&self, bytes, 62, 62, &frame), GUARD_REFUSED);
    memset(bytes, 0xff, 6);
    CHECK_EQ(guard_check(&self, bytes, 62, 62, &frame), GUARD_TAGGED);
}

TEST(guard_wants_options_whole_up_to_their_end)
{
    static const struct {
        uint8_t options[4];
        enum guard_kind kind;
    } table[] = {
        {{1, 1, 4, 2}, GUARD_SEGMENT}, /* SACK permitted, as last */
        {{0, 0, 0, 0}, GUARD_SEGMENT}, /* what follows the end is none */
        {{3, 1, 1, 1}, GUARD_REFUSED}, /* no room for its own length */
        {{1, 1, 1, 4}, GUARD_REFUSED},
    };
    for (unsigned i = 0; i < sizeof table / sizeof table[0]; i++) {
        memcpy(bytes, syn, sizeof syn);
        memcpy(bytes + 54, table[i].options, 4);
        CHECK_EQ(check_bytes(), table[i].kind);
    }
}

TEST(guard_verifies_the_ip_checksum)
{
    memcpy(bytes, syn, sizeof syn);
    bytes[22] = 63;
    CHECK_EQ(guard_check(&self, bytes, sizeof syn, sizeof syn, &frame), GUARD_REFUSED);
}

/* Nobody can answer to it; and it is in no sum that is looked at here. */
TEST(guard_refuses_a_segment_from_port_0)
{
    memcpy(bytes, syn, sizeof syn);
    bytes[34] = 0;
    CHECK_EQ(guard_check(&self, bytes, sizeof syn, sizeof syn, &frame), GUARD_SEGMENT);
    bytes[35] = 0;
    CHECK_EQ(guard_check(&self, bytes, sizeof syn, sizeof syn, &frame), GUARD_REFUSED);
}

TEST(guard_wants_all_headers_in_one_piece)
{
    for (size_t len = 0; len < sizeof syn; len++) {
        CHECK_EQ(guard_check(&self, syn, len, len, &frame), GUARD_REFUSED);
        CHECK_EQ(guard_check(&self, syn, len, sizeof syn, &frame), GUARD_REFUSED);
    }
}

TEST(guard_checks_lengths_of_arp_udp_and_icmp)
{
    uint8_t arp[42] = {2, 0, 0, 0, 0, 2, [12] = 8, 6};
    CHECK_EQ(guard_check(&self, arp, 42, 42, &frame), GUARD_ARP);
    CHECK_EQ(frame.payload_len, 28);
    CHECK_EQ(guard_check(&self, arp, 41, 41, &frame), GUARD_REFUSED);

    /* 24 bytes after the IP header; a UDP length is at offset 38. */
    CHECK_EQ(check_changed(23, 17), GUARD_REFUSED); /* TCP's numbers are no UDP length */
    bytes[38] = 0;
    bytes[39] = 24;
    CHECK_EQ(guard_check(&self, bytes, sizeof syn, sizeof syn, &frame), GUARD_IP);
    bytes[39] = 8;
    CHECK_EQ(guard_check(&self, bytes, sizeof syn, sizeof syn, &frame), GUARD_IP);
    bytes[39] = 7;
    CHECK_EQ(guard_check(&self, bytes, sizeof syn, sizeof syn, &frame), GUARD_REFUSED);
    bytes[39] = 25;
    CHECK_EQ(guard_check(&self, bytes, sizeof syn, sizeof syn, &frame), GUARD_REFUSED);
    /* Whole, but not in the first piece. */
    bytes[39] = 24;
    CHECK_EQ(guard_check(&self, bytes, 14 + 20 + 8, sizeof syn, &frame), GUARD_IP);
    CHECK_EQ(guard_check(&self, bytes, 14 + 20 + 7, sizeof syn, &frame), GUARD_REFUSED);
    /* A packet too small for either's header. */
    bytes[17] = 20 + 7;
    CHECK_EQ(check_bytes(), GUARD_REFUSED);
    bytes[23] = 1;
    CHECK_EQ(check_bytes(), GUARD_REFUSED);
    bytes[17] = 20 + 8;
    CHECK_EQ(check_bytes(), GUARD_IP);
    CHECK_EQ(check_changed(23, 1), GUARD_IP);
    CHECK_EQ(guard_check(&self, bytes, 14 + 20 + 8, sizeof syn, &frame), GUARD_IP);
    CHECK_EQ(guard_check(&self, bytes, 14 + 20 + 7, sizeof syn, &frame), GUARD_REFUSED);
}
