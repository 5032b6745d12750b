#include "kernel/plat/acpi.h"

#include <string.h>

enum {
    RSDP_V1_BYTES = 20,
    RSDP_V2_BYTES = 36,
    HEADER_BYTES = 36, /* of every table (5.2.6) */
    LENGTH_OFFSET = 4,
    TABLE_BYTES_MAX = 1 << 20, /* QEMU's largest, the DSDT, has some 10 KiB */
    TABLES_MAX = 64,
    BIOS_AREA_START = 0xe0000, /* 5.2.5.1 */
    BIOS_AREA_END = 0x100000,
    BIOS_AREA_STEP = 16,
};

/* Offsets in the FADT (5.2.9). */
enum {
    FADT_DSDT = 40,
    FADT_SMI_COMMAND = 48,
    FADT_ACPI_ENABLE = 52,
    FADT_PM1A_EVENT = 56,
    FADT_PM1B_EVENT = 60,
    FADT_PM1A_CONTROL = 64,
    FADT_PM1B_CONTROL = 68,
    FADT_PM_TIMER = 76,
    FADT_PM1_EVENT_BYTES = 88,
    FADT_PM_TIMER_BYTES = 91,
    FADT_CENTURY = 108,
    FADT_FLAGS = 112,
    FADT_V1_BYTES = 116,
    FADT_X_DSDT = 140,
    FADT_X_PM1A_EVENT = 148,
    FADT_X_PM1B_EVENT = 160,
    FADT_X_PM1A_CONTROL = 172,
    FADT_X_PM1B_CONTROL = 184,
    FADT_X_PM_TIMER = 208,
    FADT_SLEEP_CONTROL = 244,
    GENERIC_ADDRESS_BYTES = 12,
    GENERIC_ADDRESS_BITS = 1, /* where it says how wide the register is */
    PM_TIMER_BYTES = 4,
    PM1_EVENT_BYTES_MIN = 4, /* two registers of two bytes or more */
    FLAG_NO_FIXED_POWER_BUTTON = 1 << 4,
    FLAG_PM_TIMER_32BIT = 1 << 8,
    FLAG_HARDWARE_REDUCED = 1 << 20,
};

/* Offsets in the MCFG (PCI firmware specification 3.3, 4.1.2). */
enum { MCFG_FIRST = 44, MCFG_ENTRY_BYTES = 16 };
#define ECAM_ADDRESS_END (1ULL << 52) /* of physical addresses */

/* AML (20.2). */
enum { AML_NAME = 0x08, AML_BYTE = 0x0a, AML_PACKAGE = 0x12, AML_ZERO = 0x00, AML_ONE = 0x01 };

struct table {
    const uint8_t *bytes; /* NULL: none */
    size_t len;
};

