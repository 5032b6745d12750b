/*
 * The processor's tables and the way of a trap, on the host: the source compiled into this file.
 * The tables are read as the processor would, and traps are frames made here.
 */
#include <setjmp.h>
#include <signal.h>
#include <ucontext.h>

#include "kernel/ring0/privileged.h"

#define cpu_out8                 fake_out8
#define cpu_out32                fake_out32
#define cpu_has_leaf             fake_has_leaf
#define cpu_cpuid(leaf, subleaf) fake_cpuid(leaf, subleaf) /* not the structure */
#define load_gdt                 fake_load_gdt
#define load_idt                 fake_load_idt
#define load_ldt                 fake_load_ldt
#define load_task                fake_load_task
#define read_cr4                 fake_read_cr4
#define write_cr4                fake_write_cr4
#define gate_serve               vsetup_gate_serve
#define paging_init              vsetup_paging_init
#define trap_handle              vsetup_trap_handle
#define ring0_init               vsetup_ring0_init
#define ring0_trap               vsetup_ring0_trap
#define setup_reset              vsetup_reset

/* What entry.S and the linker have: arrays that lie where pointers of ours say. */
#define trap_stubs           (*vsetup_trap_stubs)
#define interrupt_stub       (*vsetup_interrupt_stub)
#define __ring0_stacks_start (*vsetup_ring0_stacks_start)
#define __trap_stack_guard   (*vsetup_trap_stack_guard)
#define __trap_stack_top     (*vsetup_trap_stack_top)

static void fake_out8(uint16_t port, uint8_t value);
static void fake_out32(uint16_t port, uint32_t value);
static bool fake_has_leaf(uint32_t leaf);
static struct cpu_cpuid fake_cpuid(uint32_t leaf, uint32_t subleaf);
static void fake_load_gdt(const struct table_pointer *pointer);
static void fake_load_idt(const struct table_pointer *pointer);
static void fake_load_ldt(uint16_t selector);
static void fake_load_task(uint16_t selector);
static uint64_t fake_read_cr4(void);
static void fake_write_cr4(uint64_t value);

#include "kernel/ring0/setup.c"

#include <stdio.h>
#include <string.h>

#include "tests/test.h"

/* Nobody looks into them. */
#define STUBS  0x123456789ab0ULL
#define STUB   0x123456780000ULL
#define STACKS 0x30009000ULL

/* A guard page and two of stack. */
static _Alignas(PAGE_BYTES) uint8_t trap_stack[3 * PAGE_BYTES];

#define TRAP_STACK_GUARD (trap_stack)
#define TRAP_STACK_TOP   (trap_stack + sizeof trap_stack)

const uint8_t (*vsetup_trap_stubs)[] = (const uint8_t (*)[])(uintptr_t)STUBS;
const uint8_t (*vsetup_interrupt_stub)[] = (const uint8_t (*)[])(uintptr_t)STUB;
const uint8_t (*vsetup_ring0_stacks_start)[] = (const uint8_t (*)[])(uintptr_t)STACKS;
const uint8_t (*vsetup_trap_stack_guard)[] = (const uint8_t (*)[])TRAP_STACK_GUARD;
uint8_t (*vsetup_trap_stack_top)[] = (uint8_t(*)[])TRAP_STACK_TOP;

static struct {
    struct table_pointer gdt, idt;
    uint16_t task, ldt;
    unsigned ldt_loads;
    uint32_t leaf_max, leaf_7_ebx;
    uint64_t cr4;
    unsigned paging_inits;
    bool tables_were_loaded;        /* when paging was set up */
    const struct trap_frame *asked; /* of the gate */
    unsigned asked_times;
    bool gate_serves;
    char said[64];
} fake;

static void note(const char *what, unsigned port, unsigned value)
{
    const size_t len = strlen(fake.said);
    (void)snprintf(fake.said + len, sizeof fake.said - len, "%s %#x=%#x, ", what, port, value);
}

static void fake_out8(uint16_t port, uint8_t value)
{
    note("out8", port, value);
}

static void fake_out32(uint16_t port, uint32_t value)
{
    note("out32", port, value);
}

static bool fake_has_leaf(uint32_t leaf)
{
    return fake.leaf_max >= leaf;
}

