/* See fixture.h. The loop's thread owns the server; the test's thread owns clients and fixture. */
#include "fixture.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* ---- the server's side ---- */

static void put(buffer *b, smx_slice text)
{
    buffer_clear(b);
    assert_int_equal(buffer_append(b, text), 0);
}

static void record_body(fixture *f, const smx_message *message)
{
    char scratch[4096];
    smx_slice piece = {0};
    uint64_t at = smx_message_body_offset(message);
    buffer_clear(&f->body);
    while (smx_message_read(message, at, scratch, sizeof(scratch), &piece) == 0 && piece.len > 0) {
        if (buffer_append(&f->body, piece) != 0)
            abort();
        at += piece.len;
    }
    if (buffer_length(&f->body) >= 2)
        buffer_consume(&f->body, 2); /* the empty line */
}

static smx_reply record(void *arg, smx_transaction *tx)
{
    fixture *f = arg;
    const smx_envelope *envelope = smx_transaction_envelope(tx);
    const smx_session_view *session = smx_transaction_session(tx);
    (void)pthread_mutex_lock(&f->mutex);
    put(&f->sender, envelope->mail.path.mailbox);
    put(&f->mail_auth, envelope->mail.auth);
    put(&f->user, session->user);
    put(&f->helo, session->helo);
    put(&f->header, smx_transaction_header(tx));
    buffer_clear(&f->recipients);
    for (size_t i = 0; i < envelope->recipient_count; i++)
        if (buffer_append(&f->recipients, envelope->recipients[i].path.mailbox) != 0 ||
            buffer_append_char(&f->recipients, ' ') != 0)
            abort();
    record_body(f, smx_transaction_message(tx));
    f->tls = session->tls;
    f->client = session->client;
    (void)pthread_mutex_unlock(&f->mutex);
    f->handled++;
    return f->handle == NULL ? SMX_REPLY(250, 2, 0, 0, "kept") : f->handle(f, tx);
}

static void record_log(void *arg, smx_log_level level, const char *event, uint64_t session,
                       const smx_log_field *fields, size_t count)
{
    fixture *f = arg;
    (void)level;
    (void)session;
    (void)pthread_mutex_lock(&f->mutex);
    int error = buffer_append_text(&f->log, event);
    for (size_t i = 0; i < count && error == 0; i++)
        error = buffer_printf(&f->log, " %s=%.*s", fields[i].key, (int)fields[i].value.len,
                              fields[i].value.data);
    if (error == 0)
        error = buffer_append_char(&f->log, '\n');
    (void)pthread_mutex_unlock(&f->mutex);
    if (error != 0)
        abort();
}

bool fixture_log_has(fixture *f, const char *text)
{
    (void)pthread_mutex_lock(&f->mutex);
    smx_slice log = buffer_slice(&f->log);
    bool has = slice_search(log, slice_of_text(text)) < log.len;
    (void)pthread_mutex_unlock(&f->mutex);
    return has;
}

int fixture_setup(void **state)
{
    fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    (void)pthread_mutex_init(&f->mutex, NULL);
    (void)snprintf(f->address, sizeof(f->address), "127.0.0.1:0");
    f->options = (smx_server_options){
        .version = SMX_SERVER_VERSION,
        .hostname = "mux.example",
        .handler = record,
        .handler_arg = f,
        .log = record_log,
        .log_arg = f,
    };
    f->listener = (smx_listener_options){.version = SMX_LISTENER_VERSION, .listen = f->address};
    f->shared_options = (smx_shared_options){.version = SMX_SHARED_VERSION, .threads = 4};
    f->auth_delay_ms = 1;
    assert_int_equal(smx_loop_new(NULL, &f->loop), 0);
    *state = f;
    return 0;
}

fixture *fixture_new(void)
{
    void *state = NULL;
    assert_int_equal(fixture_setup(&state), 0);
    return state;
}

void fixture_free(fixture *f)
{
    void *state = f;
    assert_int_equal(fixture_teardown(&state), 0);
}

