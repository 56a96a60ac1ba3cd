/* The server session's memory: every allocation may fail, and a warm session makes none. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/slice.h"
#include "smx/session.h"
#include "support/fail_malloc.h"

typedef struct run {
    smx_server_session *session;
    bool closed;
    bool nomem;
    unsigned open; /* MAIL without RESET or EOM */
} run;

static void respond(run *r, const smx_server_event *event)
{
    static const uint16_t codes[] = {
        [SMX_SERVER_CONNECT] = 220,       [SMX_SERVER_HELO] = 250, [SMX_SERVER_STARTTLS] = 220,
        [SMX_SERVER_AUTH_RESPONSE] = 235, [SMX_SERVER_MAIL] = 250, [SMX_SERVER_RCPT] = 250,
        [SMX_SERVER_DATA] = 354,          [SMX_SERVER_EOM] = 250,  [SMX_SERVER_VRFY] = 252,
        [SMX_SERVER_XCLIENT] = 220,       [SMX_SERVER_CLOSE] = 0,
    };
    smx_reply reply = {.code = codes[event->type], .text = SMX_SLICE("some text or other")};
    int error = event->type == SMX_SERVER_AUTH
                    ? smx_server_session_challenge(r->session, event->ticket, SMX_SLICE("more"))
                    : smx_server_session_answer(r->session, event->ticket, &reply);
    assert_true(error == 0 || error == SMX_E_NOMEM);
}

static void act(run *r, const smx_server_event *event)
{
    assert_false(r->closed && event->type != SMX_SERVER_NONE);
    r->open += event->type == SMX_SERVER_MAIL;
    r->open -= event->type == SMX_SERVER_EOM || event->type == SMX_SERVER_RESET;
    assert_true(r->open <= 1);
    if (event->ticket != 0)
        respond(r, event);
    if (event->type == SMX_SERVER_TLS) {
        smx_server_session_sent(r->session, smx_server_session_output(r->session).len);
        smx_server_session_tls_done(r->session, 5, 0);
    }
    if (event->type == SMX_SERVER_CLOSE) {
        assert_int_equal(r->open, 0);
        r->closed = true;
        r->nomem = event->close_reason == SMX_CLOSE_NOMEM;
    }
}

static void send_flight(run *r, const char *text)
{
    smx_slice in = slice_of_text(text);
    smx_server_event event;
    do {
        in = slice_from(in, smx_server_session_feed(r->session, 5, in, &event));
        act(r, &event);
    } while (event.type != SMX_SERVER_NONE && !r->closed);
    smx_server_session_sent(r->session, smx_server_session_output(r->session).len);
}

static const char *const transaction[] = {
    "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n",
    "one\r\n..two\r\n.\r\n",
    "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nBDAT 3\r\nab\nBDAT 2 LAST\r\nc\r",
    "RSET\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\na\nb\0x\r\n",
    "\r\n.\r\nNOOP\r\nBDAT 3\r\nabcHELP\r\nVRFY x\r\n",
};

static void run_transactions(run *r)
{
    for (size_t i = 0; i < sizeof transaction / sizeof transaction[0]; i++)
        send_flight(r, transaction[i]);
}

/* True if the session came to its proper end. */
static bool run_session(run *r)
{
    uint64_t tickets = 0;
    smx_server_session_options options = {
        .version = SMX_SERVER_SESSION_VERSION,
        .hostname = SMX_SLICE("mx.example"),
        .offered = ~(smx_extensions)0,
        .auth_tls = SMX_SLICE("PLAIN"),
        .xclient = true,
        .bare_newline = SMX_BARE_NEWLINE_NORMALIZE,
        .tickets = &tickets,
    };
    *r = (run){0};
    if (smx_server_session_new(&options, 5, &r->session) != 0)
        return false;
    send_flight(r, "");
    send_flight(r, "XCLIENT ADDR=192.0.2.1 HELO=a+2Bb\r\nEHLO client.example\r\n");
    send_flight(r, "STARTTLS\r\n");
    send_flight(r, "EHLO client.example\r\nAUTH PLAIN\r\n");
    send_flight(r, "AHVzZXIAcGFzc3dvcmQ=\r\n");
    run_transactions(r);
    smx_server_session_trim(r->session);
    run_transactions(r);
    bool told = smx_server_session_shutdown(r->session, SMX_SLICE("bye")) == 0;
    send_flight(r, told ? "" : "QUIT\r\n");
    assert_true(r->closed);
    return !r->nomem && told;
}

static void session_server_memory__any_allocation_may_fail(void **state)
{
    (void)state;
    run r;
    fail_malloc_begin(0);
    assert_true(run_session(&r));
    (void)fail_malloc_end();
    smx_server_session_free(r.session);
    size_t all = fail_malloc_count();
    assert_true(all > 5);
    for (size_t n = 1; n <= all; n++) {
        fail_malloc_begin(n);
        bool ended_well = run_session(&r);
        assert_true(fail_malloc_end());
        assert_false(ended_well); /* nothing hides a failure */
        smx_server_session_free(r.session);
    }
}

static void session_server_memory__a_warm_session_allocates_nothing(void **state)
{
    (void)state;
    run r = {0};
    uint64_t tickets = 0;
    smx_server_session_options options = {
        .version = SMX_SERVER_SESSION_VERSION,
        .hostname = SMX_SLICE("mx.example"),
        .offered = ~(smx_extensions)0,
        .tickets = &tickets,
    };
    assert_int_equal(smx_server_session_new(&options, 5, &r.session), 0);
    send_flight(&r, "");
    send_flight(&r, "EHLO client.example\r\n");
    run_transactions(&r);
    fail_malloc_begin(0);
    for (int i = 0; i < 50; i++)
        run_transactions(&r);
    (void)fail_malloc_end();
    assert_int_equal(fail_malloc_count(), 0);
    smx_server_session_free(r.session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(session_server_memory__any_allocation_may_fail),
        cmocka_unit_test(session_server_memory__a_warm_session_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
