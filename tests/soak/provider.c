/* A provider that fails by chance: one thread accepts, one serves each connection, on plain sockets.
 * What befalls a connection depends on the seed, the provider and the connection's number alone. */
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "soak.h"

enum {
    PLACE_CONNECTION = 100, /* and the provider's number */
    READ_OCTETS = 65536,
    CUT_BITS = 19, /* a connection is cut within its first 512 KiB, or not at all */
    ENVELOPE_MAX = 16,
};

/* ---- what goes wrong ---- */

typedef enum phase { BANNER, EHLO, MAIL, RCPT, DATA, BODY, DOT, AFTER_DOT, PHASES } phase;
static const char *const PHASE_NAMES[PHASES] = {"banner", "ehlo", "mail", "rcpt",
                                                "data",   "body", "dot",  "after-dot"};

#define CLOSE   "close"
#define RESET   "reset"
#define STALL   "stall"
#define GARBAGE "garbage"

/* So many times in 100,000 of each phase. In AFTER_DOT the message was taken, in DOT it was not. */
static const struct fault {
    phase phase;
    uint32_t per_100k;
    const char *what; /* a word from above, or a reply; behind a 421 the connection is closed */
} FAULTS[] = {
    {BANNER, 300, "421 4.3.2 going down"},
    {BANNER, 300, "554 5.3.2 no service here"},
    {BANNER, 300, CLOSE},
    {BANNER, 300, RESET},
    {BANNER, 100, GARBAGE},
    {BANNER, 30, STALL},
    {EHLO, 200, "421 4.3.2 going down"},
    {EHLO, 200, "451 4.3.0 not now"},
    {EHLO, 200, CLOSE},
    {EHLO, 200, RESET},
    {EHLO, 30, STALL},
    {MAIL, 500, "421 4.3.2 going down"},
    {MAIL, 200, "421 4.7.0 not you"},
    {MAIL, 1000, "450 4.2.1 not now"},
    {MAIL, 300, "550 5.7.1 not this sender"},
    {MAIL, 300, CLOSE},
    {MAIL, 300, RESET},
    {MAIL, 100, GARBAGE},
    {MAIL, 30, STALL},
    {RCPT, 300, "421 4.3.2 going down"},
    {RCPT, 1000, "451 4.7.1 greylisted"},
    {RCPT, 300, "550 5.1.1 no such user"},
    {RCPT, 300, "554 5.7.1 not for you"},
    {RCPT, 300, CLOSE},
    {RCPT, 300, RESET},
    {RCPT, 30, STALL},
    {DATA, 300, "421 4.3.2 going down"},
    {DATA, 500, "451 4.3.0 not now"},
    {DATA, 300, "554 5.7.1 no"},
    {DATA, 300, CLOSE},
    {DATA, 300, RESET},
    {DATA, 100, GARBAGE},
    {DATA, 30, STALL},
    {BODY, 500, CLOSE},
    {BODY, 500, RESET},
    {BODY, 30, STALL},
    {DOT, 300, "421 4.3.2 going down"},
    {DOT, 1000, "451 4.3.0 not now"},
    {DOT, 300, "554 5.7.1 spam"},
    {DOT, 300, "552 5.3.4 too big for me"},
    {DOT, 300, CLOSE},
    {DOT, 300, RESET},
    {DOT, 50, GARBAGE},
    {DOT, 30, STALL},
    {AFTER_DOT, 300, CLOSE},
    {AFTER_DOT, 300, RESET},
    {AFTER_DOT, 50, GARBAGE},
    {AFTER_DOT, 30, STALL},
};

