/* smtpmux passwd: a password's hash for the key `password` of a user. */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

#include "app/commands.h"
#include "app/options.h"
#include "sasl/password.h"

enum { PASSWORD_MAX = 1024 };

/* One line without its end. False: there is none, or it is too long. */
static bool read_line(FILE *from, char *line)
{
    if (fgets(line, PASSWORD_MAX, from) == NULL)
        return false;
    size_t len = strcspn(line, "\r\n");
    bool is_whole = line[len] != '\0' || feof(from);
    line[len] = '\0';
    return is_whole && len > 0;
}

/* Asks on the terminal, whose echo is off meanwhile. */
static bool ask(FILE *terminal, const char *prompt, char *line)
{
    struct termios shown, hidden;
    int fd = fileno(terminal);
    if (tcgetattr(fd, &shown) != 0)
        return false;
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    (void)fputs(prompt, terminal);
    (void)fflush(terminal);
    (void)tcsetattr(fd, TCSAFLUSH, &hidden);
    bool is_read = read_line(terminal, line);
    (void)tcsetattr(fd, TCSAFLUSH, &shown);
    (void)fputc('\n', terminal);
    return is_read;
}

static int ask_twice(char *line)
{
    char again[PASSWORD_MAX];
    FILE *terminal = fopen("/dev/tty", "r+e");
    if (terminal == NULL) {
        (void)fputs("smtpmux passwd: there is no terminal to ask on; use --stdin\n", stderr);
        return EX_NOINPUT;
    }
    int code = EX_DATAERR;
    if (!ask(terminal, "Password: ", line) || !ask(terminal, "Once more: ", again))
        (void)fputs("smtpmux passwd: a password has 1 to 1022 characters\n", stderr);
    else if (strcmp(line, again) != 0)
        (void)fputs("smtpmux passwd: the two differ\n", stderr);
    else
        code = EX_OK;
    explicit_bzero(again, sizeof(again));
    (void)fclose(terminal);
    return code;
}

static int take_stdin(char *line)
{
    if (read_line(stdin, line))
        return EX_OK;
    (void)fputs("smtpmux passwd: standard input must hold a password of 1 to 1022 characters\n",
                stderr);
    return EX_DATAERR;
}

static int print_hash(const char *password, bool scram)
{
    buffer out = {0};
    smx_slice clear = slice_of_text(password);
    int error = scram ? password_scram(clear, &out) : password_hash(clear, &out);
    smx_slice text = buffer_slice(&out);
    if (error == 0)
        (void)printf("%.*s\n", (int)text.len, text.data);
    else
        (void)fprintf(stderr, "smtpmux passwd: %s\n", smx_error_text(error));
    buffer_free(&out);
    return error == 0 ? EX_OK : EX_OSERR;
}

static int run(int argc, char **argv)
{
    bool from_stdin = false;
    bool scram = false;
    int first;
    char password[PASSWORD_MAX] = "";
    const cli_option options[] = {
        {0, "stdin", NULL, "read the password, one line, from standard input", .flag = &from_stdin},
        {0, "scram", NULL, "print SCRAM-SHA-256 keys instead of a yescrypt hash", .flag = &scram},
    };
    const cli_command line = {command_passwd.name, "[--stdin] [--scram]", command_passwd.help,
                              options, sizeof(options) / sizeof(options[0])};
    cli_result parsed = cli_parse(&line, argc, argv, &first);
    if (parsed != CLI_RUN)
        return parsed == CLI_DONE ? EX_OK : EX_USAGE;
    if (first < argc)
        return cli_wrong(&line, "a password does not belong on the command line");
    int code = from_stdin ? take_stdin(password) : ask_twice(password);
    if (code == EX_OK)
        code = print_hash(password, scram);
    explicit_bzero(password, sizeof(password));
    return code;
}

const command command_passwd = {"passwd", "Make the hash of a user's password", run};
