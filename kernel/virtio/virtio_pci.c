/*
 * The modern interface is found through vendor capabilities (virtio 1.2, 4.1.4): each names a
 * BAR, an offset and a length for one structure:
 *
 *     common   status, features, queues        notify   a register for each queue to kick it
 *     isr      interrupt status, not used      device   the device's own configuration
 *
 * Interrupts: INTx is disabled in the command register. MSI-X is switched on when a queue is to end
 * sleeps, with one message for all such queues: the first entry of its table.
 */
#include "kernel/virtio/virtio_pci.h"

#include <stdio.h>
#include <string.h>

#include "kernel/mem/memory.h"
#include "kernel/plat/log.h"
#include "kernel/plat/pci.h"
#include "kernel/plat/sleep.h"

#define DEVICES_MAX 16 /* known at once */

/* 4.1.2: 0x1040 + id; transitional devices, which have the modern interface too, by subsystem. */
#define DEVICE_ID_MODERN       0x1040
#define DEVICE_ID_TRANSITIONAL 0x1000
#define DEVICE_ID_LAST         0x107f

/* struct virtio_pci_cap (4.1.4): offsets from the capability's start. */
#define CAP_LEN               2
#define CAP_CFG_TYPE          3
#define CAP_BAR               4
#define CAP_OFFSET            8
#define CAP_LENGTH            12
#define CAP_NOTIFY_MULTIPLIER 16
#define CAP_BYTES             16
#define CAP_NOTIFY_BYTES      20 /* struct virtio_pci_notify_cap (4.1.4.4): and the multiplier */

#define CONFIG_BYTES          256

#define CAPS_MAX              16

/* The capability of MSI-X (PCI 3.0, 6.8.2), and an entry of its table. */
#define MSIX_CONTROL    2
#define MSIX_TABLE      4
#define MSIX_TABLE_BAR  7u /* bits of it; the rest is an offset */
#define MSIX_ENABLED    0x8000
#define MSIX_ALL_MASKED 0x4000

struct msix_entry {
    uint32_t address, address_high, data, control;
};

/* QEMU's largest, notify, is 4 MiB with a page for each of 1,024 queues. */
#define STRUCTURE_BYTES_MAX (16u << 20)

enum cap_type { CAP_COMMON = 1, CAP_NOTIFY = 2, CAP_DEVICE = 4 };

struct common { /* struct virtio_pci_common_cfg, 4.1.4.3 */
    uint32_t device_feature_select;
    uint32_t device_feature;
    uint32_t driver_feature_select;
    uint32_t driver_feature;
    uint16_t config_msix_vector;
    uint16_t num_queues;
    uint8_t device_status;
    uint8_t config_generation;
    uint16_t queue_select;
    uint16_t queue_size;
    uint16_t queue_msix_vector;
    uint16_t queue_enable;
    uint16_t queue_notify_off;
    uint32_t queue_desc[2];
    uint32_t queue_driver[2];
    uint32_t queue_device[2];
};

_Static_assert(sizeof(struct common) == 56, "virtio 1.2, 4.1.4.3");
_Static_assert(offsetof(struct common, queue_desc) == 32, "virtio 1.2, 4.1.4.3");

#define QUEUES_MAX 4 /* that a driver of ours enables in one device */

struct virtio_pci {
    struct virtio_device device; /* first */
    struct pci_device function;
    volatile struct common *common;
    volatile uint8_t *notify;
    uint32_t notify_bytes, notify_multiplier;
    volatile uint8_t *config; /* NULL when the device has none */
    uint32_t config_bytes;
    volatile uint16_t *queue_notify[QUEUES_MAX];
    bool has_message; /* MSI-X is on */
};

static struct virtio_pci devices[DEVICES_MAX];
static size_t device_count;
static unsigned buses_searched;

static struct virtio_pci *of(struct virtio_device *device)
{
    return (struct virtio_pci *)device;
}

static uint8_t read_status(struct virtio_device *device)
{
    return of(device)->common->device_status;
}

static void write_status(struct virtio_device *device, uint8_t status)
{
    of(device)->common->device_status = status;
}

static uint64_t read_features(struct virtio_device *device)
{
    volatile struct common *const common = of(device)->common;

    common->device_feature_select = 0;
    const uint64_t low = common->device_feature;
    common->device_feature_select = 1;
    return low | (uint64_t)common->device_feature << 32;
}

static void write_features(struct virtio_device *device, uint64_t features)
{
    volatile struct common *const common = of(device)->common;

    common->driver_feature_select = 0;
    common->driver_feature = (uint32_t)features;
    common->driver_feature_select = 1;
    common->driver_feature = (uint32_t)(features >> 32);
}

static uint16_t queue_size_max(struct virtio_device *device, uint16_t index)
{
    volatile struct common *const common = of(device)->common;

    if (index >= QUEUES_MAX || index >= common->num_queues)
        return 0;
    common->queue_select = index;
    return common->queue_size; /* the maximum, until the driver writes its own: 4.1.5.1.3 */
}