static struct cpu_cpuid fake_cpuid(uint32_t leaf, uint32_t subleaf)
{
    return (struct cpu_cpuid){.ebx = leaf == 7 && subleaf == 0 ? fake.leaf_7_ebx : UINT32_MAX};
}

static void fake_load_gdt(const struct table_pointer *pointer)
{
    fake.gdt = *pointer;
}

static void fake_load_idt(const struct table_pointer *pointer)
{
    fake.idt = *pointer;
    note("lidt", pointer->limit, (unsigned)(pointer->base != 0));
}

static void fake_load_ldt(uint16_t selector)
{
    fake.ldt = selector;
    fake.ldt_loads++;
}

static void fake_load_task(uint16_t selector)
{
    if (fake.gdt.base != 0) /* or it would be one of another table */
        fake.task = selector;
}

static uint64_t fake_read_cr4(void)
{
    return fake.cr4;
}

static void fake_write_cr4(uint64_t value)
{
    fake.cr4 = value;
}

bool vsetup_gate_serve(struct trap_frame *frame)
{
    fake.asked = frame;
    fake.asked_times++;
    return fake.gate_serves;
}

void vsetup_paging_init(void)
{
    fake.paging_inits++;
    fake.tables_were_loaded = fake.idt.base != 0 && fake.task != 0;
}

void vsetup_trap_handle(const struct trap_frame *frame)
{
    (void)frame;
    __builtin_trap(); /* its address alone is taken */
}

static void set_up(void)
{
    memset(&fake, 0, sizeof fake);
    memset(trap_stack, 0xa5, sizeof trap_stack);
    memset(idt, 0, sizeof idt);
    memset(&task, 0, sizeof task);
    memset(gdt, 0, sizeof gdt);
    nested = 0;
    fake.leaf_max = 0xd;
    fake.cr4 = 0x620;
}

/* ---- the tables ---- */

static uint64_t offset_of(unsigned vector)
{
    return idt[vector].offset_low | (uint64_t)idt[vector].offset_middle << 16 |
           (uint64_t)idt[vector].offset_high << 32;
}

/* Those of the highest priority: others are not heard. */
TEST(ring0_gates_of_interrupts_lead_to_the_stub_that_ends_a_halt)
{
    set_up();
    ring0_init();
    for (unsigned i = 32; i < 240; i++)
        CHECK(offset_of(i) == 0 && idt[i].type == 0);
    for (unsigned i = 240; i < 256; i++) {
        CHECK_EQ(offset_of(i), STUB);
        CHECK_EQ(idt[i].selector, 0x08);
        CHECK_EQ(idt[i].type, 0x8e); /* present, DPL 0, interrupts stay off in it */
        CHECK_EQ(idt[i].ist, 0);
    }
}

TEST(ring0_gates_lead_to_the_stubs_and_ring_3_may_call_the_breakpoints_alone)
{
    set_up();
    ring0_init();
    CHECK_EQ(fake.idt.base, address_of(idt));
    CHECK_EQ(fake.idt.limit, 256 * 16 - 1);
    for (unsigned i = 0; i < 32; i++) {
        CHECK_EQ(offset_of(i), STUBS + 16 * i);
        CHECK_EQ(idt[i].selector, 0x08);
        CHECK_EQ(idt[i].type >> 7, 1);                  /* present */
        CHECK_EQ(idt[i].type >> 5 & 3, i == 3 ? 3 : 0); /* DPL */
        CHECK_EQ(idt[i].type & 0x1f, 0x0e);             /* interrupts stay off in it */
        CHECK_EQ(idt[i].reserved, 0);
    }
}

TEST(ring0_has_stacks_for_what_comes_at_any_time)
{
    set_up();
    ring0_init();
    for (unsigned i = 0; i < 32; i++) /* NMI, machine check; double fault */
        CHECK_EQ(idt[i].ist, i == 2 || i == 18 ? 1 : i == 8 ? 2 : 0);
    /* Each is a page above a guard page. */
    CHECK_EQ(task.rsp[0], STACKS + 2 * PAGE_BYTES);
    CHECK_EQ(task.ist[0], STACKS + 4 * PAGE_BYTES);
    CHECK_EQ(task.ist[1], STACKS + 6 * PAGE_BYTES);
    CHECK(task.rsp[1] == 0 && task.rsp[2] == 0 && task.ist[2] == 0);
    CHECK_EQ(task.io_map_base, 104); /* as far as the limit: no port is spared the fault */
}

