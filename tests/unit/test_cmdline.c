/* kernel/plat/cmdline.c: every kind of value, every error. */
#include <stdio.h>

#include "kernel/plat/cmdline.h"
#include "tests/test.h"

struct words {
    unsigned count;
    char last[16];
};

static uint64_t port, memory, idle_ms, level;
static struct words words;

static bool parse_word(const char *text, void *target)
{
    struct words *const w = target;

    if (text[0] == '!')
        return false;
    w->count++;
    (void)snprintf(w->last, sizeof w->last, "%s", text);
    return true;
}

static const struct cmdline_option options[] = {
    {.name = "port",
     .value = "N",
     .help = "TCP port (8080)",
     .kind = CMDLINE_NUMBER,
     .min = 1,
     .max = 65535,
     .target = &port},
    {.name = "memory",
     .value = "BYTES",
     .help = "memory",
     .kind = CMDLINE_SIZE,
     .min = 4096,
     .max = UINT64_MAX,
     .target = &memory},
    {.name = "idle",
     .value = "TIME",
     .help = "idle time",
     .kind = CMDLINE_TIME,
     .min = 10,
     .max = 60000,
     .target = &idle_ms},
    {.name = "log",
     .value = "LEVEL",
     .help = "level",
     .kind = CMDLINE_CHOICE,
     .choices = "error|warn|info",
     .target = &level},
    {.name = "once",
     .value = "WORD",
     .help = "a word",
     .kind = CMDLINE_PARSED,
     .parse = parse_word,
     .target = &words},
    {.name = "many",
     .value = "WORD",
     .help = "words",
     .kind = CMDLINE_PARSED,
     .parse = parse_word,
     .target = &words,
     .repeats = true},
};

static char error[CMDLINE_ERROR_BYTES_MAX];

static bool parse(const char *text)
{
    port = 8080;
    memory = 1;
    idle_ms = 2;
    level = 9;
    words = (struct words){0, ""};
    return cmdline_parse(text, options, sizeof options / sizeof options[0], error);
}

/* True if `text` is refused, and the error holds `reason` and begins with the word in quotes. */
static bool refuses(const char *text, const char *reason)
{
    return !parse(text) && error[0] == '"' && strstr(error, reason) != NULL &&
           strlen(error) < CMDLINE_ERROR_BYTES_MAX;
}

TEST(cmdline_leaves_defaults_when_empty)
{
    CHECK(parse(""));
    CHECK(parse(" \t \n"));
    CHECK_EQ(port, 8080);
    CHECK_EQ(memory, 1);
    CHECK_EQ(error[0], 0);
}

TEST(cmdline_takes_numbers_between_blanks)
{
    CHECK(parse("  port=80\tidle=10ms \r\n"));
    CHECK_EQ(port, 80);
    CHECK_EQ(idle_ms, 10);
    CHECK(parse("port=1"));
    CHECK(parse("port=65535"));
    CHECK(parse("port=0080"));
    CHECK_EQ(port, 80);
}

TEST(cmdline_refuses_numbers_out_of_range)
{
    CHECK(refuses("port=0", "1 to 65535"));
    CHECK(refuses("port=65536", "1 to 65535"));
    CHECK(refuses("port=18446744073709551616", "out of range"));
    CHECK(refuses("port=99999999999999999999999999", "out of range"));
    CHECK_EQ(port, 8080);
}

TEST(cmdline_refuses_what_is_no_number)
{
    CHECK(refuses("port=", "decimal number"));
    CHECK(refuses("port=-1", "decimal number"));
    CHECK(refuses("port=+1", "decimal number"));
    CHECK(refuses("port=0x50", "decimal number"));
    CHECK(refuses("port=80K", "decimal number"));
    CHECK(refuses("port=8-0", "decimal number"));
    CHECK(refuses("port=8 0", "name=value"));
}

TEST(cmdline_takes_sizes_with_units)
{
    CHECK(parse("memory=4096"));
    CHECK_EQ(memory, 4096);
    CHECK(parse("memory=4K"));
    CHECK_EQ(memory, 4096);
    CHECK(parse("memory=3M"));
    CHECK_EQ(memory, 3 << 20);
    CHECK(parse("memory=17179869183G"));
    CHECK_EQ(memory, 17179869183ULL << 30);
}

TEST(cmdline_refuses_sizes_that_are_malformed_or_overflow)
{
    CHECK(refuses("memory=17179869184G", "4K to"));
    CHECK(refuses("memory=17179869185G", "4K to")); /* would wrap to 1G */
    CHECK(refuses("memory=4095", "4K to"));
    CHECK(refuses("memory=4k", "K, M or G"));
    CHECK(refuses("memory=4KB", "K, M or G"));
    CHECK(refuses("memory=K", "K, M or G"));
    CHECK(refuses("memory=4ms", "K, M or G"));
}

