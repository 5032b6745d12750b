#include "kernel/plat/cmdline.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define VALUE_BYTES_MAX 256 /* of PARSED values, which are copied to make strings of them */
#define SHOWN_BYTES_MAX 40  /* of a word, in an error */

struct text {
    const char *bytes;
    size_t len;
};

/*
 * What is said to kernels in general, to Linux above all. VMMs add such words (Firecracker:
 * `pci=off`, `root=...`, and a whole default line where nobody writes one), and people keep them
 * when they change kernels. A name that ends in a dot stands for all that begin so.
 */
static const char *const foreign_names[] = {
    "8250.",      "acpi",       "apic",           "audit",      "clocksource",   "console",
    "cryptomgr.", "earlycon",   "earlyprintk",    "elevator",   "i8042.",        "init",
    "initrd",     "ipv6.",      "lapic",          "loglevel",   "lpj",           "mitigations",
    "net.",       "no-kvmapf",  "no_timer_check", "noacpi",     "noapic",        "nokaslr",
    "nolapic",    "nomodule",   "nomodules",      "norandmaps", "noreplace-smp", "nosmp",
    "nopti",      "panic",      "panic_print",    "pci",        "printk.",       "quiet",
    "random.",    "rcupdate.",  "reboot",         "ro",         "root",          "rootdelay",
    "rootflags",  "rootfstype", "rootwait",       "rw",         "selinux",       "swiotlb",
    "systemd.",   "tsc",
};

#define FOREIGN_NAMES (sizeof foreign_names / sizeof foreign_names[0])

struct parser {
    const struct cmdline_option *options;
    size_t count;
    uint64_t seen; /* a bit for each option */
    char *error;
    struct text word; /* the one being parsed */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Says `"word": ` and what is wrong with it. Always false, for the caller to return. */
__attribute__((format(printf, 2, 3))) static bool fail(struct parser *parser, const char *format,
                                                       ...)
{
    const int shown = parser->word.len < SHOWN_BYTES_MAX ? (int)parser->word.len : SHOWN_BYTES_MAX;
    const char *const cut = parser->word.len > SHOWN_BYTES_MAX ? "..." : "";
    const int len = snprintf(parser->error, CMDLINE_ERROR_BYTES_MAX, "\"%.*s%s\": ", shown,
                             parser->word.bytes, cut);
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(parser->error + len, CMDLINE_ERROR_BYTES_MAX - (size_t)len, format, arguments);
    va_end(arguments);
    return false;
}

/* Takes digits off the front. False if there are none, or 2^64 is reached. */
static bool take_digits(struct text *text, uint64_t *number)
{
    size_t i = 0;

    *number = 0;
    for (; i < text->len && text->bytes[i] >= '0' && text->bytes[i] <= '9'; i++) {
        const uint64_t digit = (uint64_t)(text->bytes[i] - '0');

        if (__builtin_mul_overflow(*number, 10, number) ||
            __builtin_add_overflow(*number, digit, number))
            return false;
    }
    text->bytes += i;
    text->len -= i;
    return i > 0;
}

static bool text_is(struct text text, const char *string)
{
    return strlen(string) == text.len && memcmp(text.bytes, string, text.len) == 0;
}

static bool name_is_foreign(struct text name)
{
    for (size_t i = 0; i < FOREIGN_NAMES; i++) {
        const char *const foreign = foreign_names[i];
        const size_t len = strlen(foreign);
        const bool is_family = foreign[len - 1] == '.';

        if (is_family ? name.len > len && memcmp(name.bytes, foreign, len) == 0
                      : text_is(name, foreign))
            return true;
    }
    return false;
}

/* What stands before the first '=', or all of the word. */
static struct text name_of(struct text word)
{
    const char *const equals = memchr(word.bytes, '=', word.len);

    return (struct text){word.bytes, equals == NULL ? word.len : (size_t)(equals - word.bytes)};
}

/* Takes the next word off the front of *text. False if there is none. */
static bool next_word(const char **text, struct text *word)
{
    const char *at = *text;

    while (is_blank(*at))
        at++;
    word->bytes = at;
    while (*at != '\0' && !is_blank(*at))
        at++;
    word->len = (size_t)(at - word->bytes);
    *text = at;
    return word->len != 0;
}

/* The factor that a unit stands for; 0 if it is none. */
static uint64_t unit_factor(enum cmdline_kind kind, struct text unit)
{
    static const struct {
        enum cmdline_kind kind;
        const char *unit;
        uint64_t factor;
    } units[] = {
        {CMDLINE_NUMBER, "", 1},         {CMDLINE_SIZE, "", 1},
        {CMDLINE_SIZE, "K", 1ULL << 10}, {CMDLINE_SIZE, "M", 1ULL << 20},
        {CMDLINE_SIZE, "G", 1ULL << 30}, {CMDLINE_TIME, "ms", 1},
        {CMDLINE_TIME, "s", 1000},
    };

    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (units[i].kind == kind && text_is(unit, units[i].unit))
            return units[i].factor;
    }
    return 0;
}