static void write_address(volatile uint32_t *at, const volatile void *pointer)
{
    const uint64_t address = (uintptr_t)pointer;

    at[0] = (uint32_t)address;
    at[1] = (uint32_t)(address >> 32);
}

static bool queue_enable(struct virtio_device *device, uint16_t index, const struct virtq *q)
{
    struct virtio_pci *const pci = of(device);
    volatile struct common *const common = pci->common;

    common->queue_select = index;
    const uint64_t at = (uint64_t)common->queue_notify_off * pci->notify_multiplier; /* 4.1.4.4 */
    if (at + sizeof(uint16_t) > pci->notify_bytes || at % sizeof(uint16_t) != 0)
        return false;
    pci->queue_notify[index] = (volatile uint16_t *)(pci->notify + at);
    common->queue_size = q->size;
    write_address(common->queue_desc, q->desc);
    write_address(common->queue_driver, q->avail);
    write_address(common->queue_device, q->used);
    common->queue_enable = 1;
    return common->queue_enable == 1;
}

static void notify(struct virtio_device *device, uint16_t index)
{
    *of(device)->queue_notify[index] = index; /* 4.1.5.2 */
}

/* Its MSI-X table; NULL when it has none that can be reached. */
static volatile struct msix_entry *map_msix_table(const struct pci_device *function, uint8_t cap)
{
    const uint32_t table = pci_read32(function, (uint8_t)(cap + MSIX_TABLE));
    const uint32_t offset = table & ~MSIX_TABLE_BAR;
    uint64_t address;

    if (!pci_memory_bar(function, table & MSIX_TABLE_BAR, &address) ||
        address > UINT64_MAX - offset - sizeof(struct msix_entry))
        return NULL;
    return memory_map_device(address + offset, sizeof(struct msix_entry));
}

static bool enable_msix(const struct pci_device *function)
{
    const struct sleep_message message = sleep_message();
    uint8_t cap;

    if (pci_capabilities(function, PCI_CAPABILITY_MSIX, &cap, 1) == 0)
        return false;
    volatile struct msix_entry *const entry = map_msix_table(function, cap);
    if (entry == NULL)
        return false;
    entry->address = message.address;
    entry->address_high = 0;
    entry->data = message.data;
    entry->control = 0; /* not masked */
    const uint8_t control = (uint8_t)(cap + MSIX_CONTROL);
    const uint16_t value = pci_read16(function, control);
    pci_write16(function, control, (uint16_t)((value | MSIX_ENABLED) & ~MSIX_ALL_MASKED));
    return true;
}

static bool route_interrupt(struct virtio_device *device, uint16_t index)
{
    struct virtio_pci *const pci = of(device);

    if (!pci->has_message)
        pci->has_message = enable_msix(&pci->function);
    if (!pci->has_message)
        return false;
    pci->common->queue_select = index;
    pci->common->queue_msix_vector = 0;
    return pci->common->queue_msix_vector == 0; /* 4.1.5.1.2.2 */
}

/* A message needs none. */
static void acknowledge(struct virtio_device *device)
{
    (void)read_status(device);
}

static uint32_t config_generation(struct virtio_device *device)
{
    return of(device)->common->config_generation;
}

static void config_read(struct virtio_device *device, uint32_t offset, void *to, size_t len)
{
    const struct virtio_pci *const pci = of(device);

    if (pci->config == NULL || offset + len > pci->config_bytes)
        memset(to, 0, len);
    else
        virtio_read_field(to, pci->config + offset, len);
}

static const struct virtio_transport transport = {
    .read_status = read_status,
    .write_status = write_status,
    .read_features = read_features,
    .write_features = write_features,
    .queue_size_max = queue_size_max,
    .queue_enable = queue_enable,
    .notify = notify,
    .route_interrupt = route_interrupt,
    .acknowledge = acknowledge,
    .config_generation = config_generation,
    .config_read = config_read,
};

/* Whether all of the capability that a structure of this type has is there. */
static bool is_whole(const struct pci_device *function, uint8_t cap, enum cap_type type)
{
    const unsigned bytes = type == CAP_NOTIFY ? CAP_NOTIFY_BYTES : CAP_BYTES;

    return pci_read8(function, (uint8_t)(cap + CAP_LEN)) >= bytes && cap + bytes <= CONFIG_BYTES;
}

/*
 * Maps the structure that the capability at `cap` describes, if it is `type`, at least `bytes_min`
 * long and in a memory BAR. An I/O BAR is passed over: 4.1.4.1, use the first that one can.
 */
static volatile uint8_t *map_structure(const struct pci_device *function, uint8_t cap,
                                       enum cap_type type, uint32_t bytes_min, uint32_t *bytes)
{
    uint64_t address;

    if (pci_read8(function, (uint8_t)(cap + CAP_CFG_TYPE)) != type ||
        !is_whole(function, cap, type))
        return NULL;
    const uint8_t index = pci_read8(function, (uint8_t)(cap + CAP_BAR));
    const uint32_t offset = pci_read32(function, (uint8_t)(cap + CAP_OFFSET));
    const uint32_t length = pci_read32(function, (uint8_t)(cap + CAP_LENGTH));
    if (length < bytes_min || length > STRUCTURE_BYTES_MAX || offset % 4 != 0 ||
        !pci_memory_bar(function, index, &address) || address > UINT64_MAX - offset - length)
        return NULL;
    *bytes = length;
    return memory_map_device(address + offset, length);
}

