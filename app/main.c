/*
 * The only file that sees every room: options, memory, the loop.
 *
 * Memory is taken here, once, in this order: the network device's rings, the connections' (as many
 * as max-connections= says), and the users' what max-users= needs, or all that is left.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "app/aggregate/stats.h"
#include "app/aggregate/users.h"
#include "app/gate.h"
#include "app/idle.h"
#include "app/main_store.h"
#include "app/pace.h"
#include "app/routes.h"
#include "app/shortage.h"
#include "kernel/cpu/cpu.h"
#include "kernel/mem/memory.h"
#include "kernel/plat/button.h"
#include "kernel/plat/cmdline.h"
#include "kernel/plat/console.h"
#include "kernel/plat/entropy.h"
#include "kernel/plat/log.h"
#include "kernel/plat/sleep.h"
#include "kernel/plat/start.h"
#include "kernel/time/clock.h"
#include "kernel/virtio/virtio_blk.h"
#include "kernel/virtio/virtio_mmio_windows.h"
#include "kernel/virtio/virtio_net.h"
#include "net/link/address.h"
#include "net/server.h"

#define CTRL_C          0x03
#define HOUSEKEEPING_NS (10 * CLOCK_NS_PER_MS)
/* An emulator's cache of translations grows twofold each time, to what such a time's load uses. */
#define SELDOM_NS    (100 * CLOCK_NS_PER_MS)
#define DRAIN_NS_MAX (2 * CLOCK_NS_PER_S)

/*
 * Without max-connections=. The challenge's Go tester with 1,000 workers dials up to twice as many
 * connections when it starts, and takes it ill if one of them has given way when it comes back to
 * it.
 */
#define CONNECTIONS_DEFAULT       4096
#define CONNECTIONS_DEFAULT_LEAST 64

/*
 * Timeouts that are not given, in seconds. The one for idle connections is above the 60 s after
 * which proxies and load balancers usually drop an idle connection of theirs. If both sides close
 * at the same time, a request that crosses our FIN is lost, and a POST may not be sent again on
 * its own (RFC 9110 9.2.2). So the other side has to be the first.
 */
#define IDLE_S   75
#define HEAD_S   10
#define BODY_S   10
#define SEND_S   20
#define LINGER_S 2
/* Not an option: a disk that answers nothing for so long is not coming back. */
#define HOLD_S 60

/* ---- options ---- */

/* In the order of the option's choices. The second is for whoever wants to know if it boots. */
enum after_boot { AFTER_BOOT_SERVE, AFTER_BOOT_STOP };

/* Likewise. What there is to do when there is nothing to do. */
enum when_idle { WHEN_IDLE_HALT, WHEN_IDLE_POLL };

struct disk_option {
    enum store_choice choice;
    char serial[21]; /* for STORE_SERIAL */
};

static struct {
    struct address address; /* zero: DHCP */
    struct disk_option disk;
    uint64_t port;
    uint64_t users_max; /* 0: as many as memory allows */
    uint64_t user_id_bytes;
    uint64_t connections_max; /* 0: as many as a share of memory allows */
    uint64_t idle_ms, head_ms, body_ms, send_ms, linger_ms;
    uint64_t log_level;
    uint64_t after_boot; /* enum after_boot */
    uint64_t when_idle;  /* enum when_idle */
} options = {
    .port = 8080,
    .user_id_bytes = 16,
    .idle_ms = IDLE_S * 1000,
    .head_ms = HEAD_S * 1000,
    .body_ms = BODY_S * 1000,
    .send_ms = SEND_S * 1000,
    .linger_ms = LINGER_S * 1000,
    .log_level = LOG_INFO,
};

