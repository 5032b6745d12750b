/*
 * The command line under libFuzzer: options of every kind, in a table as app/main.c has one, and
 * the parsers of values that are no numbers. Held to be true:
 *
 *   - it is accepted, or refused with a sentence;
 *   - what was accepted is within its range, and was there: read again word by word, in any order,
 *     it comes to the same;
 *   - what is not named keeps its default;
 *   - with the words for other kernels alone, it is accepted.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/plat/cmdline.h"
#include "kernel/virtio/virtio_mmio_windows.h"
#include "net/link/address.h"
#include "tests/fuzz/input.h"

#define TEXT_BYTES_MAX 2048
#define UNTOUCHED      0x5a5a5a5a5a5a5a5aull

enum { PORT, USERS, MEMORY, SMALL, TIME, LEVEL, NUMBERS };

struct values {
    uint64_t number[NUMBERS];
    struct address address;
};

static struct values values;

static const struct cmdline_option table[] = {
    {.name = "port",
     .kind = CMDLINE_NUMBER,
     .min = 1,
     .max = 65535,
     .target = &values.number[PORT]},
    {.name = "max-users",
     .kind = CMDLINE_NUMBER,
     .min = 0,
     .max = UINT64_MAX,
     .target = &values.number[USERS]},
    {.name = "mem",
     .kind = CMDLINE_SIZE,
     .min = 1,
     .max = UINT64_MAX,
     .target = &values.number[MEMORY]},
    {.name = "small", .kind = CMDLINE_SIZE, .min = 3, .max = 3, .target = &values.number[SMALL]},
    {.name = "idle-timeout",
     .kind = CMDLINE_TIME,
     .min = 10,
     .max = 86400000,
     .target = &values.number[TIME]},
    {.name = "log",
     .kind = CMDLINE_CHOICE,
     .choices = "error|warn|info|debug",
     .target = &values.number[LEVEL]},
    {.name = "ip",
     .value = "ADDR/PREFIX[,GATEWAY]|dhcp",
     .kind = CMDLINE_PARSED,
     .parse = address_parse,
     .target = &values.address},
    VIRTIO_MMIO_OPTION,
};

#define OPTIONS (sizeof table / sizeof table[0])

static bool parse(const char *text, struct values *result)
{
    char error[CMDLINE_ERROR_BYTES_MAX + 1];
    memset(&values, 0x5a, sizeof values);
    memset(error, 0x7f, sizeof error);
    mmio_window_count = 0;
    const bool accepted = cmdline_parse(text, table, OPTIONS, error);
    REQUIRE(memchr(error, '\0', CMDLINE_ERROR_BYTES_MAX) != NULL);
    REQUIRE(accepted == (error[0] == '\0') && error[CMDLINE_ERROR_BYTES_MAX] == 0x7f);
    REQUIRE(accepted || error[0] == '"');
    *result = values;
    return accepted;
}

/* The value of the word `name=`, which is there once; NULL: it is not there. */
static const char *value_of(const char *text, const char *name)
{
    const size_t len = strlen(name);
    for (const char *at = text; (at = strstr(at, name)) != NULL; at++)
        if ((at == text || strchr(" \t\r\n", at[-1]) != NULL) && at[len] == '=')
            return at + len + 1;
    return NULL;
}

/* What a number that was accepted says, reckoned in more bits than it can need. */
static uint64_t number_of(const char *value)
{
    unsigned __int128 number = 0;
    for (; *value >= '0' && *value <= '9'; value++) {
        number = number * 10 + (unsigned)(*value - '0');
        REQUIRE(number >> 64 == 0);
    }
    switch (*value) {
    case 'K':
        number <<= 10;
        break;
    case 'M':
        number <<= 20;
        break;
    case 'G':
        number <<= 30;
        break;
    case 's':
        number *= 1000;
        break;
    }
    REQUIRE(number >> 64 == 0);
    return (uint64_t)number;
}

static void check_numbers(const char *text, const struct values *result)
{
    for (unsigned i = 0; i < NUMBERS; i++) {
        const struct cmdline_option *const option = &table[i];
        const uint64_t value = result->number[i];
        const char *const said = value_of(text, option->name);
        if (said == NULL) {
            REQUIRE(value == UNTOUCHED);
        } else if (option->kind == CMDLINE_CHOICE) {
            REQUIRE(value < 4);
        } else {
            REQUIRE(value >= option->min && value <= option->max);
            REQUIRE(value == number_of(said));
        }
    }
}

static char foreign_words[TEXT_BYTES_MAX + 1];

static void keep_foreign(const char *word)
{
    REQUIRE(word[0] != '\0' && strlen(word) < CMDLINE_WORD_BYTES_MAX);
    REQUIRE(strlen(foreign_words) + strlen(word) < TEXT_BYTES_MAX);
    strcat(strcat(foreign_words, word), " ");
}

static void check_foreign(const char *text)
{
    struct values result;
    foreign_words[0] = '\0';
    cmdline_foreign(text, keep_foreign);
    REQUIRE(parse(foreign_words, &result));
    for (unsigned i = 0; i < NUMBERS; i++)
        REQUIRE(result.number[i] == UNTOUCHED);
}

/* Devices lie where they can: no window is empty, or goes around the end of memory. */
static void check_windows(void)
{
    REQUIRE(mmio_window_count <= MMIO_WINDOWS_MAX);
    for (unsigned i = 0; i < mmio_window_count; i++)
        REQUIRE(mmio_windows[i].base != 0 && mmio_windows[i].bytes >= MMIO_WINDOW_BYTES_MIN &&
                mmio_windows[i].base <= UINT64_MAX - mmio_windows[i].bytes);
}

/* The words from the last to the first. */
static void turn_around(const char *text, char *turned)
{
    size_t end = strlen(text);
    turned[0] = '\0';
    while (end > 0) {
        size_t begin = end;
        while (begin > 0 && strchr(" \t\r\n", text[begin - 1]) == NULL)
            begin--;
        strncat(turned, text + begin, end - begin);
        strcat(turned, " ");
        end = begin == 0 ? 0 : begin - 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct values result, again;
    if (size >= TEXT_BYTES_MAX)
        return 0;
    char *const text = malloc(size + 1); /* of exactly its size */
    char *const turned = malloc(2 * size + 2);
    memcpy(text, data, size);
    text[size] = '\0';
    if (parse(text, &result)) {
        check_numbers(text, &result);
        check_windows();
        turn_around(text, turned);
        REQUIRE(parse(turned, &again));
        REQUIRE(memcmp(result.number, again.number, sizeof result.number) == 0);
        REQUIRE(memcmp(&result.address, &again.address, sizeof result.address) == 0);
    }
    check_foreign(text);
    free(turned);
    free(text);
    return 0;
}
