#define _GNU_SOURCE /* sched_setaffinity */
#include "tests/vhost/cpu_time.h"

#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* proc(5), /proc/PID/stat: after the name in parentheses, utime is field 14 and stime 15. */
static bool read_thread(pid_t pid, const char *thread, struct cpu_time *time)
{
    char path[300], line[1024];
    unsigned long user, kernel;

    snprintf(path, sizeof path, "/proc/%d/task/%s/stat", (int)pid, thread);
    FILE *const file = fopen(path, "r");
    if (file == NULL)
        return false;
    const bool read = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    const char *const name = read ? strchr(line, '(') : NULL;
    const char *const rest = read ? strrchr(line, ')') : NULL;
    if (name == NULL || rest == NULL ||
        sscanf(rest + 1, " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu %lu", &user, &kernel) !=
            2)
        return false;
    const double seconds = (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
    time->all_s += seconds;
    if (strncmp(name + 1, "CPU ", 4) == 0)
        time->vcpu_s += seconds;
    return true;
}

struct cpu_time cpu_time_of(pid_t pid)
{
    struct cpu_time time = {0};
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *const threads = opendir(path);
    if (threads == NULL)
        return time;
    for (const struct dirent *entry; (entry = readdir(threads)) != NULL;) {
        if (entry->d_name[0] != '.')
            (void)read_thread(pid, entry->d_name, &time);
    }
    closedir(threads);
    return time;
}

bool cpu_pin(unsigned processor)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    return sched_setaffinity(0, sizeof set, &set) == 0;
}
