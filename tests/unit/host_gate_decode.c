/* What the gate takes for an instruction, on the host. */
#define VGATE(name) vgate_decode_##name

#include "tests/unit/fake_gate.h"

struct listed_instruction {
    uint8_t code[3];
    unsigned opcode_bytes; /* prefix and all */
    unsigned port_bytes;   /* behind them */
    enum gate_operation operation;
    unsigned width;
};

/* SDM vol. 2: of each operation all that ring 3's code has, and no more. */
static const struct listed_instruction instructions[] = {
    {{0xe4}, 1, 1, GATE_IN, 1},
    {{0xe5}, 1, 1, GATE_IN, 4},
    {{0x66, 0xe5}, 2, 1, GATE_IN, 2},
    {{0xe6}, 1, 1, GATE_OUT, 1},
    {{0xe7}, 1, 1, GATE_OUT, 4},
    {{0x66, 0xe7}, 2, 1, GATE_OUT, 2},
    {{0xec}, 1, 0, GATE_IN, 1},
    {{0xed}, 1, 0, GATE_IN, 4},
    {{0x66, 0xed}, 2, 0, GATE_IN, 2},
    {{0xee}, 1, 0, GATE_OUT, 1},
    {{0xef}, 1, 0, GATE_OUT, 4},
    {{0x66, 0xef}, 2, 0, GATE_OUT, 2},
    {{0xf3, 0x6e}, 2, 0, GATE_OUT_STRING, 1},
    {{0xf4}, 1, 0, GATE_HALT, 1},
    {{0x0f, 0x30}, 2, 0, GATE_WRITE_MSR, 1},
    {{0x0f, 0x22, 0xd8}, 3, 0, GATE_FLUSH, 1},
};

#define INSTRUCTIONS (sizeof instructions / sizeof instructions[0])

/* The one that these bytes begin with, or NULL. */
static const struct listed_instruction *listed_at(const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < INSTRUCTIONS; i++) {
        const struct listed_instruction *const each = &instructions[i];
        size_t same = 0;

        while (same < each->opcode_bytes && same < count && each->code[same] == bytes[same])
            same++;
        if (same == each->opcode_bytes)
            return same + each->port_bytes <= count ? each : NULL;
    }
    return NULL;
}

static bool decodes_as_listed(const uint8_t *bytes, size_t count)
{
    const struct listed_instruction *const wanted = listed_at(bytes, count);
    struct gate_instruction got;

    if (!gate_decode(bytes, count, &got))
        return wanted == NULL;
    if (wanted == NULL || got.operation != wanted->operation || got.width != wanted->width ||
        got.bytes != wanted->opcode_bytes + wanted->port_bytes)
        return false;
    if (got.operation != GATE_IN && got.operation != GATE_OUT && got.operation != GATE_OUT_STRING)
        return true;
    return got.port_is_in_dx == (wanted->port_bytes == 0) &&
           (got.port_is_in_dx || got.port == bytes[wanted->opcode_bytes]);
}

/* How many sequences of so many bytes begin with a listed instruction. */
static uint32_t listed_count(size_t count)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < INSTRUCTIONS; i++) {
        if (instructions[i].opcode_bytes + instructions[i].port_bytes <= count)
            sum += 1u << 8 * (count - instructions[i].opcode_bytes);
    }
    return sum;
}

/*
 * All that three bytes can say: every prefix before every opcode of one and two bytes, and every
 * operand of the longest. Behind the last byte is a page that nobody can read. What is taken is on
 * the list, and as many are taken as the list has.
 */
TEST(gate_knows_the_listed_instructions_and_no_others_and_reads_nothing_behind_them)
{
    struct gate_instruction instruction;

    CHECK(set_up());
    uint8_t *const end = code + PAGE_BYTES;
    CHECK(!gate_decode(end, 0, &instruction));
    for (size_t count = 1; count <= 3; count++) {
        uint8_t *const at = end - count;
        uint32_t taken = 0;

        for (uint32_t bytes = 0; bytes < 1u << 8 * count; bytes++) {
            memcpy(at, &bytes, count);
            if (gate_decode(at, count, &instruction)) {
                CHECK(decodes_as_listed(at, count));
                taken++;
            }
        }
        CHECK_EQ(taken, listed_count(count));
    }
}

/* With whatever behind it, it is the same; behind whatever prefix that it does not have, none. */
TEST(gate_knows_no_longer_instruction)
{
    CHECK(set_up());
    uint8_t *const at = code + PAGE_BYTES - 4;

    for (size_t i = 0; i < INSTRUCTIONS; i++) {
        for (uint32_t others = 0; others < 1u << 16; others++) {
            const uint8_t prefix = (uint8_t)others, next = (uint8_t)(others >> 8);
            memset(at, next, 4);
            at[0] = prefix;
            memcpy(at + 1, instructions[i].code, instructions[i].opcode_bytes);
            CHECK(decodes_as_listed(at, 4));
            memset(at, next, 4);
            memcpy(at, instructions[i].code, instructions[i].opcode_bytes);
            CHECK(decodes_as_listed(at, 4));
        }
    }
}
