#include "tests/sim/abuse.h"

#include <string.h>

#include "tests/fake_netdev.h"
#include "tests/sim/client.h"
#include "tests/sim/prng.h"
#include "tests/sim/profile.h"
#include "tests/sim/sim.h"
#include "tests/sim/wire.h"

#define MISDEEDS_MAX 200 /* in one go */

static uint8_t frame[FRAME_BYTES_MAX];

/* ---- floods ---- */

static uint32_t nobody(void)
{
    return prng_permille(700) ? FRAME_FAR(65536 + prng_below(1u << 19))
                              : FRAME_HOST(prng_range(100, 250));
}

static void send_syn(void)
{
    const struct segment syn = {
        .address = nobody(),
        .port = (uint16_t)prng_range(1, 65535),
        .server_port = FRAME_SERVER_PORT,
        .number = (uint32_t)prng_next(),
        .window = (uint16_t)prng_next(),
        .mss = (uint16_t)prng_next(),
        .flags = FLAG_SYN,
    };
    wire_send(WIRE_TO_SERVER, frame, frame_of_segment(&syn, frame));
}

/* ---- guesses ---- */

/*
 * A segment in the name of an open connection, that must not do anything. It arrives at once: the
 * appliance cannot have got more of the client's octets than were sent, nor can the appliance have
 * sent beyond the window.
 */
static void send_guess(void)
{
    static const uint8_t data[] = "GET /forged HTTP/1.1\r\nHost: f\r\n\r\n";
    struct peer *const peer = clients_pick_open();
    if (peer == NULL)
        return;
    struct segment guess = {
        .address = peer->options.address,
        .port = peer->options.port,
        .server_port = FRAME_SERVER_PORT,
        .number = peer->max,
        .ack = peer->expected,
        .window = peer->options.window,
        .flags = FLAG_ACK,
    };
    const uint32_t which = prng_below(8);
    /*
     * Where the handshake was answered with a cookie the appliance holds nothing of it before its
     * last segment, and resets a stranger that acknowledges (RFC 9293 section 3.10.7.2): exactly
     * where the client is, if it has the cookie. Whoever sees that could reset it himself.
     */
    if ((which == 5 || which == 6) && peer->una == peer->options.iss + 1)
        return;
    if (which >= 3) {
        guess.data = data;
        guess.len = sizeof data - 1;
    }
    switch (which) {
    case 0: /* RST in the window, but not where it is expected: RFC 5961 section 3.2 */
        guess.flags = FLAG_RST;
        guess.number += prng_range(1, 20000);
        break;
    case 1: /* RST outside of it */
        guess.flags = FLAG_RST;
        guess.number += prng_range(100000, 0x7fffffff);
        break;
    case 2: /* SYN: RFC 5961 section 4.2. It is a good one if the connection has just been reset. */
        peer->options.number_reused = true;
        guess.flags = FLAG_SYN;
        guess.number =
            prng_permille(500) ? guess.number + prng_below(30000) : (uint32_t)prng_next();
        break;
    case 3: /* of octets that were never sent: RFC 5961 section 5.2 */
        guess.ack = peer->right_edge + prng_range(2, 1000000);
        break;
    case 4: /* of octets of long ago */
        guess.ack = peer->irs - prng_range(140000, 1000000);
        break;
    case 5: /* beyond the window */
        guess.number += prng_range(100000, 0x3fffffff);
        break;
    case 6: /* long before it */
        guess.number -= prng_range(100000, 0x3fffffff);
        break;
    default: /* without ACK */
        guess.flags = 0;
        break;
    }
    sim_trace("guess %u at %u", which, guess.port);
    (void)fake_netdev_arrive(frame, frame_of_segment(&guess, frame), false);
}

/* ---- noise ---- */

static void put_random(uint8_t *at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)prng_next();
}

