/* The power button on the host: the source compiled into this file, over ports of ours. */
#include "kernel/cpu/cpu.h"

#define cpu_in8        fake_in8
#define cpu_in16       fake_in16
#define cpu_out8       fake_out8
#define cpu_out16      fake_out16
#define cpu_tsc        fake_tsc
#define acpi_get_facts vbutton_acpi_get_facts
#define log_line       vbutton_log_line
#define ports_allow    vbutton_ports_allow
#define button_init    vbutton_init
#define button_pressed vbutton_pressed

static uint8_t fake_in8(uint16_t port);
static uint16_t fake_in16(uint16_t port);
static void fake_out8(uint16_t port, uint8_t value);
static void fake_out16(uint16_t port, uint16_t value);
static uint64_t fake_tsc(void);

#include "kernel/plat/button.c"

#include <assert.h>
#include <string.h>

#include "tests/test.h"

enum { EVENT_A = 0x600, EVENT_B = 0x700, CONTROL = 0x604, SMI = 0xb2, ENABLE = 0xf1 };

static struct {
    struct acpi_facts acpi;
    uint16_t status[2], enabled[2];
    uint16_t control;
    unsigned enabled_after; /* so many looks at the control register after the command; 0: never */
    unsigned commands, looks, warnings;
    uint64_t tsc;
    bool keyboard;
    uint8_t status_read; /* of a port where no keyboard is */
    const uint8_t *typed;
    size_t typed_len;
    unsigned data_reads;
    bool allowed[UINT16_MAX + 1], after_boot[UINT16_MAX + 1];
} fake;

void vbutton_ports_allow(uint64_t first, unsigned count, enum ports_until until)
{
    for (unsigned i = 0; i < count; i++) {
        fake.allowed[first + i] = true;
        fake.after_boot[first + i] = until == PORTS_AFTER_BOOT;
    }
}

static unsigned block_of(uint16_t port)
{
    assert((port & 0xfffd) == EVENT_A || (port & 0xfffd) == EVENT_B);
    return (port & 0xff00) == EVENT_B;
}

static uint16_t fake_in16(uint16_t port)
{
    if (port == CONTROL) {
        if (fake.commands != 0 && ++fake.looks == fake.enabled_after)
            fake.control |= PM1_SCI_ENABLED;
        return fake.control;
    }
    assert(fake.allowed[port] && fake.allowed[port + 1]);
    return (port & 2) != 0 ? fake.enabled[block_of(port)] : fake.status[block_of(port)];
}

static void fake_out16(uint16_t port, uint16_t value)
{
    assert(fake.allowed[port] && fake.allowed[port + 1]);
    if ((port & 2) != 0)
        fake.enabled[block_of(port)] = value;
    else
        fake.status[block_of(port)] &= (uint16_t)~value;
}

static void fake_out8(uint16_t port, uint8_t value)
{
    assert(fake.allowed[port]);
    fake.commands += port == SMI && value == ENABLE;
}

static uint8_t fake_in8(uint16_t port)
{
    if (!fake.keyboard)
        return fake.status_read;
    if (port == KEYBOARD_STATUS_PORT)
        return fake.typed_len != 0 ? 0x1d : 0x1c;
    fake.data_reads++;
    if (fake.typed_len == SIZE_MAX) /* there is always more */
        return 0;
    fake.typed_len--;
    return *fake.typed++;
}

static uint64_t fake_tsc(void)
{
    return fake.tsc += ENABLE_CYCLES / 10;
}

const struct acpi_facts *vbutton_acpi_get_facts(void)
{
    return &fake.acpi;
}

void vbutton_log_line(enum log_level level, const char *subsystem, const char *format, ...)
{
    (void)subsystem;
    (void)format;
    fake.warnings += level == LOG_WARN;
}

/* A machine with both event blocks, in legacy mode. */
static void set_up(void)
{
    memset(&fake, 0, sizeof fake);
    event_ports[0] = event_ports[1] = 0;
    has_keyboard = false;
    keys = 0;
    fake.acpi = (struct acpi_facts){
        .has_power_button = true,
        .pm1a_event_port = EVENT_A,
        .pm1b_event_port = EVENT_B,
        .pm1_enable_offset = 2,
        .pm1a_control_port = CONTROL,
        .smi_command_port = SMI,
        .acpi_enable = ENABLE,
    };
    fake.enabled_after = 1;
}

TEST(button_switches_acpi_on_where_it_is_off)
{
    for (unsigned looks = 1; looks <= 8; looks++) {
        set_up();
        fake.enabled_after = looks;
        button_init();
        CHECK_EQ(fake.commands, 1);
        CHECK_EQ(fake.warnings, 0);
        CHECK_EQ(fake.enabled[0], PM1_POWER_BUTTON);
        CHECK_EQ(fake.enabled[1], PM1_POWER_BUTTON);
    }
    set_up();
    fake.control = PM1_SCI_ENABLED;
    button_init();
    CHECK_EQ(fake.commands, 0);
    CHECK_EQ(fake.enabled[0], PM1_POWER_BUTTON);
}

