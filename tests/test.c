/*
 * The runner of tests/test.h, for both sides: on the host a program of its own, in the guest the
 * main() of the test image.
 *
 * The guest's lines go through the log, which is what reaches the console, and the exit status
 * through power_off(): the script that boots the image believes a run only when both say the same.
 */
#include "tests/test.h"

#include <stdarg.h>
#include <stdio.h>

#ifdef __PICOLIBC__
#include "kernel/plat/log.h"
#endif

/* The linker's names for the ends of the section that TEST() fills. */
extern const struct test __start_tests[], __stop_tests[];

static bool failed; /* the test that is running */

void test_print(const char *format, ...)
{
    char line[200];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
#ifdef __PICOLIBC__
    log_info("test", "%s", line);
#else
    puts(line);
    fflush(stdout);
#endif
}

void test_fail(const char *file, int line, const char *what)
{
    failed = true;
    test_print("%s:%d: %s", file, line, what);
}

void test_fail_eq(const char *file, int line, const char *what, long long left, long long right)
{
    failed = true;
    test_print("%s:%d: %s: %lld is not %lld", file, line, what, left, right);
}

struct test_totals test_run_all(const char *filter)
{
    struct test_totals totals = {0, 0};

    for (const struct test *test = __start_tests; test < __stop_tests; test++) {
        if (filter != NULL && strstr(test->name, filter) == NULL)
            continue;
        failed = false;
        test->run();
        if (failed) {
            totals.failed++;
            test_print("FAILED %s (%s)", test->name, test->file);
        } else {
            totals.passed++;
        }
    }
    return totals;
}

static int report(struct test_totals totals)
{
    test_print("%u passed, %u failed", totals.passed, totals.failed);
    return totals.failed == 0 && totals.passed > 0 ? 0 : 1;
}

#ifdef __PICOLIBC__
int main(void)
{
    return report(test_run_all(NULL));
}
#else
int main(int argc, char **argv)
{
    return report(test_run_all(argc > 1 ? argv[1] : NULL));
}
#endif
