#include "net/wire/tcp_options.h"
#include "tests/test.h"

TEST(tcp_option_bytes_are_those_of_the_first_option)
{
    static const struct {
        uint8_t options[4];
        size_t len, bytes;
    } rows[] = {
        {{TCP_OPTION_END, 4, 1, 1}, 4, 0},
        {{TCP_OPTION_NOP}, 1, 1},
        {{TCP_OPTION_NOP, 9}, 2, 1},
        {{TCP_OPTION_MSS, 4, 5, 180}, 4, 4},
        {{3, 3, 7, 0}, 4, 3},
        {{4, 2}, 2, 2},
        {{TCP_OPTION_MSS, 4, 5}, 3, 0}, /* cut */
        {{TCP_OPTION_MSS}, 1, 0},
        {{5, 0, 0, 0}, 4, 0}, /* a length that cannot be: a walk would not end */
        {{5, 1, 0, 0}, 4, 0},
        {{5, 255, 0, 0}, 4, 0},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
        CHECK_EQ(tcp_option_bytes(rows[i].options, rows[i].len), rows[i].bytes);
}
