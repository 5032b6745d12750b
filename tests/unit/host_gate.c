/* What the gate does for ring 3 in the place of its instructions, on the host: ports, HLT. */
#define VGATE(name) vgate_ports_##name

#include "tests/unit/fake_gate.h"

static const struct {
    uint32_t first, last;
    bool in, out;
    bool after_boot;
} ports[] = {
    {0x21, 0x21, true, true, false}, {0xa1, 0xa1, true, true, false},
    {0x40, 0x43, true, true, false}, {0xcf8, 0xcff, true, true, false},
    {0x60, 0x60, true, false, true}, {0x64, 0x64, true, false, true},
    {0x70, 0x70, false, true, true}, {0x71, 0x71, true, false, true},
    {0xf4, 0xf7, false, true, true}, {0x3f8, 0x3ff, true, true, true},
};

static bool port_is_listed(uint32_t port, unsigned width, enum action way)
{
    for (size_t i = 0; i < sizeof ports / sizeof ports[0]; i++) {
        if (port >= ports[i].first && port + width - 1 <= ports[i].last &&
            (way == PORT_IN ? ports[i].in : ports[i].out) && (!sealed || ports[i].after_boot))
            return true;
    }
    return false;
}

static const struct port_form {
    char code[3];
    size_t bytes;
    unsigned width;
    enum action way;
} through_dx[] = {{"\xec", 1, 1, PORT_IN},  {"\x66\xed", 2, 2, PORT_IN},  {"\xed", 1, 4, PORT_IN},
                  {"\xee", 1, 1, PORT_OUT}, {"\x66\xef", 2, 2, PORT_OUT}, {"\xef", 1, 4, PORT_OUT}},
  immediate[] = {{"\xe4", 1, 1, PORT_IN},  {"\x66\xe5", 2, 2, PORT_IN},  {"\xe5", 1, 4, PORT_IN},
                 {"\xe6", 1, 1, PORT_OUT}, {"\x66\xe7", 2, 2, PORT_OUT}, {"\xe7", 1, 4, PORT_OUT}};

enum { FORMS = sizeof through_dx / sizeof through_dx[0] };

/* Whether it is done, as it is to be done, or refused, as the list has it. */
static bool is_done_as_listed(const struct port_form *form, const char *code_bytes, size_t bytes,
                              uint32_t port, struct trap_frame *frame)
{
    if (!serves(code_bytes, bytes, frame))
        return !port_is_listed(port, form->width, form->way);
    return port_is_listed(port, form->width, form->way) && done.what == form->way &&
           done.first == port && done.width == form->width;
}

TEST(gate_lets_ring_3_use_the_listed_ports_in_their_ways_and_no_others)
{
    for (unsigned after_boot = 0; after_boot < 2; after_boot++) {
        CHECK(set_up());
        if (after_boot != 0)
            gate_seal();
        for (uint32_t port = 0; port <= UINT16_MAX; port++) {
            /* DX is the port: what is above it in RDX says nothing. */
            struct trap_frame frame = {.rdx = 0xfedcba9800000000 | 0x10000 | port};

            for (size_t i = 0; i < FORMS; i++)
                CHECK(is_done_as_listed(&through_dx[i], through_dx[i].code, through_dx[i].bytes,
                                        port, &frame));
            frame.rsi = (uint64_t)(uintptr_t)data;
            frame.rcx = 1;
            CHECK_EQ(SERVES("\xf3\x6e", &frame), port_is_listed(port, 1, PORT_OUT));
        }
    }
}

TEST(gate_takes_the_port_in_the_instruction_for_the_port)
{
    CHECK(set_up());
    for (size_t i = 0; i < FORMS; i++) {
        for (unsigned port = 0; port < 256; port++) {
            struct trap_frame frame = {.rdx = 0x3f8}; /* one that is listed, and not meant */
            char bytes[3];

            memcpy(bytes, immediate[i].code, 3);
            bytes[immediate[i].bytes] = (char)port;
            CHECK(is_done_as_listed(&immediate[i], bytes, immediate[i].bytes + 1, port, &frame));
        }
    }
}

static bool goes_through(const char *instruction, uint16_t port)
{
    struct trap_frame frame = {.rdx = port, .rcx = 1, .rsi = (uint64_t)(uintptr_t)data};

    return serves(instruction, strlen(instruction), &frame);
}

/* No A20 gate, no reset by the 8042, no setting of the RTC; what is never read is not read. */
TEST(gate_lets_ring_3_only_read_the_8042_and_not_set_the_rtc)
{
    static const char in[] = "\xec", out[] = "\xee", out_string[] = "\xf3\x6e";
    static const uint16_t read_only[] = {0x60, 0x64, 0x71}, write_only[] = {0x70, 0xf4, 0xf7};

    CHECK(set_up());
    for (unsigned after_boot = 0; after_boot < 2; after_boot++) {
        for (size_t i = 0; i < 3; i++) {
            CHECK(goes_through(in, read_only[i]));
            CHECK(!goes_through(out, read_only[i]) && !goes_through(out_string, read_only[i]));
            CHECK(goes_through(out, write_only[i]) && goes_through(out_string, write_only[i]));
            CHECK(!goes_through(in, write_only[i]));
        }
        /* Nor both registers of the RTC at once, which are two ports of one way each. */
        CHECK(!goes_through("\x66\xed", 0x70) && !goes_through("\x66\xef", 0x70));
        gate_seal();
    }
}

