/*
 * The command line: `name=value` words separated by blanks, against a table of the options known.
 *
 * The one channel for configuration that every VMM has. Each room that has options describes them
 * in a table; app/main.c joins the tables. Unknown names, repeated names (but for `repeats`) and
 * malformed or out-of-range values are errors; nothing is guessed. Words for other kernels, with or
 * without a value, are passed over by a list of names, so that a misspelt option is still an
 * error.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cmdline_kind {
    CMDLINE_NUMBER, /* decimal digits, within [min, max]; target: uint64_t */
    CMDLINE_SIZE,   /* decimal digits, then nothing or K, M, G (powers of 1,024); uint64_t, bytes */
    CMDLINE_TIME,   /* decimal digits, then ms or s; target: uint64_t, milliseconds */
    CMDLINE_CHOICE, /* one of `choices` (separated by '|'); target: uint64_t, its index */
    CMDLINE_PARSED, /* `parse` decides; target: as `parse` wants it */
};

struct cmdline_option {
    const char *name;  /* without '=' */
    const char *value; /* how the value is written, for the help: "ADDR/PREFIX[,GATEWAY]|dhcp" */
    const char *help;  /* one line, no full stop; says the default */
    enum cmdline_kind kind;
    uint64_t min, max;                             /* NUMBER, SIZE, TIME: both included */
    const char *choices;                           /* CHOICE */
    bool (*parse)(const char *text, void *target); /* PARSED: false if malformed */
    void *target;                                  /* holds the default before, the value after */
    bool repeats; /* PARSED: the word may stand several times (virtio_mmio.device=…) */
};

#define CMDLINE_ERROR_BYTES_MAX     160
#define CMDLINE_HELP_LINE_BYTES_MAX 200
#define CMDLINE_OPTIONS_MAX         64
#define CMDLINE_WORD_BYTES_MAX      128

/*
 * Parses `text` (a string, left as it is) against `count` options (CMDLINE_OPTIONS_MAX at most) and
 * fills their targets. On the
 * first error it returns false with a sentence in `error` that names the word and what was wrong;
 * targets already filled keep their new values. Not case-folding; quotes have no meaning.
 */
__attribute__((warn_unused_result)) bool cmdline_parse(const char *text,
                                                       const struct cmdline_option *options,
                                                       size_t count,
                                                       char error[CMDLINE_ERROR_BYTES_MAX]);

/*
 * Calls `foreign` for each word of `text` that cmdline_parse() passes over, if no option of ours
 * has such a name. A word is a string during the call only, cut to CMDLINE_WORD_BYTES_MAX.
 */
void cmdline_foreign(const char *text, void (*foreign)(const char *word));

/*
 * Describes the options known, a line each, in the order of the table: "name=VALUE  help". The line
 * is valid during the call only, and has no newline.
 */
void cmdline_help(const struct cmdline_option *options, size_t count,
                  void (*line)(const char *text));
