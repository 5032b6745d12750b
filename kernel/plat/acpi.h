/*
 * ACPI: the few facts this machine uses of it, read once at boot (ACPI 6.5).
 *
 * The tables are the VMM's, and are believed only as far as their checksums and lengths hold: each
 * walk is bounded, and what cannot be read is as if it were not there. After acpi_parse() nothing
 * points into them any more.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum acpi_space { ACPI_SPACE_MEMORY = 0, ACPI_SPACE_IO = 1 };

/* A generic address (5.2.3.2), as far as it is used here. */
struct acpi_register {
    uint64_t address; /* 0: there is none */
    uint8_t space;    /* enum acpi_space, or something not supported */
};

#define ACPI_ECAM_MAX       8
#define ACPI_ECAM_BUS_BYTES (1u << 20)
#define ACPI_ROOT_BUSES_MAX 16

/* Where some buses of a segment have their configuration space in memory (MCFG). */
struct acpi_ecam {
    uint64_t address; /* of bus 0, whether it is one of them or not; a multiple of a bus's bytes */
    uint16_t segment;
    uint8_t bus_first, bus_last;
};

struct acpi_facts {
    bool found; /* a valid RSDP, root table and FADT */

    uint16_t pm_timer_port;   /* 0: none; counts at ACPI_PM_TIMER_HZ */
    bool pm_timer_32bit;      /* else 24 bits */
    uint8_t century_register; /* of the RTC; 0: none */

    bool has_s5; /* the types below are known */
    uint8_t s5_type_a, s5_type_b;
    uint16_t pm1a_control_port, pm1b_control_port; /* 0: none */
    struct acpi_register sleep_control;            /* of hardware-reduced machines */

    bool has_power_button;                     /* as a fixed feature: behind these registers */
    uint16_t pm1a_event_port, pm1b_event_port; /* status registers; 0: none */
    uint8_t pm1_enable_offset;                 /* from there to the enable registers */
    uint16_t smi_command_port;                 /* takes acpi_enable; 0: there is no legacy mode */
    uint8_t acpi_enable;

    struct acpi_ecam ecam[ACPI_ECAM_MAX];
    unsigned ecam_count, ecam_left_out;
    uint8_t root_buses[ACPI_ROOT_BUSES_MAX]; /* that host bridges declare; bus 0 need not be one */
    unsigned root_bus_count;
};

#define ACPI_PM_TIMER_HZ 3579545u

/*
 * Gives `bytes` readable bytes of physical memory at `address`, or NULL. Tests put tables of their
 * own behind it.
 */
typedef const uint8_t *acpi_read_fn(uint64_t address, size_t bytes);

/*
 * Reads the tables that hang from the RSDP at `rsdp`; with rsdp 0 it is searched for where BIOSes
 * put it (5.2.5.1). *facts says what was found.
 */
void acpi_parse(acpi_read_fn *read, uint64_t rsdp, struct acpi_facts *facts);

/* The machine's facts: acpi_init() reads them, before memory_init(). */
void acpi_init(uint64_t rsdp);
const struct acpi_facts *acpi_get_facts(void);