/* SDM vol. 3, 3.4.5: a segment's type, its privilege, its size. */
static bool segment_is(unsigned index, unsigned type, unsigned dpl, bool is_code)
{
    const uint64_t descriptor = gdt[index];

    return (descriptor >> 40 & 0x0f) == type && (descriptor >> 44 & 1) == 1 && /* no gate */
           (descriptor >> 45 & 3) == dpl && (descriptor >> 47 & 1) == 1 &&     /* present */
           (descriptor >> 53 & 1) == is_code && (descriptor >> 54 & 1) == !is_code;
}

TEST(ring0_segments_are_flat_one_of_each_kind_for_each_ring)
{
    enum { DATA_ACCESSED = 0x3, CODE_ACCESSED = 0xb };

    set_up();
    ring0_init();
    CHECK_EQ(fake.gdt.base, address_of(gdt));
    CHECK_EQ(fake.gdt.limit, 7 * 8 - 1);
    CHECK_EQ(gdt[0], 0);
    CHECK(segment_is(0x08 / 8, CODE_ACCESSED, 0, true));
    CHECK(segment_is(0x10 / 8, DATA_ACCESSED, 0, false));
    CHECK(segment_is(0x18 / 8, DATA_ACCESSED, 3, false));
    CHECK(segment_is(0x20 / 8, CODE_ACCESSED, 3, true));
    for (unsigned i = 1; i < 5; i++)
        CHECK_EQ(gdt[i] & 0xff0f00ffffffffff, 0x000f00000000ffff); /* base 0, limit 4 GiB */
}

TEST(ring0_task_is_where_the_gdt_says)
{
    set_up();
    ring0_init();
    CHECK_EQ(fake.task, 0x28);
    const uint64_t base = (gdt[5] >> 16 & 0xffffff) | gdt[5] >> 56 << 24 | gdt[6] << 32;
    CHECK_EQ(base, address_of(&task));
    CHECK_EQ(gdt[5] & 0xffff, 104 - 1);
    CHECK_EQ(gdt[5] >> 40 & 0xff, 0x89); /* present, DPL 0, an available task */
    CHECK_EQ(gdt[5] >> 48 & 0xff, 0);
}

/* At reset it is at address 0, where anything may lie. */
TEST(ring0_has_no_local_descriptors)
{
    set_up();
    fake.ldt = UINT16_MAX;
    ring0_init();
    CHECK_EQ(fake.ldt_loads, 1);
    CHECK_EQ(fake.ldt, 0);
}

TEST(ring0_executes_nothing_of_ring_3s_where_the_processor_can_hold_it_to_that)
{
    set_up();
    ring0_init();
    CHECK_EQ(fake.cr4, 0x620);
    set_up();
    fake.leaf_7_ebx = ~(1u << 7);
    ring0_init();
    CHECK_EQ(fake.cr4, 0x620);
    set_up();
    fake.leaf_7_ebx = 1u << 7;
    ring0_init();
    CHECK_EQ(fake.cr4, 0x100620);
    set_up();
    fake.leaf_7_ebx = 1u << 7;
    fake.leaf_max = 6; /* there is no such leaf */
    ring0_init();
    CHECK_EQ(fake.cr4, 0x620);
}

TEST(ring0_maps_the_image_once_traps_can_be_told_of)
{
    set_up();
    ring0_init();
    CHECK_EQ(fake.paging_inits, 1);
    CHECK(fake.tables_were_loaded);
}

/* ---- traps ---- */

static struct trap_frame trap_of(uint64_t vector, uint64_t error_code)
{
    struct trap_frame frame;
    uint64_t words[sizeof frame / 8];

    for (unsigned i = 0; i < sizeof frame / 8; i++)
        words[i] = 0x1111111111111111ULL * (i % 15 + 1) ^ i;
    memcpy(&frame, words, sizeof frame);
    frame.vector = vector;
    frame.error_code = error_code;
    frame.cs = 0x23;
    frame.ss = 0x1b;
    frame.rsp = 0x100;
    return frame;
}

