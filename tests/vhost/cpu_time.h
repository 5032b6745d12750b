/* Processor time that another process has used, from /proc. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct cpu_time {
    double all_s; /* every thread */
    double
        vcpu_s; /* QEMU's "CPU 0/TCG" and its like, which run the guest; 0 without debug-threads */
};

/* Zeros if there is no such process. To a hundredth of a second. */
struct cpu_time cpu_time_of(pid_t pid);

/* Ties this thread to one processor. False: it cannot be had. */
__attribute__((warn_unused_result)) bool cpu_pin(unsigned processor);
