/*
 * What is on a disk of Tally's, without a machine: make disk-check, make disk-export. It is read by
 * the appliance's own code, and never written to.
 *
 *     tally-disk check FILE     whether it is sound, and what it holds
 *     tally-disk export FILE    every userId, one a line, as a JSON string
 *
 * Exit status: 0 sound; 1 not sound, or not Tally's; 2 usage, or the file cannot be read.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "app/store/store.h"
#include "kernel/blockdev.h"
#include "tests/disk/file.h"

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static bool wall_s(int64_t *unix_s)
{
    *unix_s = time(NULL);
    return true;
}

/* Only a blank disk is given anything random, and nothing is written to that here. */
static void fill_nothing(void *bytes, size_t len)
{
    memset(bytes, 0, len);
}

static void tell(const char *line)
{
    fprintf(stderr, "%s\n", line);
}

static const struct store_config config = {
    .choice = STORE_REQUIRED,
    .now_ns = now_ns,
    .wall_s = wall_s,
    .fill_random = fill_nothing,
    .tell = tell,
};

static struct store_disk disk;
static struct stats stats;

/* False: stderr says why. */
static bool read_disk(void)
{
    static char error[STORE_ERROR_BYTES_MAX];
    const struct siphash_key key = {1, 2};
    if (store_choose(&config, &disk, error) != STORE_OPEN) {
        fprintf(stderr, "not sound: %s\n", error);
        return false;
    }
    if (disk.is_blank) {
        fprintf(stderr, "blank: nothing was ever kept on it\n");
        return false;
    }
    const uint64_t users = disk.state.users + 1;
    const size_t bytes = users_memory_bytes(users, 1 + disk.state.arena_bytes / users);
    void *const memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (memory == NULL) {
        fprintf(stderr, "out of memory: %zu bytes for %" PRIu64 " users\n", bytes, users);
        return false;
    }
    stats_init(&stats, users_init(memory, bytes, users, &key));
    if (!store_read(&config, &disk, &stats, error)) {
        fprintf(stderr, "not sound: %s\n", error);
        return false;
    }
    return true;
}

static void print_time(int64_t unix_s)
{
    char text[32] = "a time that was not known";
    struct tm tm;
    const time_t seconds = unix_s;
    if (unix_s > 0 && gmtime_r(&seconds, &tm) != NULL)
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &tm);
    printf("as of:     %s\n", text);
}

static int check(void)
{
    char text[STATS_TEXT_BYTES_MAX];
    if (!read_disk())
        return 1;
    printf("sound\n");
    printf("store:     ");
    for (unsigned i = 0; i < FORMAT_UUID_BYTES; i++)
        printf("%02x", disk.superblock.uuid[i]);
    printf(", format %u, %" PRIu64 " MiB from sector %" PRIu64 " on, blocks of %u\n",
           disk.superblock.version, disk.superblock.sectors / 2048, disk.first_sector,
           disk.superblock.block_bytes);
    printf("commit:    %" PRIu64 " of life %" PRIu64 "\n", disk.state.seq, disk.state.boots);
    print_time(disk.state.wall_s);
    printf("users:     %" PRIu64 ", whose ids take %" PRIu64 " of %" PRIu64 " bytes\n",
           disk.state.users, disk.state.arena_bytes, format_arena_bytes_max(&disk.superblock));
    printf("/stats:    %.*s\n", (int)stats_print(&stats, text), text);
    return 0;
}

/* RFC 8259 section 7; what is no control character stays as it is. */
static void print_string(const uint8_t *bytes, size_t len)
{
    putchar('"');
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == '"' || bytes[i] == '\\')
            printf("\\%c", bytes[i]);
        else if (bytes[i] < 0x20)
            printf("\\u%04x", bytes[i]);
        else
            putchar(bytes[i]);
    }
    printf("\"\n");
}

static int export(void)
{
    if (!read_disk())
        return 1;
    const struct users_arena arena = users_arena(stats.users);
    for (size_t at = 0; at < arena.len;) {
        const size_t len = arena.bytes[at] | (size_t)arena.bytes[at + 1] << 8;
        print_string(arena.bytes + at + 2, len);
        at += 2 + len;
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "cannot write: %s\n", strerror(errno));
        return 2;
    }
    return 0;
}

int main(int argc, char **argv)
{
    const bool checks = argc == 3 && strcmp(argv[1], "check") == 0;
    if (!checks && (argc != 3 || strcmp(argv[1], "export") != 0)) {
        fprintf(stderr, "usage: tally-disk check|export FILE\n");
        return 2;
    }
    if (argv[2][0] == '\0') {
        fprintf(stderr, "which disk? DISK=FILE\n");
        return 2;
    }
    if (!file_open(argv[2])) {
        fprintf(stderr, "%s: %s\n", argv[2], strerror(errno));
        return 2;
    }
    return checks ? check() : export();
}
