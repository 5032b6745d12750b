#include "net/link/address.h"
#include "tests/test.h"

static struct address parsed;

TEST(address_with_prefix_and_gateway)
{
    CHECK(address_parse("198.18.0.2/24", &parsed));
    CHECK_EQ(parsed.address, 0x020012c6);
    CHECK_EQ(parsed.netmask, 0x00ffffff);
    CHECK_EQ(parsed.gateway, 0);
    CHECK(address_parse("10.1.2.3/8,10.0.0.1", &parsed));
    CHECK_EQ(parsed.address, 0x0302010a);
    CHECK_EQ(parsed.netmask, 0x000000ff);
    CHECK_EQ(parsed.gateway, 0x0100000a);
    CHECK(address_parse("192.0.2.1/30,192.0.2.2", &parsed));
    CHECK_EQ(parsed.netmask, 0xfcffffff);
}

/* RFC 3021: of two addresses both are hosts'; and of one that one is. */
TEST(address_in_a_subnet_without_broadcast)
{
    CHECK(address_parse("198.18.0.2/31,198.18.0.3", &parsed));
    CHECK_EQ(parsed.address, 0x020012c6);
    CHECK_EQ(parsed.netmask, 0xfeffffff);
    CHECK_EQ(parsed.gateway, 0x030012c6);
    CHECK(address_parse("198.18.0.3/31,198.18.0.2", &parsed));
    CHECK_EQ(parsed.address, 0x030012c6);
    CHECK_EQ(parsed.gateway, 0x020012c6);
    CHECK(address_parse("198.18.0.2/32,169.254.1.1", &parsed));
    CHECK_EQ(parsed.netmask, 0xffffffff);
    CHECK_EQ(parsed.gateway, 0x0101fea9);
    CHECK(address_parse("198.18.0.255/32", &parsed));
    CHECK_EQ(parsed.address, 0xff0012c6);
    CHECK_EQ(parsed.gateway, 0);
}

TEST(address_dhcp_is_address_0)
{
    parsed.address = 1;
    CHECK(address_parse("dhcp", &parsed));
    CHECK_EQ(parsed.address, 0);
}

TEST(address_malformed_is_refused_and_nothing_is_written)
{
    static const char *const malformed[] = {
        "",
        "dhcp ",
        "DHCP",
        "10.0.0.2",
        "10.0.0.2/",
        "10.0.0.2/0",
        "10.0.0.2/33",
        "10.0.0.2/024",
        "10.0.0.2/24x",
        "10.0.0.2/24,",
        "10.0.0.2/24,10.0.0.1,",
        "10.0.0.2/24 ",
        " 10.0.0.2/24",
        "10.0.0/24",
        "10.0.0.2.3/24",
        "10.0.0.256/24",
        "10.0.0.02/24",
        "10.0.0.4294967298/24",
        "+10.0.0.2/24",
        "10..0.2/24",
        "10.0.0.2/-24",
    };
    for (unsigned i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        parsed = (struct address){1, 2, 3};
        CHECK(!address_parse(malformed[i], &parsed));
        CHECK(parsed.address == 1 && parsed.netmask == 2 && parsed.gateway == 3);
    }
}

TEST(address_that_cannot_work_is_refused)
{
    static const char *const useless[] = {
        "10.0.0.0/24",            /* the network */
        "10.0.0.255/24",          /* broadcast */
        "0.0.0.1/8",              /* "this network" */
        "127.0.0.1/8",            /* loopback */
        "224.0.0.1/24",           /* multicast */
        "255.255.255.254/24",     /* reserved */
        "10.0.0.2/24,10.0.1.1",   /* a gateway elsewhere */
        "10.0.0.2/24,10.0.0.2",   /* oneself */
        "10.0.0.2/24,10.0.0.255", /* broadcast */
        "10.0.0.2/31,10.0.0.4",   /* elsewhere */
        "10.0.0.2/31,10.0.0.2",   /* oneself */
        "10.0.0.2/32,10.0.0.2",   /* oneself */
        "10.0.0.2/32,224.0.0.1",  /* multicast */
        "10.0.0.2/32,127.0.0.1",  /* loopback */
        "0.0.0.0/32",             /* nobody */
        "255.255.255.255/32",     /* all */
    };
    for (unsigned i = 0; i < sizeof useless / sizeof useless[0]; i++)
        CHECK(!address_parse(useless[i], &parsed));
}
