/* smtpmux sink: a catch-all server on the command line, until a signal ends it. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <uv.h>

#include "app/commands.h"
#include "app/options.h"
#include "app/scalar.h"
#include "app/sink.h"

enum { SINK_SIGNALS = 2 };

static const char DEFAULT_LISTEN[] = "127.0.0.1:2525";

static const char EXPLANATION[] =
    "Every message is taken, and told as a line of JSON on standard output.\n"
    "\n"
    "--fail makes the sink go wrong where you say, always or by chance:\n"
    "\n"
    "  PHASE:WHAT[:CHANCE]\n"
    "    PHASE   connect ehlo starttls auth mail rcpt data body dot after-dot\n"
    "    WHAT    a code from 400 to 599: it is the answer (not within the body)\n"
    "            close, reset    the connection ends without a word\n"
    "            stall           nothing more is said\n"
    "            garbage         an answer that is none\n"
    "    CHANCE  0 to 1, for each command [1]\n"
    "  `dot` is the answer to the message, which is then not taken; `after-dot` is\n"
    "  the same for a message that was: the client cannot know. `drop-after-dot` is\n"
    "  short for after-dot:close.\n"
    "\n"
    "examples:\n"
    "  smtpmux sink                                     take everything on port 2525\n"
    "  smtpmux sink --fail rcpt:451:0.3                 put off three in ten recipients\n"
    "  smtpmux sink --fail connect:421                  always busy\n"
    "  smtpmux sink --fail data:close:0.1 --seed 7      hang up on one in ten; the same\n"
    "                                                   ones with the same seed\n"
    "  smtpmux sink --limit 100/h --latency 50ms        a slow provider with a quota\n"
    "  smtpmux sink --listen [::1]:0 --maildir ./got    any free port; keep the messages\n";

typedef struct sink_run {
    sink_options options;
    const cli_command *line;
    bool quiet;
    smx_loop *loop;
    sink *sink;
    uv_signal_t signals[SINK_SIGNALS];
} sink_run;

/* ---- options ---- */

static int take_fault(void *arg, const char *text)
{
    sink_run *r = arg;
    problem p;
    int error = sink_faults_add(&r->options.faults, slice_of_text(text), &p);
    return error == 0 ? 0 : cli_wrong(r->line, "--fail %s", p.text);
}

static int take_limit(void *arg, const char *text)
{
    sink_run *r = arg;
    problem p;
    int error =
        sink_limit_parse(slice_of_text(text), &r->options.limit, &r->options.limit_window_ms, &p);
    return error == 0 ? 0 : cli_wrong(r->line, "--limit %s", p.text);
}

static int take_latency(void *arg, const char *text)
{
    sink_run *r = arg;
    if (scalar_duration(slice_of_text(text), &r->options.latency_ms) == 0)
        return 0;
    return cli_wrong(r->line, "--latency '%s': expected a duration, as 50ms or 2s", text);
}

static int take_size(void *arg, const char *text)
{
    sink_run *r = arg;
    if (scalar_size(slice_of_text(text), &r->options.max_size) == 0)
        return 0;
    return cli_wrong(r->line, "--max-size '%s': expected a size, as 10MiB or 5000", text);
}

static int take_seed(void *arg, const char *text)
{
    sink_run *r = arg;
    if (slice_to_number(slice_of_text(text), UINT64_MAX, &r->options.faults.random) == 0)
        return 0;
    return cli_wrong(r->line, "--seed '%s': expected a number", text);
}

/* What does not go together. */
static int check_options(const sink_run *r, int argc, char **argv, int first)
{
    const sink_options *o = &r->options;
    if (first < argc)
        return cli_wrong(r->line, "what is `%s`? An address is named with --listen", argv[first]);
    if ((o->cert_file == NULL) != (o->key_file == NULL))
        return cli_wrong(r->line, "--cert and --key go together");
    if (o->tls_implicit && o->cert_file == NULL)
        return cli_wrong(r->line, "--tls-implicit needs --cert and --key");
    if ((o->user == NULL) != (o->password == NULL))
        return cli_wrong(r->line, "--user and --password go together");
    return EX_OK;
}

/* ---- the process ---- */

static void on_signal(uv_signal_t *handle, int number)
{
    sink_run *r = handle->data;
    (void)number;
    smx_loop_stop(r->loop);
}

static int watch_signals(sink_run *r)
{
    static const int NUMBERS[SINK_SIGNALS] = {SIGTERM, SIGINT};
    for (size_t i = 0; i < SINK_SIGNALS; i++) {
        if (uv_signal_init(smx_loop_uv(r->loop), &r->signals[i]) != 0)
            return SMX_E_NOMEM;
        r->signals[i].data = r;
        if (uv_signal_start(&r->signals[i], on_signal, NUMBERS[i]) != 0)
            return SMX_E_IO;
    }
    return 0;
}

