/* smtpmux demo: a multiplexer between an application and two providers that fail in turn, all in this
 * process. The main thread is the application. */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/random.h>
#include <sysexits.h>
#include <uv.h>

#include "app/commands.h"
#include "app/demo_message.h"
#include "app/demo_mux.h"
#include "app/demo_show.h"
#include "app/options.h"

enum {
    DEMO_SIGNALS = 2,
    DEMO_SECRET = 17,             /* characters and the NUL */
    DEMO_PAUSE_NS = 40 * 1000000, /* between messages, on a terminal: a person watches */
    DEMO_SUBJECT = 60,
};

static const char DEMO_USER[] = "app@example.com";
static const char DEMO_READER[] = "reader@example.net";

/* What is wrong, with whom, while a share of the messages is sent. */
typedef struct demo_phase {
    const char *title;
    const char *why;
    size_t provider;
    demo_health health;
} demo_phase;

static const demo_phase PHASES[] = {
    {"Both providers are well", "The messages take turns.", 0, DEMO_WELL},
    {"alpha is down", "It refuses every connection, as a server does that is being restarted.", 0,
     DEMO_REFUSES},
    {"beta has had enough", "It answers every recipient with \"451 try again later\".", 1,
     DEMO_PUTS_OFF},
    {"alpha hangs up", "It closes the connection when a message is about to be sent.", 0,
     DEMO_HANGS_UP},
    {"Both are well again", "Nothing had to be restarted, and no message has to be sent again.", 0,
     DEMO_WELL},
};
enum { PHASE_COUNT = sizeof(PHASES) / sizeof(PHASES[0]) };

typedef struct demo {
    const cli_command *line;
    uint32_t messages;
    bool keep;
    bool with_log;

    char run[DEMO_SECRET];
    char password[DEMO_SECRET];
    demo_account account;
    demo_show show;
    demo_ledger *ledger;
    demo_providers *providers;
    demo_mux *mux;
    smx_loop *loop;
    demo_sender *sender;
    uint32_t passed_on[DEMO_PROVIDERS];
    atomic_bool is_over; /* the demo's own messages are: what comes now is told */
} demo;

/* ---- on the providers' thread ---- */

static void tell_arrival(size_t provider, const sink_record *record)
{
    char subject[DEMO_SUBJECT + 1] = "";
    size_t len = 0;
    smx_slice header, from = record->envelope->mail.path.mailbox;
    smx_field field;
    if (smx_message_header(record->message, &header) == 0 &&
        smx_field_find(header, SMX_SLICE("Subject"), 0, &field)) {
        smx_slice value = slice_trim(field.value);
        for (; len < value.len && len < DEMO_SUBJECT; len++)
            subject[len] = value.data[len];
        for (size_t i = 0; i < len; i++)
            subject[i] = subject[i] >= ' ' && subject[i] <= '~' ? subject[i] : '?';
    }
    (void)printf("  %-5s took a message from <%.*s>: %s\n", demo_provider_name(provider),
                 (int)from.len, from.data, subject);
    (void)fflush(stdout);
}

static void on_taken(void *arg, size_t provider, const sink_record *record)
{
    demo *d = arg;
    if (atomic_load(&d->is_over))
        tell_arrival(provider, record);
    else
        demo_ledger_recorded(d->ledger, provider, demo_message_read(d->run, record->message));
}

/* ---- sending ---- */

/* Who failed since `before`; DEMO_PROVIDERS: nobody. */
static size_t who_failed(demo *d, const demo_seen *before)
{
    size_t i = 0;
    for (; i < DEMO_PROVIDERS; i++) {
        demo_seen now = demo_mux_seen(d->mux, i);
        if (now.refused != before[i].refused || now.broken != before[i].broken)
            break;
    }
    return i;
}

static void show_outcome(demo *d, uint32_t number, const demo_answer *answer, size_t failed)
{
    size_t holder = demo_ledger_holder(d->ledger, number);
    const demo_outcome outcome = {
        .number = number,
        .answer = answer,
        .taker = holder < DEMO_PROVIDERS ? demo_provider_name(holder) : NULL,
        .failed = failed < DEMO_PROVIDERS ? demo_provider_name(failed) : NULL,
    };
    if (failed < DEMO_PROVIDERS && holder < DEMO_PROVIDERS && holder != failed)
        d->passed_on[failed]++;
    demo_show_message(&d->show, &outcome);
}