/* kernel/plat/power.c has the control register allowed. */
TEST(button_has_the_ports_allowed_that_it_uses)
{
    set_up();
    button_init();
    CHECK(fake.allowed[SMI] && !fake.after_boot[SMI]);
    CHECK(fake.after_boot[EVENT_A] && fake.after_boot[EVENT_A + 3] && !fake.allowed[EVENT_A + 4]);
    CHECK(fake.after_boot[EVENT_B] && fake.after_boot[EVENT_B + 3] && !fake.allowed[EVENT_B - 1]);
}

TEST(button_of_acpi_that_stays_off_is_warned_of_and_not_looked_at)
{
    for (unsigned i = 0; i < 4; i++) {
        set_up();
        fake.enabled_after = 0;
        if (i == 1)
            fake.acpi.smi_command_port = 0;
        if (i == 2)
            fake.acpi.acpi_enable = 0;
        if (i == 3)
            fake.acpi.pm1a_control_port = 0;
        button_init();
        CHECK_EQ(fake.commands, i == 0);
        CHECK_EQ(fake.warnings, 1);
        CHECK(fake.tsc <= 2 * ENABLE_CYCLES);
        fake.status[0] = PM1_POWER_BUTTON;
        CHECK(!button_pressed());
    }
}

TEST(button_leaves_other_events_as_they_are)
{
    set_up();
    fake.status[0] = 0x0521; /* what was pressed before does not count */
    fake.enabled[0] = 0x0020;
    button_init();
    CHECK_EQ(fake.status[0], 0x0421);
    CHECK_EQ(fake.enabled[0], 0x0120);
    CHECK(!button_pressed());
    CHECK_EQ(fake.status[0], 0x0421);
}

TEST(button_is_pressed_once_each_time_on_either_block)
{
    set_up();
    button_init();
    for (unsigned i = 0; i < 4; i++) {
        CHECK(!button_pressed());
        fake.status[i % 2] |= PM1_POWER_BUTTON;
        CHECK(button_pressed());
        CHECK_EQ(fake.status[i % 2], 0);
    }
    set_up();
    fake.acpi.pm1b_event_port = 0;
    button_init();
    CHECK_EQ(fake.enabled[1], 0);
    fake.status[1] = PM1_POWER_BUTTON;
    CHECK(!button_pressed());
}

/* ---- Ctrl-Alt-Del ---- */

static void plug_in_keyboard(void)
{
    set_up();
    fake.acpi = (struct acpi_facts){0};
    fake.keyboard = true;
    button_init();
}

static bool typing(const uint8_t *bytes, size_t len)
{
    fake.typed = bytes;
    fake.typed_len = len;
    const bool pressed = button_pressed();
    assert(fake.typed_len == 0);
    return pressed;
}

TEST(button_is_ctrl_alt_del_where_acpi_has_none)
{
    static const uint8_t firecracker[] = {0x14, 0x11, 0xe0, 0x71};
    static const uint8_t translated[] = {0x9d, 0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3};
    static const uint8_t others[] = {0x1d, 0x38, 0x3b, 0xe0, 0x53, 0x14, 0x11, 0x71, 0xe0};

    plug_in_keyboard();
    CHECK(!button_pressed());
    CHECK(typing(firecracker, sizeof firecracker));
    CHECK(!button_pressed());
    CHECK(typing(firecracker, sizeof firecracker));
    CHECK(typing(translated, sizeof translated));
    CHECK(!typing(others, sizeof others));
    CHECK(!typing(firecracker, 3)); /* in two looks */
    CHECK(typing(firecracker + 3, 1));
}

TEST(button_reads_no_more_than_a_keyboard_can_hold)
{
    plug_in_keyboard();
    fake.typed_len = SIZE_MAX;
    CHECK(!button_pressed());
    CHECK_EQ(fake.data_reads, KEYBOARD_BYTES_MAX);
}

TEST(button_needs_neither_acpi_nor_a_keyboard)
{
    static const uint8_t reads[] = {0xff, 0x00};

    for (unsigned i = 0; i < 2; i++) {
        set_up();
        fake.acpi = (struct acpi_facts){0};
        fake.status_read = reads[i];
        button_init();
        CHECK(!button_pressed());
        CHECK_EQ(fake.warnings, 0);
        CHECK_EQ(has_keyboard, reads[i] != 0xff);
    }
}

/* ACPI's button is there: a keyboard is somebody else's. */
TEST(button_looks_at_no_keyboard_beside_acpi)
{
    static const uint8_t ctrl_alt_del[] = {0x14, 0x11, 0xe0, 0x71};

    set_up();
    fake.keyboard = true;
    button_init();
    fake.typed = ctrl_alt_del;
    fake.typed_len = sizeof ctrl_alt_del;
    CHECK(!button_pressed());
    CHECK_EQ(fake.data_reads, 0);
}