static const struct kind {
    const char *name;
    const char *extensions;
    uint32_t weight;       /* of its faults, in percent */
    uint32_t cut_per_100k; /* connections that are cut at some octet, in either direction */
} KINDS[SOAK_PROVIDERS] = {
    {"calm", "250-PIPELINING\r\n250-CHUNKING\r\n250-SIZE 50000000\r\n250 8BITMIME\r\n", 20, 5000},
    {"plain", "250 SIZE 50000000\r\n", 100, 30000},
    {"piped", "250-PIPELINING\r\n250 8BITMIME\r\n", 100, 30000},
    {"chunks", "250-PIPELINING\r\n250-CHUNKING\r\n250 8BITMIME\r\n", 100, 30000},
    {"wild", "250-PIPELINING\r\n250 8BITMIME\r\n", 400, 70000},
    {"cutter", "250-PIPELINING\r\n250-CHUNKING\r\n250 8BITMIME\r\n", 10, 100000},
};

struct provider {
    size_t number;
    uint64_t seed;
    ledger *ledger;
    int listener;
    uint16_t port;
    pthread_t thread;
    atomic_bool over;
    pthread_mutex_t mutex; /* guards `live` */
    pthread_cond_t ended;
    uint32_t live;
    atomic_uint_fast64_t connections;
    atomic_uint_fast64_t taken;
    atomic_uint_fast64_t cut;
    atomic_uint_fast64_t faults[PHASES];
};

typedef struct visit {
    provider *provider;
    int fd;
    chance chance;
    uint64_t may_take; /* octets until the connection is cut */
    uint64_t may_say;
    buffer in;
    buffer data;
    uint32_t numbers[ENVELOPE_MAX];
    uint32_t recipients[ENVELOPE_MAX];
    size_t count;
    bool over;
} visit;

/* ---- octets ---- */