static void forget_signals(sink_run *r)
{
    for (size_t i = 0; i < SINK_SIGNALS; i++) {
        if (r->signals[i].data != NULL)
            uv_close((uv_handle_t *)&r->signals[i], NULL);
    }
    (void)uv_run(smx_loop_uv(r->loop), UV_RUN_NOWAIT);
}

static void tell_listening(const sink_run *r)
{
    const sink_options *o = &r->options;
    smx_slice listen = slice_of_text(o->listen);
    uint16_t port = sink_port(r->sink);
    (void)fputs("smtpmux sink: listening on ", stderr);
    if (port == 0)
        (void)fputs(o->listen, stderr);
    else
        (void)fprintf(stderr, "%.*s:%u", (int)slice_find_last(listen, ':'), listen.data, port);
    (void)fprintf(stderr, "%s%s; Ctrl-C ends it\n",
                  o->tls_implicit        ? ", TLS"
                  : o->cert_file != NULL ? ", STARTTLS"
                                         : "",
                  o->auth_required ? ", AUTH required" : "");
}

static int exit_code_of(int error)
{
    static const struct {
        int error;
        int code;
    } codes[] = {
        {0, EX_OK},
        {SMX_E_SYNTAX, EX_USAGE},
        {SMX_E_INVALID, EX_CONFIG}, /* a certificate, a host name to listen on */
        {SMX_E_NOTFOUND, EX_NOINPUT},
        {SMX_E_PERMISSION, EX_NOPERM},
        {SMX_E_NOMEM, EX_OSERR},
    };
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (codes[i].error == error)
            return codes[i].code;
    }
    return EX_UNAVAILABLE;
}

static int run_sink(sink_run *r)
{
    problem p = {""};
    (void)signal(SIGPIPE, SIG_IGN);
    int error = smx_loop_new(NULL, &r->loop);
    if (error == 0)
        error = watch_signals(r);
    if (error != 0)
        (void)problem_set(&p, error, "%s", smx_error_text(error));
    else
        error = sink_new(r->loop, &r->options, &r->sink, &p);
    if (error == 0) {
        tell_listening(r);
        smx_loop_run(r->loop);
    } else {
        (void)fprintf(stderr, "smtpmux sink: %s\n", p.text);
    }
    sink_free(r->sink);
    if (r->loop != NULL)
        forget_signals(r);
    smx_loop_free(r->loop);
    return exit_code_of(error);
}

static int run(int argc, char **argv)
{
    int first;
    sink_run r = {.options = {.listen = DEFAULT_LISTEN, .hostname = "sink.smtpmux.test"}};
    sink_options *o = &r.options;
    o->faults.random = 1;
    const cli_option options[] = {
        {'l', "listen", "ADDRESS", "host:port or unix:PATH; port 0: any free [127.0.0.1:2525]",
         .text = &o->listen},
        {0, "fail", "PHASE:WHAT", "go wrong there; may be given several times, see below",
         .take = take_fault, .arg = &r},
        {0, "latency", "TIME", "wait before each answer, as 50ms", .take = take_latency, .arg = &r},
        {0, "limit", "N/WINDOW", "take N messages in each s, m, h or day, then answer 450",
         .take = take_limit, .arg = &r},
        {0, "maildir", "DIR", "keep the messages, octet by octet", .text = &o->maildir},
        {0, "cert", "FILE", "PEM file of the certificate: STARTTLS is offered",
         .text = &o->cert_file},
        {0, "key", "FILE", "PEM file of its private key", .text = &o->key_file},
        {0, "tls-implicit", NULL, "TLS from the first octet on", .flag = &o->tls_implicit},
        {0, "user", "NAME", "require AUTH as this user [AUTH is offered, and anyone let in]",
         .text = &o->user},
        {0, "password", "TEXT", "the user's password", .text = &o->password},
        {0, "no-pipelining", NULL, "do not offer PIPELINING", .flag = &o->no_pipelining},
        {0, "no-chunking", NULL, "do not offer CHUNKING", .flag = &o->no_chunking},
        {0, "max-size", "SIZE", "largest message, as 10MiB [any]", .take = take_size, .arg = &r},
        {0, "seed", "N", "of the chances: the same seed, the same faults [1]", .take = take_seed,
         .arg = &r},
        {'q', "quiet", NULL, "no lines of JSON", .flag = &r.quiet},
    };
    const cli_command line = {command_sink.name,
                              "[--listen ADDRESS] [--fail PHASE:WHAT[:CHANCE]]... [OPTIONS]",
                              command_sink.help,
                              options,
                              sizeof(options) / sizeof(options[0]),
                              EXPLANATION};
    r.line = &line;
    cli_result parsed = cli_parse(&line, argc, argv, &first);
    if (parsed != CLI_RUN)
        return parsed == CLI_DONE ? EX_OK : EX_USAGE;
    int code = check_options(&r, argc, argv, first);
    if (code != EX_OK)
        return code;
    o->auth_required = o->user != NULL;
    o->json = r.quiet ? NULL : stdout;
    return run_sink(&r);
}

const command command_sink = {"sink", "Take any message and say what it was; fail on demand", run};
