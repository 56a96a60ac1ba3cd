/* A client on a plain socket: sends one message after the other in sessions, tries again what was put
 * off, goes away at times, and tells the ledger every word that it heard. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "soak.h"

enum {
    PLACE_CLIENT = 3,
    TRIES = 12,
    SILENCE_SECONDS = 120,
    SESSION_MESSAGES = 40, /* at most, in one session */
    LEAVES_PER_100K = 400,
    PIPED_PER_100K = 40000,
    CHUNKED_PER_100K = 20000,
    CHUNK_OCTETS = 20000,
    READ_OCTETS = 4096,
};

typedef struct answer {
    unsigned code; /* 0: the connection is over */
    bool unknown;  /* 4.4.2 */
} answer;

/* Where a client goes away. */
typedef enum leaving { STAYS, LEAVES_AT_RCPT, LEAVES_IN_BODY, LEAVES_BEHIND_DOT } leaving;

typedef struct client {
    client_plan *plan;
    chance chance;
    int fd;        /* -1: not connected */
    uint64_t left; /* messages in this session */
    buffer in;
    buffer out;
    buffer message;
    /* of the message under way: */
    uint32_t number;
    uint32_t pending;  /* recipients, a bit for each, that nothing final was said of */
    uint32_t accepted; /* in this transaction */
    bool is_broken;
} client;

/* ---- octets ---- */

static void client_hang_up(client *c, bool with_reset)
{
    struct linger l = {1, 0};
    if (c->fd < 0)
        return;
    if (with_reset)
        (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
    (void)close(c->fd);
    c->fd = -1;
    buffer_clear(&c->in);
    buffer_clear(&c->out);
}

/* The daemon closed, was silent or said what is no reply: none of which it may. */
static answer client_broken(client *c, const char *why)
{
    if (atomic_fetch_add(&c->plan->counts.broken, 1) < 20)
        (void)fprintf(stderr, "soak: message %u: the daemon %s\n", c->number, why);
    client_hang_up(c, false);
    c->is_broken = true;
    return (answer){0};
}

static bool client_send(client *c, smx_slice octets)
{
    while (octets.len > 0) {
        ssize_t n = send(c->fd, octets.data, octets.len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        octets = slice_from(octets, (size_t)n);
    }
    return true;
}

static bool client_flush(client *c)
{
    bool sent = client_send(c, buffer_slice(&c->out));
    buffer_clear(&c->out);
    return sent;
}

static void client_write(client *c, const char *text)
{
    must(buffer_append_text(&c->out, text) == 0, "out of memory");
}

/* A reply may have several lines; the last one's code and enhanced code count. 421 is the daemon's
 * goodbye to a session that began long before a reload: the message is tried again in a new one. */
static answer client_read(client *c)
{
    for (;;) {
        smx_slice in = buffer_slice(&c->in);
        size_t end = slice_search(in, SMX_SLICE("\r\n"));
        if (end < in.len) {
            uint64_t code = 0;
            bool last = end == 3 || (end > 3 && in.data[3] == ' ');
            if (end < 3 || slice_to_number(slice_to(in, 3), 599, &code) != 0)
                return client_broken(c, "says what is no reply");
            answer a = {(unsigned)code, slice_starts_with(slice_from(in, 3), SMX_SLICE(" 4.4.2"))};
            buffer_consume(&c->in, end + 2);
            if (!last)
                continue;
            if (a.code == 421) {
                atomic_fetch_add(&c->plan->counts.goodbyes, 1);
                client_hang_up(c, false);
            }
            return a;
        }
        must(buffer_reserve(&c->in, READ_OCTETS) == 0, "out of memory");
        ssize_t got = recv(c->fd, c->in.data + c->in.end, READ_OCTETS, 0);
        if (got <= 0)
            return client_broken(c, got == 0 ? "hung up" : "is silent");
        c->in.end += (size_t)got;
    }
}

static answer client_ask(client *c, const char *line)
{
    client_write(c, line);
    if (!client_flush(c))
        return client_broken(c, "hung up");
    return client_read(c);
}

/* ---- a session ---- */

static void base64(smx_slice in, buffer *out)
{
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < in.len; i += 3) {
        uint32_t word = 0;
        for (size_t k = 0; k < 3; k++)
            word = word << 8 | (i + k < in.len ? (unsigned char)in.data[i + k] : 0U);
        for (size_t k = 0; k < 4; k++)
            must(buffer_append_char(out,
                                    i + k > in.len ? '=' : DIGITS[word >> (18 - 6 * k) & 63]) == 0,
                 "out of memory");
    }
}

static bool client_authenticate(client *c)
{
    char user[32];
    buffer secret = {0};
    child_user(chance_below(&c->chance, SOAK_USERS), user);
    must(buffer_append_char(&secret, '\0') == 0 && buffer_append_text(&secret, user) == 0 &&
             buffer_append_char(&secret, '\0') == 0 &&
             buffer_append_text(&secret, SOAK_PASSWORD) == 0,
         "out of memory");
    client_write(c, "AUTH PLAIN ");
    base64(buffer_slice(&secret), &c->out);
    buffer_free(&secret);
    return client_ask(c, "\r\n").code == 235;
}

/* True when a session is open. */
static bool client_connect(client *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(c->plan->port)};
    struct timeval silence = {.tv_sec = SILENCE_SECONDS};
    int one = 1;
    if (c->fd >= 0)
        return true;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(c->fd >= 0, "no socket");
    (void)setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof(silence));
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    must(connect(c->fd, (struct sockaddr *)&to, sizeof(to)) == 0, "the daemon takes no connection");
    c->left = 1 + chance_below(&c->chance, SESSION_MESSAGES);
    return client_read(c).code == 220 && client_ask(c, "EHLO client.test\r\n").code == 250 &&
           client_authenticate(c);
}

