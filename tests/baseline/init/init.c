/*
 * The first and only process of the Linux that the appliance is compared with: loads the drivers,
 * gives the network device its address, and becomes the baseline server. Linked statically, and all
 * there is beside the server in an initramfs that tests/bench/instruments/linux.py makes:
 *
 *     /init ADDRESS/PREFIX   (the kernel passes on what follows `--` on its command line)
 *     /modules/NN-name.ko    loaded in the order of their names
 *     /epoll-server
 *
 * Whatever fails ends it, and so the kernel: a panic on the console, with the reason before it.
 */
#define _GNU_SOURCE /* syscall() */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MODULES "/modules"
#define PORT    "8080"

static _Noreturn void fail(const char *what)
{
    perror(what);
    sleep(1); /* the console is slow */
    exit(1);
}

static int is_module(const struct dirent *entry)
{
    return strstr(entry->d_name, ".ko") != NULL;
}

static void load_modules(void)
{
    struct dirent **entries;
    const int count = scandir(MODULES, &entries, is_module, alphasort);
    if (count < 0)
        fail(MODULES);
    for (int i = 0; i < count; i++) {
        char path[512];
        snprintf(path, sizeof path, MODULES "/%s", entries[i]->d_name);
        const int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file < 0 || syscall(SYS_finit_module, file, "", 0) != 0)
            fail(path);
        close(file);
        free(entries[i]);
    }
    free(entries);
}

static void set_address(int socket_fd, const char *interface, unsigned long request,
                        uint32_t address)
{
    struct ifreq ifreq = {0};
    const struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    strncpy(ifreq.ifr_name, interface, sizeof ifreq.ifr_name - 1);
    memcpy(&ifreq.ifr_addr, &in, sizeof in);
    if (ioctl(socket_fd, request, &ifreq) != 0)
        fail("setting the address");
}

static void bring_up(int socket_fd, const char *interface)
{
    struct ifreq ifreq = {0};
    strncpy(ifreq.ifr_name, interface, sizeof ifreq.ifr_name - 1);
    ifreq.ifr_flags = IFF_UP | IFF_RUNNING;
    if (ioctl(socket_fd, SIOCSIFFLAGS, &ifreq) != 0)
        fail("bringing the interface up");
}

/* ADDRESS/PREFIX; the address alone goes back to `text`. */
static void configure_network(char *text)
{
    char *const slash = strchr(text, '/');
    const int prefix = slash == NULL ? 0 : atoi(slash + 1);
    struct in_addr address;
    if (slash != NULL)
        *slash = '\0';
    if (prefix < 1 || prefix > 32 || inet_pton(AF_INET, text, &address) != 1) {
        fprintf(stderr, "init: '%s' is not ADDRESS/PREFIX\n", text);
        exit(1);
    }
    const int socket_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (socket_fd < 0)
        fail("socket");
    bring_up(socket_fd, "lo");
    set_address(socket_fd, "eth0", SIOCSIFADDR, ntohl(address.s_addr));
    set_address(socket_fd, "eth0", SIOCSIFNETMASK, UINT32_MAX << (32 - prefix));
    bring_up(socket_fd, "eth0");
    close(socket_fd);
}

int main(int argc, char **argv)
{
    const struct rlimit files = {.rlim_cur = 65536, .rlim_max = 65536};
    char listen[64];

    if (argc != 2) {
        fprintf(stderr, "init: needs ADDRESS/PREFIX\n");
        return 1;
    }
    load_modules();
    configure_network(argv[1]);
    if (setrlimit(RLIMIT_NOFILE, &files) != 0)
        fail("setrlimit");
    snprintf(listen, sizeof listen, "%s:" PORT, argv[1]);
    execl("/epoll-server", "epoll-server", listen, (char *)NULL);
    fail("/epoll-server");
}
