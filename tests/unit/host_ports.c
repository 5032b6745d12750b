/* Ports that ACPI names, on the host: the source compiled into this file, over a ring 0 of ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "kernel/ring0/ring0.h"

#define ring0_call(call, first, second) fake_ring0_call(call, first, second) /* not the type */
#define panic                           vports_panic
#define ports_allow                     vports_allow

static bool fake_ring0_call(enum ring0_call call, uint64_t first, uint64_t second);

#include "kernel/cpu/ports.c"

#include "tests/test.h"

static struct {
    unsigned calls;
    enum ring0_call call;
    uint64_t first, second;
    bool refuses;
    char said[100];
    jmp_buf panicked;
} fake;

static bool fake_ring0_call(enum ring0_call call, uint64_t first, uint64_t second)
{
    fake.calls++;
    fake.call = call;
    fake.first = first;
    fake.second = second;
    return !fake.refuses;
}

void vports_panic(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(fake.said, sizeof fake.said, format, args);
    va_end(args);
    longjmp(fake.panicked, 1);
}

/* False when it panics. */
static bool allows(uint64_t first, unsigned count, enum ports_until until)
{
    if (setjmp(fake.panicked) != 0)
        return false;
    ports_allow(first, count, until);
    return true;
}

TEST(ports_are_allowed_for_the_boot_or_for_good)
{
    memset(&fake, 0, sizeof fake);
    CHECK(allows(0x608, 4, PORTS_DURING_BOOT));
    CHECK(fake.call == RING0_ALLOW_BOOT_PORTS && fake.first == 0x608 && fake.second == 4);
    CHECK(allows(0x604, 2, PORTS_AFTER_BOOT));
    CHECK(fake.call == RING0_ALLOW_PORTS && fake.first == 0x604 && fake.second == 2);
    CHECK_EQ(fake.calls, 2);
}

TEST(ports_that_acpi_has_not_are_not_asked_for)
{
    memset(&fake, 0, sizeof fake);
    fake.refuses = true;
    CHECK(allows(0, 2, PORTS_AFTER_BOOT));
    CHECK_EQ(fake.calls, 0);
}

TEST(ports_that_ring_0_refuses_stop_the_machine)
{
    memset(&fake, 0, sizeof fake);
    fake.refuses = true;
    CHECK(!allows(0x10604, 2, PORTS_AFTER_BOOT));
    CHECK_EQ(fake.first, 0x10604); /* not cut to 16 bits */
    CHECK(strcmp(fake.said, "ports: ring 0 refuses 0x10604, which the ACPI tables name") == 0);
}
