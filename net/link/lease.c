/*
 * The timers of lwIP 2.2.1's DHCP client have these flaws, which are mended here from outside:
 *
 *   - It counts minutes. lwipopts.h makes them seconds, in 32 bits.
 *   - It takes T1 and T2 in whatever order the server gives them, and T2 of a long lease overflows.
 *   - An infinite lease after a finite one ends with the finite one.
 *   - A lease may end while lwIP asks anew, as it does after the link was down. Then the interface
 *     keeps the address for ever.
 *   - It counts calls. There are none while the host stops the machine, and the lease runs on.
 *
 * So each time lwIP has bound the address, its timers are set again here. Only this file counts
 * when the lease ends. lwIP would send a RELEASE then, of an address that it may use no more.
 */
#include "net/link/lease.h"

#include <assert.h>
#include <stdint.h>

#include "kernel/netdev.h"
#include "lwip/dhcp.h"
#include "net/core/server_state.h"
#include "net/lwip_hooks.h"

/* RFC 2131 section 3.3; sections below are of it, too. Counted like any other, it is 136 years. */
#define INFINITE_S UINT32_MAX

static struct {
    struct netif *netif; /* NULL without DHCP */
    uint32_t left_s;     /* of the lease; INFINITE_S also while there is none */
    uint64_t counted_ns; /* the seconds until then are counted */
    uint64_t asked_ns;   /* when the last message was sent */
} lease;

void lease_asked(void)
{
    lease.asked_ns = server.batch_ns;
}

/* Section 4.4.5: T1 is before T2, and T2 before the end. */
static void set_timers(struct dhcp *dhcp)
{
    const uint32_t end_s = lease.left_s;
    uint32_t renew_s = dhcp->offered_t1_renew, rebind_s = dhcp->offered_t2_rebind;

    if (renew_s >= rebind_s || rebind_s >= end_s) {
        renew_s = end_s / 2;
        rebind_s = (uint32_t)((uint64_t)end_s * 7 / 8);
    }
    dhcp->lease_used = 0;
    dhcp->t0_timeout = end_s;
    dhcp->t1_timeout = dhcp->t1_renew_time = renew_s;
    dhcp->t2_timeout = dhcp->t2_rebind_time = rebind_s;
}

/* A lease is counted from when it was asked for (section 4.4.1), not from when the answer came. */
static void begin(struct dhcp *dhcp)
{
    lease.left_s = LWIP_MAX(dhcp->offered_t0_lease, 1);
    lease.counted_ns = lease.asked_ns;
    set_timers(dhcp);
    log_debug("net", "the address is leased for %lu s, and to be renewed after %lu",
              (unsigned long)lease.left_s, (unsigned long)dhcp->t1_timeout);
}

/* lwIP calls this when it has bound the address, also if it is the same again, or removed it. */
static void follow_address(struct netif *netif, netif_nsc_reason_t reason,
                           const netif_ext_callback_args_t *args)
{
    (void)args;
    if ((reason & (LWIP_NSC_IPV4_SETTINGS_CHANGED | LWIP_NSC_IPV4_ADDR_VALID)) == 0)
        return;
    if (dhcp_supplied_address(netif))
        begin(netif_dhcp_data(netif));
    else
        lease.left_s = INFINITE_S;
}

static void ask(void)
{
    const err_t err = dhcp_start(lease.netif);
    assert(err == ERR_OK);
}

static void end(void)
{
    log_warn("net", "the lease has ended, and was not renewed");
    ask();
    netif_set_addr(lease.netif, IP4_ADDR_ANY4, IP4_ADDR_ANY4, IP4_ADDR_ANY4);
}

/* What becomes due in `seconds` is due in their last, which dhcp_coarse_tmr() counts. */
static void skip_to_last(dhcp_timeout_t *left_s, uint32_t seconds)
{
    if (*left_s != 0)
        *left_s = *left_s > seconds ? *left_s - (seconds - 1) : 1;
}

static void pass(uint32_t seconds)
{
    struct dhcp *const dhcp = netif_dhcp_data(lease.netif);

    lease.left_s -= seconds;
    dhcp->lease_used += seconds - 1;
    skip_to_last(&dhcp->t1_renew_time, seconds);
    skip_to_last(&dhcp->t2_rebind_time, seconds);
    if (dhcp_supplied_address(lease.netif)) /* else it is being asked for already */
        dhcp_coarse_tmr();
}

NETIF_DECLARE_EXT_CALLBACK(callback)

void lease_start(struct netif *netif)
{
    lease.netif = netif;
    lease.left_s = INFINITE_S;
    netif_add_ext_callback(&callback, follow_address);
    ask();
    log_info("net", "asking DHCP for an address");
}

void lease_run(void)
{
    if (lease.netif == NULL)
        return;
    const uint64_t seconds = (server.batch_ns - lease.counted_ns) / CLOCK_NS_PER_S;
    lease.counted_ns += seconds * CLOCK_NS_PER_S;
    if (seconds >= lease.left_s)
        end();
    else if (seconds > 0)
        pass((uint32_t)seconds);
}
