/* A load client for the benchmark, on libsmx's client: messages of one size over a number of
 * sessions, with AUTH and TLS where wanted, and the time of each message.
 *
 * Usage: load HOST PORT SESSIONS MESSAGES SIZE [keep] [user=U pass=P [auth=PLAIN]]
 *             [tls=starttls|implicit ca=F]
 * `keep` keeps connections; without it there is one message per connection. Prints one line:
 * seconds, messages, failures, and the latency of a message in microseconds: p50 p99 p99.9 max. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/slice.h"
#include "smx/client.h"

typedef struct load {
    smx_loop *loop;
    smx_client_options options;
    smx_submission submission;
    size_t sessions;
    size_t begun;
    size_t ended;
    size_t failed;
    size_t total;
    bool keep;
    uint64_t *took_ns;
} load;

typedef struct load_session {
    load *load;
    uint64_t started;
    bool sent;
} load_session;

static uint64_t load_now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static void load_connect(load_session *session);

static void load_ready(void *arg, smx_client *client)
{
    load_session *session = arg;
    load *l = session->load;
    if ((session->sent && !l->keep) || l->begun == l->total) {
        smx_client_close(client);
        return;
    }
    l->begun++;
    if (session->sent)
        session->started = load_now();
    session->sent = true;
    if (smx_client_submit(client, &l->submission) != 0)
        abort();
}

static void load_result(void *arg, smx_client *client, const smx_client_result *result)
{
    (void)client;
    load_session *session = arg;
    load *l = session->load;
    l->took_ns[l->ended++] = load_now() - session->started;
    if (result->outcome != SMX_OUTCOME_ACCEPTED) {
        l->failed++;
        (void)fprintf(stderr, "load: %s %u %.*s (%s)\n", smx_error_text(result->error),
                      result->reply.code, (int)result->reply.text.len, result->reply.text.data,
                      smx_client_phase_text(result->phase));
    }
}

static void load_closed(void *arg, smx_client *client, const smx_client_result *result)
{
    (void)client;
    load_session *session = arg;
    load *l = session->load;
    if (!session->sent && l->begun < l->total) {
        (void)fprintf(stderr, "load: cannot connect: %s %s\n", smx_error_text(result->error),
                      result->detail);
        exit(69);
    }
    if (l->begun < l->total) {
        load_connect(session);
    } else if (--l->sessions == 0) {
        smx_loop_stop(l->loop);
    }
}

static const smx_client_handler load_handler = {load_ready, load_result, load_closed};

static void load_connect(load_session *session)
{
    smx_client *client;
    session->sent = false;
    session->started = load_now();
    if (smx_client_new(session->load->loop, &session->load->options, &load_handler, session,
                       &client) != 0)
        abort();
}

static int load_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void load_report(load *l, uint64_t took)
{
    qsort(l->took_ns, l->ended, sizeof(uint64_t), load_compare);
    (void)printf(
        "%.6f %zu %zu %.1f %.1f %.1f %.1f\n", (double)took / 1e9, l->ended, l->failed,
        (double)l->took_ns[l->ended / 2] / 1e3, (double)l->took_ns[l->ended * 99 / 100] / 1e3,
        (double)l->took_ns[l->ended * 999 / 1000] / 1e3, (double)l->took_ns[l->ended - 1] / 1e3);
}

/* Lines of 76 octets behind a short header section; no line begins with a dot. */
static char *load_body(size_t size)
{
    static const char header[] = "From: <load@example.com>\r\nTo: <rcpt@example.com>\r\n"
                                 "Subject: load\r\n\r\n";
    char *body = malloc(size + sizeof(header) + 80);
    if (body == NULL)
        abort();
    memset(body, 'x', size + sizeof(header) + 80);
    memcpy(body, header, sizeof(header) - 1);
    for (size_t at = sizeof(header) - 1 + 76; at + 2 < size; at += 78)
        memcpy(body + at, "\r\n", 2);
    memcpy(body + size - 2, "\r\n", 2);
    return body;
}

static void load_read_option(load *l, const char *option)
{
    const char *value = strchr(option, '=');
    smx_slice name =
        value == NULL ? slice_of_text(option) : slice_of(option, (size_t)(value - option));
    if (slice_equal(name, SMX_SLICE("keep")))
        l->keep = true;
    else if (slice_equal(name, SMX_SLICE("user")))
        l->options.user = value + 1;
    else if (slice_equal(name, SMX_SLICE("pass")))
        l->options.password = value + 1;
    else if (slice_equal(name, SMX_SLICE("auth")))
        l->options.mechanism = value + 1;
    else if (slice_equal(name, SMX_SLICE("tls")))
        l->options.tls = value[1] == 'i' ? SMX_TLS_IMPLICIT : SMX_TLS_REQUIRED;
    else if (slice_equal(name, SMX_SLICE("ca"))) {
        if (smx_client_tls_new(value + 1, NULL, NULL, &l->options.tls_context, NULL) != 0)
            abort();
    }
}

static smx_envelope load_envelope(smx_rcpt *rcpt)
{
    smx_envelope envelope = {.recipients = rcpt, .recipient_count = 1};
    if (smx_mailbox_parse(SMX_SLICE("load@example.com"), 0, &envelope.mail.path) != 0 ||
        smx_mailbox_parse(SMX_SLICE("rcpt@example.com"), 0, &rcpt->path) != 0)
        abort();
    return envelope;
}

int main(int argc, char **argv)
{
    if (argc < 6) {
        (void)fprintf(stderr, "usage: load HOST PORT SESSIONS MESSAGES SIZE [keep] [user= pass=] "
                              "[tls=starttls|implicit ca=]\n");
        return 64;
    }
    smx_rcpt rcpt = {0};
    smx_envelope envelope = load_envelope(&rcpt);
    size_t size = strtoul(argv[5], NULL, 10);
    char *body = load_body(size);
    load l = {
        .options = {.version = SMX_CLIENT_VERSION,
                    .host = argv[1],
                    .port = (uint16_t)strtoul(argv[2], NULL, 10),
                    .helo = "load.example",
                    .tls = SMX_TLS_OFF,
                    .allow_insecure_auth = true},
        .submission = {.envelope = &envelope, .header = {body, size}},
        .sessions = strtoul(argv[3], NULL, 10),
        .total = strtoul(argv[4], NULL, 10),
    };
    for (int i = 6; i < argc; i++)
        load_read_option(&l, argv[i]);
    l.took_ns = calloc(l.total, sizeof(uint64_t));
    load_session *sessions = calloc(l.sessions, sizeof(*sessions));
    if (l.took_ns == NULL || sessions == NULL || smx_loop_new(NULL, &l.loop) != 0)
        return 71;
    uint64_t started = load_now();
    for (size_t i = 0, count = l.sessions; i < count; i++) {
        sessions[i].load = &l;
        load_connect(&sessions[i]);
    }
    smx_loop_run(l.loop);
    load_report(&l, load_now() - started);
    smx_client_tls_free(l.options.tls_context);
    smx_loop_free(l.loop);
    free(sessions);
    free(l.took_ns);
    free(body);
    return l.failed == 0 ? 0 : 1;
}