TEST(gate_leaves_in_rax_what_the_processor_would)
{
    struct trap_frame frame = {.rax = 0x1122334455667788, .rdx = 0x3f8};

    CHECK(set_up());
    CHECK(SERVES("\xec", &frame));
    CHECK_EQ(frame.rax, 0x1122334455667781);
    CHECK(SERVES("\x66\xed", &frame));
    CHECK_EQ(frame.rax, 0x1122334455668281);
    CHECK(SERVES("\xed", &frame));
    CHECK_EQ(frame.rax, 0x84838281);

    frame.rax = 0x1122334455667788;
    CHECK(SERVES("\xee", &frame) && done.second == 0x88);
    CHECK(SERVES("\x66\xef", &frame) && done.second == 0x7788);
    CHECK(SERVES("\xef", &frame) && done.second == 0x55667788);
    CHECK_EQ(frame.rax, 0x1122334455667788);
    CHECK_EQ(frame.rdx, 0x3f8);
}

static bool string_goes_out(uint64_t address, uint64_t count)
{
    struct trap_frame frame = {.rdx = 0x3f8, .rsi = address, .rcx = count};

    if (!SERVES("\xf3\x6e", &frame))
        return false;
    /* RSI and RCX as the processor leaves them. */
    return done.what == OUT_STRING && done.first == 0x3f8 && done.second == address &&
           done.width == count && frame.rsi == address + count && frame.rcx == 0;
}

TEST(gate_puts_out_strings_of_ring_3s_own_data)
{
    const uint64_t start = (uint64_t)(uintptr_t)data, end = start + DATA_BYTES;

    CHECK(set_up());
    for (unsigned count = 0; count <= 16; count++) {
        CHECK(string_goes_out(start, count));
        CHECK(string_goes_out(end - count, count));
        CHECK(!string_goes_out(start - 1, count));
        CHECK(!string_goes_out(end - count + 1, count));
    }
    CHECK(!string_goes_out(start, 17));
    CHECK(!string_goes_out(start, UINT64_MAX));
    CHECK(!string_goes_out(start, 1ULL << 32 | 1)); /* all of RCX counts */
    CHECK(!string_goes_out(0, 1));
    CHECK(!string_goes_out(UINT64_MAX, 1));
    CHECK(!string_goes_out((uint64_t)(uintptr_t)code, 1));
    gate_seal();
    CHECK(string_goes_out(start, 16));
}

TEST(gate_halts_and_forgets_translations_before_and_after_the_boot)
{
    struct trap_frame frame = {.rax = 0x1234};

    CHECK(set_up());
    for (unsigned i = 0; i < 2; i++) {
        CHECK(SERVES("\xf4", &frame) && done.what == HALT);
        CHECK(SERVES("\x0f\x22\xd8", &frame) && done.what == FLUSH);
        CHECK_EQ(frame.rax, 0x1234);
        gate_seal();
    }
}

TEST(gate_does_nothing_for_what_it_does_not_know)
{
    /* CLI, STI, INSB, REP INSB, LGDT, MOV CR0, MOV from CR3, MOV CR3 of RBX, RDMSR, a cut OUT. */
    static const char *const others[] = {
        "\xfa",         "\xfb",         "\x6c",         "\xf3\x6c", "\x0f\x01\x18",
        "\x0f\x22\xc0", "\x0f\x20\xd8", "\x0f\x22\xdb", "\x0f\x32", "\xe6"};
    const struct trap_frame before = {.rax = 1, .rdx = 0x3f8, .rcx = RING0_SEAL};

    CHECK(set_up());
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct trap_frame frame = before;
        CHECK(!serves(others[i], strlen(others[i]), &frame));
        CHECK_EQ(done.count, 0);
    }
}

TEST(gate_serves_nothing_but_ring_3s_text)
{
    static const uint8_t elsewhere[] = {0xf4, 0xf4}; /* as ring 0's own is */

    CHECK(set_up());
    memset(code, 0xf4, PAGE_BYTES);
    memset(data, 0xf4, sizeof data);
    const uint64_t start = (uint64_t)(uintptr_t)code, end = start + PAGE_BYTES;
    const uint64_t outside[] = {
        start - 1, end, (uint64_t)(uintptr_t)elsewhere, (uint64_t)(uintptr_t)data, 0, UINT64_MAX};
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
        struct trap_frame frame = {.rip = outside[i]};
        CHECK(!gate_serve(&frame));
        CHECK_EQ(frame.rip, outside[i]);
        CHECK_EQ(done.count, 0);
    }
    for (uint64_t rip = start; rip < end; rip++) {
        struct trap_frame frame = {.rip = rip};
        CHECK(gate_serve(&frame));
        CHECK_EQ(frame.rip, rip + 1);
    }
    CHECK_EQ(done.count, PAGE_BYTES);
}