static void visit_end(visit *v, bool with_reset)
{
    struct linger l = {1, 0};
    if (with_reset)
        (void)setsockopt(v->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
    v->over = true;
}

static void visit_cut(visit *v)
{
    atomic_fetch_add(&v->provider->cut, 1);
    visit_end(v, chance_below(&v->chance, 2) == 0);
}

/* More input, at most to the octet at which the connection is cut. */
static void visit_more(visit *v)
{
    size_t room = v->may_take < READ_OCTETS ? (size_t)v->may_take : READ_OCTETS;
    if (room == 0) {
        visit_cut(v);
        return;
    }
    must(buffer_reserve(&v->in, room) == 0, "out of memory");
    ssize_t got = recv(v->fd, v->in.data + v->in.end, room, 0);
    if (got <= 0) {
        v->over = true;
        return;
    }
    v->in.end += (size_t)got;
    v->may_take -= (uint64_t)got;
}

static void visit_say_octets(visit *v, const char *octets, size_t len)
{
    size_t some = v->may_say < len ? (size_t)v->may_say : len;
    for (size_t sent = 0; sent < some;) {
        ssize_t n = send(v->fd, octets + sent, some - sent, MSG_NOSIGNAL);
        if (n <= 0) {
            v->over = true;
            return;
        }
        sent += (size_t)n;
    }
    v->may_say -= some;
    if (some < len)
        visit_cut(v);
}

static void visit_say(visit *v, const char *reply)
{
    char line[256];
    int len = snprintf(line, sizeof(line), "%s\r\n", reply);
    visit_say_octets(v, line, (size_t)len);
}

/* The next line without its end; the empty slice when the connection is over. */
static smx_slice visit_line(visit *v)
{
    size_t end;
    while ((end = slice_search(buffer_slice(&v->in), SMX_SLICE("\r\n"))) == buffer_length(&v->in) &&
           !v->over)
        visit_more(v);
    return v->over ? (smx_slice){"", 0} : slice_to(buffer_slice(&v->in), end);
}

/* Says nothing more until the other side has gone. */
static void visit_stall(visit *v)
{
    struct pollfd poll_fd = {.fd = v->fd, .events = POLLRDHUP};
    while (!atomic_load(&v->provider->over) && poll(&poll_fd, 1, 100) == 0)
        ;
    v->over = true;
}

/* ---- faults ---- */

static const char *draw(visit *v, phase at)
{
    uint32_t weight = KINDS[v->provider->number].weight;
    uint64_t left = chance_below(&v->chance, 100000);
    for (size_t i = 0; i < sizeof(FAULTS) / sizeof(FAULTS[0]); i++) {
        uint64_t share = (uint64_t)FAULTS[i].per_100k * weight / 100;
        if (FAULTS[i].phase != at)
            continue;
        if (left < share)
            return FAULTS[i].what;
        left -= share;
    }
    return NULL;
}

/* True: something else was done in place of the reply. */
static bool fails(visit *v, phase at)
{
    const char *what = draw(v, at);
    if (what == NULL)
        return false;
    atomic_fetch_add(&v->provider->faults[at], 1);
    if (strcmp(what, CLOSE) == 0 || strcmp(what, RESET) == 0) {
        visit_end(v, what[0] == 'r');
    } else if (strcmp(what, STALL) == 0) {
        visit_stall(v);
    } else if (strcmp(what, GARBAGE) == 0) {
        visit_say(v, "\x16\x03 what?\r\n999 no");
        visit_stall(v);
    } else {
        visit_say(v, what);
        if (what[0] == '4' && what[1] == '2' && what[2] == '1')
            visit_end(v, false);
    }
    return true;
}

/* ---- commands ---- */

static void on_ehlo(visit *v, smx_slice line)
{
    (void)line;
    if (fails(v, EHLO))
        return;
    visit_say(v, "250-provider.test");
    if (!v->over) {
        const char *words = KINDS[v->provider->number].extensions;
        visit_say_octets(v, words, strlen(words));
    }
}

static void on_mail(visit *v, smx_slice line)
{
    (void)line;
    v->count = 0;
    buffer_clear(&v->data);
    if (!fails(v, MAIL))
        visit_say(v, "250 2.1.0 ok");
}

static void on_rcpt(visit *v, smx_slice line)
{
    uint32_t number, recipient;
    if (!message_read_recipient(line, &number, &recipient) || v->count == ENVELOPE_MAX) {
        ledger_strange(v->provider->ledger, "an RCPT that nobody sent");
        visit_say(v, "501 5.1.3 what?");
    } else if (!fails(v, RCPT)) {
        v->numbers[v->count] = number;
        v->recipients[v->count++] = recipient;
        visit_say(v, "250 2.1.5 ok");
    }
}

static void take(visit *v, smx_slice data)
{
    provider *p = v->provider;
    for (size_t i = 0; i < v->count; i++) {
        if (v->numbers[i] != v->numbers[0])
            ledger_strange(p->ledger, "recipients of two messages in one transaction");
        ledger_hold(p->ledger, v->numbers[i], v->recipients[i]);
    }
    if (!message_is(p->seed, v->numbers[0], data))
        ledger_strange(p->ledger, "a message that is not as it was sent");
    atomic_fetch_add(&p->taken, 1);
}

/* The message is here with its end. */
static void on_whole(visit *v, smx_slice data)
{
    if (fails(v, DOT))
        return;
    take(v, data);
    v->count = 0;
    if (!fails(v, AFTER_DOT))
        visit_say(v, "250 2.0.0 taken");
}

/* Where the body in `in` ends, its last CRLF included; SIZE_MAX: not yet. */
static size_t body_end(const visit *v, size_t searched)
{
    smx_slice in = buffer_slice(&v->in);
    if (slice_starts_with(in, SMX_SLICE(".\r\n")))
        return 0;
    size_t from = searched < 4 ? 0 : searched - 4;
    size_t at = slice_search(slice_from(in, from), SMX_SLICE("\r\n.\r\n"));
    return at == in.len - from ? SIZE_MAX : from + at + 2;
}

static void unstuff(smx_slice body, buffer *out)
{
    for (bool starts = true; body.len > 0; starts = true) {
        size_t len = slice_search(body, SMX_SLICE("\r\n"));
        len = len == body.len ? len : len + 2;
        smx_slice line = slice_to(body, len);
        if (starts && line.data[0] == '.')
            line = slice_from(line, 1);
        must(buffer_append(out, line) == 0, "out of memory");
        body = slice_from(body, len);
    }
}

static void on_data(visit *v, smx_slice line)
{
    size_t end, searched = 0;
    (void)line;
    if (fails(v, DATA))
        return;
    if (v->count == 0) {
        visit_say(v, "503 5.5.1 no recipients");
        return;
    }
    visit_say(v, "354 go ahead");
    if (!v->over && fails(v, BODY))
        return;
    while (!v->over && (end = body_end(v, searched)) == SIZE_MAX) {
        searched = buffer_length(&v->in);
        visit_more(v);
    }
    if (v->over)
        return;
    unstuff(slice_to(buffer_slice(&v->in), end), &v->data);
    buffer_consume(&v->in, end + 3);
    on_whole(v, buffer_slice(&v->data));
}

static void on_bdat(visit *v, smx_slice line)
{
    uint64_t size = 0;
    smx_slice rest = slice_from(line, 5);
    smx_slice digits = slice_to(rest, slice_find(rest, ' '));
    bool last = digits.len < rest.len;
    must(slice_to_number(digits, 1U << 30, &size) == 0, "the daemon sends a BDAT that is none");
    while (!v->over && buffer_length(&v->in) < size)
        visit_more(v);
    if (v->over)
        return;
    must(buffer_append(&v->data, slice_to(buffer_slice(&v->in), size)) == 0, "out of memory");
    buffer_consume(&v->in, size);
    if (v->count == 0)
        visit_say(v, "503 5.5.1 no recipients");
    else if (last)
        on_whole(v, buffer_slice(&v->data));
    else if (!fails(v, BODY))
        visit_say(v, "250 2.0.0 more");
}

static void on_rset(visit *v, smx_slice line)
{
    (void)line;
    v->count = 0;
    visit_say(v, "250 2.0.0 flushed");
}

static void on_noop(visit *v, smx_slice line)
{
    (void)line;
    visit_say(v, "250 2.0.0 ok");
}

static void on_quit(visit *v, smx_slice line)
{
    (void)line;
    visit_say(v, "221 2.0.0 bye");
    v->over = true;
}

static const struct {
    const char *verb;
    void (*run)(visit *v, smx_slice line);
} COMMANDS[] = {{"EHLO", on_ehlo}, {"HELO", on_ehlo}, {"MAIL", on_mail},
                {"RCPT", on_rcpt}, {"DATA", on_data}, {"BDAT", on_bdat},
                {"RSET", on_rset}, {"NOOP", on_noop}, {"QUIT", on_quit}};
enum { COMMAND_COUNT = sizeof(COMMANDS) / sizeof(COMMANDS[0]) };

static void visit_command(visit *v)
{
    smx_slice line = visit_line(v);
    buffer copy = {0};
    size_t i = 0;
    if (v->over)
        return;
    must(buffer_append(&copy, line) == 0, "out of memory");
    buffer_consume(&v->in, line.len + 2);
    while (i < COMMAND_COUNT &&
           !slice_starts_with(buffer_slice(&copy), slice_of_text(COMMANDS[i].verb)))
        i++;
    if (i < COMMAND_COUNT) {
        COMMANDS[i].run(v, buffer_slice(&copy));
    } else {
        ledger_strange(v->provider->ledger, "a command that is none");
        visit_say(v, "500 5.5.1 what?");
    }
    buffer_free(&copy);
}

/* ---- threads ---- */

static uint64_t draw_cut(visit *v)
{
    if (!chance_hits(&v->chance, KINDS[v->provider->number].cut_per_100k))
        return UINT64_MAX;
    return chance_below(&v->chance, 1ULL << chance_below(&v->chance, CUT_BITS));
}

static void visit_free(visit *v)
{
    provider *p = v->provider;
    (void)close(v->fd);
    buffer_free(&v->in);
    buffer_free(&v->data);
    free(v);
    (void)pthread_mutex_lock(&p->mutex);
    p->live--;
    (void)pthread_cond_signal(&p->ended);
    (void)pthread_mutex_unlock(&p->mutex);
}

static void *visit_main(void *arg)
{
    visit *v = arg;
    v->may_take = draw_cut(v);
    v->may_say = draw_cut(v);
    if (!fails(v, BANNER))
        visit_say(v, "220 provider.test ESMTP");
    while (!v->over)
        visit_command(v);
    visit_free(v);
    return NULL;
}

static void provider_accept(provider *p, int fd)
{
    pthread_t thread;
    visit *v = calloc(1, sizeof(*v));
    must(v != NULL, "out of memory");
    v->provider = p;
    v->fd = fd;
    v->chance =
        chance_at(p->seed, PLACE_CONNECTION + p->number, atomic_fetch_add(&p->connections, 1));
    (void)pthread_mutex_lock(&p->mutex);
    p->live++;
    (void)pthread_mutex_unlock(&p->mutex);
    must(pthread_create(&thread, NULL, visit_main, v) == 0, "no thread can be started");
    (void)pthread_detach(thread);
}

static void *provider_main(void *arg)
{
    provider *p = arg;
    int fd;
    while ((fd = accept(p->listener, NULL, NULL)) >= 0)
        provider_accept(p, fd);
    return NULL;
}

provider *provider_new(size_t number, uint64_t seed, ledger *l)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    provider *p = calloc(1, sizeof(*p));
    must(p != NULL, "out of memory");
    p->number = number;
    p->seed = seed;
    p->ledger = l;
    must(pthread_mutex_init(&p->mutex, NULL) == 0 && pthread_cond_init(&p->ended, NULL) == 0,
         "out of memory");
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(p->listener >= 0 && bind(p->listener, (struct sockaddr *)&at, sizeof(at)) == 0 &&
             listen(p->listener, 512) == 0 &&
             getsockname(p->listener, (struct sockaddr *)&at, &len) == 0,
         "a provider cannot listen");
    p->port = ntohs(at.sin_port);
    must(pthread_create(&p->thread, NULL, provider_main, p) == 0, "no thread can be started");
    return p;
}