TEST(cmdline_takes_times_in_milliseconds_and_seconds)
{
    CHECK(parse("idle=1500ms"));
    CHECK_EQ(idle_ms, 1500);
    CHECK(parse("idle=60s"));
    CHECK_EQ(idle_ms, 60000);
}

TEST(cmdline_refuses_times_without_unit_or_out_of_range)
{
    CHECK(refuses("idle=15", "ms or s"));
    CHECK(refuses("idle=15m", "ms or s"));
    CHECK(refuses("idle=61s", "10ms to 60s"));
    CHECK(refuses("idle=9ms", "10ms to 60s"));
    CHECK(refuses("idle=18446744073709551615s", "10ms to 60s"));
}

TEST(cmdline_takes_a_choice_by_its_whole_name)
{
    CHECK(parse("log=error"));
    CHECK_EQ(level, 0);
    CHECK(parse("log=info"));
    CHECK_EQ(level, 2);
    CHECK(refuses("log=inf", "error|warn|info"));
    CHECK(refuses("log=information", "error|warn|info"));
    CHECK(refuses("log=Info", "error|warn|info"));
    CHECK(refuses("log=", "error|warn|info"));
    CHECK(refuses("log=error|warn", "error|warn|info"));
    CHECK_EQ(level, 9);
}

TEST(cmdline_hands_values_to_the_parser_of_the_option)
{
    CHECK(parse("once=a=b"));
    CHECK(strcmp(words.last, "a=b") == 0);
    CHECK(parse("once="));
    CHECK(words.last[0] == '\0');
    CHECK_EQ(words.count, 1);
    CHECK(refuses("once=!x", "WORD is expected"));
}

TEST(cmdline_refuses_repeated_options_but_those_that_repeat)
{
    CHECK(parse("many=a many=b many=c"));
    CHECK_EQ(words.count, 3);
    CHECK(strcmp(words.last, "c") == 0);
    CHECK(refuses("once=a once=a", "given twice"));
    CHECK(refuses("port=1 idle=1s port=1", "given twice"));
    CHECK_EQ(idle_ms, 1000); /* what came before keeps its value */
}

TEST(cmdline_refuses_unknown_names)
{
    CHECK(refuses("prot=80", "no such option"));
    CHECK(refuses("Port=80", "no such option"));
    CHECK(refuses("por=80", "no such option"));
    CHECK(refuses("ports=80", "no such option"));
    CHECK(refuses("=80", "no such option"));
    CHECK(refuses("port", "name=value"));
    CHECK(refuses("colour=/dev/vda", "\"colour=/dev/vda\": "));
}

static char foreign_words[512];

static void note_foreign(const char *word)
{
    (void)strcat(strcat(foreign_words, word), "|");
}

static const char *foreign_in(const char *text)
{
    foreign_words[0] = '\0';
    cmdline_foreign(text, note_foreign);
    return foreign_words;
}

/* Firecracker's own line, what it appends, and the devices that it names. */
TEST(cmdline_passes_over_what_a_vmm_says_to_linux)
{
    static const char text[] =
        "reboot=k panic=1 nomodule 8250.nr_uarts=0 i8042.noaux i8042.nomux i8042.dumbkbd "
        "swiotlb=noforce port=80 root=/dev/vda ro pci=off many=4K@0xc0001000:5 "
        "many=4K@0xc0002000:6";

    CHECK(parse(text));
    CHECK_EQ(port, 80);
    CHECK_EQ(words.count, 2);
    CHECK(strcmp(words.last, "4K@0xc0002000:6") == 0);
    CHECK(strcmp(foreign_in(text),
                 "reboot=k|panic=1|nomodule|8250.nr_uarts=0|i8042.noaux|i8042.nomux|i8042.dumbkbd|"
                 "swiotlb=noforce|root=/dev/vda|ro|pci=off|") == 0);
    CHECK(parse("console=ttyS0 console=hvc0 quiet acpi=off tsc=reliable idle=1s"));
    CHECK_EQ(idle_ms, 1000);
    CHECK(strcmp(foreign_in(" port=1\tpanic\n"), "panic|") == 0);
    CHECK(strcmp(foreign_in(""), "") == 0);
}

