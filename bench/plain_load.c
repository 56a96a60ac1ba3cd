/* The bench's own load generator, where smtp-source does not reach: TLS with and without resumption,
 * AUTH, the time of each message, and many sessions that are measured only once all of them are
 * there. It goes in lockstep, as smtp-source does: a command, its reply, the next. It stands on bare
 * epoll and OpenSSL and on nothing of smtpmux, so that its speed does not move with what it measures.
 *
 * Usage: plain_load PORT SESSIONS MESSAGES SIZE [keep] [warm] [user=U pass=P] [tls=starttls|implicit ca=F]
 *        [resume]
 * keep: messages of a session share its connection; without it each has one of its own. warm: each
 * session first sends one message that is not counted, then "ready" is printed and a line on the
 * standard input starts the clock. resume: from a session's second connection on, TLS is resumed.
 * Prints one line: seconds, messages, own CPU seconds, resumed handshakes, and the latency of a
 * message in microseconds: p50 p99 p99.9 max. Ends with 1 at the first message that is refused. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { IN_SIZE = 2048, LINE_SIZE = 512, EVENTS = 256, OPENING_AT_ONCE = 200, LINE_OCTETS = 80 };
typedef enum { TLS_OFF, TLS_STARTTLS, TLS_IMPLICIT } tls_mode;

typedef struct session session;

typedef struct load {
    int epoll;
    struct sockaddr_in at;
    SSL_CTX *tls;
    tls_mode tls_mode;
    bool keep, resume, warming;
    const char *auth; /* the whole AUTH line, or NULL */
    char *body;
    size_t body_len;
    size_t sessions, opened, warm, open;
    size_t total, begun, ended, resumed;
    uint64_t *took_ns;
    uint64_t started, cpu_before;
    session *each;
} load;

/* What the reply at hand answers; one entry of `steps` for each. */
typedef enum { GREETING, HELLO, STARTTLS, AUTH, MAIL, RCPT, DATA, BODY, QUIT } step;

struct session {
    load *load;
    int fd;
    SSL *ssl;
    SSL_SESSION *ticket; /* of the last connection; ours */
    bool shaking;        /* the TLS handshake is under way */
    bool warm;
    step step;
    const char *out;
    size_t out_len;
    size_t in_len;
    char in[IN_SIZE];
    uint64_t started;
};

static void session_open(session *s);
static void session_flush(session *s);