/* A number in the largest unit of its kind that shows it whole. */
static void format_quantity(enum cmdline_kind kind, uint64_t number, char out[32])
{
    static const char *const size_units[] = {"", "K", "M", "G"};
    unsigned unit = 0;

    if (kind == CMDLINE_TIME) {
        const bool seconds = number % 1000 == 0 && number != 0;

        (void)snprintf(out, 32, "%lu%s", (unsigned long)(seconds ? number / 1000 : number),
                       seconds ? "s" : "ms");
        return;
    }
    while (kind == CMDLINE_SIZE && unit < 3 && number != 0 && number % 1024 == 0) {
        number /= 1024;
        unit++;
    }
    (void)snprintf(out, 32, "%lu%s", (unsigned long)number, size_units[unit]);
}

static bool parse_quantity(struct parser *parser, const struct cmdline_option *option,
                           struct text value)
{
    static const char *const expected[] = {
        [CMDLINE_NUMBER] = "a decimal number is expected",
        [CMDLINE_SIZE] = "a decimal number is expected, followed by nothing, K, M or G",
        [CMDLINE_TIME] = "a decimal number is expected, followed by ms or s",
    };
    uint64_t number;

    if (value.len == 0 || value.bytes[0] < '0' || value.bytes[0] > '9')
        return fail(parser, "%s", expected[option->kind]);

    const bool fits = take_digits(&value, &number);
    const uint64_t factor = unit_factor(option->kind, value);

    if (fits && factor == 0)
        return fail(parser, "%s", expected[option->kind]);
    if (!fits || __builtin_mul_overflow(number, factor, &number) || number < option->min ||
        number > option->max) {
        char min[32], max[32];

        format_quantity(option->kind, option->min, min);
        format_quantity(option->kind, option->max, max);
        return fail(parser, "out of range, which is %s to %s", min, max);
    }
    *(uint64_t *)option->target = number;
    return true;
}

static bool parse_choice(struct parser *parser, const struct cmdline_option *option,
                         struct text value)
{
    const char *choice = option->choices;

    for (uint64_t index = 0;; index++) {
        const size_t len = strcspn(choice, "|");

        if (len == value.len && memcmp(choice, value.bytes, len) == 0) {
            *(uint64_t *)option->target = index;
            return true;
        }
        if (choice[len] == '\0')
            return fail(parser, "one of %s is expected", option->choices);
        choice += len + 1;
    }
}

static bool parse_parsed(struct parser *parser, const struct cmdline_option *option,
                         struct text value)
{
    char copy[VALUE_BYTES_MAX];

    if (value.len >= sizeof copy)
        return fail(parser, "longer than %u bytes", VALUE_BYTES_MAX - 1);
    memcpy(copy, value.bytes, value.len);
    copy[value.len] = '\0';
    if (!option->parse(copy, option->target))
        return fail(parser, "%s is expected", option->value);
    return true;
}

static bool parse_value(struct parser *parser, const struct cmdline_option *option,
                        struct text value)
{
    switch (option->kind) { /* GCOVR_EXCL_BR_LINE: each value has its case */
    case CMDLINE_NUMBER:
    case CMDLINE_SIZE:
    case CMDLINE_TIME:
        return parse_quantity(parser, option, value);
    case CMDLINE_CHOICE:
        return parse_choice(parser, option, value);
    case CMDLINE_PARSED:
        return parse_parsed(parser, option, value);
    }
    assert(false);
    return false;
}

static bool parse_word(struct parser *parser)
{
    const struct text word = parser->word, name = name_of(word);
    const bool has_value = name.len < word.len;
    const size_t value_at = name.len + has_value;
    const struct text value = {word.bytes + value_at, word.len - value_at};

    for (size_t i = 0; has_value && i < parser->count; i++) {
        const struct cmdline_option *const option = &parser->options[i];

        if (!text_is(name, option->name))
            continue;
        if (!option->repeats && (parser->seen >> i & 1) != 0)
            return fail(parser, "%s is given twice", option->name);
        parser->seen |= 1ULL << i;
        return parse_value(parser, option, value);
    }
    if (name_is_foreign(name))
        return true;
    return fail(parser, "%s", has_value ? "no such option" : "an option is written name=value");
}

bool cmdline_parse(const char *text, const struct cmdline_option *options, size_t count,
                   char error[CMDLINE_ERROR_BYTES_MAX])
{
    struct parser parser = {options, count, 0, error, {text, 0}};

    assert(count <= CMDLINE_OPTIONS_MAX);
    error[0] = '\0';
    while (next_word(&text, &parser.word)) {
        if (!parse_word(&parser))
            return false;
    }
    return true;
}

void cmdline_foreign(const char *text, void (*foreign)(const char *word))
{
    struct text word;
    char copy[CMDLINE_WORD_BYTES_MAX];

    while (next_word(&text, &word)) {
        if (!name_is_foreign(name_of(word)))
            continue;
        if (word.len >= sizeof copy)
            word.len = sizeof copy - 1;
        memcpy(copy, word.bytes, word.len);
        copy[word.len] = '\0';
        foreign(copy);
    }
}

void cmdline_help(const struct cmdline_option *options, size_t count,
                  void (*line)(const char *text))
{
    const int column = 34; /* where the help begins, if the value is not longer */
    char text[CMDLINE_HELP_LINE_BYTES_MAX];

    for (size_t i = 0; i < count; i++) {
        const int name_len = (int)strlen(options[i].name) + 1;
        const int width = name_len < column ? column - name_len : 0;

        (void)snprintf(text, sizeof text, "%s=%-*s %s", options[i].name, width, options[i].value,
                       options[i].help);
        line(text);
    }
}
