/*
 * Where the processor enters ring 0. On an exception: 32 stubs that bring every vector to one form
 * (struct trap_frame in ring0.h), and the way back. On an interrupt: see the end.
 */
#define RFLAGS_IF 0x200

    .section .text.ring0_entry, "ax"

    .macro trap_stub vector
    .balign 16
    /* Vectors that push an error code of their own: 8, 10 to 14, 17, 21, 29, 30. */
    .set has_error_code, \vector == 8 || (\vector >= 10 && \vector <= 14) || \vector == 17
    .set has_error_code, has_error_code || \vector == 21 || \vector == 29 || \vector == 30
    .if !has_error_code
    pushq $0
    .endif
    pushq $\vector
    jmp trap_common
    .endm

    .globl trap_stubs
    .balign 16
trap_stubs:
    .altmacro
    .set vector, 0
    .rept 32
    trap_stub %vector
    .set vector, vector + 1
    .endr

trap_common:
    pushq %rax
    pushq %rbx
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %rbp
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %cr2, %rax
    pushq %rax
    cld
    movq %rsp, %rdi
    call ring0_trap
    addq $8, %rsp                   /* CR2 */
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rbp
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rbx
    popq %rax
    addq $16, %rsp                  /* vector and error code */
    iretq

/*
 * Interrupts come to the HLT of halt_until_interrupt() and nowhere else. They end it, and that is
 * all. IF stays off behind the IRETQ: however many there are, one HLT takes one of them.
 */
    .globl interrupt_stub
    .balign 16
interrupt_stub:
    andl $~RFLAGS_IF, 16(%rsp)
    iretq

    .section .note.GNU-stack, "", @progbits