void fixture_add_hook(fixture *f, const smx_hook *hook)
{
    assert_in_range(f->options.hook_count, 0, FIXTURE_HOOKS - 1);
    f->hooks[f->options.hook_count++] = hook;
    f->options.hooks = f->hooks;
}

void fixture_add_middleware(fixture *f, const smx_middleware *middleware)
{
    assert_in_range(f->options.middleware_count, 0, FIXTURE_MIDDLEWARE - 1);
    f->middleware[f->options.middleware_count++] = middleware;
    f->options.middleware = f->middleware;
}

static void *run_loop(void *arg)
{
    fixture *f = arg;
    smx_loop_run(f->loop);
    return NULL;
}

void fixture_start(fixture *f)
{
    char words[SMX_PROBLEM_TEXT] = "";
    assert_int_equal(smx_shared_new(&f->shared_options, &f->shared), 0);
    f->options.shared = f->shared;
    assert_int_equal(smx_server_new(f->loop, &f->options, &f->server), 0);
    f->server->auth_delay_ms = f->auth_delay_ms;
    if (smx_server_listen(f->server, &f->listener, words) != 0)
        fail_msg("%s", words);
    f->port = smx_server_port(f->server, 0);
    assert_int_equal(smx_server_start(f->server), 0);
    assert_int_equal(pthread_create(&f->thread, NULL, run_loop, f), 0);
    f->running = true;
}

typedef struct remote_call {
    void (*fn)(void *arg);
    void *arg;
    atomic_bool done;
} remote_call;

static void run_call(void *arg)
{
    remote_call *call = arg;
    call->fn(call->arg);
    call->done = true;
}

void fixture_yield(void)
{
    (void)sched_yield();
}

void fixture_call(fixture *f, void (*fn)(void *arg), void *arg)
{
    remote_call call = {.fn = fn, .arg = arg};
    assert_int_equal(smx_loop_post(f->loop, run_call, &call), 0);
    fixture_wait(call.done);
}

smx_server_counters fixture_counters(fixture *f)
{
    smx_server_counters counters;
    smx_server_get_counters(f->server, &counters);
    return counters;
}

static void free_server(void *arg)
{
    fixture *f = arg;
    smx_server_free(f->server);
    f->server = NULL;
    smx_loop_stop(f->loop);
}

int fixture_teardown(void **state)
{
    fixture *f = *state;
    if (f->running) {
        assert_int_equal(smx_loop_post(f->loop, free_server, f), 0);
        (void)pthread_join(f->thread, NULL);
    } else {
        smx_server_free(f->server);
    }
    smx_loop_free(f->loop);
    smx_shared_free(f->shared);
    buffer *const buffers[] = {&f->sender, &f->recipients, &f->header, &f->body,
                               &f->user,   &f->helo,       &f->log,    &f->mail_auth};
    for (size_t i = 0; i < sizeof(buffers) / sizeof(buffers[0]); i++)
        buffer_free(buffers[i]);
    (void)pthread_mutex_destroy(&f->mutex);
    free(f);
    return 0;
}

/* ---- the client ---- */

client *client_open_from(fixture *f, const char *source)
{
    client *c = calloc(1, sizeof(*c));
    assert_non_null(c);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(c->fd >= 0);
    const struct timeval patience = {.tv_sec = 20};
    assert_int_equal(setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    struct sockaddr_in from = {.sin_family = AF_INET};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(f->port)};
    assert_int_equal(inet_pton(AF_INET, source, &from.sin_addr), 1);
    assert_int_equal(inet_pton(AF_INET, "127.0.0.1", &to.sin_addr), 1);
    assert_int_equal(bind(c->fd, (struct sockaddr *)&from, sizeof(from)), 0);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return c;
}

client *client_open(fixture *f)
{
    return client_open_from(f, "127.0.0.1");
}

void client_close(client *c)
{
    if (c->ssl != NULL) {
        SSL_CTX *context = SSL_get_SSL_CTX(c->ssl);
        SSL_free(c->ssl);
        SSL_CTX_free(context);
    }
    (void)close(c->fd);
    buffer_free(&c->in);
    free(c);
}