static void client_end_session(client *c)
{
    answer a = {.code = 221};
    if (c->fd >= 0)
        a = client_ask(c, "QUIT\r\n");
    if (a.code != 221 && a.code != 421 && a.code != 0)
        (void)client_broken(c, "does not say goodbye");
    client_hang_up(c, false);
}

/* ---- what was said ---- */

static void tell(client *c, uint32_t recipients, told what)
{
    for (uint32_t i = 0; i < SOAK_RECIPIENTS; i++)
        if (recipients & 1U << i)
            ledger_tell(c->plan->ledger, c->number, i, what);
    c->pending &= ~recipients;
}

static void doubt(client *c)
{
    for (uint32_t i = 0; i < SOAK_RECIPIENTS; i++)
        if (c->accepted & 1U << i)
            ledger_doubt(c->plan->ledger, c->number, i);
}

static void client_leave(client *c, bool behind_dot)
{
    client_counts *counts = &c->plan->counts;
    client_hang_up(c, chance_below(&c->chance, 2) == 0);
    atomic_fetch_add(behind_dot ? &counts->left_behind : &counts->left_before, 1);
    if (behind_dot)
        doubt(c);
    tell(c, c->pending, TOLD_LEFT);
}

static void client_on_recipient(client *c, uint32_t recipient, answer a)
{
    if (a.code == 250)
        c->accepted |= 1U << recipient;
    else if (a.code / 100 == 5)
        tell(c, 1U << recipient, TOLD_REFUSED);
}

/* The reply to the whole message. */
static void client_on_final(client *c, answer a)
{
    client_counts *counts = &c->plan->counts;
    if (a.code == 0) { /* an error of the daemon, counted as that */
        doubt(c);
        tell(c, c->pending, TOLD_LEFT);
    } else if (a.code == 250) {
        atomic_fetch_add(&counts->taken, 1);
        tell(c, c->accepted, TOLD_TAKEN);
    } else if (a.code / 100 == 5) {
        atomic_fetch_add(&counts->refused, 1);
        tell(c, c->accepted, TOLD_REFUSED);
    } else if (a.unknown) {
        atomic_fetch_add(&counts->unknown, 1);
        doubt(c);
    } else {
        atomic_fetch_add(&counts->put_off, 1);
    }
}

/* ---- a transaction ---- */

static void write_rcpt(client *c, uint32_t recipient)
{
    client_write(c, "RCPT TO:<");
    message_write_recipient(c->number, recipient, &c->out);
    client_write(c, ">\r\n");
}

/* MAIL and RCPT; with `piped` in one write. 0: the connection is over, or nothing was accepted. */
static bool client_envelope(client *c, bool piped)
{
    uint32_t wanted = c->pending;
    answer a = {.code = 250};
    client_write(c, "MAIL FROM:<soak@example.com>\r\n");
    if (piped)
        for (uint32_t i = 0; i < SOAK_RECIPIENTS; i++)
            if (wanted & 1U << i)
                write_rcpt(c, i);
    a = client_ask(c, "");
    if (c->fd < 0)
        return false;
    bool has_sender = a.code == 250;
    for (uint32_t i = 0; i < SOAK_RECIPIENTS && (has_sender || piped); i++) {
        if (!(wanted & 1U << i))
            continue;
        if (!piped)
            write_rcpt(c, i);
        a = piped ? client_read(c) : client_ask(c, "");
        if (c->fd < 0)
            return false;
        if (has_sender)
            client_on_recipient(c, i, a);
    }
    if (c->accepted == 0) {
        atomic_fetch_add(&c->plan->counts.put_off, 1);
        (void)client_ask(c, "RSET\r\n");
    }
    return c->accepted != 0;
}