/* Whether ring 3's trap_handle() is what the frame goes on with, told of `before`. */
static bool is_handed_over(const struct trap_frame *frame, const struct trap_frame *before)
{
    const uint8_t *const copy = (const uint8_t *)(uintptr_t)frame->rdi;

    return frame->rip == (uint64_t)(uintptr_t)trap_handle && frame->cs == 0x23 &&
           frame->ss == 0x1b && frame->rflags == 2 && frame->rsp % 16 == 8 && /* as behind a call */
           copy >= TRAP_STACK_GUARD + 2 * PAGE_BYTES && copy + sizeof *before <= TRAP_STACK_TOP &&
           (uint64_t)(uintptr_t)copy > frame->rsp && /* out of what the handler pushes */
           (uint64_t)(uintptr_t)copy % _Alignof(struct trap_frame) == 0 &&
           memcmp(copy, before, sizeof *before) == 0;
}

static bool hands_over(struct trap_frame frame)
{
    const struct trap_frame before = frame;

    ring0_trap(&frame);
    return is_handed_over(&frame, &before);
}

TEST(ring0_tells_ring_3_of_every_trap)
{
    for (uint64_t vector = 0; vector < 32; vector++) {
        set_up();
        CHECK(hands_over(trap_of(vector, 0)));
        CHECK_EQ(fake.asked_times, vector == 13 ? 1 : 0);
        CHECK(hands_over(trap_of(vector, 2)));
    }
}

TEST(ring0_writes_nothing_but_the_frame_onto_the_trap_stack)
{
    set_up();
    CHECK(hands_over(trap_of(14, 4)));
    for (const uint8_t *at = TRAP_STACK_GUARD; at < TRAP_STACK_TOP; at++) {
        const bool is_copy =
            at >= TRAP_STACK_TOP - 8 - sizeof(struct trap_frame) && at < TRAP_STACK_TOP - 8;
        CHECK(is_copy || *at == 0xa5);
    }
}

TEST(ring0_goes_on_behind_what_the_gate_has_done)
{
    set_up();
    fake.gate_serves = true;
    struct trap_frame frame = trap_of(13, 0);
    const struct trap_frame before = frame;
    ring0_trap(&frame);
    CHECK(fake.asked == &frame && fake.asked_times == 1);
    CHECK(memcmp(&frame, &before, sizeof frame) == 0);
    CHECK_EQ(TRAP_STACK_TOP[-16], 0xa5);
}

/* An error code is a selector's, or an IDT entry's: no instruction of the gate's. */
TEST(ring0_asks_the_gate_of_a_general_protection_fault_without_an_error_code_in_ring_3_alone)
{
    set_up();
    fake.gate_serves = true;
    for (uint64_t code = 1; code != 0; code <<= 1)
        CHECK(hands_over(trap_of(13, code)));
    for (uint64_t vector = 0; vector < 32; vector++)
        CHECK(vector == 13 || hands_over(trap_of(vector, 0)));
    struct trap_frame frame = trap_of(13, 0);
    frame.cs = 0x08;
    frame.ss = 0;
    CHECK(hands_over(frame));
    CHECK_EQ(fake.asked_times, 0);
}

/* ---- the reset ---- */

static sigjmp_buf at_fault;
static unsigned faults_seen;

/*
 * Of a machine without an IDT it is the last. Where a reset goes on none the less, it tries again:
 * so the first time the address is made one that can be read. (ASan's look at it cannot be: it
 * faults twice.)
 */
static void on_fault(int number, siginfo_t *info, void *context)
{
    static const uint8_t readable[1];
    greg_t *const registers = ((ucontext_t *)context)->uc_mcontext.gregs;

    (void)number;
    (void)info;
    if (++faults_seen == 2)
        siglongjmp(at_fault, 1);
    for (unsigned i = 0; i < NGREG; i++) {
        if ((uint64_t)registers[i] == NOT_CANONICAL)
            registers[i] = (greg_t)(uintptr_t)readable;
    }
}