static volatile uint8_t *find_structure(struct virtio_pci *pci, const uint8_t *caps, size_t count,
                                        enum cap_type type, uint32_t bytes_min, uint32_t *bytes)
{
    for (size_t i = 0; i < count; i++) {
        volatile uint8_t *const at = map_structure(&pci->function, caps[i], type, bytes_min, bytes);
        if (at == NULL)
            continue;
        if (type == CAP_NOTIFY)
            pci->notify_multiplier =
                pci_read32(&pci->function, (uint8_t)(caps[i] + CAP_NOTIFY_MULTIPLIER));
        return at;
    }
    return NULL;
}

/* Fills `pci` and switches its function on. False if it cannot be used; the log says why. */
static bool attach(struct virtio_pci *pci)
{
    uint8_t caps[CAPS_MAX];
    uint32_t common_bytes;
    const size_t count = pci_capabilities(&pci->function, PCI_CAPABILITY_VENDOR, caps, CAPS_MAX);

    if (count == 0) {
        log_error("virtio", "%s is a legacy device (virtio 0.9); a modern one is needed",
                  pci->device.name);
        return false;
    }
    pci->common = (volatile struct common *)find_structure(pci, caps, count, CAP_COMMON,
                                                           sizeof(struct common), &common_bytes);
    pci->notify = find_structure(pci, caps, count, CAP_NOTIFY, 2, &pci->notify_bytes);
    pci->config = find_structure(pci, caps, count, CAP_DEVICE, 1, &pci->config_bytes);
    if (pci->common == NULL || pci->notify == NULL) {
        log_error("virtio", "%s: its registers are not in a memory BAR with an address",
                  pci->device.name);
        return false;
    }
    const uint16_t command = pci_read16(&pci->function, PCI_COMMAND);
    pci_write16(
        &pci->function, PCI_COMMAND,
        (uint16_t)(command | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE));
    return true;
}

/* The virtio device id, 0 if the function is no virtio device. */
static uint16_t id_of(const struct pci_device *function)
{
    if (function->device_id < DEVICE_ID_TRANSITIONAL || function->device_id > DEVICE_ID_LAST)
        return 0;
    if (function->device_id >= DEVICE_ID_MODERN)
        return (uint16_t)(function->device_id - DEVICE_ID_MODERN);
    return pci_read16(function, PCI_SUBSYSTEM_ID);
}

static bool is_same(const struct pci_device *a, const struct pci_device *b)
{
    return a->segment == b->segment && a->bus == b->bus && a->slot == b->slot &&
           a->function == b->function;
}

/* As everybody writes it: without the segment where it is 0. */
static void name_device(struct virtio_pci *pci)
{
    const struct pci_device *const function = &pci->function;
    char segment[8] = "";

    if (function->segment != 0)
        snprintf(segment, sizeof(segment), "%04x:", function->segment);
    snprintf(pci->device.name, sizeof(pci->device.name), "pci %s%02x:%02x.%u", segment,
             function->bus, function->slot, function->function);
}

static struct virtio_device *device_at(const struct pci_device *function, enum virtio_id id)
{
    for (size_t i = 0; i < device_count; i++)
        if (is_same(&devices[i].function, function))
            return &devices[i].device;
    if (device_count == DEVICES_MAX)
        return NULL;
    struct virtio_pci *const pci = &devices[device_count];
    memset(pci, 0, sizeof(*pci));
    pci->device.transport = &transport;
    pci->device.id = id;
    pci->function = *function;
    name_device(pci);
    if (!attach(pci))
        return NULL;
    device_count++;
    return &pci->device;
}

struct search {
    enum virtio_id id;
    struct virtio_device **found;
    size_t count, max;
    unsigned *seen;
};

static void look_at(const struct pci_device *function, void *context)
{
    struct search *const search = context;

    if (id_of(function) != search->id)
        return;
    ++*search->seen;
    if (search->count == search->max)
        return;
    struct virtio_device *const device = device_at(function, search->id);
    if (device != NULL)
        search->found[search->count++] = device;
}

size_t virtio_pci_find(enum virtio_id id, struct virtio_device **found, size_t max, unsigned *seen)
{
    struct search search = {.id = id, .found = found, .max = max, .seen = seen};
    const struct pci_reach reach = pci_visit(PCI_VENDOR_VIRTIO, look_at, &search);

    buses_searched = reach.buses;
    if (search.count == 0 && reach.bridges_left_out != 0)
        log_warn("virtio",
                 "not looked at: buses behind %u PCI bridges, which have no usable number",
                 reach.bridges_left_out);
    if (search.count == 0 && reach.segments_left_out != 0)
        log_warn("virtio", "not looked at: %u of the PCI segments", reach.segments_left_out);
    return search.count;
}

unsigned virtio_pci_buses(void)
{
    return buses_searched;
}
