/* The value of ip= on the command line: ADDR/PREFIX[,GATEWAY], or dhcp. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* IPv4, network byte order. address 0 means DHCP; gateway 0 means none. */
struct address {
    uint32_t address, netmask, gateway;
};

/*
 * Parses `text` into the struct address at `target`. False, and *target untouched, if it is
 * malformed or cannot work: an address that is not a host's in its own subnet, a prefix outside of
 * 1 to 32, a gateway outside of the subnet. With a prefix of 32 nobody else is in the subnet, and
 * the gateway is any other host's address: it is resolved on the link. Fits cmdline_option.parse.
 */
__attribute__((warn_unused_result)) bool address_parse(const char *text, void *target);