static int send_one(demo *d, uint32_t number, problem *p)
{
    buffer message = {0};
    demo_answer answer = {0};
    demo_seen before[DEMO_PROVIDERS];
    for (size_t i = 0; i < DEMO_PROVIDERS; i++)
        before[i] = demo_mux_seen(d->mux, i);
    int error = demo_message_write(d->run, number, DEMO_USER, DEMO_READER, &message);
    if (error != 0)
        (void)problem_set(p, error, "%s", smx_error_text(error));
    else
        error =
            demo_sender_send(d->sender, DEMO_USER, DEMO_READER, buffer_slice(&message), &answer, p);
    buffer_free(&message);
    if (error != 0)
        return error;
    if (answer.code == 250)
        demo_ledger_accepted(d->ledger, number);
    show_outcome(d, number, &answer, who_failed(d, before));
    if (d->show.is_terminal)
        (void)nanosleep(&(struct timespec){.tv_nsec = DEMO_PAUSE_NS}, NULL);
    return 0;
}

static int play_phase(demo *d, unsigned number, uint32_t first, uint32_t last, problem *p)
{
    const demo_phase *phase = &PHASES[number];
    demo_show_phase(&d->show, number + 1, phase->title, phase->why);
    int error = demo_providers_set(d->providers, phase->provider, phase->health, p);
    for (uint32_t i = first; i <= last && error == 0; i++)
        error = send_one(d, i, p);
    demo_show_phase_end(&d->show);
    if (error == 0)
        error = demo_providers_set(d->providers, phase->provider, DEMO_WELL, p);
    return error;
}

static int play(demo *d, problem *p)
{
    int error = 0;
    demo_show_intro(&d->show, d->messages);
    for (unsigned i = 0; i < PHASE_COUNT && error == 0; i++) {
        uint64_t before = (uint64_t)d->messages * i / PHASE_COUNT;
        uint64_t after = (uint64_t)d->messages * (i + 1) / PHASE_COUNT;
        if (after > before)
            error = play_phase(d, i, (uint32_t)before + 1, (uint32_t)after, p);
    }
    return error;
}

/* ---- the end ---- */

static void show_ids(const demo *d, const char *what,
                     uint32_t (*next)(demo_ledger *ledger, uint32_t number))
{
    char text[DEMO_ID];
    for (uint32_t number = 0; (number = next(d->ledger, number)) != 0;) {
        smx_slice id = demo_message_id(d->run, number, text);
        (void)printf("  %s: message %u, %.*s\n", what, number, (int)id.len, id.data);
    }
}

static int conclude(demo *d)
{
    demo_counts counts[DEMO_PROVIDERS];
    demo_verdict verdict = demo_ledger_judge(d->ledger);
    for (size_t i = 0; i < DEMO_PROVIDERS; i++) {
        demo_seen seen = demo_mux_seen(d->mux, i);
        counts[i] = (demo_counts){demo_provider_name(i), demo_ledger_taken(d->ledger, i),
                                  seen.refused, seen.broken, d->passed_on[i]};
    }
    demo_show_counts(&d->show, counts, DEMO_PROVIDERS);
    show_ids(d, "lost", demo_ledger_next_lost);
    show_ids(d, "doubled", demo_ledger_next_doubled);
    demo_show_verdict(&d->show, &verdict);
    return demo_verdict_is_good(&verdict) ? EX_OK : 1;
}

static void on_signal(uv_signal_t *handle, int number)
{
    demo *d = handle->data;
    (void)number;
    smx_loop_stop(d->loop);
}

static void wait_for_signal(demo *d)
{
    static const int NUMBERS[DEMO_SIGNALS] = {SIGTERM, SIGINT};
    uv_signal_t signals[DEMO_SIGNALS];
    size_t count = 0;
    bool is_watched = true;
    for (; count < DEMO_SIGNALS && is_watched; count++) {
        if (uv_signal_init(smx_loop_uv(d->loop), &signals[count]) != 0)
            break;
        signals[count].data = d;
        is_watched = uv_signal_start(&signals[count], on_signal, NUMBERS[count]) == 0;
    }
    atomic_store(&d->is_over, true);
    demo_show_invitation(&d->show, &d->account);
    smx_loop_run(d->loop);
    for (size_t i = 0; i < count; i++)
        uv_close((uv_handle_t *)&signals[i], NULL);
    (void)uv_run(smx_loop_uv(d->loop), UV_RUN_NOWAIT);
}

