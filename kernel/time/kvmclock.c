#include "kernel/time/kvmclock.h"

#include <string.h>

#include "kernel/cpu/cpu.h"

#define LEAF_FEATURES       (CPU_LEAF_HYPERVISOR + 1)
#define FEATURE_CLOCKSOURCE (1u << 3) /* EAX: the MSR below */
#define MSR_SYSTEM_TIME     0x4b564d01u
#define MSR_ENABLE          1u

#define NS_PER_S            1000000000ULL

/* struct pvclock_vcpu_time_info; KVM writes it. */
struct time_info {
    uint32_t version; /* odd while it is being written */
    uint32_t pad0;
    uint64_t tsc_timestamp;
    uint64_t system_time; /* nanoseconds, at tsc_timestamp */
    uint32_t tsc_to_system_mul;
    int8_t tsc_shift; /* ns = (cycles << shift) * mul >> 32 */
    uint8_t flags;
    uint8_t pad[2];
};

_Static_assert(sizeof(struct time_info) == 32, "the layout of KVM's ABI");

static _Alignas(32) volatile struct time_info page;

static bool is_offered(void)
{
    char hypervisor[CPU_HYPERVISOR_BYTES];

    cpu_hypervisor_name(hypervisor);
    return strcmp(hypervisor, "KVMKVMKVM") == 0 && cpu_hypervisor_leaf_max() >= LEAF_FEATURES &&
           (cpu_vmm_cpuid(LEAF_FEATURES).eax & FEATURE_CLOCKSOURCE) != 0;
}

static uint64_t shifted(uint64_t value, int8_t shift)
{
    return shift >= 0 ? value << shift : value >> -shift;
}

uint64_t kvmclock_ns(void)
{
    uint32_t version;
    uint64_t ns, cycles;

    /* KVM writes while this processor is stopped: no more than one of these is in vain. */
    do {
        version = page.version;
        cycles = cpu_tsc() - page.tsc_timestamp;
        if ((int64_t)cycles < 0) /* of a TSC that is behind the one that KVM has read */
            cycles = 0;
        ns = page.system_time + (uint64_t)((unsigned __int128)shifted(cycles, page.tsc_shift) *
                                               page.tsc_to_system_mul >>
                                           32);
    } while (version != page.version);
    return ns;
}

uint64_t kvmclock_tsc_hz(void)
{
    const uint64_t per_ns = (NS_PER_S << 32) / page.tsc_to_system_mul;

    return shifted(per_ns, (int8_t)-page.tsc_shift);
}

bool kvmclock_init(void)
{
    if (!is_offered())
        return false;
    cpu_write_msr(MSR_SYSTEM_TIME, (uint64_t)(uintptr_t)&page | MSR_ENABLE);
    return page.version != 0 && page.tsc_to_system_mul != 0;
}
