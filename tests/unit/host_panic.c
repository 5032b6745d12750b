/*
 * The end of a machine that cannot go on, on the host: the source compiled into this file, over
 * stacks and code of ours.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#define panic                   vpanic_panic
#define panic_backtrace         vpanic_panic_backtrace
#define power_off               vpanic_power_off
#define trap_probe_caught_panic vpanic_trap_probe_caught_panic

/* The linker's symbols: arrays that lie where pointers of ours say. */
#define __text_start        (*vpanic_text_start)
#define __text_end          (*vpanic_text_end)
#define __stack_bottom      (*vpanic_stack_bottom)
#define __stack_top         (*vpanic_stack_top)
#define __trap_stack_bottom (*vpanic_trap_stack_bottom)
#define __trap_stack_top    (*vpanic_trap_stack_top)

#include "kernel/cpu/panic.h"
#include "tests/test.h"

#define printf fake_printf /* behind the attributes that name it */

static void fake_printf(const char *format, ...);

#include "kernel/cpu/panic.c"

#define PAGE_WORDS 512u
#define TEXT_BYTES 64u
#define PLACE(of)  ((const uint8_t(*)[])(of))

/* A stack of three pages, and one for traps, with pages between that are none. */
static _Alignas(4096) uint64_t pages[9][PAGE_WORDS];
static uint8_t text[TEXT_BYTES + 8];

const uint8_t (*vpanic_text_start)[] = PLACE(text);
const uint8_t (*vpanic_text_end)[] = PLACE(text + TEXT_BYTES);
const uint8_t (*vpanic_stack_bottom)[] = PLACE(pages[1]);
const uint8_t (*vpanic_stack_top)[] = PLACE(pages[4]);
const uint8_t (*vpanic_trap_stack_bottom)[] = PLACE(pages[5]);
const uint8_t (*vpanic_trap_stack_top)[] = PLACE(pages[8]);

static struct {
    char said[1024];
    char probed[300]; /* what a probe would have caught */
    unsigned panics;  /* while something is printed */
    int status;
    jmp_buf off;
} fake;

static void fake_printf(const char *format, ...)
{
    const size_t len = strlen(fake.said);
    va_list args;

    if (fake.panics > 0) {
        fake.panics--;
        panic("again");
    }
    va_start(args, format);
    (void)vsnprintf(fake.said + len, sizeof fake.said - len, format, args);
    va_end(args);
}

void vpanic_trap_probe_caught_panic(const char *said)
{
    (void)snprintf(fake.probed, sizeof fake.probed, "%s", said);
}

void vpanic_power_off(int status)
{
    fake.status = status;
    longjmp(fake.off, 1);
}

static void set_up(void)
{
    memset(&fake, 0, sizeof fake);
    memset(pages, 0, sizeof pages);
    memset(text, 0, sizeof text);
    panicking = false;
}