/* ---- the whole ---- */

static int make_secret(char text[static DEMO_SECRET], problem *p)
{
    unsigned char octets[(DEMO_SECRET - 1) / 2];
    if (getrandom(octets, sizeof(octets), 0) != (ssize_t)sizeof(octets))
        return problem_set(p, SMX_E_IO, "the system has no random numbers");
    for (size_t i = 0; i < sizeof(octets); i++)
        (void)snprintf(text + 2 * i, 3, "%02x", octets[i]);
    return 0;
}

static int open_demo(demo *d, problem *p)
{
    int error = make_secret(d->run, p);
    if (error == 0)
        error = make_secret(d->password, p);
    if (error != 0)
        return error;
    d->account = (demo_account){.user = DEMO_USER, .password = d->password};
    demo_show_begin(&d->show);
    error = demo_ledger_new(d->messages, &d->ledger);
    if (error == 0)
        error = smx_loop_new(NULL, &d->loop);
    if (error != 0)
        return problem_set(p, error, "%s", smx_error_text(error));
    error = demo_providers_new(on_taken, d, &d->providers, p);
    if (error == 0)
        error = demo_mux_new(d->providers, &d->account, d->with_log, &d->mux, p);
    if (error == 0 && (error = demo_sender_new(d->loop, &d->account, &d->sender)) != 0)
        (void)problem_set(p, error, "%s", smx_error_text(error));
    return error;
}

static void close_demo(demo *d)
{
    demo_sender_free(d->sender);
    demo_mux_free(d->mux);
    demo_providers_free(d->providers);
    smx_loop_free(d->loop);
    demo_ledger_free(d->ledger);
}

static int run_demo(demo *d)
{
    problem p = {""};
    int code = EX_UNAVAILABLE;
    (void)signal(SIGPIPE, SIG_IGN);
    int error = open_demo(d, &p);
    if (error == 0)
        error = play(d, &p);
    if (error == 0) {
        demo_sender_free(d->sender);
        d->sender = NULL;
        code = conclude(d);
        if (d->keep)
            wait_for_signal(d);
    } else {
        (void)fflush(stdout);
        (void)fprintf(stderr, "smtpmux demo: %s\n", p.text);
    }
    close_demo(d);
    return code;
}

static int take_messages(void *arg, const char *text)
{
    demo *d = arg;
    uint64_t number;
    if (slice_to_number(slice_of_text(text), DEMO_MESSAGES_MAX, &number) != 0 || number == 0)
        return cli_wrong(d->line, "--messages '%s': expected a number from 1 to %d", text,
                         DEMO_MESSAGES_MAX);
    d->messages = (uint32_t)number;
    return 0;
}

static int run(int argc, char **argv)
{
    int first;
    demo d = {.messages = 60};
    const cli_option options[] = {
        {0, "keep", NULL, "leave it running, and say how to send a message", .flag = &d.keep},
        {0, "messages", "N", "how many messages to send [60]", .take = take_messages, .arg = &d},
        {0, "log", NULL, "the multiplexer's log on standard error", .flag = &d.with_log},
    };
    const cli_command line = {
        command_demo.name,
        "[--keep] [--messages N] [--log]",
        command_demo.help,
        options,
        sizeof(options) / sizeof(options[0]),
        "Nothing leaves this machine: application, multiplexer and providers run in this\n"
        "process, on free ports of 127.0.0.1. The exit code is 0 only if the providers'\n"
        "own records have every message exactly once, else 1.\n"};
    d.line = &line;
    cli_result parsed = cli_parse(&line, argc, argv, &first);
    if (parsed != CLI_RUN)
        return parsed == CLI_DONE ? EX_OK : EX_USAGE;
    if (first < argc)
        return cli_wrong(&line, "what is `%s`?", argv[first]);
    return run_demo(&d);
}

const command command_demo = {"demo", "See it work: two providers that fail, and no message lost",
                              run};
