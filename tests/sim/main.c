/*
 * The simulator's command line:
 *
 *     sim --seeds FIRST COUNT   a fixed range of seeds; ends with `N passed, N failed`. Some are
 *                               run twice, to see that the same happens
 *     sim --time SECONDS        fresh seeds for so long; says how much was done
 *     sim --seed SEED           one seed, exactly as it was
 *
 *     --steps N                 the chaos lasts N steps, whatever the seed says
 *     --trace                   with --seed: all that happens, on stderr
 *     --jobs N                  seeds at once; the number of processors if not given
 *
 * lwIP and the server can be started once in a process, so each seed has a process of its own.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/client.h"
#include "tests/sim/prng.h"
#include "tests/sim/rest.h"
#include "tests/sim/sim.h"
#include "tests/sim/world.h"

#define JOBS_MAX       64
#define SECONDS_A_SEED 120 /* of real time */

/* A seed's process that ends so has said why; sanitizers end it with 1. */
#define VIOLATION_STATUS 3

#define TWICE            5   /* seeds of a range that are run twice more */
#define COOKIES_IN       100 /* of so many seeds, some see a client come in by a SYN cookie */
#define BLIND_IN         10  /* of so many seeds, some see what the mutant of rest.h loses */

struct sim_shared *sim_shared;
bool sim_tracing;
uint64_t sim_seed;

struct job {
    pid_t pid; /* 0: free */
    uint64_t seed;
    struct sim_shared *shared;
};

static struct {
    uint64_t chaos_steps;
    unsigned jobs;
    struct job job[JOBS_MAX];
    struct sim_shared total;
    uint64_t passed, failed;
} runner = {.jobs = 1};

/* ---- what all of the simulator calls ---- */

static void print_replay(uint64_t seed)
{
    printf("  to see it again: make sim SEED=0x%016" PRIx64, seed);
    if (runner.chaos_steps != 0)
        printf(" STEPS=%" PRIu64, runner.chaos_steps);
    printf("    (--trace shows all that happens)\n");
}

_Noreturn void sim_violation(const char *format, ...)
{
    va_list args;
    printf("VIOLATION in seed 0x%016" PRIx64 ", step %" PRIu64 ", %.6f s: ", sim_seed,
           sim_shared->steps, (double)sim_shared->time_ns / 1e9);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    print_replay(sim_seed);
    fflush(stdout);
    _exit(VIOLATION_STATUS);
}