static uint64_t place(const void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

static bool backtrace_is(const uint64_t *stack, const char *expected)
{
    fake.said[0] = '\0';
    panic_backtrace(place(stack));
    if (strcmp(fake.said, expected) != 0)
        test_print("%s", fake.said);
    return strcmp(fake.said, expected) == 0;
}

/* How many entries the backtrace has. */
static unsigned entries(const uint64_t *stack)
{
    unsigned count = 0;

    fake.said[0] = '\0';
    panic_backtrace(place(stack));
    for (const char *at = fake.said; (at = strstr(at, " 0x")) != NULL; at++)
        count++;
    return count;
}

/* ---- what is a return address ---- */

static bool is_return_address(uint64_t address)
{
    pages[3][PAGE_WORDS - 1] = address;
    return entries(&pages[3][PAGE_WORDS - 1]) == 1;
}

TEST(panic_backtrace_takes_what_points_behind_a_call)
{
    static const struct {
        uint8_t bytes[8]; /* before the address */
        bool call;
    } rows[] = {
        {{0, 0, 0, 0xe8, 1, 2, 3, 4}, true},           /* call rel32 */
        {{0, 0, 0, 0xe9, 1, 2, 3, 4}, false},          /* jmp rel32 */
        {{0, 0, 0, 0, 0, 0, 0xff, 0xd0}, true},        /* call *%rax */
        {{0, 0, 0, 0, 0, 0, 0xff, 0xe0}, false},       /* jmp *%rax */
        {{0, 0, 0, 0, 0, 0xff, 0x50, 8}, true},        /* call *8(%rax) */
        {{0, 0, 0, 0, 0xff, 0x54, 0x24, 8}, true},     /* call *8(%rsp) */
        {{0, 0xff, 0x14, 0x25, 1, 2, 3, 4}, true},     /* call *0x4030201 */
        {{0xff, 0x14, 0x25, 1, 2, 3, 4, 0x90}, false}, /* something after it */
        {{0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90}, false},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        set_up();
        memcpy(text + 16, rows[i].bytes, 8);
        CHECK_EQ(is_return_address(place(text + 24)), rows[i].call);
    }
}

TEST(panic_backtrace_looks_at_nothing_but_text)
{
    set_up();
    memset(text, 0xe8, sizeof text);
    CHECK(is_return_address(place(text + 8)));
    CHECK(!is_return_address(place(text + 7)));
    CHECK(!is_return_address(place(text)));
    CHECK(is_return_address(place(text + TEXT_BYTES - 1)));
    CHECK(!is_return_address(place(text + TEXT_BYTES)));
    CHECK(!is_return_address(0));
    CHECK(!is_return_address(UINT64_MAX));
}

/* ---- where they are looked for ---- */

TEST(panic_backtrace_goes_up_to_the_end_of_its_stack)
{
    char expected[64];

    set_up();
    text[19] = 0xe8;
    text[35] = 0xe8;
    pages[3][PAGE_WORDS - 3] = place(text + 24);
    pages[3][PAGE_WORDS - 2] = 0x1234;
    pages[3][PAGE_WORDS - 1] = place(text + 40);
    pages[4][0] = place(text + 24); /* beyond it */
    (void)snprintf(expected, sizeof expected, "  backtrace: %#lx %#lx\n",
                   (unsigned long)place(text + 24), (unsigned long)place(text + 40));
    CHECK(backtrace_is(&pages[3][PAGE_WORDS - 3], expected));
    CHECK(backtrace_is(&pages[3][PAGE_WORDS - 5], expected));
    pages[7][PAGE_WORDS - 2] = place(text + 24);
    pages[7][PAGE_WORDS - 1] = place(text + 40);
    pages[8][0] = place(text + 24);
    CHECK(backtrace_is(&pages[6][PAGE_WORDS - 1], expected)); /* a trap's */
}

TEST(panic_backtrace_goes_so_far_and_no_further)
{
    _Static_assert(BACKTRACE_WORDS_MAX == 2 * PAGE_WORDS, "what lies beyond is in the third");

    set_up();
    text[19] = 0xe8;
    pages[1][0] = place(text + 24);
    pages[2][PAGE_WORDS - 1] = place(text + 24);
    pages[3][0] = place(text + 24);
    CHECK_EQ(entries(pages[1]), 2);
    for (unsigned i = 0; i < PAGE_WORDS; i++)
        pages[1][i] = place(text + 24);
    CHECK_EQ(entries(pages[1]), BACKTRACE_ENTRIES_MAX);
}

TEST(panic_backtrace_follows_no_pointer_outside_of_the_stacks)
{
    static const char none[] = "  no backtrace: the stack pointer is outside of the stacks\n";

    set_up();
    text[19] = 0xe8;
    for (unsigned i = 0; i < 9; i++)
        for (unsigned k = 0; k < PAGE_WORDS; k++)
            pages[i][k] = place(text + 24);
    CHECK_EQ(entries(pages[1]), BACKTRACE_ENTRIES_MAX);
    CHECK(backtrace_is(&pages[0][PAGE_WORDS - 1], none));
    CHECK(backtrace_is(pages[4], none));
    CHECK(backtrace_is(&pages[4][PAGE_WORDS - 1], none));
    CHECK_EQ(entries(pages[5]), BACKTRACE_ENTRIES_MAX);
    CHECK(backtrace_is(pages[8], none));
    CHECK(backtrace_is(NULL, none));
    CHECK(backtrace_is((const uint64_t *)((uintptr_t)pages[1] + 4), none)); /* and no odd one */
}

/* ---- panic() ---- */

static void panics(const char *what)
{
    if (setjmp(fake.off) == 0)
        panic("the %s is %d", what, 7);
}

TEST(panic_says_why_and_switches_off_with_failure)
{
    set_up();
    panics("reason");
    CHECK(strcmp(fake.said, "panic: the reason is 7\n"
                            "  no backtrace: the stack pointer is outside of the stacks\n") == 0);
    CHECK_EQ(fake.status, POWER_STATUS_FAILED);
    CHECK(strcmp(fake.probed, "the reason is 7") == 0); /* before anything else */
}

TEST(panic_of_many_words_is_cut)
{
    char many[400];

    set_up();
    memset(many, 'x', sizeof many);
    many[sizeof many - 1] = '\0';
    panics(many);
    CHECK_EQ(strlen(fake.probed), 255);
    CHECK_EQ(strcspn(fake.said, "\n"), strlen("panic: ") + 255);
}

TEST(panic_within_a_panic_only_switches_off)
{
    set_up();
    fake.panics = 1;
    panics("reason");
    CHECK_EQ(fake.said[0], '\0');
    CHECK_EQ(fake.status, POWER_STATUS_FAILED);
    CHECK(strcmp(fake.probed, "again") == 0);
}
