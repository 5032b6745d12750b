/*
 * The first instructions: from where a PVH loader leaves the processor to C in long mode.
 *
 * On entry (PVH): 32-bit protected mode, flat segments, paging and interrupts off, EBX = physical
 * address of hvm_start_info. No stack. The ELF loader has zeroed .bss.
 *
 * On the way: check that the processor has what every line after this takes for granted, switch to
 * the tables below, which map the first 4 GiB one to one with pages of 2 MiB, enter long mode with
 * no-execute and write-protect active, have ring 0 set up (kernel/ring0/setup.c), leave for ring 3,
 * call pvh_enter() there.
 *
 * Under kvm_pvm, a KVM without hardware virtualization, all of ring 0 is interpreted, a subset of
 * the instructions: there is no LDMXCSR, for one, and each costs about a microsecond. So the tables
 * are filled in by the assembler, and the floating point unit is set up in ring 3.
 */
#define CR0_MP         (1 << 1)
#define CR0_EM         (1 << 2)
#define CR0_TS         (1 << 3)
#define CR0_NE         (1 << 5)
#define CR0_WP         (1 << 16)
#define CR0_PG         (1 << 31)
#define CR4_PAE        (1 << 5)
#define CR4_MCE        (1 << 6)
#define CR4_OSFXSR     (1 << 9)
#define CR4_OSXMMEXCPT (1 << 10)
#define MSR_EFER       0xc0000080
#define EFER_LME       (1 << 8)
#define EFER_NXE       (1 << 11)
#define CPUID_EDX_NX   (1 << 20)
#define CPUID_EDX_LM   (1 << 29)
#define PAGE_PRESENT   (1 << 0)
#define PAGE_WRITE     (1 << 1)
#define PAGE_USER      (1 << 2)
#define PAGE_ACCESSED  (1 << 5)
#define PAGE_DIRTY     (1 << 6)
#define PAGE_LARGE     (1 << 7)
#define PAGE_NX        (1 << 63)
#define LARGE_BYTES    0x200000
#define IMAGE_ENTRIES  8        /* pages of 2 MiB that the image may lie in: see boot/image.ld */
#define CODE_SELECTOR  0x08
#define DATA_SELECTOR  0x10
#define RING3_DATA     0x1b
#define RING3_CODE     0x23
#define RFLAGS_FIXED   0x02     /* interrupts off, no right to ports */
#define COM1           0x3f8
#define COM1_LSR       0x3fd
#define DEBUG_EXIT     0xf4
#define EXIT_FAILED    0x11 /* POWER_EXIT_FAILED in kernel/plat/power.h */

/*
 * XEN_ELFNOTE_PHYS32_ENTRY. Eight bytes of descriptor: QEMU reads eight, others the first four.
 */
    .section .note.pvh, "a", @note
    .balign 4
    .long 2f - 1f, 4f - 3f, 18
1:  .asciz "Xen"
2:  .balign 4
3:  .quad boot_start
4:

    .section .text.boot, "ax"
    .code32
    .globl boot_start
    .type boot_start, @function
boot_start:
    cli
    cld
    rdtsc
    movl %eax, boot_tsc
    movl %edx, boot_tsc + 4
    movl %ebx, %esi                 /* CPUID overwrites EBX */

    movl $0x80000000, %eax
    cpuid
    cmpl $0x80000001, %eax
    jb boot_cpu_unfit
    movl $0x80000001, %eax
    cpuid
    andl $(CPUID_EDX_LM | CPUID_EDX_NX), %edx
    cmpl $(CPUID_EDX_LM | CPUID_EDX_NX), %edx
    jne boot_cpu_unfit

    movl $(CR4_PAE | CR4_MCE | CR4_OSFXSR | CR4_OSXMMEXCPT), %eax
    movl %eax, %cr4
    movl $boot_pml4, %eax
    movl %eax, %cr3
    movl $MSR_EFER, %ecx            /* whole: without SYSCALL, whatever a loader has left */
    movl $(EFER_LME | EFER_NXE), %eax
    xorl %edx, %edx
    wrmsr
    movl %cr0, %eax
    andl $~(CR0_EM | CR0_TS), %eax
    orl $(CR0_PG | CR0_WP | CR0_NE | CR0_MP), %eax
    movl %eax, %cr0

    lgdt boot_gdt_pointer
    ljmp $CODE_SELECTOR, $boot_long_mode