void sim_trace(const char *format, ...)
{
    va_list args;
    if (!sim_tracing)
        return;
    fprintf(stderr, "%6" PRIu64 " %11.6f ", sim_shared->steps, (double)sim_shared->time_ns / 1e9);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

/* FNV-1a, by words of eight bytes where there are so many. */
void sim_mix(const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    uint64_t hash = sim_shared->hash ^ len;
    uint64_t word;
    for (; len >= sizeof word; at += sizeof word, len -= sizeof word) {
        memcpy(&word, at, sizeof word);
        hash = (hash ^ word) * 0x100000001b3u;
        hash ^= hash >> 29;
    }
    for (; len > 0; at++, len--)
        hash = (hash ^ *at) * 0x100000001b3u;
    sim_shared->hash = hash;
}

/* ---- a seed's process ---- */

static struct sim_shared *make_shared(void)
{
    void *const memory = mmap(NULL, sizeof(struct sim_shared), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("mmap");
        exit(2);
    }
    return memory;
}

static void start(struct job *job, uint64_t seed)
{
    if (job->shared == NULL)
        job->shared = make_shared();
    memset(job->shared, 0, sizeof *job->shared);
    job->seed = seed;
    fflush(stdout);
    job->pid = fork();
    if (job->pid < 0) {
        perror("fork");
        exit(2);
    }
    if (job->pid > 0)
        return;
    sim_shared = job->shared;
    if (rest_is_blind && freopen("/dev/null", "w", stdout) == NULL)
        _exit(1);
    alarm(SECONDS_A_SEED);
    world_run(seed, runner.chaos_steps);
    if (sim_tracing)
        printf("longest wait of an honest client: %" PRIu64 " ms\n",
               clients_longest_wait_ns() / SIM_MS);
    fflush(stdout);
    _exit(0);
}

static void account(struct job *job, int status)
{
    const struct sim_shared *const shared = job->shared;
    const bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0 && shared->finished;
    if (!good && !(WIFEXITED(status) && WEXITSTATUS(status) == VIOLATION_STATUS)) {
        printf("CRASH in seed 0x%016" PRIx64 ", step %" PRIu64 ", %.6f s: %s %d%s\n", job->seed,
               shared->steps, (double)shared->time_ns / 1e9,
               WIFSIGNALED(status) ? "signal" : "exit status",
               WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
               WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? ", it did not end" : "");
        print_replay(job->seed);
    }
    runner.passed += good;
    runner.failed += !good;
    runner.total.steps += shared->steps;
    runner.total.time_ns += shared->time_ns;
    runner.total.connections += shared->connections;
    runner.total.cookies_sent += shared->cookies_sent;
    runner.total.cookies_accepted += shared->cookies_accepted;
    runner.total.events += shared->events;
    runner.total.answers += shared->answers;
    runner.total.frames += shared->frames;
    job->pid = 0;
}

/* Waits for one seed to end. */
static void wait_for_one(void)
{
    int status;
    const pid_t pid = waitpid(-1, &status, 0);
    for (unsigned i = 0; i < runner.jobs; i++)
        if (runner.job[i].pid != 0 && runner.job[i].pid == pid)
            account(&runner.job[i], status);
}

static struct job *free_job(void)
{
    for (;;) {
        for (unsigned i = 0; i < runner.jobs; i++)
            if (runner.job[i].pid == 0)
                return &runner.job[i];
        wait_for_one();
    }
}

static bool any_runs(void)
{
    for (unsigned i = 0; i < runner.jobs; i++)
        if (runner.job[i].pid != 0)
            return true;
    return false;
}

/* ---- commands ---- */

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Numbers in a row would be seeds alike; their hash is not. */
static uint64_t nth_seed(uint64_t n)
{
    prng_seed(n);
    return prng_next();
}

static int report(double seconds)
{
    const struct sim_shared *const total = &runner.total;
    printf("%" PRIu64 " seeds, %" PRIu64 " steps, %.0f simulated seconds in %.1f s: %" PRIu64
           " connections, %" PRIu64 " answers, %" PRIu64 " events counted, %" PRIu64
           " frames; %" PRIu64 " SYNs were answered with a cookie, %" PRIu64
           " connections made so\n",
           runner.passed + runner.failed, total->steps, (double)total->time_ns / 1e9, seconds,
           total->connections, total->answers, total->events, total->frames, total->cookies_sent,
           total->cookies_accepted);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", runner.passed, runner.failed);
    return runner.failed == 0 ? 0 : 1;
}

static int run_for(double seconds)
{
    const double begin = seconds_now();
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t n = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    while (seconds_now() - begin < seconds && runner.failed < 10)
        start(free_job(), nth_seed(n++));
    while (any_runs())
        wait_for_one();
    return report(seconds_now() - begin);
}

static uint64_t run_one(uint64_t seed)
{
    struct job *const job = &runner.job[0];
    runner.jobs = 1;
    start(job, seed);
    const struct sim_shared *const shared = job->shared;
    wait_for_one();
    return shared->hash;
}

static int replay(uint64_t seed)
{
    const double begin = seconds_now();
    const uint64_t hash = run_one(seed);
    printf("seed 0x%016" PRIx64 ": trace hash %016" PRIx64 "\n", seed, hash);
    return report(seconds_now() - begin);
}

/* The same seed is the same run. */
static void run_twice(uint64_t seed)
{
    const uint64_t first = run_one(seed);
    const uint64_t second = run_one(seed);
    if (first == second && first != 0)
        return;
    printf("FAILED: seed 0x%016" PRIx64 " has trace hash %016" PRIx64 ", then %016" PRIx64 "\n",
           seed, first, second);
    runner.failed++;
}

/* What the check of lost wake-ups is worth. */
static void run_mutant(void)
{
    const uint64_t passed = runner.passed, failed = runner.failed;
    bool is_noticed = false;
    rest_is_blind = true;
    for (uint64_t n = 0; n < BLIND_IN && !is_noticed; n++) {
        (void)run_one(nth_seed(n));
        is_noticed = runner.failed > failed;
    }
    rest_is_blind = false;
    runner.passed = passed;
    runner.failed = failed + !is_noticed;
    if (!is_noticed)
        printf("FAILED: without the last look before a sleep, no wake-up is lost\n");
}

static int run_range(uint64_t first, uint64_t count)
{
    const double begin = seconds_now();
    for (uint64_t i = 0; i < count; i++)
        start(free_job(), nth_seed(first + i));
    while (any_runs())
        wait_for_one();
    for (uint64_t i = 0; i < TWICE && i < count; i++)
        run_twice(nth_seed(first + i));
    run_mutant();
    if (count >= COOKIES_IN && runner.total.cookies_accepted == 0) {
        printf("FAILED: nobody came in by a SYN cookie\n");
        runner.failed++;
    }
    return report(seconds_now() - begin);
}

static _Noreturn void usage(void)
{
    fprintf(stderr,
            "usage: sim [--steps N] [--jobs N] [--trace] --seeds FIRST COUNT | --time SECONDS "
            "| --seed SEED\n");
    exit(2);
}

static uint64_t number(const char *text)
{
    char *end;
    if (text == NULL || *text < '0' || *text > '9')
        usage();
    const uint64_t value = strtoull(text, &end, 0);
    if (*end != '\0')
        usage();
    return value;
}

int main(int argc, char **argv)
{
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    runner.jobs = processors < 1 ? 1 : processors > JOBS_MAX ? JOBS_MAX : (unsigned)processors;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--trace") == 0)
            sim_tracing = true;
        else if (strcmp(argv[i], "--steps") == 0 && i + 1 < argc)
            runner.chaos_steps = number(argv[++i]);
        else if (strcmp(argv[i], "--jobs") == 0 && i + 1 < argc)
            runner.jobs = (unsigned)(number(argv[++i]) - 1) % JOBS_MAX + 1;
        else if (strcmp(argv[i], "--seed") == 0 && i + 2 == argc)
            return replay(number(argv[i + 1]));
        else if (strcmp(argv[i], "--time") == 0 && i + 2 == argc)
            return run_for((double)number(argv[i + 1]));
        else if (strcmp(argv[i], "--seeds") == 0 && i + 3 == argc)
            return run_range(number(argv[i + 1]), number(argv[i + 2]));
        else
            usage();
    }
    usage();
}
