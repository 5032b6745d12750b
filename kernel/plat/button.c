#include "kernel/plat/button.h"

#include <stdint.h>

#include "kernel/cpu/cpu.h"
#include "kernel/cpu/ports.h"
#include "kernel/plat/acpi.h"
#include "kernel/plat/log.h"

/* ACPI 6.5, 4.8.3.1 (PM1 event registers) and 4.8.3.2 (PM1 control registers). */
enum { PM1_POWER_BUTTON = 1 << 8, PM1_SCI_ENABLED = 1 << 0 };

enum { KEYBOARD_DATA_PORT = 0x60, KEYBOARD_STATUS_PORT = 0x64 };

enum {
    KEYBOARD_HAS_DATA = 0x01,
    KEYBOARD_ABSENT = 0xff, /* what QEMU's bus reads as without a device; KVM's are zeros */
};

/* Ctrl, Alt and Del go down: by scan code set 2, as Firecracker sends it, and by set 1. */
#define CTRL_ALT_DEL_SET_2 0x1411e071u
#define CTRL_ALT_DEL_SET_1 0x1d38e053u

/* What a controller may hold at once; more than that is no controller. */
#define KEYBOARD_BYTES_MAX 32u

/* Machines switch within the write itself; TSC cycles, 20 ms or more. */
#define ENABLE_CYCLES 100000000ULL

static uint16_t event_ports[2]; /* PM1a's, PM1b's; 0: none */
static bool has_keyboard;
static uint32_t keys; /* the last four bytes of the keyboard's */

/* ACPI starts with its events off where the firmware has left it in legacy mode (4.8.3.2.1). */
static bool acpi_is_enabled(const struct acpi_facts *acpi)
{
    const uint64_t start = cpu_tsc();

    if (acpi->pm1a_control_port == 0)
        return false;
    if ((cpu_in16(acpi->pm1a_control_port) & PM1_SCI_ENABLED) != 0)
        return true;
    if (acpi->smi_command_port == 0 || acpi->acpi_enable == 0)
        return false;
    ports_allow(acpi->smi_command_port, 1, PORTS_DURING_BOOT);
    cpu_out8(acpi->smi_command_port, acpi->acpi_enable);
    while ((cpu_in16(acpi->pm1a_control_port) & PM1_SCI_ENABLED) == 0) {
        if (cpu_tsc() - start > ENABLE_CYCLES)
            return false;
        cpu_pause();
    }
    return true;
}

/* What was pressed before does not count. */
static uint16_t event_begin(uint16_t port, uint8_t enable_offset)
{
    const uint16_t enable_port = (uint16_t)(port + enable_offset);

    if (port == 0)
        return 0;
    ports_allow(port, enable_offset + 2u, PORTS_AFTER_BOOT);
    cpu_out16(port, PM1_POWER_BUTTON); /* a one clears it */
    cpu_out16(enable_port, cpu_in16(enable_port) | PM1_POWER_BUTTON);
    return port;
}

void button_init(void)
{
    const struct acpi_facts *const acpi = acpi_get_facts();

    if (!acpi->has_power_button) {
        has_keyboard = cpu_in8(KEYBOARD_STATUS_PORT) != KEYBOARD_ABSENT;
        return;
    }
    if (!acpi_is_enabled(acpi)) {
        log_warn("power", "ACPI cannot be switched on: its power button is not seen");
        return;
    }
    event_ports[0] = event_begin(acpi->pm1a_event_port, acpi->pm1_enable_offset);
    event_ports[1] = event_begin(acpi->pm1b_event_port, acpi->pm1_enable_offset);
}

static bool event_happened(uint16_t port)
{
    if (port == 0 || (cpu_in16(port) & PM1_POWER_BUTTON) == 0)
        return false;
    cpu_out16(port, PM1_POWER_BUTTON);
    return true;
}

static bool ctrl_alt_del_pressed(void)
{
    bool pressed = false;

    for (unsigned i = 0; has_keyboard && i < KEYBOARD_BYTES_MAX; i++) {
        if ((cpu_in8(KEYBOARD_STATUS_PORT) & KEYBOARD_HAS_DATA) == 0)
            break;
        keys = keys << 8 | cpu_in8(KEYBOARD_DATA_PORT);
        pressed = pressed || keys == CTRL_ALT_DEL_SET_2 || keys == CTRL_ALT_DEL_SET_1;
    }
    return pressed;
}

bool button_pressed(void)
{
    return event_happened(event_ports[0]) || event_happened(event_ports[1]) ||
           ctrl_alt_del_pressed();
}
