/* The interface: its addresses, its state, and how it comes up. */
#include "net/link/link.h"

#include <assert.h>
#include <string.h>

#include "kernel/netdev.h"
#include "lwip/ip4.h"
#include "net/core/server_state.h"
#include "net/link/lease.h"
#include "net/link/link_state.h"
#include "net/link/receive.h"
#include "net/link/transmit.h"

/* Descriptors without which nothing is received: for an answer to each of a batch, and more. */
#define RECEIVE_SPACE 96

/* How long frames that come may stand for the link. */
#define WATCH_NS CLOCK_NS_PER_S
/* Ticks of the timers that are this close make up for late ones: they see nothing new. */
#define WATCH_NS_MIN (20 * CLOCK_NS_PER_MS)

struct link_state link_state;

/* What link_watch() knows. */
static struct {
    uint64_t frames_seen; /* of those that the device has received */
    uint64_t looked_ns;   /* when the link's state was read last */
} watch;

uint32_t link_random(void)
{
    return entropy_u32();
}

struct netif *link_netif(void)
{
    return &link_state.netif;
}

uint32_t link_address(void)
{
    return netif_ip4_addr(&link_state.netif)->addr;
}

bool link_is_up(void)
{
    return netif_is_link_up(&link_state.netif);
}

static void log_address(const struct netif *netif)
{
    const ip4_addr_t *const address = netif_ip4_addr(netif);
    const uint32_t netmask = netif_ip4_netmask(netif)->addr;
    log_info("net", "%u.%u.%u.%u/%u is up, MTU %u", ip4_addr1_16(address), ip4_addr2_16(address),
             ip4_addr3_16(address), ip4_addr4_16(address), (unsigned)__builtin_popcount(netmask),
             netif->mtu);
}

/*
 * A subnet of two addresses has none for broadcast (RFC 3021), nor has one of a single address.
 * lwIP would take the other of the two for it, and neither hear nor answer the peer.
 */
static void follow_netmask(struct netif *netif)
{
    if (~lwip_ntohl(netif_ip4_netmask(netif)->addr) <= 1)
        netif->flags &= (uint8_t)~NETIF_FLAG_BROADCAST;
    else
        netif->flags |= NETIF_FLAG_BROADCAST;
}

/* lwIP calls this when the interface, its address or its netmask has come, changed or gone. */
static void follow_settings(struct netif *netif, netif_nsc_reason_t reason,
                            const netif_ext_callback_args_t *args)
{
    const uint32_t address = netif_ip4_addr(netif)->addr;
    const bool had_address = link_state.self.address != 0;
    const netif_nsc_reason_t reasons =
        LWIP_NSC_STATUS_CHANGED | LWIP_NSC_IPV4_ADDRESS_CHANGED | LWIP_NSC_IPV4_NETMASK_CHANGED;
    (void)args;

    if ((reason & reasons) == 0)
        return;
    link_state.self.address = address;
    follow_netmask(netif);
    if (address != 0)
        log_address(netif);
    else if (had_address)
        log_warn("net", "the address is gone");
}

static err_t init_netif(struct netif *netif)
{
    const struct netdev_info *const info = netdev_get_info();

    netif->name[0] = 'e';
    netif->name[1] = 'n';
    netif->output = transmit_packet;
    netif->linkoutput = transmit_frame;
    netif->mtu = info->mtu_bytes;
    netif->hwaddr_len = sizeof info->mac;
    memcpy(netif->hwaddr, info->mac, sizeof info->mac);
    netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET;
    return ERR_OK;
}

NETIF_DECLARE_EXT_CALLBACK(settings_callback)

void link_init(uint32_t address, uint32_t netmask, uint32_t gateway,
               const struct link_upcalls *upcalls)
{
    const struct netdev_info *const info = netdev_get_info();
    const ip4_addr_t addresses[3] = {{address}, {netmask}, {gateway}};

    memset(&link_state, 0, sizeof link_state);
    receive_init(upcalls);
    transmit_init();
    const size_t ring = netdev_transmit_space();
    link_state.receive_space = ring / 2 < RECEIVE_SPACE ? ring / 2 : RECEIVE_SPACE;
    memcpy(link_state.self.mac, info->mac, sizeof link_state.self.mac);

    const bool added = netif_add(&link_state.netif, &addresses[0], &addresses[1], &addresses[2],
                                 NULL, init_netif, netif_input) != NULL;
    assert(added);
    link_state.checksum_offload = info->transmit_checksum;
    if (link_state.checksum_offload)
        link_state.netif.chksum_flags &= (u16_t)~NETIF_CHECKSUM_GEN_TCP;
    netif_set_default(&link_state.netif);
    netif_add_ext_callback(&settings_callback, follow_settings);
    netif_set_up(&link_state.netif);
    (void)link_watch();
    if (address == 0)
        lease_start(&link_state.netif);
}

/* A link that receives is up; one that is down may have come up, whatever was received. */
static bool is_heard(void)
{
    const uint64_t frames = netdev_get_counters()->received_frames;
    const bool heard = frames != watch.frames_seen && link_is_up();
    watch.frames_seen = frames;
    return heard;
}

bool link_watch(void)
{
    const uint64_t passed_ns = server.batch_ns - watch.looked_ns;
    if (watch.looked_ns != 0 && passed_ns < (is_heard() ? WATCH_NS : WATCH_NS_MIN))
        return false;
    watch.looked_ns = server.batch_ns;
    const bool up = netdev_link_is_up();
    if (up == link_is_up())
        return false;
    if (up)
        netif_set_link_up(&link_state.netif);
    else
        netif_set_link_down(&link_state.netif);
    log_info("net", "link %s", up ? "up" : "down");
    return up;
}
