/* smtpmux reload: the running daemon takes its changed configuration. */
#include <stdio.h>
#include <sysexits.h>

#include "app/admin_client.h"
#include "app/commands.h"
#include "app/options.h"

static void print_problems(const json_t *answer)
{
    size_t i;
    const json_t *one;
    json_array_foreach(json_object_get(answer, "problems"), i, one)
    {
        const char *file = "";
        const char *message = "";
        const char *severity = "error";
        int line = 0;
        int column = 0;
        (void)json_unpack((json_t *)(uintptr_t)one, "{s?s, s?s, s?s, s?i, s?i}", "file", &file,
                          "message", &message, "severity", &severity, "line", &line, "column",
                          &column);
        (void)fprintf(stderr, "%s:%d:%d: %s: %s\n", file, line, column, severity, message);
    }
}

static int reload(const char *path, const char *listen, bool json)
{
    admin_client *client;
    json_t *answer = NULL;
    int code = admin_client_open(path, listen, &client);
    if (code != EX_OK)
        return code;
    code = admin_client_ask(client, "/api/reload", NULL, json_object(), &answer);
    if (!json)
        print_problems(answer);
    else if (answer != NULL && admin_client_print(answer) != EX_OK && code == EX_OK)
        code = EX_IOERR;
    if (code == EX_OK && !json)
        (void)printf("the configuration was taken (generation %lld)\n",
                     (long long)json_integer_value(json_object_get(answer, "generation")));
    json_decref(answer);
    admin_client_free(client);
    return code;
}

static int run(int argc, char **argv)
{
    const char *path = NULL;
    const char *listen = NULL;
    bool json = false;
    int first;
    const cli_option options[] = {
        {'c', "config", "FILE", "the configuration, which names the admin socket", .text = &path},
        {0, "admin", "ADDRESS", "the admin socket, such as unix:/run/smtpmux/admin.sock",
         .text = &listen},
        {0, "json", NULL, "print the answer as JSON", .flag = &json},
    };
    const cli_command line = {command_reload.name, "[-c FILE] [--admin ADDRESS] [--json]",
                              command_reload.help, options, sizeof(options) / sizeof(options[0])};
    cli_result parsed = cli_parse(&line, argc, argv, &first);
    if (parsed != CLI_RUN)
        return parsed == CLI_DONE ? EX_OK : EX_USAGE;
    if (first < argc)
        return cli_wrong(&line, "what is `%s`? A file is named with -c", argv[first]);
    return reload(path, listen, json);
}

const command command_reload = {"reload", "Make the daemon take its changed configuration", run};
