/*
 * Tests, on the host and in the guest alike: a function a behaviour, named for it.
 *
 *     TEST(sum_is_exact_in_any_order) { CHECK(sum_value(&s) == 1.0); }
 *
 * Tests register themselves in the section `tests`; test_run_all() runs them in link order, prints
 * a line for each that fails and returns how many failed. A failed CHECK ends its test, not the
 * run.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct test {
    const char *name;
    const char *file;
    void (*run)(void);
};

#define TEST(test_name)                                                                            \
    static void test_##test_name(void);                                                            \
    static const struct test test_entry_##test_name                                                \
        __attribute__((used, section("tests"), aligned(8))) = {#test_name, __FILE__,               \
                                                               test_##test_name};                  \
    static void test_##test_name(void)

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            test_fail(__FILE__, __LINE__, #condition);                                             \
            return;                                                                                \
        }                                                                                          \
    } while (0)

#define CHECK_EQ(left, right)                                                                      \
    do {                                                                                           \
        const long long test_left = (long long)(left), test_right = (long long)(right);            \
        if (test_left != test_right) {                                                             \
            test_fail_eq(__FILE__, __LINE__, #left " == " #right, test_left, test_right);          \
            return;                                                                                \
        }                                                                                          \
    } while (0)

void test_fail(const char *file, int line, const char *what);
void test_fail_eq(const char *file, int line, const char *what, long long left, long long right);

/* Prints to the runner's output: stdout on the host, the console in the guest. */
__attribute__((format(printf, 1, 2))) void test_print(const char *format, ...);

struct test_totals {
    unsigned passed, failed;
};

/* Runs every test whose name contains `filter` (all when NULL). */
struct test_totals test_run_all(const char *filter);