static uint64_t nanoseconds(clockid_t clock)
{
    struct timespec t;
    (void)clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static void fail(const session *s, const char *what)
{
    (void)fprintf(stderr, "plain_load: step %d: %s\n", (int)s->step, what);
    exit(1);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The latency below which so many of a thousand messages stayed, in microseconds. */
static double percentile(const load *l, size_t of_thousand)
{
    size_t at = l->ended * of_thousand / 1000;
    return (double)l->took_ns[at < l->ended ? at : l->ended - 1] / 1e3;
}

static void report(load *l)
{
    double took = (double)(nanoseconds(CLOCK_MONOTONIC) - l->started) / 1e9;
    double cpu = (double)(nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - l->cpu_before) / 1e9;
    qsort(l->took_ns, l->ended, sizeof(uint64_t), compare);
    (void)printf("%.6f %zu %.6f %zu %.1f %.1f %.1f %.1f\n", took, l->ended, cpu, l->resumed,
                 percentile(l, 500), percentile(l, 990), percentile(l, 999), percentile(l, 1000));
    (void)fflush(stdout);
}

static void clock_start(load *l)
{
    l->started = nanoseconds(CLOCK_MONOTONIC);
    l->cpu_before = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
}

/* ---- what is said ---- */

static void say(session *s, step next, const char *text, size_t len)
{
    s->step = next;
    s->out = text;
    s->out_len = len;
}

static void say_line(session *s, step next, const char *text)
{
    say(s, next, text, strlen(text));
}

/* The next message of this session, or its farewell. On a new connection the message's time began
 * with the connect. */
static void next_message(session *s)
{
    load *l = s->load;
    if (l->keep && !l->warming && l->begun++ >= l->total) {
        say_line(s, QUIT, "QUIT\r\n");
        return;
    }
    if (l->keep)
        s->started = nanoseconds(CLOCK_MONOTONIC);
    say_line(s, MAIL, "MAIL FROM:<bench@example.com>\r\n");
}

static void after_hello(session *s)
{
    load *l = s->load;
    if (l->tls_mode == TLS_STARTTLS && s->ssl == NULL)
        say_line(s, STARTTLS, "STARTTLS\r\n");
    else if (l->auth != NULL)
        say_line(s, AUTH, l->auth);
    else
        next_message(s);
}

static void say_hello(session *s)
{
    say_line(s, HELLO, "EHLO load.example\r\n");
}

static void say_rcpt(session *s)
{
    say_line(s, RCPT, "RCPT TO:<rcpt@example.com>\r\n");
}

static void say_data(session *s)
{
    say_line(s, DATA, "DATA\r\n");
}

static void say_body(session *s)
{
    say(s, BODY, s->load->body, s->load->body_len);
}

static void start_tls(session *s)
{
    s->ssl = SSL_new(s->load->tls);
    if (s->ssl == NULL || SSL_set_fd(s->ssl, s->fd) != 1)
        abort();
    SSL_set_connect_state(s->ssl);
    (void)SSL_set_app_data(s->ssl, s);
    if (s->load->resume && s->ticket != NULL)
        (void)SSL_set_session(s->ssl, s->ticket);
    s->shaking = true;
}

/* All sessions have sent their first message: the clock starts, and all go on. */
static void all_warm(load *l)
{
    l->warming = false;
    l->resumed = 0;
    (void)puts("ready");
    (void)fflush(stdout);
    if (getchar() == EOF)
        exit(1);
    clock_start(l);
    for (size_t i = 0; i < l->sessions; i++) {
        next_message(&l->each[i]);
        session_flush(&l->each[i]);
    }
}

static void after_body(session *s)
{
    load *l = s->load;
    if (l->warming) {
        s->warm = true;
        if (++l->warm == l->sessions)
            all_warm(l);
        else if (l->opened < l->sessions)
            session_open(&l->each[l->opened++]);
        return;
    }
    l->took_ns[l->ended++] = nanoseconds(CLOCK_MONOTONIC) - s->started;
    if (l->ended == l->total)
        report(l);
    if (l->keep)
        next_message(s);
    else
        say_line(s, QUIT, "QUIT\r\n");
}

static void after_quit(session *s)
{
    load *l = s->load;
    if (s->ssl != NULL)
        (void)SSL_shutdown(s->ssl);
    SSL_free(s->ssl);
    s->ssl = NULL;
    (void)close(s->fd);
    s->fd = -1;
    l->open--;
    if (!l->keep && l->begun < l->total)
        session_open(s);
}

static const struct {
    const char *expect;
    void (*then)(session *s);
} steps[] = {
    [GREETING] = {"220", say_hello}, [HELLO] = {"250", after_hello},
    [STARTTLS] = {"220", start_tls}, [AUTH] = {"235", next_message},
    [MAIL] = {"250", say_rcpt},      [RCPT] = {"250", say_data},
    [DATA] = {"354", say_body},      [BODY] = {"250", after_body},
    [QUIT] = {"221", after_quit},
};

/* ---- octets in and out ---- */

static bool wants_more(const session *s, int got)
{
    int why = SSL_get_error(s->ssl, got);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
}

/* Of `send` and SSL_write: octets written, 0 when it would block. */
static size_t session_send(session *s)
{
    if (s->ssl != NULL) {
        int put = SSL_write(s->ssl, s->out, (int)s->out_len);
        if (put <= 0 && !wants_more(s, put))
            fail(s, "TLS write failed");
        return put > 0 ? (size_t)put : 0;
    }
    ssize_t put = send(s->fd, s->out, s->out_len, MSG_NOSIGNAL);
    if (put < 0 && errno != EAGAIN)
        fail(s, strerror(errno));
    return put > 0 ? (size_t)put : 0;
}

static void session_flush(session *s)
{
    while (s->out_len > 0 && !s->shaking) {
        size_t put = session_send(s);
        if (put == 0)
            return;
        s->out += put;
        s->out_len -= put;
    }
}

static size_t session_recv(session *s)
{
    size_t room = sizeof(s->in) - s->in_len;
    ssize_t got = s->ssl != NULL ? SSL_read(s->ssl, s->in + s->in_len, (int)room)
                                 : recv(s->fd, s->in + s->in_len, room, 0);
    if (got > 0)
        return (size_t)got;
    if (s->ssl != NULL ? !wants_more(s, (int)got) : got == 0 || errno != EAGAIN)
        fail(s, got == 0 ? "the connection was closed" : strerror(errno));
    return 0;
}

/* Whether a whole reply is there: the last line of several has a space behind its code. */
static bool reply_complete(const session *s)
{
    if (s->in_len < 5 || s->in[s->in_len - 1] != '\n')
        return false;
    const char *before = memrchr(s->in, '\n', s->in_len - 1);
    const char *last = before == NULL ? s->in : before + 1;
    return s->in + s->in_len - last > 4 && last[3] != '-';
}

static void session_reply(session *s)
{
    if (memcmp(s->in, steps[s->step].expect, 3) != 0) {
        s->in[s->in_len - 1] = '\0';
        fail(s, s->in);
    }
    s->in_len = 0;
    steps[s->step].then(s);
}

static bool session_shake(session *s)
{
    int done = SSL_do_handshake(s->ssl);
    if (done == 1) {
        s->shaking = false;
        s->load->resumed += (size_t)SSL_session_reused(s->ssl);
        if (s->load->tls_mode == TLS_STARTTLS)
            say_hello(s);
        return true;
    }
    if (!wants_more(s, done))
        fail(s, ERR_reason_error_string(ERR_peek_error()));
    return false;
}

/* Goes on until the kernel has nothing for this session: events come at changes only. A session that
 * rests after its first message has nothing to say, but must not be read for a reply. */
static void session_event(session *s)
{
    while (s->fd >= 0) {
        if (s->shaking && !session_shake(s))
            return;
        session_flush(s);
        if (s->out_len > 0)
            return;
        size_t got = session_recv(s);
        if (got == 0)
            return;
        s->in_len += got;
        if (reply_complete(s))
            session_reply(s);
        if (s->fd >= 0 && s->ssl == NULL) { /* a short read took all there was */
            session_flush(s);
            if (s->out_len == 0)
                return;
        }
    }
}

static void session_open(session *s)
{
    load *l = s->load;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = s};
    s->started = nanoseconds(CLOCK_MONOTONIC);
    s->step = GREETING;
    s->in_len = s->out_len = 0;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    (void)setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (s->fd < 0 ||
        (connect(s->fd, (struct sockaddr *)&l->at, sizeof(l->at)) != 0 && errno != EINPROGRESS))
        fail(s, strerror(errno));
    l->open++;
    if (!l->keep)
        l->begun++;
    if (l->tls_mode == TLS_IMPLICIT)
        start_tls(s);
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, s->fd, &event) != 0)
        abort();
}

