/* A long way for the benchmark: runs a command in a network namespace of its own, whose only link to
 * this one delays every packet, those of the TCP handshake too, as distance does. Two TUN devices are
 * the link's ends; packets read from one are held, in order, and written to the other. Nothing limits
 * how many are under way, and nothing is lost. Needs CAP_NET_ADMIN (or `unshare --user --net`) but no
 * netem in the kernel.
 *
 * Usage: far_link MILLISECONDS COMMAND [ARGUMENTS...]
 * Prints the command's address as seen from here, one line, and ends with the command. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    PACKET = 2048,        /* above the devices' MTU of 1500 */
    NETWORK = 0xc6120000, /* 198.18.0.0/15 is for benchmarks (RFC 2544 appendix C.2.2) */
    PAIRS = 0x7ffe,       /* of addresses in there, told apart by our process's number */
};

typedef struct held_packet {
    struct held_packet *next;
    uint64_t due; /* nanoseconds */
    size_t size;
    char octets[];
} held_packet;

/* One direction. */
typedef struct lane {
    int from;
    int to;
    held_packet *first;
    held_packet *last;
} lane;

static _Noreturn void far_fail(const char *what)
{
    (void)fprintf(stderr, "far_link: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static uint64_t far_now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

/* ---- the devices ---- */

static void far_set_address(int s, struct ifreq *request, unsigned long what, uint32_t address)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    memcpy(&request->ifr_addr, &in, sizeof(in));
    if (ioctl(s, what, request) != 0)
        far_fail("address of the device");
}

static void far_bring_up(int s, struct ifreq *request)
{
    request->ifr_flags = IFF_UP | IFF_RUNNING;
    if (ioctl(s, SIOCSIFFLAGS, request) != 0)
        far_fail("bringing the device up");
}

/* In the namespace that we are in: an end with its own address and the other's. */
static int far_open_end(uint32_t own, uint32_t other)
{
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int end = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (s < 0 || end < 0 || ioctl(end, TUNSETIFF, &request) != 0)
        far_fail("a TUN device (root or `unshare --user --map-root-user --net` can have one)");
    far_set_address(s, &request, SIOCSIFADDR, own);
    far_set_address(s, &request, SIOCSIFDSTADDR, other);
    far_bring_up(s, &request);
    (void)close(s);
    return end;
}

static void far_leave_network(void)
{
    struct ifreq loopback = {.ifr_name = "lo"};
    if (unshare(CLONE_NEWNET) != 0)
        far_fail("a network namespace");
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (s < 0)
        far_fail("socket");
    far_bring_up(s, &loopback);
    (void)close(s);
}

/* ---- the way ---- */

/* Takes what came in: it has a long way to go. */
static void lane_read(lane *l, uint64_t delay)
{
    char octets[PACKET];
    ssize_t size;
    while ((size = read(l->from, octets, sizeof(octets))) > 0) {
        held_packet *p = malloc(sizeof(*p) + (size_t)size);
        if (p == NULL)
            abort();
        *p = (held_packet){.due = far_now() + delay, .size = (size_t)size};
        memcpy(p->octets, octets, (size_t)size);
        if (l->first == NULL)
            l->first = p;
        else
            l->last->next = p;
        l->last = p;
    }
}

/* Lets out what has arrived. */
static void lane_write(lane *l)
{
    while (l->first != NULL && l->first->due <= far_now()) {
        held_packet *p = l->first;
        l->first = p->next;
        if (write(l->to, p->octets, p->size) < 0 && errno == EBADF)
            abort();
        free(p);
    }
}

/* Until the next packet comes in or is due. */
static void far_wait(const lane lanes[2])
{
    struct pollfd ends[2] = {{lanes[0].from, POLLIN, 0}, {lanes[1].from, POLLIN, 0}};
    uint64_t now = far_now();
    uint64_t due = now + 100000000U; /* the command's end is looked for */
    for (size_t i = 0; i < 2; i++)
        if (lanes[i].first != NULL && lanes[i].first->due < due)
            due = lanes[i].first->due;
    uint64_t wait = due > now ? due - now : 0;
    struct timespec limit = {.tv_nsec = (long)wait};
    (void)ppoll(ends, 2, &limit, NULL);
}

/* On a busy machine too, if we may; the command is not to be faster for it. */
static void far_be_punctual(void)
{
    struct sched_param first = {.sched_priority = 1};
    (void)prctl(PR_SET_TIMERSLACK, 1000);
    (void)sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &first);
}

static pid_t far_start(char **command)
{
    pid_t pid = fork();
    if (pid < 0)
        far_fail("fork");
    if (pid > 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)execvp(command[0], command);
    far_fail(command[0]);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        (void)fprintf(stderr, "usage: far_link MILLISECONDS COMMAND [ARGUMENTS...]\n");
        return 64;
    }
    uint64_t delay = strtoul(argv[1], NULL, 10) * 1000000U;
    uint32_t here = (uint32_t)NETWORK + 4 * (uint32_t)(getpid() % PAIRS) + 1;
    uint32_t there = here + 1;
    int near = far_open_end(here, there);
    far_leave_network();
    int far = far_open_end(there, here);
    lane lanes[2] = {{.from = near, .to = far}, {.from = far, .to = near}};
    struct in_addr address = {htonl(there)};
    (void)printf("%s\n", inet_ntoa(address));
    (void)fflush(stdout);
    far_be_punctual();
    pid_t command = far_start(argv + 2);
    int status = 0;
    while (waitpid(command, &status, WNOHANG) == 0) {
        far_wait(lanes);
        for (size_t i = 0; i < 2; i++) {
            lane_read(&lanes[i], delay);
            lane_write(&lanes[i]);
        }
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}