TEST(cmdline_passes_over_nothing_that_only_looks_foreign)
{
    CHECK(refuses("i8042=off", "no such option"));
    CHECK(refuses("i8042.=off", "no such option"));
    CHECK(refuses("pci.off=1", "no such option"));
    CHECK(refuses("pc=off", "no such option"));
    CHECK(refuses("pcie=off", "no such option"));
    CHECK(refuses("PCI=off", "no such option"));
    CHECK(refuses("quit", "name=value"));
    CHECK(refuses("pci=off prot=80", "\"prot=80\": no such option"));
    CHECK(strcmp(foreign_in("i8042=off pcie=off quit"), "") == 0);
}

TEST(cmdline_prefers_an_option_of_ours_to_a_foreign_name)
{
    uint64_t target = 0;
    const struct cmdline_option option = {
        .name = "pci", .kind = CMDLINE_NUMBER, .min = 1, .max = 9, .target = &target};

    CHECK(cmdline_parse("pci=7", &option, 1, error));
    CHECK_EQ(target, 7);
    CHECK(!cmdline_parse("pci=off", &option, 1, error));
}

TEST(cmdline_cuts_long_foreign_words)
{
    char text[CMDLINE_WORD_BYTES_MAX + 10];

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    memcpy(text, "root=", 5);
    CHECK(parse(text));
    CHECK_EQ(strlen(foreign_in(text)), CMDLINE_WORD_BYTES_MAX - 1 + 1);
    text[CMDLINE_WORD_BYTES_MAX - 1] = '\0';
    CHECK_EQ(strlen(foreign_in(text)), CMDLINE_WORD_BYTES_MAX - 1 + 1);
    text[CMDLINE_WORD_BYTES_MAX - 2] = '\0';
    CHECK_EQ(strlen(foreign_in(text)), CMDLINE_WORD_BYTES_MAX - 2 + 1);
}

TEST(cmdline_bounds_its_errors)
{
    char text[1000];

    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    CHECK(refuses(text, "...\": an option is written"));
    memcpy(text, "once=", 5);
    CHECK(refuses(text, "longer than 255 bytes"));
    CHECK_EQ(words.count, 0);
    text[5 + 256] = '\0';
    CHECK(refuses(text, "longer than 255 bytes"));
    text[5 + 255] = '\0';
    CHECK(parse(text));
    CHECK_EQ(words.count, 1);
}

static unsigned help_lines;
static char help_first[CMDLINE_HELP_LINE_BYTES_MAX];

static void count_line(const char *text)
{
    if (help_lines++ == 0)
        (void)snprintf(help_first, sizeof help_first, "%s", text);
}

TEST(cmdline_help_names_every_option)
{
    help_lines = 0;
    cmdline_help(options, sizeof options / sizeof options[0], count_line);
    CHECK_EQ(help_lines, sizeof options / sizeof options[0]);
    CHECK(strcmp(help_first, "port=N                             TCP port (8080)") == 0);
}

TEST(cmdline_names_ranges_in_the_unit_that_shows_them_whole)
{
    static const struct {
        enum cmdline_kind kind;
        uint64_t min, max;
        const char *text, *range;
    } rows[] = {
        {CMDLINE_TIME, 0, 1500, "o=2s", "0ms to 1500ms"},
        {CMDLINE_TIME, 2000, 86400000, "o=1ms", "2s to 86400s"},
        {CMDLINE_SIZE, 0, 1025, "o=2K", "0 to 1025"},
        {CMDLINE_SIZE, 3 << 10, 5 << 20, "o=1", "3K to 5M"},
        {CMDLINE_SIZE, 1 << 30, 1ULL << 42, "o=1", "1G to 4096G"},
        {CMDLINE_NUMBER, 1024, 2048, "o=1", "1024 to 2048"},
        {CMDLINE_NUMBER, 0, 9, "o=18446744073709551616", "0 to 9"}, /* would wrap to 0 */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t target = 7;
        const struct cmdline_option option = {.name = "o",
                                              .kind = rows[i].kind,
                                              .min = rows[i].min,
                                              .max = rows[i].max,
                                              .target = &target};
        CHECK(!cmdline_parse(rows[i].text, &option, 1, error));
        CHECK(strstr(error, rows[i].range) != NULL);
        CHECK_EQ(target, 7);
    }
}

TEST(cmdline_help_of_a_long_name_moves_aside)
{
    static const struct cmdline_option option = {
        .name = "a-name-that-is-longer-than-its-column", .value = "N", .help = "help"};
    help_lines = 0;
    cmdline_help(&option, 1, count_line);
    CHECK(strcmp(help_first, "a-name-that-is-longer-than-its-column=N help") == 0);
}
