/*
 * The gate: what ring 0 does for ring 3, and nothing else. See ring0.h for how it is called.
 *
 *     IN, OUT, REP OUTSB    the ports in gate.c's list
 *     HLT                   the machine has ended: interrupts stay off (sleep is a call)
 *     MOV CR3, RAX          forgets cached translations; the tables stay, whatever RAX says
 *     WRMSR                 kvmclock's two MSRs until the boot is over; the calls of ring0.h
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct trap_frame;

enum gate_operation {
    GATE_IN,
    GATE_OUT,
    GATE_OUT_STRING, /* REP OUTSB */
    GATE_HALT,
    GATE_FLUSH, /* MOV CR3, RAX */
    GATE_WRITE_MSR,
};

struct gate_instruction {
    enum gate_operation operation;
    unsigned bytes;     /* its length */
    unsigned width;     /* of IN and OUT: 1, 2 or 4 bytes */
    bool port_is_in_dx; /* else it is `port` */
    uint8_t port;
};

/* Reads no more than `bytes` bytes. False: no instruction that the gate knows. */
__attribute__((warn_unused_result)) bool gate_decode(const uint8_t *code, size_t bytes,
                                                     struct gate_instruction *instruction);

/*
 * Does what the instruction at frame->rip asks for, leaves its result in the frame, and steps over
 * it. False, and nothing done: it is not on the list.
 */
__attribute__((warn_unused_result)) bool gate_serve(struct trap_frame *frame);
