/*
 * Where the processor enters on an exception: 32 stubs that bring every vector to one form (struct
 * trap_frame in trap.c), and the two halves of trap_probe().
 */
    .section .text.trap_entry, "ax"

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
    cld
    movq %rsp, %rdi                 /* 22 words below a top aligned to 16: aligned */
    call trap_handle
    ud2

/*
 * bool trap_probe_call(void (*fn)(void *), void *arg): false when fn returned, true when
 * trap_probe_resume() brought us back.
 */
    .section .text.trap_probe, "ax"
    .globl trap_probe_call
    .type trap_probe_call, @function
trap_probe_call:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    subq $8, %rsp
    movq %rsp, trap_probe_stack
    movq %rdi, %rax
    movq %rsi, %rdi
    call *%rax
    xorl %eax, %eax
1:  addq $8, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    cld
    ret

    .globl trap_probe_resume
    .type trap_probe_resume, @function
trap_probe_resume:
    movq trap_probe_stack, %rsp
    movl $1, %eax
    jmp 1b

    .section .bss.trap_probe, "aw", @nobits
    .balign 8
trap_probe_stack:
    .skip 8

    .section .note.GNU-stack, "", @progbits
