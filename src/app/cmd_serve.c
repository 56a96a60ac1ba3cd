/* smtpmux serve: the daemon, with a configuration file. */
#include <sysexits.h>

#include "app/commands.h"
#include "app/daemon.h"
#include "app/options.h"

static int run(int argc, char **argv)
{
    const char *path = NULL;
    int first;
    const cli_option options[] = {
        {'c', "config", "FILE", "the configuration [./config.yaml, /etc/smtpmux/config.yaml]",
         .text = &path},
    };
    const cli_command line = {command_serve.name, "[-c FILE]", command_serve.help, options,
                              sizeof(options) / sizeof(options[0])};
    cli_result parsed = cli_parse(&line, argc, argv, &first);
    if (parsed != CLI_RUN)
        return parsed == CLI_DONE ? EX_OK : EX_USAGE;
    if (first < argc)
        return cli_wrong(&line, "what is `%s`? A file is named with -c", argv[first]);
    config_file file;
    int code = config_file_load(path, &file);
    if (code == EX_OK)
        code = daemon_run(&(daemon_options){.config = file.config, .file = &file});
    else
        config_file_tell(&file);
    config_free(file.config);
    config_file_close(&file);
    return code;
}

const command command_serve = {"serve", "Run the multiplexer", run};
