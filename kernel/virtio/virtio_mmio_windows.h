/* Where the command line says that virtio-mmio devices are. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MMIO_WINDOWS_MAX      32
#define MMIO_WINDOW_BYTES_MIN 0x200 /* the registers, and a device's configuration */
#define MMIO_NO_LINE          (~0u)

struct mmio_window {
    uint64_t base;
    uint64_t bytes;
    unsigned line; /* of the I/O APIC that it interrupts by; MMIO_NO_LINE: not known */
};

extern struct mmio_window mmio_windows[MMIO_WINDOWS_MAX];
extern size_t mmio_window_count;

/*
 * For kernel/plat/cmdline.h: SIZE[K]@BASE:IRQ[:ID], numbers decimal or 0x, as Linux defines it.
 * False when malformed, or when it is one too many. `target` is not used.
 */
bool virtio_mmio_parse(const char *text, void *target);

/* The option's entry in a table of struct cmdline_option. */
#define VIRTIO_MMIO_OPTION                                                                         \
    {                                                                                              \
        .name = "virtio_mmio.device", .value = "SIZE@BASE:IRQ",                                    \
        .help = "where a virtio-mmio device is; the VMM adds this by itself",                      \
        .kind = CMDLINE_PARSED, .parse = virtio_mmio_parse, .repeats = true                        \
    }
