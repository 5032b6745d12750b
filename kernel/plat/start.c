/*
 * From boot/ to main(), and off.
 *
 * The order is forced: the console first, so that everything after can speak (ring 0 is set up by
 * then, so a trap can, too); then what others need: ACPI while its tables are still mapped and not
 * yet overwritten, memory, the clock, which has been measured meanwhile and goes on to be until
 * main() calls clock_settle(). The stack protector's canary changes in kernel_start() itself, which
 * never returns, at a moment when no other frame is alive.
 */
#include "kernel/plat/start.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernel/cpu/cpu.h"
#include "kernel/cpu/panic.h"
#include "kernel/cpu/pic.h"
#include "kernel/mem/memory.h"
#include "kernel/plat/acpi.h"
#include "kernel/plat/console.h"
#include "kernel/plat/entropy.h"
#include "kernel/plat/log.h"
#include "kernel/plat/power.h"
#include "kernel/ring0/ring0.h"
#include "kernel/time/clock.h"
#include "kernel/virtio/virtio_rng.h"

extern uintptr_t __stack_chk_guard;
extern void (*const __init_array_start[])(void), (*const __init_array_end[])(void);
extern const uint8_t __image_start[], __image_end[];

static const struct boot_info *boot_info;

const char *kernel_command_line(void)
{
    return boot_info->command_line;
}

const struct boot_info *kernel_boot_info(void)
{
    return boot_info;
}

void kernel_boot_is_over(void)
{
    if (!ring0_call(RING0_SEAL, 0, 0))
        panic("boot: ring 0 does not end it");
}

static void describe(void)
{
    char hypervisor[CPU_HYPERVISOR_BYTES];

    cpu_hypervisor_name(hypervisor);
    log_info("boot", "PVH; hypervisor \"%s\"; ACPI %s; command line \"%.160s\"", hypervisor,
             acpi_get_facts()->found ? "found" : "not found", boot_info->command_line);
    log_info("memory", "%lu KiB of RAM, %lu KiB of it in one piece; the image takes %lu KiB",
             (unsigned long)(memory_ram_bytes() / 1024),
             (unsigned long)(memory_free_bytes() / 1024),
             (unsigned long)(__image_end - __image_start) / 1024);
}

static void init_machine(void)
{
    if (boot_info->problem != NULL)
        panic("boot: %s", boot_info->problem);
    acpi_init(boot_info->rsdp);
    clock_prepare();
    memory_init(boot_info);
    power_init();
    clock_init(boot_info->entry_tsc);
    describe();
    entropy_init();
    /* Drivers come up in main(); this one is asked now, where it is the only source there is. */
    if (!entropy_is_seeded())
        (void)entropy_add_source("virtio-rng", virtio_rng_fill);
}

static void run_constructors(void)
{
    for (void (*const *constructor)(void) = __init_array_start; constructor != __init_array_end;
         constructor++)
        (*constructor)();
}

__attribute__((noreturn, no_stack_protector)) void kernel_start(const struct boot_info *info)
{
    const uintptr_t string_stopper = ~(uintptr_t)0xff; /* no string can write the lowest byte */
    uintptr_t canary;

    boot_info = info;
    console_init();
    pic_mask_all();
    init_machine();
    entropy_draw_early(&canary, sizeof canary);
    __stack_chk_guard = canary & string_stopper;
    run_constructors();
    _exit(main());
}