const char *provider_name(size_t number)
{
    return KINDS[number].name;
}

uint16_t provider_port(const provider *p)
{
    return p->port;
}

void provider_stop(provider *p)
{
    atomic_store(&p->over, true);
    (void)shutdown(p->listener, SHUT_RDWR);
    (void)pthread_join(p->thread, NULL);
    (void)close(p->listener);
    (void)pthread_mutex_lock(&p->mutex);
    while (p->live > 0)
        (void)pthread_cond_wait(&p->ended, &p->mutex);
    (void)pthread_mutex_unlock(&p->mutex);
}

void provider_free(provider *p)
{
    (void)pthread_cond_destroy(&p->ended);
    (void)pthread_mutex_destroy(&p->mutex);
    free(p);
}

/* ---- for a person ---- */

uint64_t provider_faults(const provider *p)
{
    uint64_t sum = atomic_load(&p->cut);
    for (size_t i = 0; i < PHASES; i++)
        sum += atomic_load(&p->faults[i]);
    return sum;
}

void provider_show_head(void)
{
    (void)printf("\n  provider  connections    taken   cut at an octet");
    for (size_t i = 0; i < PHASES; i++)
        (void)printf("  %*s", i == AFTER_DOT ? 9 : 6, PHASE_NAMES[i]);
    (void)putchar('\n');
}

void provider_show(const provider *p)
{
    (void)printf("  %-8s  %11llu  %7llu  %16llu", KINDS[p->number].name,
                 (unsigned long long)atomic_load(&p->connections),
                 (unsigned long long)atomic_load(&p->taken),
                 (unsigned long long)atomic_load(&p->cut));
    for (size_t i = 0; i < PHASES; i++)
        (void)printf("  %*llu", i == AFTER_DOT ? 9 : 6,
                     (unsigned long long)atomic_load(&p->faults[i]));
    (void)putchar('\n');
}
