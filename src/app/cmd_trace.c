/* smtpmux trace: follows the sessions of a running daemon's transparent proxies. */
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

#include "app/admin_client.h"
#include "app/commands.h"
#include "app/options.h"
#include "app/transcript.h"

static const char EXPLANATION[] =
    "Sessions of listeners with `mode: proxy` are followed; those of the multiplexer\n"
    "stand in its log. Passwords are not shown, and of messages only their size.\n"
    "With --from a session is shown from its beginning on, once a message of such a\n"
    "sender comes. What is printed too slowly is lost, which a note says. ^C ends it.\n"
    "\n"
    "transcript: session number, then  -> to the upstream, <- to the client, ~> and\n"
    "<~ the same in TLS, === what happened; * marks what the proxy said itself.\n"
    "\n"
    "examples:\n"
    "  smtpmux trace\n"
    "  smtpmux trace --client 192.0.2.0/24 --listener '127.0.0.1:2525'\n"
    "  smtpmux trace --from '*@example.com' --json\n";

static void on_end(int number)
{
    (void)number;
    _exit(EX_OK); /* nothing is held back in buffers */
}

static void print_lost(const json_t *count)
{
    (void)printf("=== %lld lines were lost here: they came faster than they were read\n",
                 (long long)json_integer_value(count));
}

static void print_line(const json_t *value, smx_slice line)
{
    buffer text = {0};
    const json_t *lost = json_object_get(value, "lost");
    if (lost != NULL)
        print_lost(lost);
    else if (transcript_text_of_json(value, &text) == 0)
        (void)fwrite(buffer_slice(&text).data, 1, buffer_length(&text), stdout);
    else
        (void)printf("%.*s\n", (int)line.len, line.data); /* of a newer daemon */
    buffer_free(&text);
}

static void on_line(void *arg, smx_slice line)
{
    const bool *is_json = arg;
    json_t *value = *is_json ? NULL : json_loadb(line.data, line.len, 0, NULL);
    if (value != NULL)
        print_line(value, line);
    else
        (void)printf("%.*s\n", (int)line.len, line.data);
    json_decref(value);
    (void)fflush(stdout);
}

static int follow(admin_client *client, const char *const *pairs, bool *is_json)
{
    struct sigaction end = {.sa_handler = on_end};
    (void)sigaction(SIGINT, &end, NULL);
    (void)sigaction(SIGTERM, &end, NULL);
    int code = admin_client_follow(client, "/api/trace", pairs, on_line, is_json);
    if (code == EX_OK)
        (void)fputs("smtpmux: the daemon has ended, or its admin socket was closed\n", stderr);
    return code == EX_OK ? EX_UNAVAILABLE : code;
}

static int run(int argc, char **argv)
{
    const char *path = NULL;
    const char *listen = NULL;
    const char *client = NULL;
    const char *from = NULL;
    const char *listener = NULL;
    bool is_json = false;
    admin_client *admin = NULL;
    int first;
    const cli_option options[] = {
        {'c', "config", "FILE", "the configuration, which names the admin socket", .text = &path},
        {0, "admin", "ADDRESS", "the admin socket, such as unix:/run/smtpmux/admin.sock",
         .text = &listen},
        {0, "client", "NETWORK", "only clients of this address or network", .text = &client},
        {0, "from", "PATTERN", "only sessions with messages of such a sender; `<>`: the empty one",
         .text = &from},
        {0, "listener", "PATTERN", "only this listener, by its `listen`", .text = &listener},
        {0, "json", NULL, "lines of JSON", .flag = &is_json},
    };
    const cli_command line = {command_trace.name,
                              "[--client NETWORK] [--from PATTERN] [--listener PATTERN] [--json]",
                              command_trace.help,
                              options,
                              sizeof(options) / sizeof(options[0]),
                              EXPLANATION};
    cli_result parsed = cli_parse(&line, argc, argv, &first);
    if (parsed != CLI_RUN)
        return parsed == CLI_DONE ? EX_OK : EX_USAGE;
    if (first < argc)
        return cli_wrong(&line, "what is `%s`?", argv[first]);
    const char *const pairs[] = {"client", client, "from", from, "listener", listener, NULL};
    int code = admin_client_open(path, listen, &admin);
    if (code == EX_OK)
        code = follow(admin, pairs, &is_json);
    admin_client_free(admin);
    return code;
}

const command command_trace = {"trace", "Follow the sessions of transparent proxies", run};
