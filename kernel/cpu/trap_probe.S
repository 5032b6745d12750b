/*
 * The two halves of trap_probe().
 *
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