void client_send_octets(client *c, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t sent = c->ssl != NULL ? SSL_write(c->ssl, data, (int)len)
                                      : send(c->fd, data, len, MSG_NOSIGNAL);
        if (sent <= 0)
            return; /* what the server says tells more */
        data += sent;
        len -= (size_t)sent;
    }
}

void client_send(client *c, const char *text)
{
    client_send_octets(c, text, strlen(text));
}

void client_say(client *c, const char *line)
{
    char text[16384];
    int len = snprintf(text, sizeof(text), "%s\r\n", line);
    client_send_octets(c, text, (size_t)len);
}

/* False at the end. */
static bool client_read(client *c)
{
    char octets[4096];
    ssize_t got = c->ssl != NULL ? SSL_read(c->ssl, octets, sizeof(octets))
                                 : recv(c->fd, octets, sizeof(octets), 0);
    if (got <= 0)
        return false;
    assert_int_equal(buffer_append(&c->in, slice_of(octets, (size_t)got)), 0);
    return true;
}

/* Reads one line behind what is filled: its length, or 0 at the end. */
static size_t client_hear_line(client *c, size_t filled)
{
    for (;;) {
        smx_slice in = buffer_slice(&c->in);
        size_t end = slice_search(in, SMX_SLICE("\r\n"));
        if (end < in.len) {
            assert_in_range(filled + end + 2, 0, sizeof(c->reply) - 1);
            memcpy(c->reply + filled, in.data, end + 2);
            c->reply[filled + end + 2] = '\0';
            buffer_consume(&c->in, end + 2);
            return end + 2;
        }
        if (!client_read(c))
            return 0;
    }
}

bool client_hear(client *c)
{
    size_t filled = 0;
    size_t len;
    c->last_line = c->reply;
    do {
        len = client_hear_line(c, filled);
        c->last_line = c->reply + filled;
        filled += len;
    } while (len > 5 && c->last_line[3] == '-');
    return len > 0;
}

void client_expect(client *c, const char *start)
{
    if (!client_hear(c))
        fail_msg("expected \"%s\", but the connection is over", start);
    if (strncmp(c->last_line, start, strlen(start)) != 0)
        fail_msg("expected \"%s\", got \"%s\"", start, c->last_line);
}

void client_expect_end(client *c)
{
    while (buffer_length(&c->in) == 0 && client_read(c))
        ;
    if (buffer_length(&c->in) > 0)
        fail_msg("expected the end, got \"%.*s\"", (int)buffer_length(&c->in),
                 buffer_slice(&c->in).data);
}

void client_ask(client *c, const char *line, const char *start)
{
    client_say(c, line);
    client_expect(c, start);
}

bool client_secure(client *c)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    assert_non_null(context);
    c->ssl = SSL_new(context);
    assert_non_null(c->ssl);
    assert_int_equal(SSL_set_fd(c->ssl, c->fd), 1);
    return SSL_connect(c->ssl) == 1;
}

client *client_greet(fixture *f)
{
    client *c = client_open(f);
    client_expect(c, "220 mux.example");
    client_ask(c, "EHLO client.example", "250 ");
    return c;
}

client *client_first(fixture *f)
{
    fixture_start(f);
    return client_greet(f);
}

void client_envelope(client *c)
{
    client_ask(c, "MAIL FROM:<a@from.example>", "250 2.1.0");
    client_ask(c, "RCPT TO:<b@to.example>", "250 2.1.5");
    client_ask(c, "DATA", "354 ");
}

void client_mail(client *c, const char *message, const char *start)
{
    client_envelope(c);
    client_send(c, message);
    client_ask(c, ".", start);
}

void client_auth_plain(client *c, const char *user, const char *password, const char *start)
{
    char plain[256];
    char line[512] = "AUTH PLAIN ";
    size_t len;
    int octets = snprintf(plain, sizeof(plain), "%c%s%c%s", '\0', user, '\0', password);
    assert_int_equal(
        smx_base64_encode(slice_of(plain, (size_t)octets), line + 11, sizeof(line) - 12, &len), 0);
    line[11 + len] = '\0';
    client_ask(c, line, start);
}