static bool parse_disk(const char *text, void *target)
{
    static const struct {
        const char *name;
        enum store_choice choice;
    } choices[] = {{"auto", STORE_AUTO}, {"none", STORE_NONE}, {"required", STORE_REQUIRED}};
    static const char serial[] = "serial:";
    struct disk_option *const option = target;
    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++) {
        if (strcmp(text, choices[i].name) == 0) {
            option->choice = choices[i].choice;
            return true;
        }
    }
    const size_t len = strlen(text);
    if (strncmp(text, serial, sizeof serial - 1) != 0 || len == sizeof serial - 1 ||
        len - (sizeof serial - 1) >= sizeof option->serial)
        return false;
    option->choice = STORE_SERIAL;
    memcpy(option->serial, text + sizeof serial - 1, len - (sizeof serial - 1) + 1);
    return true;
}

#define TEXT(macro)   TEXT_OF(macro)
#define TEXT_OF(text) #text

#define TIME_OPTION(option_name, member, default_s, option_help)                                   \
    {                                                                                              \
        .name = option_name, .value = "TIME", .help = option_help "; " TEXT(default_s) "s",        \
        .kind = CMDLINE_TIME, .min = 10, .max = 86400000, .target = &options.member                \
    }

static const struct cmdline_option option_table[] = {
    {.name = "ip",
     .value = "ADDR/PREFIX[,GATEWAY]|dhcp",
     .help = "the address; dhcp if not given",
     .kind = CMDLINE_PARSED,
     .parse = address_parse,
     .target = &options.address},
    {.name = "port",
     .value = "NUMBER",
     .help = "TCP port; 8080 if not given",
     .kind = CMDLINE_NUMBER,
     .min = 1,
     .max = 65535,
     .target = &options.port},
    {.name = "max-users",
     .value = "NUMBER",
     .help = "distinct userIds; as many as memory allows if not given",
     .kind = CMDLINE_NUMBER,
     .min = 1,
     .max = USERS_MAX,
     .target = &options.users_max},
    {.name = "user-id-bytes",
     .value = "NUMBER",
     .help = "average length of a userId that max-users= reckons with; 16",
     .kind = CMDLINE_NUMBER,
     .min = 1,
     .max = USERS_ID_BYTES_MAX,
     .target = &options.user_id_bytes},
    {.name = "max-connections",
     .value = "NUMBER",
     .help = "connections at once; if not given, 4096, or fewer in little memory",
     .kind = CMDLINE_NUMBER,
     .min = 1,
     .max = 60000,
     .target = &options.connections_max},
    TIME_OPTION("idle-timeout", idle_ms, IDLE_S, "a connection without a request is closed"),
    TIME_OPTION("head-timeout", head_ms, HEAD_S, "a request's head must be complete"),
    TIME_OPTION("body-timeout", body_ms, BODY_S, "and then its body"),
    TIME_OPTION("send-timeout", send_ms, SEND_S, "a client that acknowledges nothing is dropped"),
    TIME_OPTION("linger-timeout", linger_ms, LINGER_S, "a client that was told to close must"),
    {.name = "disk",
     .value = "auto|none|required|serial:ID",
     .help = "where counts are kept; auto: the virtio-blk disk that is Tally's or blank, if any",
     .kind = CMDLINE_PARSED,
     .parse = parse_disk,
     .target = &options.disk},
    {.name = "log",
     .value = "error|warn|info|debug",
     .help = "what the console shows; info",
     .kind = CMDLINE_CHOICE,
     .choices = "error|warn|info|debug", /* in the order of enum log_level */
     .target = &options.log_level},
    {.name = "after-boot",
     .value = "serve|stop",
     .help = "stop: power off when it is ready to serve; serve",
     .kind = CMDLINE_CHOICE,
     .choices = "serve|stop",
     .target = &options.after_boot},
    {.name = "idle",
     .value = "halt|poll",
     .help = "poll: the processor is never halted, an idle machine takes all of it; halt",
     .kind = CMDLINE_CHOICE,
     .choices = "halt|poll",
     .target = &options.when_idle},
    VIRTIO_MMIO_OPTION,
};

