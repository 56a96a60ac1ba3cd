/* A sink that takes every message and keeps none. It stands on bare epoll and on nothing of smtpmux,
 * so that what the bench compares against does not move with what it measures, and it searches a
 * body for its end with memchr only, so that large bodies do not make it the limit.
 *
 * Usage: plain_sink PORT. Offers PIPELINING, 8BITMIME and AUTH PLAIN; lets everyone in.
 * Owns: one session per connection, freed when that closes; one read buffer for all. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_SIZE = 256 * 1024,
    KEPT_SIZE = 2048,
    REPLIES_SIZE = 16 * 1024,
    EVENTS = 256,
    MOST_DESCRIPTORS = 65536
};

typedef struct session {
    int fd;
    bool in_body;
    bool closing;
    size_t kept_len; /* of what the last read left over: part of a line, or a body's last octets */
    char kept[KEPT_SIZE];
} session;

typedef struct sink {
    int epoll;
    int listening;
    size_t replies_len;
    char replies[REPLIES_SIZE]; /* of the session at hand */
    char in[KEPT_SIZE + READ_SIZE];
    session *sessions[MOST_DESCRIPTORS]; /* each at its descriptor */
} sink;

typedef struct command {
    const char *verb;
    const char *reply;
} command;

static const command commands[] = {
    {"EHLO", "250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 AUTH PLAIN\r\n"},
    {"DATA", "354 go ahead\r\n"},
    {"QUIT", "221 bye\r\n"},
    {"AUTH", "235 welcome\r\n"},
    {NULL, "250 ok\r\n"},
};

static void sink_reply(sink *s, const char *text)
{
    size_t len = strlen(text);
    if (s->replies_len + len > sizeof(s->replies))
        abort();
    memcpy(s->replies + s->replies_len, text, len);
    s->replies_len += len;
}

static void session_command(sink *s, session *from, const char *line, size_t len)
{
    const command *c = commands;
    while (c->verb != NULL && (len < 4 || strncasecmp(line, c->verb, 4) != 0))
        c++;
    sink_reply(s, c->reply);
    from->in_body = c->verb != NULL && strcmp(c->verb, "DATA") == 0;
    from->closing = c->verb != NULL && strcmp(c->verb, "QUIT") == 0;
}

/* Behind CRLF "." CRLF, or NULL; the CRLF in front may be that of the DATA line. */
static const char *body_end(const char *at, const char *end)
{
    const char *begin = at;
    while ((at = memchr(at, '.', (size_t)(end - at))) != NULL) {
        if (at - begin >= 2 && end - at >= 3 && memcmp(at - 2, "\r\n.\r\n", 5) == 0)
            return at + 3;
        at++;
    }
    return NULL;
}

static void session_keep(session *from, const char *at, const char *end)
{
    from->kept_len = (size_t)(end - at);
    if (from->kept_len > sizeof(from->kept))
        from->closing = true;
    else
        memcpy(from->kept, at, from->kept_len);
}

/* `at` to `end` is what was kept and what was read. In a body the two octets before what is still
 * to be searched are always there. */
static void session_feed(sink *s, session *from, const char *at, const char *end)
{
    while (at < end && !from->closing) {
        if (from->in_body) {
            const char *behind = body_end(at, end);
            if (behind == NULL) {
                session_keep(from, end - at > 4 ? end - 4 : at, end);
                return;
            }
            from->in_body = false;
            sink_reply(s, "250 2.0.0 taken\r\n");
            at = behind;
            continue;
        }
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        if (newline == NULL)
            break;
        session_command(s, from, at, (size_t)(newline - at));
        at = from->in_body && newline > at ? newline - 1 : newline + 1;
    }
    session_keep(from, at, end);
}

static void session_close(sink *s, session *from)
{
    s->sessions[from->fd] = NULL;
    (void)close(from->fd);
    free(from);
}

static void session_readable(sink *s, session *from)
{
    memcpy(s->in, from->kept, from->kept_len);
    ssize_t got = recv(from->fd, s->in + from->kept_len, READ_SIZE, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            session_close(s, from);
        return;
    }
    s->replies_len = 0;
    session_feed(s, from, s->in, s->in + from->kept_len + (size_t)got);
    if (s->replies_len > 0 &&
        send(from->fd, s->replies, s->replies_len, MSG_NOSIGNAL) != (ssize_t)s->replies_len)
        from->closing = true;
    if (from->closing)
        session_close(s, from);
}

static void sink_accept(sink *s)
{
    static const char greeting[] = "220 sink.example ESMTP\r\n";
    int fd;
    while ((fd = accept4(s->listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        session *made = calloc(1, sizeof(*made));
        if (made == NULL || fd >= MOST_DESCRIPTORS)
            abort();
        s->sessions[fd] = made;
        made->fd = fd;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        if (send(fd, greeting, sizeof(greeting) - 1, MSG_NOSIGNAL) < 0 ||
            epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
            session_close(s, made);
    }
}

static int sink_listen(sink *s, const char *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    s->listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = s->listening};
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    (void)setsockopt(s->listening, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    return bind(s->listening, (struct sockaddr *)&at, sizeof(at)) != 0 ||
                   listen(s->listening, 8192) != 0 ||
                   epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->listening, &event) != 0
               ? -1
               : 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: plain_sink PORT\n");
        return 64;
    }
    sink *s = calloc(1, sizeof(*s));
    if (s == NULL || sink_listen(s, argv[1]) != 0) {
        perror("plain_sink");
        free(s);
        return 69;
    }
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(s->epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++)
            if (events[i].data.fd == s->listening)
                sink_accept(s);
            else
                session_readable(s, s->sessions[events[i].data.fd]);
    }
}
