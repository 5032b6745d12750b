/*
 * The ways to switch off, on the host: the source compiled into this file, over a machine that
 * takes none of them, and writes down which it was asked for. What halts then ends the test.
 */
#include <setjmp.h>

#include "kernel/cpu/cpu.h"
#include "kernel/ring0/ring0.h"

#define cpu_out8                        fake_out8
#define cpu_out16                       fake_out16
#define cpu_out32                       fake_out32
#define cpu_tsc                         fake_tsc
#define cpu_halt                        fake_halt
#define ring0_call(call, first, second) fake_ring0_call(call, first, second) /* not the type */
#define acpi_get_facts                  vpower_acpi_get_facts
#define console_flush                   vpower_console_flush
#define memory_map_device               vpower_memory_map_device
#define ports_allow                     vpower_ports_allow
#define power_init                      vpower_init
#define power_off                       vpower_off

static void fake_out8(uint16_t port, uint8_t value);
static void fake_out16(uint16_t port, uint16_t value);
static void fake_out32(uint16_t port, uint32_t value);
static uint64_t fake_tsc(void);
static bool fake_ring0_call(enum ring0_call call, uint64_t first, uint64_t second);
static void fake_halt(void);

#include "kernel/plat/power.c"

#include <stdio.h>
#include <string.h>

#include "tests/test.h"

static struct {
    struct acpi_facts acpi;
    uint64_t tsc;
    uint8_t sleep_register;
    char log[256];
    jmp_buf halted;
} fake;

static void note(const char *what, unsigned port, unsigned value)
{
    const size_t len = strlen(fake.log);
    (void)snprintf(fake.log + len, sizeof fake.log - len, "%s %#x=%#x, ", what, port, value);
}

static void fake_out8(uint16_t port, uint8_t value)
{
    note("out8", port, value);
}

static void fake_out16(uint16_t port, uint16_t value)
{
    note("out16", port, value);
}

static void fake_out32(uint16_t port, uint32_t value)
{
    note("out32", port, value);
}

static uint64_t fake_tsc(void)
{
    return fake.tsc += PATIENCE_CYCLES / 10;
}

static bool fake_ring0_call(enum ring0_call call, uint64_t first, uint64_t second)
{
    (void)strcat(fake.log, call == RING0_RESET && first == 0 && second == 0 ? "reset, " : "?, ");
    return false;
}

static void fake_halt(void)
{
    longjmp(fake.halted, 1);
}

const struct acpi_facts *vpower_acpi_get_facts(void)
{
    return &fake.acpi;
}

void vpower_console_flush(void)
{
    (void)strcat(fake.log, "flush, ");
}

void *vpower_memory_map_device(uint64_t address, size_t bytes)
{
    return address == 0xfeed0000 && bytes == 1 ? &fake.sleep_register : NULL;
}

void vpower_ports_allow(uint64_t first, unsigned count, enum ports_until until)
{
    if (first != 0) /* ACPI's "there is none" */
        note(until == PORTS_AFTER_BOOT ? "allow" : "?", (unsigned)first, count);
}

static bool goes_off(const struct acpi_facts *acpi, int status, const char *by)
{
    memset(&fake, 0, sizeof fake);
    fake.acpi = *acpi;
    power_sleep_control = NULL;
    power_init();
    fake.log[0] = '\0';
    if (setjmp(fake.halted) == 0)
        power_off(status);
    if (strcmp(fake.log, by) != 0)
        test_print("%s", fake.log);
    return strcmp(fake.log, by) == 0;
}

static bool allows(const struct acpi_facts *acpi, const char *ports)
{
    memset(&fake, 0, sizeof fake);
    fake.acpi = *acpi;
    power_init();
    if (strcmp(fake.log, ports) != 0)
        test_print("%s", fake.log);
    return strcmp(fake.log, ports) == 0;
}

/* Before the boot is over, for use after it. */
TEST(power_init_has_the_ports_allowed_that_acpi_names)
{
    static const struct acpi_facts none;
    static const struct acpi_facts pm1 = {
        .has_s5 = true, .pm1a_control_port = 0x604, .pm1b_control_port = 0xb004};
    static const struct acpi_facts reduced = {.has_s5 = true,
                                              .sleep_control = {0x600, ACPI_SPACE_IO}};
    static const struct acpi_facts no_register = {.has_s5 = true,
                                                  .sleep_control = {0, ACPI_SPACE_IO}};
    static const struct acpi_facts no_s5 = {.sleep_control = {0x600, ACPI_SPACE_IO}};
    static const struct acpi_facts memory = {.has_s5 = true,
                                             .sleep_control = {0xfeed0000, ACPI_SPACE_MEMORY}};
    static const struct acpi_facts no_address = {.has_s5 = true,
                                                 .sleep_control = {0, ACPI_SPACE_MEMORY}};

    CHECK(allows(&none, ""));
    CHECK(allows(&pm1, "allow 0x604=0x2, allow 0xb004=0x2, "));
    CHECK(allows(&reduced, "allow 0x600=0x1, "));
    CHECK(allows(&no_register, ""));
    CHECK(allows(&no_s5, ""));
    CHECK(allows(&memory, ""));
    CHECK(allows(&no_address, ""));
}

TEST(power_off_tells_the_emulator_the_status_then_asks_whom_it_can)
{
    static const struct acpi_facts none;
    static const struct acpi_facts ports = {.has_s5 = true,
                                            .s5_type_a = 5,
                                            .s5_type_b = 7,
                                            .pm1a_control_port = 0x604,
                                            .pm1b_control_port = 0xb004};
    static const struct acpi_facts no_s5 = {.pm1a_control_port = 0x604};

    CHECK(goes_off(&none, POWER_STATUS_GOOD, "flush, out32 0xf4=0x10, reset, "));
    CHECK(goes_off(&no_s5, POWER_STATUS_FAILED, "flush, out32 0xf4=0x11, reset, "));
    CHECK(goes_off(&ports, POWER_STATUS_GOOD,
                   "flush, out32 0xf4=0x10, out16 0x604=0x3400, out16 0xb004=0x3c00, "
                   "reset, "));
    CHECK(fake.tsc >= PATIENCE_CYCLES);
}

TEST(power_off_of_a_hardware_reduced_machine_writes_its_sleep_control)
{
    static const struct acpi_facts memory = {
        .has_s5 = true, .s5_type_a = 5, .sleep_control = {0xfeed0000, ACPI_SPACE_MEMORY}};
    static const struct acpi_facts port = {
        .has_s5 = true, .s5_type_a = 5, .sleep_control = {0x600, ACPI_SPACE_IO}};
    static const struct acpi_facts other = {
        .has_s5 = true, .s5_type_a = 5, .sleep_control = {0x600, 0x0a}};

    CHECK(goes_off(&memory, POWER_STATUS_GOOD, "flush, out32 0xf4=0x10, reset, "));
    CHECK_EQ(fake.sleep_register, 5 << 2 | 1 << 5);
    CHECK(goes_off(&port, POWER_STATUS_GOOD, "flush, out32 0xf4=0x10, out8 0x600=0x34, reset, "));
    CHECK(goes_off(&other, POWER_STATUS_GOOD, "flush, out32 0xf4=0x10, reset, "));
}