#define OPTION_COUNT (sizeof option_table / sizeof option_table[0])

static void log_help_line(const char *text)
{
    log_error("main", "  %s", text);
}

static void log_foreign_word(const char *word)
{
    log_debug("main", "for another kernel, passed over: %s", word);
}

static bool read_options(void)
{
    char error[CMDLINE_ERROR_BYTES_MAX];
    if (!cmdline_parse(kernel_command_line(), option_table, OPTION_COUNT, error)) {
        log_error("main", "command line: %s; the options known:", error);
        cmdline_help(option_table, OPTION_COUNT, log_help_line);
        return false;
    }
    log_set_level((enum log_level)options.log_level);
    cmdline_foreign(kernel_command_line(), log_foreign_word);
    return true;
}

/* ---- memory ---- */

static unsigned long kib(size_t bytes)
{
    return (unsigned long)(bytes / 1024);
}

/* NULL, with the reason in the log, when there is not enough. */
static struct users *make_users(void)
{
    const size_t free_bytes = memory_free_bytes();
    const uint64_t fits = users_max_within(free_bytes, options.user_id_bytes);
    const uint64_t users_max = options.users_max != 0 ? options.users_max : fits;
    if (users_max == 0 || users_max > fits) {
        log_error("main",
                  "out of memory: max-users=%" PRIu64 " is asked for; %lu KiB are left in one "
                  "piece, which hold %" PRIu64 " with ids of %" PRIu64 " bytes",
                  users_max, kib(free_bytes), fits, options.user_id_bytes);
        return NULL;
    }
    const size_t bytes =
        options.users_max != 0 ? users_memory_bytes(users_max, options.user_id_bytes) : free_bytes;
    struct siphash_key key;
    entropy_fill(&key, sizeof key);
    return users_init(memory_take_dirty(bytes, 64, "users"), bytes, users_max, &key);
}

/*
 * Users lie in one piece of memory, the largest, and make use of 10 GiB at most
 * (app/aggregate/users.h): in a machine that has its memory in two large pieces, or much more, a
 * part of it is idle.
 */
static void tell_what_is_unused(size_t left_bytes, const struct users *users)
{
    const size_t unused = left_bytes - users_memory_limit(users);
    if (options.users_max == 0 && unused > memory_ram_bytes() / 16)
        log_info("main",
                 "%lu KiB of memory are not used: users lie in one piece of it, of 10 GiB at most",
                 kib(unused));
}

/* As many as fit into half of the memory: 1,024 in a machine of 16 MiB. */
static uint32_t default_connections(const struct server_config *config)
{
    const size_t share = memory_free_bytes() / 2;
    struct server_config tried = *config;
    tried.connections_max = CONNECTIONS_DEFAULT;
    while (tried.connections_max > CONNECTIONS_DEFAULT_LEAST && server_memory_bytes(&tried) > share)
        tried.connections_max /= 2;
    return tried.connections_max;
}

