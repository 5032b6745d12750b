#include "kernel/plat/power.h"

#include <stddef.h>
#include <stdint.h>

#include "kernel/cpu/cpu.h"
#include "kernel/cpu/ports.h"
#include "kernel/mem/memory.h"
#include "kernel/plat/acpi.h"
#include "kernel/plat/console.h"
#include "kernel/ring0/ring0.h"

enum { DEBUG_EXIT_PORT = 0xf4 };

/* ACPI 6.5, 4.8.3.2.1 PM1 control registers; 4.8.3.7 sleep control register. */
enum {
    PM1_SLEEP_TYPE_SHIFT = 10,
    PM1_SLEEP_ENABLE = 1 << 13,
    SLEEP_CONTROL_TYPE_SHIFT = 2,
    SLEEP_CONTROL_ENABLE = 1 << 5,
};

/* The VMM acts on a request some time after the write; TSC cycles, 0.1 s or more. */
#define PATIENCE_CYCLES 500000000ULL

static volatile uint8_t *power_sleep_control; /* mapped, or NULL */

void power_init(void)
{
    const struct acpi_facts *const acpi = acpi_get_facts();

    if (acpi->has_s5 && acpi->sleep_control.address != 0 &&
        acpi->sleep_control.space == ACPI_SPACE_MEMORY)
        power_sleep_control = memory_map_device(acpi->sleep_control.address, 1);
    else if (acpi->has_s5 && acpi->sleep_control.space == ACPI_SPACE_IO)
        ports_allow(acpi->sleep_control.address, 1, PORTS_AFTER_BOOT);
    ports_allow(acpi->pm1a_control_port, 2, PORTS_AFTER_BOOT);
    ports_allow(acpi->pm1b_control_port, 2, PORTS_AFTER_BOOT);
}

static void wait_for_the_vmm(void)
{
    const uint64_t start = cpu_tsc();

    while (cpu_tsc() - start < PATIENCE_CYCLES)
        cpu_pause();
}

static void acpi_power_off(void)
{
    const struct acpi_facts *const acpi = acpi_get_facts();
    const uint8_t sleep_control =
        (uint8_t)(acpi->s5_type_a << SLEEP_CONTROL_TYPE_SHIFT | SLEEP_CONTROL_ENABLE);

    if (!acpi->has_s5)
        return;
    if (power_sleep_control != NULL)
        *power_sleep_control = sleep_control;
    else if (acpi->sleep_control.address != 0 && acpi->sleep_control.space == ACPI_SPACE_IO)
        cpu_out8((uint16_t)acpi->sleep_control.address, sleep_control);
    if (acpi->pm1a_control_port != 0)
        cpu_out16(acpi->pm1a_control_port,
                  (uint16_t)(acpi->s5_type_a << PM1_SLEEP_TYPE_SHIFT | PM1_SLEEP_ENABLE));
    if (acpi->pm1b_control_port != 0)
        cpu_out16(acpi->pm1b_control_port,
                  (uint16_t)(acpi->s5_type_b << PM1_SLEEP_TYPE_SHIFT | PM1_SLEEP_ENABLE));
    wait_for_the_vmm();
}

void power_off(int status)
{
    console_flush();
    cpu_out32(DEBUG_EXIT_PORT, status == POWER_STATUS_GOOD ? POWER_EXIT_GOOD : POWER_EXIT_FAILED);
    acpi_power_off();
    (void)ring0_call(RING0_RESET, 0, 0);
    for (;;)
        cpu_halt();
}
