/* The first C: from start.S to the kernel. */
#include "boot/pvh.h"

/* Called by start.S, in long mode, on the boot stack. */
__attribute__((noreturn, used)) void pvh_enter(const struct hvm_start_info *start,
                                               uint64_t entry_tsc);

void pvh_enter(const struct hvm_start_info *start, uint64_t entry_tsc)
{
    static struct boot_info info;

    pvh_translate(start, PVH_MAPPED_END, &info);
    info.entry_tsc = entry_tsc;
    kernel_start(&info);
}