/* ---- set-up ---- */

/* Lines of 80 octets behind a short header section, as smtp-source makes them; no dot anywhere. */
static void make_body(load *l, size_t size)
{
    static const char header[] = "From: <bench@example.com>\r\nTo: <rcpt@example.com>\r\n"
                                 "Subject: load\r\n\r\n";
    size_t from = sizeof(header) - 1;
    l->body_len = from + size + 3;
    l->body = malloc(l->body_len);
    if (l->body == NULL || size < 2)
        abort();
    memcpy(l->body, header, from);
    memset(l->body + from, 'X', size);
    for (size_t end = LINE_OCTETS; end < size; end += LINE_OCTETS)
        memcpy(l->body + from + end - 2, "\r\n", 2);
    memcpy(l->body + from + size - 2, "\r\n.\r\n", 5);
}

/* The newest ticket of a session's connection is what its next one begins with. */
static int keep_ticket(SSL *ssl, SSL_SESSION *ticket)
{
    session *s = SSL_get_app_data(ssl);
    SSL_SESSION_free(s->ticket);
    s->ticket = ticket;
    return 1;
}

static void make_tls(load *l, const char *ca)
{
    l->tls = SSL_CTX_new(TLS_client_method());
    if (l->tls == NULL || SSL_CTX_load_verify_locations(l->tls, ca, NULL) != 1)
        abort();
    SSL_CTX_set_verify(l->tls, SSL_VERIFY_PEER, NULL);
    (void)SSL_CTX_set_mode(l->tls,
                           SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    (void)SSL_CTX_set_session_cache_mode(l->tls,
                                         SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(l->tls, keep_ticket);
}

/* The AUTH line for PLAIN (RFC 4616). */
static char *auth_line(const char *user, const char *password)
{
    char plain[LINE_SIZE / 2];
    char *line = malloc(LINE_SIZE);
    int len = snprintf(plain, sizeof(plain), "%c%s%c%s", '\0', user, '\0', password);
    if (line == NULL || len < 0 || (size_t)len >= sizeof(plain))
        abort();
    int at = snprintf(line, LINE_SIZE, "AUTH PLAIN ");
    at += EVP_EncodeBlock((unsigned char *)line + at, (const unsigned char *)plain, len);
    memcpy(line + at, "\r\n", 3);
    return line;
}

static const char *option(int argc, char **argv, const char *name)
{
    size_t len = strlen(name);
    for (int i = 5; i < argc; i++)
        if (strncmp(argv[i], name, len) == 0 && (argv[i][len] == '\0' || argv[i][len] == '='))
            return argv[i] + len + (argv[i][len] == '=');
    return NULL;
}

static void read_options(load *l, int argc, char **argv)
{
    const char *tls = option(argc, argv, "tls");
    const char *user = option(argc, argv, "user");
    const char *password = option(argc, argv, "pass");
    l->keep = option(argc, argv, "keep") != NULL;
    l->warming = option(argc, argv, "warm") != NULL;
    l->resume = option(argc, argv, "resume") != NULL;
    if (user != NULL && password != NULL)
        l->auth = auth_line(user, password);
    if (tls != NULL) {
        l->tls_mode = strcmp(tls, "implicit") == 0 ? TLS_IMPLICIT : TLS_STARTTLS;
        make_tls(l, option(argc, argv, "ca"));
    }
}

static void run(load *l)
{
    clock_start(l);
    while (l->opened < l->sessions && (!l->warming || l->opened < OPENING_AT_ONCE))
        session_open(&l->each[l->opened++]);
    while (l->open > 0) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(l->epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++)
            session_event(events[i].data.ptr);
    }
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        (void)fprintf(stderr, "usage: plain_load PORT SESSIONS MESSAGES SIZE [OPTION...]\n");
        return 64;
    }
    load l = {
        .epoll = epoll_create1(EPOLL_CLOEXEC),
        .at = {.sin_family = AF_INET,
               .sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10)),
               .sin_addr = {htonl(INADDR_LOOPBACK)}},
        .sessions = strtoul(argv[2], NULL, 10),
        .total = strtoul(argv[3], NULL, 10),
    };
    read_options(&l, argc, argv);
    make_body(&l, strtoul(argv[4], NULL, 10));
    l.took_ns = calloc(l.total, sizeof(uint64_t));
    l.each = calloc(l.sessions, sizeof(session));
    if (l.body == NULL || l.took_ns == NULL || l.each == NULL)
        abort();
    for (size_t i = 0; i < l.sessions; i++)
        l.each[i].load = &l;
    if (l.total >= l.sessions)
        run(&l);
    bool done = l.ended == l.total;
    free(l.each);
    free(l.took_ns);
    free(l.body);
    return done ? 0 : 1;
}