/* Whether it ends in faults: on the host they are SIGSEGV. */
static bool faults(void (*fn)(struct trap_frame *), struct trap_frame *frame)
{
    const struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    struct sigaction before;

    faults_seen = 0;
    fake.said[0] = '\0';
    if (sigaction(SIGSEGV, &action, &before) != 0)
        return false;
    if (sigsetjmp(at_fault, 1) == 0)
        fn(frame);
    (void)sigaction(SIGSEGV, &before, NULL);
    return faults_seen == 2;
}

static void reset(struct trap_frame *frame)
{
    (void)frame;
    setup_reset();
}

TEST(ring0_resets_by_the_8042_or_by_a_fault_without_a_table_to_find_its_handler_in)
{
    set_up();
    CHECK(faults(reset, NULL));
    CHECK(strcmp(fake.said, "out8 0x64=0xfe, lidt 0=0, ") == 0);
    CHECK(fake.idt.base == 0 && fake.idt.limit == 0);
}

/* ---- traps that follow one another ---- */

static struct trap_frame trap_at(uint64_t rsp)
{
    struct trap_frame frame = trap_of(14, 6);

    frame.rsp = rsp;
    return frame;
}

/* Of ring 0's own, on a stack of its own. */
static struct trap_frame trap_in_ring0(void)
{
    struct trap_frame frame = trap_of(13, 0);

    frame.cs = 0x08;
    frame.ss = 0x10;
    frame.rsp = STACKS + 2 * PAGE_BYTES - 64;
    return frame;
}

static bool gives_up(struct trap_frame frame)
{
    return faults(ring0_trap, &frame) &&
           strcmp(fake.said, "out32 0xf4=0x11, out8 0x64=0xfe, lidt 0=0, ") == 0;
}

TEST(ring0_gives_up_when_the_handler_traps_again_and_again)
{
    const uint64_t bottom = address_of(TRAP_STACK_GUARD), top = address_of(TRAP_STACK_TOP);
    const uint64_t within[] = {top - 256, top, bottom + PAGE_BYTES, bottom /* it has run over */};

    for (size_t i = 0; i < sizeof within / sizeof within[0]; i++) {
        set_up();
        CHECK(hands_over(trap_of(6, 0)));
        CHECK(hands_over(trap_at(within[i])));
        CHECK(hands_over(trap_at(within[i])));
        CHECK(hands_over(trap_at(within[i])));
        CHECK(gives_up(trap_at(within[i])));
    }
}

/* Ring 3 is told of the first ones, and may come back into ring 0: not for ever. */
TEST(ring0_gives_up_when_it_traps_itself_again_and_again)
{
    set_up();
    for (unsigned i = 0; i < 3; i++)
        CHECK(hands_over(trap_in_ring0()));
    CHECK(gives_up(trap_in_ring0()));
    /* In turns with the handler's, they are counted together. */
    set_up();
    CHECK(hands_over(trap_of(6, 0)));
    CHECK(hands_over(trap_in_ring0()));
    CHECK(hands_over(trap_at(address_of(TRAP_STACK_TOP) - 256)));
    CHECK(hands_over(trap_in_ring0()));
    CHECK(gives_up(trap_at(address_of(TRAP_STACK_TOP) - 256)));
    /* One of ring 3's in between, and they are counted anew. */
    set_up();
    for (unsigned i = 0; i < 100; i++) {
        for (unsigned k = 0; k < 3; k++)
            CHECK(hands_over(trap_in_ring0()));
        CHECK(hands_over(trap_of(6, 0)));
    }
}

TEST(ring0_counts_no_traps_outside_of_the_handler)
{
    const uint64_t bottom = address_of(TRAP_STACK_GUARD), top = address_of(TRAP_STACK_TOP);
    const uint64_t outside[] = {bottom - 8, top + 8, 0, UINT64_MAX};

    set_up();
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
        for (unsigned k = 0; k < 100; k++)
            CHECK(hands_over(trap_at(outside[i])));
    }
    /* Nor those before one. */
    for (unsigned i = 0; i < 100; i++) {
        for (unsigned k = 0; k < 3; k++)
            CHECK(hands_over(trap_at(top - 256)));
        CHECK(hands_over(trap_of(6, 0)));
    }
}