static bool make_server(struct server_config *config)
{
    *config = (struct server_config){
        .address = options.address.address,
        .netmask = options.address.netmask,
        .gateway = options.address.gateway,
        .port = (uint16_t)options.port,
        .connections_max = (uint32_t)options.connections_max,
        .idle_ms = (uint32_t)options.idle_ms,
        .head_ms = (uint32_t)options.head_ms,
        .body_ms = (uint32_t)options.body_ms,
        .send_ms = (uint32_t)options.send_ms,
        .linger_ms = (uint32_t)options.linger_ms,
        .hold_ms = HOLD_S * 1000,
    };
    const struct main_store_config store = {.choice = options.disk.choice,
                                            .serial = options.disk.serial,
                                            .users_max = options.users_max,
                                            .user_id_bytes = options.user_id_bytes};
    if (!main_store_choose(&store))
        return false;
    routes_configure(config, main_store_is_there());
    if (config->connections_max == 0)
        config->connections_max = default_connections(config);
    const size_t bytes = server_memory_bytes(config);
    if (bytes > memory_free_bytes()) {
        log_error("main", "out of memory: max-connections=%u takes %lu KiB; %lu KiB are left",
                  (unsigned)config->connections_max, kib(bytes), kib(memory_free_bytes()));
        return false;
    }
    void *const memory = memory_take_dirty(bytes, 4096, "connections");
    const size_t left_bytes = memory_left_bytes();
    if (!main_store_fits())
        return false;
    struct users *const users = make_users();
    if (users == NULL)
        return false;
    log_info("main", "%u connections in %lu KiB, %" PRIu64 " users in %lu KiB",
             (unsigned)config->connections_max, kib(bytes), users_limit(users),
             kib(users_memory_limit(users)));
    tell_what_is_unused(left_bytes, users);
    routes_init(&(struct routes_config){.users = users,
                                        .gate = main_store_is_there() ? gate_get() : NULL,
                                        .connections_max = config->connections_max,
                                        .now_ns = clock_ns,
                                        .wall_s = clock_wall});
    if (!main_store_recover(routes_stats()))
        return false;
    server_init(config, memory);
    return true;
}

/* ---- shortages ---- */

#define QUIET_S ((unsigned)(SHORTAGE_QUIET_NS / CLOCK_NS_PER_S))

/* Which option to turn to. */
static const char *more_users_by(struct users *users)
{
    if (options.users_max == 0)
        return "more memory holds more";
    if (users_count(users) == users_limit(users))
        return "max-users= is reached";
    return "userIds are longer than user-id-bytes= says";
}

static void look_for_users_shortage(struct users *users, uint64_t now_ns)
{
    static struct shortage shortage;
    const enum shortage_change change = shortage_look(&shortage, routes_events_full(), now_ns);
    if (change == SHORTAGE_BEGAN)
        log_warn("main",
                 "no room for another user: new ones are answered 507, the %" PRIu64
                 " known go on counting; %s",
                 users_count(users), more_users_by(users));
    else if (change == SHORTAGE_ENDED)
        log_warn("main",
                 "no new user was refused for %u s; before that %" PRIu64
                 " events were answered 507",
                 QUIET_S, shortage_extent(&shortage));
}

/* A connection that was idle had to go for a new one, or there was no idle one. */
static void look_for_connections_shortage(uint32_t limit, uint64_t now_ns)
{
    static struct shortage shortage;
    struct server_counters counters;
    server_get_counters(&counters);
    const uint64_t gave_way = counters.connections_gave_way - counters.connections_reset_short;
    const enum shortage_change change =
        shortage_look(&shortage, gave_way + counters.connections_refused, now_ns);
    if (change == SHORTAGE_BEGAN)
        log_warn("main",
                 "all %" PRIu32
                 " connections are in use: new ones take the places of idle ones, or wait; "
                 "max-connections= is reached",
                 limit);
    else if (change == SHORTAGE_ENDED)
        log_warn("main",
                 "no connection gave way or had to wait for %u s; before that it happened %" PRIu64
                 " times",
                 QUIET_S, shortage_extent(&shortage));
}

/* ---- nothing to do ---- */

/* Before the devices start: they are told how to end a sleep. */
static void prepare_to_sleep(void)
{
    static const struct idle_machine machine = {
        .arm = netdev_arm,
        .is_quiet = netdev_is_quiet,
        .sleep = sleep_for,
        .disarm = netdev_disarm,
        .now_ns = clock_ns,
    };
    idle_init(&machine);
    if (options.when_idle == WHEN_IDLE_POLL || !sleep_init())
        options.when_idle = WHEN_IDLE_POLL;
}

