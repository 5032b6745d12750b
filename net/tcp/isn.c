#include "net/tcp/isn.h"

#include <stdbool.h>
#include <string.h>

#include "kernel/netdev.h"
#include "net/lwip_hooks.h"

/* RFC 6528 section 3, RFC 9293 section 3.4.1: the clock ticks every 4 µs. */
#define TICK_NS 4000

/* More than any segment under way could span. */
#define ABOVE_USED 64000u

static struct {
    struct siphash_key key;
    uint32_t used, given;
    bool stay_above, is_given;
} isn;

void isn_init(void)
{
    entropy_fill(&isn.key, sizeof isn.key);
    isn_choose_freely();
}

void isn_stay_above(uint32_t used)
{
    isn.used = used;
    isn.stay_above = true;
}

void isn_choose(uint32_t number)
{
    isn.given = number;
    isn.is_given = true;
}

void isn_choose_freely(void)
{
    isn.stay_above = false;
    isn.is_given = false;
}

u32_t isn_of_connection(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote,
                        u16_t remote_port)
{
    uint8_t tuple[12];
    if (isn.is_given) {
        isn_choose_freely();
        return isn.given;
    }
    memcpy(tuple, &local->addr, 4);
    memcpy(tuple + 4, &remote->addr, 4);
    memcpy(tuple + 8, &local_port, 2);
    memcpy(tuple + 10, &remote_port, 2);

    uint32_t number = (uint32_t)(isn_hash(&isn.key, tuple, sizeof tuple) + clock_ns() / TICK_NS);
    if (isn.stay_above && (int32_t)(number - isn.used) <= 0)
        number = isn.used + ABOVE_USED;
    isn_choose_freely();
    return number;
}
