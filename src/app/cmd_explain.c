/* smtpmux explain: where a message would go, and why. From the file alone, or with --live from the
 * running daemon, which knows how its upstreams stand. Nothing is sent. */
#include <stdio.h>
#include <sysexits.h>

#include "app/admin_client.h"
#include "app/commands.h"
#include "app/config_file.h"
#include "app/options.h"
#include "app/scalar.h"
#include "base/clock.h"
#include "mux/explain.h"

/* What the command line asks for. */
typedef struct explain_line {
    const char *path;
    const char *admin;
    const char *user, *from, *size, *client, *time;
    json_t *to, *headers;
    bool json, live, eight_bit, smtputf8;
} explain_line;

static int take_recipient(void *arg, const char *argument)
{
    const explain_line *line = arg;
    return json_array_append_new(line->to, json_string(argument));
}

static int take_header(void *arg, const char *argument)
{
    const explain_line *line = arg;
    return json_array_append_new(line->headers, json_string(argument));
}

/* Strings that were not given stay away. */
static json_t *make_question(const explain_line *line, uint64_t size)
{
    json_t *question =
        json_pack("{s:s, s:s, s:O, s:O, s:s*, s:s*}", "user", line->user, "from", line->from, "to",
                  line->to, "headers", line->headers, "client", line->client, "time", line->time);
    if (line->size != NULL && question != NULL)
        (void)json_object_set_new(question, "size", json_integer((json_int_t)size));
    if (question != NULL && line->eight_bit)
        (void)json_object_set_new(question, "8bit", json_true());
    if (question != NULL && line->smtputf8)
        (void)json_object_set_new(question, "smtputf8", json_true());
    return question;
}

/* ---- from the file alone ---- */

static int explain_config(const config *c, const json_t *question, json_t **answer, problem *p)
{
    const mux_options options = config_mux_options(c);
    mux_state *state = NULL;
    mux *m = NULL;
    int error = mux_state_new(NULL, &state);
    if (error == 0)
        error = mux_new(&options, state, &m);
    if (error != 0)
        (void)problem_set(p, error, "%s", smx_error_text(error));
    else
        error = mux_explain(m, question, clock_monotonic_ms(), clock_wall_ms(), answer, p);
    mux_free(m);
    mux_state_free(state);
    return error;
}

static int explain_file(const char *path, const json_t *question, json_t **answer)
{
    config_file file;
    problem p = {""};
    int code = config_file_load(path, &file);
    int error = 0;
    if (code == EX_CONFIG)
        config_file_tell(&file);
    if (code == EX_OK)
        error = explain_config(file.config, question, answer, &p);
    if (error != 0) {
        (void)fprintf(stderr, "smtpmux explain: %s\n", p.text);
        code = error == SMX_E_NOMEM ? EX_OSERR : EX_USAGE;
    }
    config_free(file.config);
    config_file_close(&file);
    return code;
}

/* ---- from the daemon ---- */

static int explain_live(const explain_line *line, json_t *question, json_t **answer)
{
    admin_client *client;
    int code = admin_client_open(line->path, line->admin, &client);
    if (code != EX_OK)
        return code;
    code = admin_client_ask(client, "/api/explain", NULL, json_incref(question), answer);
    admin_client_free(client);
    return code;
}

/* ---- showing ---- */

static int show(const json_t *answer, bool json)
{
    buffer text = {0};
    if (json) {
        int failed = json_dumpf(answer, stdout, JSON_INDENT(2));
        (void)putchar('\n');
        return failed != 0 ? EX_OSERR : EX_OK;
    }
    int error = mux_explain_write(answer, &text);
    smx_slice all = buffer_slice(&text);
    if (error == 0)
        (void)fwrite(all.data, 1, all.len, stdout);
    buffer_free(&text);
    return error == 0 ? EX_OK : EX_OSERR;
}

static int explain(const explain_line *line, uint64_t size)
{
    json_t *answer = NULL;
    json_t *question = make_question(line, size);
    if (question == NULL) {
        (void)fputs("smtpmux explain: what was given is no UTF-8 text\n", stderr);
        return EX_USAGE;
    }
    int code = line->live ? explain_live(line, question, &answer)
                          : explain_file(line->path, question, &answer);
    if (code == EX_OK)
        code = show(answer, line->json);
    json_decref(answer);
    json_decref(question);
    return code;
}

static int read_line(explain_line *line, int argc, char **argv)
{
    int first;
    uint64_t size = 0;
    const cli_option options[] = {
        {'c', "config", "FILE", "the configuration [./config.yaml, /etc/smtpmux/config.yaml]",
         .text = &line->path},
        {0, "user", "NAME", "the user who would send the message", .text = &line->user},
        {0, "from", "ADDRESS", "its sender; <> is the empty one", .text = &line->from},
        {0, "to", "ADDRESS", "a recipient; may be given several times", .take = take_recipient,
         .arg = line},
        {0, "header", "FIELD", "a field such as \"Subject: hello\"; several times: all that it has",
         .take = take_header, .arg = line},
        {0, "size", "N", "how large it is, such as 20k or 10MiB", .text = &line->size},
        {0, "8bit", NULL, "the client says BODY=8BITMIME", .flag = &line->eight_bit},
        {0, "smtputf8", NULL, "the client says SMTPUTF8 [if an address is not ASCII]",
         .flag = &line->smtputf8},
        {0, "client", "ADDRESS", "the address of the client that sends it", .text = &line->client},
        {0, "time", "TIME", "when, such as \"2026-01-31 09:00\", in UTC [now]",
         .text = &line->time},
        {0, "live", NULL, "ask the running daemon, with its breakers and quotas as they are",
         .flag = &line->live},
        {0, "admin", "ADDRESS",
         "with --live: the admin socket, such as unix:/run/smtpmux/admin.sock",
         .text = &line->admin},
        {0, "json", NULL, "print JSON", .flag = &line->json},
    };
    const cli_command usage = {command_explain.name,
                               "--user NAME --from ADDRESS --to ADDRESS [OPTIONS]",
                               command_explain.help, options, sizeof(options) / sizeof(options[0])};
    cli_result parsed = cli_parse(&usage, argc, argv, &first);
    if (parsed != CLI_RUN)
        return parsed == CLI_DONE ? EX_OK : EX_USAGE;
    if (first < argc)
        return cli_wrong(&usage, "what is `%s`? Recipients are named with --to", argv[first]);
    if (line->user == NULL || line->from == NULL || json_array_size(line->to) == 0)
        return cli_wrong(&usage, "--user, --from and --to are needed");
    if (line->admin != NULL && !line->live)
        return cli_wrong(&usage, "--admin goes with --live");
    if (line->size != NULL &&
        (scalar_size(slice_of_text(line->size), &size) != 0 || size > INT64_MAX))
        return cli_wrong(&usage, "`%s` is no size such as 20k or 10MiB", line->size);
    return explain(line, size);
}

static int run(int argc, char **argv)
{
    explain_line line = {.to = json_array(), .headers = json_array()};
    int code = EX_OSERR;
    if (line.to != NULL && line.headers != NULL)
        code = read_line(&line, argc, argv);
    json_decref(line.to);
    json_decref(line.headers);
    return code;
}

const command command_explain = {"explain", "Say where a message would go, and why", run};