/* Sleeps when it may, and no longer than what waits can wait that no device tells of. */
static void rest(uint64_t housekeeping_ns)
{
    const uint64_t now_ns = server_batch_ns();
    uint64_t due_ns = server_due_ns();
    if (now_ns >= housekeeping_ns || (console_is_sending() && housekeeping_ns < due_ns))
        due_ns = housekeeping_ns;
    if (options.when_idle == WHEN_IDLE_POLL || !main_store_is_at_rest() ||
        !idle_turn(now_ns, server_worked_ns(), due_ns))
        cpu_pause();
}

/* ---- running ---- */

/* Says so once there is an address to be reached at. True when it has been said. */
static bool announce(void)
{
    if (server_address() == 0)
        return false;
    const uint32_t address = server_address(); /* network byte order */
    const uint8_t *const bytes = (const uint8_t *)&address;
    log_info("main",
             "listening on http://%u.%u.%u.%u:%u, %" PRIu64 " us after the first instruction",
             bytes[0], bytes[1], bytes[2], bytes[3], (unsigned)options.port, clock_ns() / 1000);
    return true;
}

/* Of what was typed, as much as the console's FIFO holds: other keys must not hold a Ctrl-C up. */
static bool ctrl_c_was_typed(void)
{
    for (unsigned i = 0; i < 16; i++) {
        const int key = console_read();
        if (key < 0 || key == CTRL_C)
            return key == CTRL_C;
    }
    return false;
}

static void serve(const struct server_config *config)
{
    static struct pace console_pace = {.idle_ns = HOUSEKEEPING_NS};
    static struct pace button_pace = {.idle_ns = SELDOM_NS};
    bool announced = announce(), worked = false;
    uint64_t housekeeping_ns = 0, seldom_ns = 0;
    if (!announced)
        log_info("main", "waiting for an address by DHCP");
    for (;;) {
        if (!main_store_poll())
            return;
        if (server_poll())
            worked = true;
        else
            rest(housekeeping_ns);
        const uint64_t now_ns = server_batch_ns();
        if (now_ns < housekeeping_ns)
            continue;
        housekeeping_ns = now_ns + HOUSEKEEPING_NS;
        if (now_ns >= seldom_ns) {
            seldom_ns = now_ns + SELDOM_NS;
            memory_flush_emulated_tlb();
            look_for_users_shortage(routes_stats()->users, now_ns);
            look_for_connections_shortage(config->connections_max, now_ns);
        }
        clock_follow_rtc();
        if (!announced)
            announced = announce();
        if (pace_is_due(&button_pace, worked, now_ns) && button_pressed())
            return;
        if ((pace_is_due(&console_pace, worked, now_ns) || console_is_sending()) &&
            ctrl_c_was_typed())
            return;
        worked = false;
    }
}

static void drain(void)
{
    log_info("main", "stopping");
    server_stop();
    const uint64_t end_ns = clock_ns() + DRAIN_NS_MAX;
    while (!server_is_drained() && clock_ns() < end_ns) {
        (void)main_store_poll();
        if (!server_poll())
            cpu_pause();
    }
    struct server_counters counters;
    server_get_counters(&counters);
    if (counters.connections_open != 0)
        log_warn("main", "%u connections were cut", (unsigned)counters.connections_open);
}

int main(void)
{
    struct server_config config;
    if (!read_options())
        return EXIT_FAILURE;
    prepare_to_sleep();
    if (!netdev_init())
        return EXIT_FAILURE;
    if (options.disk.choice != STORE_NONE)
        blockdev_init();
    if (!make_server(&config))
        return EXIT_FAILURE;
    button_init();
    clock_settle();
    if (options.when_idle == WHEN_IDLE_HALT)
        sleep_settle();
    kernel_boot_is_over();
    if (options.after_boot == AFTER_BOOT_STOP)
        return EXIT_SUCCESS;
    serve(&config);
    drain();
    const bool finished = main_store_finish();
    char text[STATS_TEXT_BYTES_MAX];
    const size_t len = stats_print(routes_stats(), text);
    log_info("main", "%.*s", (int)len, text);
    return finished ? EXIT_SUCCESS : EXIT_FAILURE;
}