/* "Nothing silent": say it on COM1, where there is one, and leave. */
boot_cpu_unfit:
    movl $boot_cpu_unfit_text, %esi
1:  movl $65536, %ecx               /* polls, at most, for room in the transmitter */
2:  movw $COM1_LSR, %dx
    inb %dx, %al
    testb $0x20, %al
    loopz 2b
    lodsb
    testb %al, %al
    jz 3f
    movw $COM1, %dx
    outb %al, %dx
    jmp 1b
3:  movl $EXIT_FAILED, %eax
    outl %eax, $DEBUG_EXIT
4:  hlt
    jmp 4b

    .code64
boot_long_mode:
    movl $DATA_SELECTOR, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl $__ring0_stack_top, %esp
    movl %esi, %ebx                 /* hvm_start_info; ring0_init() keeps EBX */
    call ring0_init
    movl %ebx, %edi                 /* 32-bit writes clear the upper halves */
    movq boot_tsc, %rsi
    movl $RING3_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    pushq $RING3_DATA
    pushq $__stack_top
    pushq $RFLAGS_FIXED
    pushq $RING3_CODE
    pushq $boot_ring3
    iretq
    .size boot_start, . - boot_start

    /* In ring 3, RDI and RSI as pvh_enter() takes them. */
    .section .text.ring3_entry, "ax"
boot_ring3:
    ldmxcsr boot_mxcsr
    fninit
    xorl %ebp, %ebp
    call pvh_enter
    ud2

    .section .rodata.ring3_entry, "a"
    .balign 4
boot_mxcsr:
    .long 0x1f80                    /* all exceptions masked, round to nearest */

    .section .rodata.boot, "a"
    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff        /* code, 64-bit, accessed */
    .quad 0x00cf93000000ffff        /* data, accessed */
boot_gdt_pointer:
    .word . - boot_gdt - 1
    .long boot_gdt
boot_cpu_unfit_text:
    .asciz "tally: this processor lacks long mode or no-execute pages\n"

    /*
     * All of the first 4 GiB: where the image may lie for ring 0, until paging_init() maps it by
     * its sections; the rest for ring 3, not executable.
     */
    .section .data.boot, "aw"
    .globl boot_pdpt, boot_pd, boot_image_bytes_max
    .set boot_image_bytes_max, IMAGE_ENTRIES * LARGE_BYTES
    .balign 4096
boot_pml4:
    .quad boot_pdpt + PAGE_PRESENT + PAGE_WRITE + PAGE_USER + PAGE_ACCESSED
    .zero 511 * 8
boot_pdpt:
    .irp directory, 0, 1, 2, 3
    .quad boot_pd + \directory * 4096 + PAGE_PRESENT + PAGE_WRITE + PAGE_USER + PAGE_ACCESSED
    .endr
    .zero 508 * 8
boot_pd:
    .set page, 0
    .rept IMAGE_ENTRIES
    .quad page + PAGE_PRESENT + PAGE_WRITE + PAGE_ACCESSED + PAGE_DIRTY + PAGE_LARGE
    .set page, page + LARGE_BYTES
    .endr
    .rept 2048 - IMAGE_ENTRIES
    .quad page + PAGE_PRESENT + PAGE_WRITE + PAGE_USER + PAGE_ACCESSED + PAGE_DIRTY + PAGE_LARGE + \
        PAGE_NX
    .set page, page + LARGE_BYTES
    .endr

    .section .bss.boot, "aw", @nobits
    .balign 8
boot_tsc:
    .skip 8

    .section .note.GNU-stack, "", @progbits
