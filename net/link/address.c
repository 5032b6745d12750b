#include "net/link/address.h"

#include <stddef.h>
#include <string.h>

/* Digits without a sign and without superfluous zeros ("010" is octal to some), at most `max`. */
static const char *parse_number(const char *text, uint32_t max, uint32_t *number)
{
    const char *const begin = text;
    uint32_t value = 0;
    while (*text >= '0' && *text <= '9') {
        value = value * 10 + (uint32_t)(*text - '0');
        if (value > max)
            return NULL;
        text++;
    }
    if (text == begin || (*begin == '0' && text - begin > 1))
        return NULL;
    *number = value;
    return text;
}

/* Four numbers and three dots; the address in host byte order. */
static const char *parse_dotted(const char *text, uint32_t *address)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < 4; i++) {
        uint32_t byte;
        if (i > 0 && *text++ != '.')
            return NULL;
        text = parse_number(text, 255, &byte);
        if (text == NULL)
            return NULL;
        value = value << 8 | byte;
    }
    *address = value;
    return text;
}

/*
 * A unicast address that a host can have (RFC 1122 section 3.2.1.3), in host byte order. Subnets of
 * two addresses (RFC 3021) or one have none for the network and none for broadcast.
 */
static bool is_host(uint32_t address, uint32_t netmask)
{
    const uint32_t network = address >> 24;
    const bool unicast = network != 0 && network != 127 && network < 224;
    const uint32_t host = address & ~netmask;
    return unicast && (~netmask <= 1 || (host != 0 && host != ~netmask));
}

/* Where there is nobody but ourselves in the subnet, the gateway is on the link all the same. */
static bool is_gateway(uint32_t gateway, uint32_t address, uint32_t netmask)
{
    return is_host(gateway, netmask) && gateway != address &&
           (netmask == ~0u || (gateway & netmask) == (address & netmask));
}

bool address_parse(const char *text, void *target)
{
    struct address *const out = target;
    uint32_t address, prefix, gateway = 0;

    if (strcmp(text, "dhcp") == 0) {
        *out = (struct address){0, 0, 0};
        return true;
    }
    text = parse_dotted(text, &address);
    if (text == NULL || *text++ != '/')
        return false;
    text = parse_number(text, 32, &prefix);
    if (text == NULL || prefix == 0)
        return false;
    const uint32_t netmask = ~0u << (32 - prefix);
    if (!is_host(address, netmask))
        return false;
    if (*text == ',') {
        text = parse_dotted(text + 1, &gateway);
        if (text == NULL || !is_gateway(gateway, address, netmask))
            return false;
    }
    if (*text != '\0')
        return false;
    *out = (struct address){__builtin_bswap32(address), __builtin_bswap32(netmask),
                            __builtin_bswap32(gateway)};
    return true;
}