static uint32_t get32(const uint8_t *p)
{
    uint32_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

static uint64_t get64(const uint8_t *p)
{
    uint64_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

static bool sums_to_zero(const uint8_t *bytes, size_t len)
{
    uint8_t sum = 0;

    for (size_t i = 0; i < len; i++)
        sum = (uint8_t)(sum + bytes[i]);
    return sum == 0;
}

/* The table at `address`, if it has that signature, a sane length and the right checksum. */
static struct table table_at(acpi_read_fn *read, uint64_t address, const char *signature)
{
    const struct table none = {NULL, 0};
    const uint8_t *const header = address == 0 ? NULL : read(address, HEADER_BYTES);

    if (header == NULL || memcmp(header, signature, 4) != 0)
        return none;

    const uint32_t len = get32(header + LENGTH_OFFSET);

    if (len < HEADER_BYTES || len > TABLE_BYTES_MAX)
        return none;

    const uint8_t *const bytes = read(address, len);

    if (bytes == NULL || !sums_to_zero(bytes, len))
        return none;
    return (struct table){bytes, len};
}

/* ---- the root ---- */

struct root {
    struct table table; /* XSDT or RSDT */
    size_t entry_bytes; /* 8 or 4 */
};

static bool rsdp_is_valid(const uint8_t *rsdp)
{
    return rsdp != NULL && memcmp(rsdp, "RSD PTR ", 8) == 0 && sums_to_zero(rsdp, RSDP_V1_BYTES);
}

static uint64_t rsdp_search(acpi_read_fn *read)
{
    for (uint64_t at = BIOS_AREA_START; at < BIOS_AREA_END; at += BIOS_AREA_STEP) {
        if (rsdp_is_valid(read(at, RSDP_V1_BYTES)))
            return at;
    }
    return 0;
}

static struct root root_find(acpi_read_fn *read, uint64_t address)
{
    struct root root = {{NULL, 0}, 4};
    const uint8_t *const rsdp = address == 0 ? NULL : read(address, RSDP_V1_BYTES);

    if (!rsdp_is_valid(rsdp))
        return root;

    const uint8_t revision = rsdp[15];
    const uint8_t *const extended = revision < 2 ? NULL : read(address, RSDP_V2_BYTES);

    if (extended != NULL && sums_to_zero(extended, RSDP_V2_BYTES)) {
        root.table = table_at(read, get64(extended + 24), "XSDT");
        root.entry_bytes = 8;
    }
    if (root.table.bytes == NULL) {
        root.table = table_at(read, get32(rsdp + 16), "RSDT");
        root.entry_bytes = 4;
    }
    return root;
}

static struct table table_find(acpi_read_fn *read, const struct root *root, const char *signature)
{
    size_t count = (root->table.len - HEADER_BYTES) / root->entry_bytes;

    if (count > TABLES_MAX)
        count = TABLES_MAX;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *const entry = root->table.bytes + HEADER_BYTES + i * root->entry_bytes;
        const struct table table =
            table_at(read, root->entry_bytes == 8 ? get64(entry) : get32(entry), signature);

        if (table.bytes != NULL)
            return table;
    }
    return (struct table){NULL, 0};
}

/* ---- FADT ---- */

static struct acpi_register register_at(struct table fadt, size_t offset)
{
    struct acpi_register r = {0, 0};

    if (fadt.len >= offset + GENERIC_ADDRESS_BYTES) {
        r.space = fadt.bytes[offset];
        r.address = get64(fadt.bytes + offset + 4);
    }
    return r;
}

/* A port named by the field of ACPI 1, or by the generic address that later revisions prefer. */
static uint16_t port_at(struct table fadt, size_t offset, size_t x_offset)
{
    const struct acpi_register x = register_at(fadt, x_offset);
    const uint64_t port =
        x.address != 0 && x.space == ACPI_SPACE_IO ? x.address : get32(fadt.bytes + offset);

    return port <= UINT16_MAX ? (uint16_t)port : 0;
}

/*
 * 4.1: a hardware-reduced machine has none of the fixed registers, whatever the fields say. But
 * Cloud Hypervisor, which has no PIT either, names a timer by its generic address alone, and it
 * counts.
 */
static uint16_t timer_port(struct table fadt, bool reduced)
{
    const bool in_use = fadt.bytes[FADT_PM_TIMER_BYTES] == PM_TIMER_BYTES;
    const struct acpi_register x = register_at(fadt, FADT_X_PM_TIMER);

    if (!reduced)
        return in_use ? port_at(fadt, FADT_PM_TIMER, FADT_X_PM_TIMER) : 0;
    if (x.space != ACPI_SPACE_IO || x.address > UINT16_MAX ||
        fadt.bytes[FADT_X_PM_TIMER + GENERIC_ADDRESS_BITS] != PM_TIMER_BYTES * 8)
        return 0;
    return (uint16_t)x.address;
}

/* 4.8.3.1: the first half of an event block is its status, the second what of it is enabled. */
static void power_button_read(struct table fadt, struct acpi_facts *facts)
{
    const uint8_t block_bytes = fadt.bytes[FADT_PM1_EVENT_BYTES];
    const uint32_t smi_command = get32(fadt.bytes + FADT_SMI_COMMAND);

    facts->pm1a_event_port = port_at(fadt, FADT_PM1A_EVENT, FADT_X_PM1A_EVENT);
    facts->pm1b_event_port = port_at(fadt, FADT_PM1B_EVENT, FADT_X_PM1B_EVENT);
    facts->pm1_enable_offset = block_bytes / 2;
    facts->has_power_button = (get32(fadt.bytes + FADT_FLAGS) & FLAG_NO_FIXED_POWER_BUTTON) == 0 &&
                              facts->pm1a_event_port != 0 && block_bytes >= PM1_EVENT_BYTES_MIN;
    facts->smi_command_port = smi_command <= UINT16_MAX ? (uint16_t)smi_command : 0;
    facts->acpi_enable = fadt.bytes[FADT_ACPI_ENABLE];
}

static void fadt_read(struct table fadt, struct acpi_facts *facts)
{
    const uint32_t flags = get32(fadt.bytes + FADT_FLAGS);
    const bool reduced = (flags & FLAG_HARDWARE_REDUCED) != 0;

    facts->century_register = fadt.bytes[FADT_CENTURY];
    facts->pm_timer_port = timer_port(fadt, reduced);
    facts->pm_timer_32bit = (flags & FLAG_PM_TIMER_32BIT) != 0;
    if (reduced) {
        facts->sleep_control = register_at(fadt, FADT_SLEEP_CONTROL);
        return;
    }
    facts->pm1a_control_port = port_at(fadt, FADT_PM1A_CONTROL, FADT_X_PM1A_CONTROL);
    facts->pm1b_control_port = port_at(fadt, FADT_PM1B_CONTROL, FADT_X_PM1B_CONTROL);
    power_button_read(fadt, facts);
}

/* ---- \_S5 ---- */

/* One small integer at aml[*at]; moves *at behind it. False if it is none, or at the end. */
static bool aml_small_integer(struct table aml, size_t *at, uint8_t *value)
{
    if (*at >= aml.len)
        return false;

    const uint8_t op = aml.bytes[(*at)++];

    if (op == AML_ZERO || op == AML_ONE) {
        *value = op;
        return true;
    }
    if (op != AML_BYTE || *at >= aml.len)
        return false;
    *value = aml.bytes[(*at)++];
    return true;
}

/*
 * Name (_S5, Package () {type_a, type_b, ...}), with `at` behind the name. A hardware-reduced
 * machine has one sleep register: Cloud Hypervisor's package holds type_a alone.
 */
static bool s5_read(struct table aml, size_t at, struct acpi_facts *facts)
{
    const size_t type_mask = 7; /* SLP_TYP has three bits */

    if (at + 2 > aml.len || aml.bytes[at] != AML_PACKAGE)
        return false;
    at += 1;
    at += 1 + (aml.bytes[at] >> 6); /* PkgLength: its first two bits count the bytes to follow */
    if (at >= aml.len)
        return false;

    const uint8_t elements = aml.bytes[at++];
    uint8_t a, b = 0;

    if (elements == 0 || !aml_small_integer(aml, &at, &a) ||
        (elements > 1 && !aml_small_integer(aml, &at, &b)))
        return false;
    facts->s5_type_a = (uint8_t)(a & type_mask);
    facts->s5_type_b = (uint8_t)(b & type_mask);
    return true;
}

/*
 * Where the object begins in the next Name (`name`, object) from `at` on; 0 if there is none. Looks
 * for the bytes of the declaration instead of interpreting AML, as small kernels do: what is looked
 * for is declared by a constant.
 */
static size_t aml_find_name(struct table aml, size_t at, const char *name)
{
    const size_t begin = HEADER_BYTES;

    for (at = at > begin ? at : begin + 1; at + 4 <= aml.len; at++) {
        const uint8_t *const found = aml.bytes + at;

        if (memcmp(found, name, 4) == 0 &&
            (found[-1] == AML_NAME ||
             (found[-1] == '\\' && at > begin + 1 && found[-2] == AML_NAME)))
            return at + 4;
    }
    return 0;
}

static void s5_find(struct table dsdt, struct acpi_facts *facts)
{
    size_t at = 0;

    while (!facts->has_s5 && (at = aml_find_name(dsdt, at, "_S5_")) != 0)
        facts->has_s5 = s5_read(dsdt, at, facts);
}

/* Name (_BBN, bus): each is of a host bridge. */
static void root_buses_find(struct table dsdt, struct acpi_facts *facts)
{
    size_t at = 0;

    while (facts->root_bus_count < ACPI_ROOT_BUSES_MAX &&
           (at = aml_find_name(dsdt, at, "_BBN")) != 0) {
        size_t integer_at = at;

        if (aml_small_integer(dsdt, &integer_at, &facts->root_buses[facts->root_bus_count]))
            facts->root_bus_count++;
    }
}

/* ---- MCFG ---- */

static void mcfg_read(struct table mcfg, struct acpi_facts *facts)
{
    for (size_t at = MCFG_FIRST; at + MCFG_ENTRY_BYTES <= mcfg.len; at += MCFG_ENTRY_BYTES) {
        const uint8_t *const entry = mcfg.bytes + at;
        const struct acpi_ecam ecam = {
            .address = get64(entry),
            .segment = (uint16_t)(entry[8] | entry[9] << 8),
            .bus_first = entry[10],
            .bus_last = entry[11],
        };

        if (ecam.bus_first > ecam.bus_last || ecam.address == 0 ||
            ecam.address % ACPI_ECAM_BUS_BYTES != 0 || ecam.address >= ECAM_ADDRESS_END)
            continue;
        if (facts->ecam_count < ACPI_ECAM_MAX)
            facts->ecam[facts->ecam_count++] = ecam;
        else
            facts->ecam_left_out++;
    }
}

void acpi_parse(acpi_read_fn *read, uint64_t rsdp, struct acpi_facts *facts)
{
    memset(facts, 0, sizeof *facts);

    const struct root root = root_find(read, rsdp != 0 ? rsdp : rsdp_search(read));

    if (root.table.bytes == NULL)
        return;

    const struct table fadt = table_find(read, &root, "FACP");

    if (fadt.bytes == NULL || fadt.len < FADT_V1_BYTES)
        return;
    facts->found = true;
    fadt_read(fadt, facts);

    const uint64_t x_dsdt = fadt.len >= FADT_X_DSDT + 8 ? get64(fadt.bytes + FADT_X_DSDT) : 0;
    const struct table dsdt =
        table_at(read, x_dsdt != 0 ? x_dsdt : get32(fadt.bytes + FADT_DSDT), "DSDT");

    if (dsdt.bytes != NULL) {
        s5_find(dsdt, facts);
        root_buses_find(dsdt, facts);
    }

    const struct table mcfg = table_find(read, &root, "MCFG");

    if (mcfg.bytes != NULL)
        mcfg_read(mcfg, facts);
}

/* ---- this machine's ---- */

static struct acpi_facts machine_facts;

/* The boot page tables map the first 4 GiB; page 0 is left out so that NULL is no address. */
static const uint8_t *read_physical(uint64_t address, size_t bytes)
{
    const uint64_t first = 4096, end = 1ULL << 32;

    if (address < first || address >= end || bytes > end - address)
        return NULL;
    return (const uint8_t *)(uintptr_t)address;
}

void acpi_init(uint64_t rsdp)
{
    acpi_parse(read_physical, rsdp, &machine_facts);
}

const struct acpi_facts *acpi_get_facts(void)
{
    return &machine_facts;
}