/* Any flags, any options, and the checksum right: from nobody. */
static size_t make_odd_segment(void)
{
    static uint8_t data[64];
    struct segment segment = {
        .address = nobody(),
        .port = (uint16_t)prng_next(),
        .server_port = prng_permille(700) ? FRAME_SERVER_PORT : (uint16_t)prng_next(),
        .number = (uint32_t)prng_next(),
        .ack = (uint32_t)prng_next(),
        .window = (uint16_t)prng_next(),
        .flags = prng_permille(500) ? FLAG_SYN : (uint8_t)prng_next(),
        .options_len = (uint8_t)(4 * prng_below(9)),
        .data = data,
        .len = prng_below(sizeof data),
    };
    put_random(data, segment.len);
    put_random(segment.options, segment.options_len);
    if (prng_permille(500))
        segment.options[0] = (uint8_t)prng_below(6);
    return frame_of_segment(&segment, frame);
}

static size_t make_packet(uint8_t protocol)
{
    const size_t len = prng_scale(1, 1400);
    put_random(frame + ETHERNET_BYTES + IP_BYTES, len);
    return frame_of_ip(protocol, nobody(), len, frame);
}

static size_t make_echo(void)
{
    const size_t len = 8 + prng_below(100);
    uint8_t *const echo = frame + ETHERNET_BYTES + IP_BYTES;
    memset(echo, 0, len);
    echo[0] = 8;
    echo[2] = 0xf7; /* the sum of a type alone */
    echo[3] = 0xff;
    return frame_of_ip(1, FRAME_HOST(prng_range(1, profile.hosts)), len, frame);
}

static void send_noise(void)
{
    size_t len;
    switch (prng_below(9)) {
    case 0:
        len = prng_range(1, 1514);
        put_random(frame, len);
        if (len >= 14)
            memcpy(frame, fake_netdev_default.mac, 6);
        break;
    case 1:
        len = make_packet(17);
        break;
    case 2:
        len = make_packet(6);
        break;
    case 3:
        len = make_packet((uint8_t)prng_next());
        break;
    case 4:
        len = make_echo();
        break;
    case 5:
        len = frame_of_arp(prng_permille(500) ? 1 : 2, FRAME_HOST(prng_range(100, 250)), frame);
        len -= prng_permille(300) ? prng_range(1, 28) : 0;
        break;
    case 6: /* a fragment, or options; the header's sum is wrong then, which is as good */
        len = make_odd_segment();
        frame[ETHERNET_BYTES + prng_below(8)] = (uint8_t)prng_next();
        break;
    case 7: /* LAND: from the appliance itself */
        len = make_odd_segment();
        len = frame_of_ip(6, FRAME_SERVER, len - ETHERNET_BYTES - IP_BYTES, frame);
        frame_sum_segment(frame, len);
        break;
    default:
        len = make_odd_segment();
        break;
    }
    if (len >= ETHERNET_BYTES)
        wire_send(WIRE_TO_SERVER, frame, len);
}

/* ---- all of them ---- */

struct misdeed {
    const uint32_t *rate; /* a second */
    void (*commit)(void);
    uint64_t due_ns;
};

static struct misdeed misdeeds[] = {
    {&profile.syns, send_syn, 0},
    {&profile.blind, send_guess, 0},
    {&profile.noise, send_noise, 0},
};

#define MISDEEDS (sizeof misdeeds / sizeof misdeeds[0])

void abuse_run(void)
{
    for (unsigned i = 0; i < MISDEEDS; i++) {
        struct misdeed *const misdeed = &misdeeds[i];
        if (*misdeed->rate == 0)
            continue;
        if (misdeed->due_ns == 0)
            misdeed->due_ns = sim_now();
        for (unsigned n = 0; n < MISDEEDS_MAX && misdeed->due_ns <= sim_now(); n++) {
            misdeed->commit();
            misdeed->due_ns += prng_range(1, 2 * (uint32_t)(SIM_S / *misdeed->rate));
        }
    }
}

uint64_t abuse_next_ns(void)
{
    uint64_t next_ns = UINT64_MAX;
    for (unsigned i = 0; i < MISDEEDS; i++)
        if (*misdeeds[i].rate != 0 && misdeeds[i].due_ns < next_ns)
            next_ns = misdeeds[i].due_ns;
    return next_ns;
}
