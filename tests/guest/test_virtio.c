/*
 * The drivers against the emulator's devices. The command line says what has to be there, so that
 * no test passes for want of a device:
 *
 *     expect-net         fail, rather than skip, when there is no network device
 *     expect-rng         likewise for virtio-rng
 *     arp=ADDRESS        somebody answers ARP requests for it (10.0.2.2 with `-netdev user`)
 */
#include <stdio.h>
#include <stdlib.h>

#include "kernel/cpu/cpu.h"
#include "kernel/mem/memory.h"
#include "kernel/plat/acpi.h"
#include "kernel/plat/pci.h"
#include "kernel/plat/sleep.h"
#include "kernel/plat/start.h"
#include "kernel/ring0/ring0.h"
#include "kernel/virtio/virtio_mmio.h"
#include "kernel/virtio/virtio_mmio_windows.h"
#include "kernel/virtio/virtio_net.h"
#include "kernel/virtio/virtio_rng.h"
#include "tests/test.h"

#define FRAME_BYTES 60 /* the least that Ethernet allows, without the checksum */

/* The text after `name` where a word of the command line begins with it; NULL if none does. */
static const char *next_word(const char *from, const char *name)
{
    for (const char *at = from; (at = strstr(at, name)) != NULL; at++)
        if (at == kernel_command_line() || at[-1] == ' ')
            return at + strlen(name);
    return NULL;
}

static const char *word(const char *name)
{
    return next_word(kernel_command_line(), name);
}

static void tell_where_mmio_devices_are(void)
{
    char value[64];

    for (const char *at = kernel_command_line();
         (at = next_word(at, "virtio_mmio.device=")) != NULL;) {
        const size_t len = strcspn(at, " ");
        if (len >= sizeof(value))
            continue;
        memcpy(value, at, len);
        value[len] = '\0';
        if (!virtio_mmio_parse(value, NULL))
            test_print("not a device: %s", value);
    }
}

static bool can_sleep;

static bool net_is_up(void)
{
    static enum { UNTRIED, UP, ABSENT } state;

    if (state == UNTRIED) {
        tell_where_mmio_devices_are();
        can_sleep = sleep_is_possible() || sleep_init();
        state = netdev_init() ? UP : ABSENT;
    }
    return state == UP;
}

