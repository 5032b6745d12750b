/*
 * kvmclock: the time as KVM tells its guests (Linux, Documentation/virt/kvm/x86/msr.rst,
 * MSR_KVM_SYSTEM_TIME_NEW). KVM keeps a page up to date that says what the time was at some value
 * of the TSC, and how to go on from there: so the TSC's frequency need not be measured, and the
 * clock goes on where it was when the machine has been stopped, restored or moved to another host.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Asks KVM for its page, during the boot. False: there is no KVM, or it offers none that works. */
__attribute__((warn_unused_result)) bool kvmclock_init(void);

/* Nanoseconds by KVM's clock, whose zero is KVM's. After kvmclock_init() has said true. */
uint64_t kvmclock_ns(void);

/* How fast the TSC is by what the page says now. */
uint64_t kvmclock_tsc_hz(void);