static void write_stuffed(client *c)
{
    for (smx_slice rest = buffer_slice(&c->message); rest.len > 0;) {
        size_t len = slice_search(rest, SMX_SLICE("\r\n")) + 2;
        if (rest.data[0] == '.')
            client_write(c, ".");
        must(buffer_append(&c->out, slice_to(rest, len)) == 0, "out of memory");
        rest = slice_from(rest, len);
    }
    client_write(c, ".\r\n");
}

/* All of `out`, or as much of it as somebody sends who leaves within. */
static bool client_body(client *c, leaving leaves)
{
    if (leaves == LEAVES_IN_BODY)
        buffer_truncate(&c->out, chance_below(&c->chance, buffer_length(&c->out)));
    bool sent = client_flush(c);
    if (leaves != STAYS)
        client_leave(c, leaves == LEAVES_BEHIND_DOT);
    else if (!sent)
        client_on_final(c, client_broken(c, "hung up"));
    return sent && leaves == STAYS;
}

static void client_by_data(client *c, leaving leaves)
{
    answer a = client_ask(c, "DATA\r\n");
    if (a.code != 354) {
        client_on_final(c, a);
        return;
    }
    write_stuffed(c);
    if (client_body(c, leaves))
        client_on_final(c, client_read(c));
}

static void client_by_chunks(client *c, leaving leaves)
{
    smx_slice rest = buffer_slice(&c->message);
    answer a = {.code = 250};
    while (rest.len > 0 && a.code == 250) {
        smx_slice part = slice_to(rest, rest.len < CHUNK_OCTETS ? rest.len : CHUNK_OCTETS);
        rest = slice_from(rest, part.len);
        must(buffer_printf(&c->out, "BDAT %zu%s\r\n", part.len, rest.len == 0 ? " LAST" : "") ==
                     0 &&
                 buffer_append(&c->out, part) == 0,
             "out of memory");
        if (!client_body(c, rest.len == 0 || leaves == LEAVES_IN_BODY ? leaves : STAYS))
            return;
        a = client_read(c);
    }
    client_on_final(c, a);
}

static leaving draw_leaving(client *c)
{
    if (!chance_hits(&c->chance, LEAVES_PER_100K))
        return STAYS;
    return (leaving)(LEAVES_AT_RCPT + chance_below(&c->chance, 3));
}

static void client_try(client *c)
{
    leaving leaves = draw_leaving(c);
    bool piped = chance_hits(&c->chance, PIPED_PER_100K);
    bool chunked = chance_hits(&c->chance, CHUNKED_PER_100K);
    c->accepted = 0;
    c->is_broken = false;
    if (!client_connect(c) || !client_envelope(c, piped)) {
        if (c->is_broken)
            tell(c, c->pending, TOLD_LEFT);
    } else if (leaves == LEAVES_AT_RCPT) {
        client_leave(c, false);
    } else if (chunked) {
        client_by_chunks(c, leaves);
    } else {
        client_by_data(c, leaves);
    }
    if (c->fd >= 0 && --c->left == 0)
        client_end_session(c);
}

static void client_deliver(client *c, uint32_t number)
{
    c->number = number;
    c->pending = (1U << message_recipients(c->plan->seed, number)) - 1;
    buffer_clear(&c->message);
    message_write(c->plan->seed, number, &c->message);
    for (unsigned i = 0; i < TRIES && c->pending != 0; i++)
        client_try(c);
    tell(c, c->pending, TOLD_PUT_OFF);
}

void client_run(client_plan *plan, size_t number)
{
    client c = {.plan = plan, .fd = -1, .chance = chance_at(plan->seed, PLACE_CLIENT, number)};
    uint32_t next;
    while ((next = (uint32_t)atomic_fetch_add(&plan->next, 1)) < plan->messages) {
        if (next % plan->reload_every == plan->reload_every - 1)
            child_reload(plan->child);
        client_deliver(&c, next);
    }
    client_end_session(&c);
    buffer_free(&c.in);
    buffer_free(&c.out);
    buffer_free(&c.message);
}
