/*
 * Disks behind kernel/blockdev.h, with a volatile cache that is as unkind as virtio allows: what is
 * not covered by a completed flush may be there after a power cut, or not, or any of its sectors.
 * Requests complete in any order. Besides, they may fail, hang, or go to the wrong place.
 *
 * Every call of the device is a step, at which the machine may end: see disk_end_in().
 */
#pragma once

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#include "kernel/blockdev.h"

#define DISKS_MAX   3
#define WRITES_MAX  128
#define QUEUE_MAX   16
#define DISK_SECTOR BLOCKDEV_SECTOR_BYTES

/* A write that no flush has covered yet. */
struct volatile_write {
    uint64_t sector;
    uint32_t len;
    uint8_t *bytes;
};

struct queued {
    struct blockdev_request request;
    bool is_early; /* of a write: `bytes` was taken when it was submitted */
    uint8_t *bytes;
    unsigned covers; /* of a flush: so many of the volatile writes */
};

struct disk {
    struct blockdev_info info;
    uint8_t *media;  /* what survives a power cut */
    uint8_t *latest; /* what is read */
    unsigned write_count;
    struct volatile_write writes[WRITES_MAX];
    unsigned queue_count;
    struct queued queue[QUEUE_MAX];

    /* What goes wrong. Numbers count down with each request of the kind; 0: never. */
    unsigned fail_write_in, fail_flush_in, fail_read_in;
    unsigned hang_in;      /* from this request on none completes */
    bool hangs_in_flushes; /* of which none completes */
    unsigned misdirect_in; /* this write goes misdirect_by sectors further */
    int64_t misdirect_by;
    unsigned queue_limit;      /* requests that there is room for */
    bool is_prompt;            /* everything completes at once, in order */
    uint64_t bad_from, bad_to; /* sectors that cannot be read */
    unsigned flushes;          /* completed */
};

extern struct disk disks[DISKS_MAX];
extern size_t disk_count;
extern uint64_t disk_now_ns; /* goes on by itself a little with each step */

/* Chance, the same after the same seed, for all of a history: below `bound`. */
void chance_seed(uint64_t seed);
uint32_t chance(uint32_t bound);

/* Ends all disks, and makes `count` blank ones. */
void disks_make(size_t count, uint64_t sectors);
void disks_end(void);

uint64_t disk_clock(void);

/* The machine ends after so many steps, by longjmp(disk_end, 1); 0: it does not. */
void disk_end_in(unsigned steps);
extern jmp_buf disk_end;

/*
 * The power goes, or, not so bad, only the machine (kill -9), when what was completed stays. What
 * is in the queue may have been carried out or not.
 */
enum disk_loss { LOSS_ALL, LOSS_NOTHING, LOSS_WRITES, LOSS_SECTORS, LOSS_KINDS };
void disk_cut_power(struct disk *disk, enum disk_loss loss);
void disk_kill_machine(struct disk *disk);

/*
 * Instead of chance: variants of what may be left after a power cut, numbered from 0; their number.
 * Each of the first three writes may be lost, be whole, or torn in one of three ways; each of three
 * more lost or whole; what is beyond is lost. `media` is what is left.
 */
unsigned disk_variants(struct disk *disk);
void disk_variant(const struct disk *disk, unsigned variant, uint8_t *media);

/* Puts an image in place of what there is: both what survives and what is read. */
void disk_set_image(struct disk *disk, const uint8_t *image);

/* Bytes as they come back from now on; to rot, one of them is changed. */
void disk_put(struct disk *disk, uint64_t at, const void *bytes, uint64_t len);
void disk_rot(struct disk *disk, uint64_t at);

uint64_t disk_bytes(const struct disk *disk);