#define NET_TEST(test_name)                                                                        \
    static void body_##test_name(void);                                                            \
    TEST(test_name)                                                                                \
    {                                                                                              \
        if (net_is_up())                                                                           \
            body_##test_name();                                                                    \
        else if (word("expect-net") != NULL)                                                       \
            CHECK(!"expect-net, but there is no network device");                                  \
        else                                                                                       \
            test_print("skipped: no network device: %s", #test_name);                              \
    }                                                                                              \
    static void body_##test_name(void)

/* An ARP request (RFC 826) of our own, as a probe (RFC 5227): the sender's address is 0. */
static void write_arp_request(uint8_t *frame, const uint8_t target[4])
{
    const uint8_t fixed[] = {0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, 1};
    const uint8_t *const mac = netdev_get_info()->mac;
    const uint8_t sender[4] = {10, 0, 2, 15};

    memset(frame, 0, FRAME_BYTES);
    memset(frame, 0xff, 6);
    memcpy(frame + 6, mac, 6);
    memcpy(frame + 12, fixed, sizeof(fixed));
    memcpy(frame + 22, mac, 6);
    memcpy(frame + 28, sender, 4);
    memcpy(frame + 38, target, 4);
}

static bool is_arp_reply(const struct netdev_piece *piece, const uint8_t target[4])
{
    const uint8_t *const frame = piece->bytes;

    return piece->len >= 42 && !piece->more && frame[12] == 0x08 && frame[13] == 0x06 &&
           frame[21] == 2 && memcmp(frame + 28, target, 4) == 0 &&
           memcmp(frame, netdev_get_info()->mac, 6) == 0;
}

#define BURST 32

static uint8_t frames[BURST][NETDEV_HEADROOM_BYTES + FRAME_BYTES];

/* Sends `count` requests in two buffers each. */
static void send_burst(unsigned count, const uint8_t target[4])
{
    for (unsigned i = 0; i < count; i++) {
        uint8_t *const bytes = frames[i] + NETDEV_HEADROOM_BYTES;
        write_arp_request(bytes, target);
        const struct netdev_frame frame = {
            .buffers = {{bytes, 14}, {bytes + 14, FRAME_BYTES - 14}},
            .buffer_count = 2,
            .token = frames[i],
        };
        netdev_transmit(&frame);
    }
    netdev_flush();
}

/* Waits until `tokens` have come back and `replies` were received; false after ten seconds. */
static bool await(unsigned tokens, unsigned replies, const uint8_t target[4])
{
    static struct netdev_piece pieces[NETDEV_PIECES_MAX];
    const uint64_t deadline_ns = clock_ns() + 10 * CLOCK_NS_PER_S;
    void *done[BURST];

    while ((tokens > 0 || replies > 0) && clock_ns() < deadline_ns) {
        const size_t count = netdev_receive(pieces, NETDEV_PIECES_MAX);
        for (size_t i = 0; i < count; i++) {
            if (replies > 0 && is_arp_reply(&pieces[i], target))
                replies--;
            netdev_recycle(&pieces[i]);
        }
        const size_t reaped = netdev_transmitted(done, BURST);
        tokens -= reaped < tokens ? (unsigned)reaped : tokens;
        netdev_flush();
        cpu_pause();
    }
    return tokens == 0 && replies == 0;
}

NET_TEST(virtio_net_tells_what_it_is)
{
    const struct netdev_info *const info = netdev_get_info();
    const uint8_t none[6] = {0};

    CHECK(memcmp(info->mac, none, 6) != 0 && (info->mac[0] & 1) == 0);
    CHECK(info->mtu_bytes >= 576 && info->mtu_bytes <= 9000);
    CHECK(netdev_link_is_up());
    CHECK(netdev_transmit_space() >= 64);
}

NET_TEST(virtio_net_gives_frames_back_when_sent)
{
    const uint8_t nobody[4] = {10, 0, 2, 200};
    const size_t space = netdev_transmit_space();

    send_burst(BURST, nobody);
    CHECK_EQ(netdev_transmit_space(), space - 2 * BURST);
    CHECK(await(BURST, 0, nobody));
    CHECK_EQ(netdev_transmit_space(), space);
    CHECK(netdev_get_counters()->kicks > 0);
    CHECK_EQ(netdev_get_counters()->resets, 0);
}

/* Whose address arp= says. False without it. */
static bool find_neighbour(uint8_t target[4], const char *test)
{
    const char *text = word("arp=");

    if (text == NULL) {
        test_print("skipped: no arp=ADDRESS given: %s", test);
        return false;
    }
    for (unsigned i = 0; i < 4; i++) {
        char *end;
        target[i] = (uint8_t)strtoul(text, &end, 10);
        text = end + 1;
    }
    return true;
}

NET_TEST(virtio_net_exchanges_frames_round_and_round)
{
    uint8_t target[4];
    enum { ROUNDS = 100 };

    if (!find_neighbour(target, "virtio_net_exchanges_frames_round_and_round"))
        return;
    const uint64_t kicks = netdev_get_counters()->kicks;
    const uint64_t start_ns = clock_ns();
    for (unsigned round = 0; round < ROUNDS; round++) {
        send_burst(BURST, target);
        CHECK(await(BURST, BURST, target));
    }
    test_print("%u frames each way: %llu kicks, %llu us", ROUNDS * BURST,
               (unsigned long long)(netdev_get_counters()->kicks - kicks),
               (unsigned long long)((clock_ns() - start_ns) / 1000));
    CHECK(netdev_get_counters()->received_frames >= ROUNDS * BURST);
    CHECK_EQ(netdev_get_counters()->resets, 0);
    CHECK_EQ(netdev_get_counters()->receive_dropped, 0);
}

/*
 * Without a timer nothing but the device's interrupt ends it. Those of the transmit queue are not
 * asked for, so it is the answer's.
 */
NET_TEST(virtio_net_ends_a_sleep_when_a_frame_comes)
{
    uint8_t target[4];

    if (!find_neighbour(target, "virtio_net_ends_a_sleep_when_a_frame_comes"))
        return;
    CHECK(can_sleep);
    for (unsigned round = 0; round < 100; round++) {
        CHECK(netdev_arm());
        send_burst(1, target);
        (void)ring0_call(RING0_SLEEP, 0, 0);
        netdev_disarm();
        CHECK(await(1, 1, target));
    }
}

TEST(virtio_rng_gives_different_bytes_each_time)
{
    uint8_t first[100] = {0}, second[100] = {0};

    (void)net_is_up(); /* the command line is read there */
    if (!virtio_rng_fill(first, sizeof(first))) {
        if (word("expect-rng") != NULL)
            CHECK(!"expect-rng, but none came");
        test_print("skipped: no virtio-rng device");
        return;
    }
    CHECK(virtio_rng_fill(second, sizeof(second)));
    CHECK(memcmp(first, second, sizeof(first)) != 0);
    unsigned zeros = 0;
    for (unsigned i = 0; i < sizeof(first); i++)
        zeros += first[i] == 0;
    CHECK(zeros < 20); /* to the last byte: 64 of them come at a time */
}

static struct pci_device first_function;
static unsigned functions;

static void note_function(const struct pci_device *device, void *context)
{
    (void)context;
    if (functions++ == 0)
        first_function = *device;
}

static unsigned functions_of(uint16_t vendor)
{
    functions = 0;
    (void)pci_visit(vendor, note_function, NULL);
    return functions;
}

TEST(pci_finds_the_host_bridge)
{
    const uint16_t intel = 0x8086;

    if (!pci_is_present()) {
        test_print("skipped: no PCI");
        return;
    }
    CHECK(functions_of(intel) >= 1);
    CHECK(first_function.bus == 0 && first_function.slot == 0 && first_function.function == 0);
    CHECK(first_function.ecam == NULL);
    CHECK_EQ(functions_of(0xfffe), 0);
}

TEST(pci_reads_the_same_by_ports_and_in_memory)
{
    const struct acpi_facts *const acpi = acpi_get_facts();

    if (!pci_is_present() || acpi->ecam_count == 0) {
        test_print("skipped: not both of PCI's ways to its configuration space");
        return;
    }
    CHECK(functions_of(PCI_VENDOR_VIRTIO) >= 1 && first_function.bus == 0);
    struct pci_device in_memory = first_function;
    in_memory.ecam = (volatile uint8_t *)memory_map_device(acpi->ecam[0].address, 1 << 20) +
                     (first_function.slot << 15 | first_function.function << 12);
    for (unsigned offset = 0; offset < 0x40; offset += 4)
        CHECK_EQ(pci_read32(&in_memory, (uint8_t)offset),
                 pci_read32(&first_function, (uint8_t)offset));
    pci_write16(&in_memory, PCI_COMMAND, pci_read16(&in_memory, PCI_COMMAND));
}
