/* smtpmux proxy: a transparent proxy on the command line, without a configuration file. Its options are
 * put together as such a file would say them, so that both mean the same. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "app/commands.h"
#include "app/daemon.h"
#include "app/options.h"

static const char DEFAULT_LISTEN[] = "127.0.0.1:2525";

static const char EXPLANATION[] =
    "Each client gets a connection of its own to the upstream. Commands and replies\n"
    "pass as they are; docs/proxy.md lists the few exceptions with their reasons.\n"
    "\n"
    "URL is smtp://HOST[:PORT] (STARTTLS where it is offered), smtp+tls:// (required\n"
    "and verified), smtps:// (TLS at once), smtp+notls://, lmtp://, smtp+unix:/PATH.\n"
    "The host `original-dst` is where the client wanted to go before the kernel's\n"
    "REDIRECT or TPROXY sent it here.\n"
    "\n"
    "SIGTERM and SIGINT let transactions end, then stop; SIGHUP opens the audit file\n"
    "anew, for those who rotate logs.\n"
    "\n"
    "examples:\n"
    "  smtpmux proxy --upstream smtp://mail.example.net:25\n"
    "  smtpmux proxy --listen 0.0.0.0:587 --upstream smtp://10.0.0.5:25 \\\n"
    "                --cert tls.crt --key tls.key --tls required --audit audit.jsonl\n"
    "  smtpmux proxy --listen 127.0.0.1:2525 --upstream smtps://mail.example.net --trace\n"
    "  smtpmux proxy --listen 0.0.0.0:2525 --upstream smtp://original-dst \\\n"
    "                --transparent --client-address transparent\n"
    "\n"
    "transcript (--trace): session number, then  -> to the upstream, <- to the client,\n"
    "~> and <~ the same in TLS, === what happened; * marks what the proxy said itself.\n";

typedef struct proxy_run {
    const cli_command *line;
    const char *listen;
    const char *upstream;
    const char *cert;
    const char *key;
    const char *tls;
    const char *ca;
    const char *audit;
    const char *address;
    const char *workers;
    bool skips_verify;
    bool allows_insecure_auth;
    bool traces;
    bool is_transparent;
    json_t *extensions;
} proxy_run;

/* ---- options ---- */

static int take_extension(void *arg, const char *text)
{
    proxy_run *r = arg;
    return json_array_append_new(r->extensions, json_string(text)) == 0
               ? 0
               : cli_wrong(r->line, "--extension '%s': expected a keyword of EHLO", text);
}

static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (strcmp(text, *words) == 0)
            return true;
    }
    return false;
}

/* What the file's keys would say in the file's words. */
static int check_options(const proxy_run *r, int argc, char **argv, int first)
{
    static const char *const TLS[] = {"off",      "starttls",    "required",
                                      "implicit", "passthrough", NULL};
    static const char *const ADDRESS[] = {"own", "proxy-header", "xclient", "transparent", NULL};
    bool is_plain =
        r->tls == NULL || strcmp(r->tls, "off") == 0 || strcmp(r->tls, "passthrough") == 0;
    if (first < argc)
        return cli_wrong(r->line, "what is `%s`? The server is named with --upstream", argv[first]);
    if (r->upstream == NULL)
        return cli_wrong(r->line, "--upstream is needed: the server behind the proxy, such as "
                                  "smtp://mail.example.net:25");
    if ((r->cert == NULL) != (r->key == NULL))
        return cli_wrong(r->line, "--cert and --key go together");
    if (r->tls != NULL && !is_one_of(r->tls, TLS))
        return cli_wrong(r->line,
                         "--tls '%s': expected off, starttls, required, implicit or "
                         "passthrough",
                         r->tls);
    if (!is_plain && r->cert == NULL)
        return cli_wrong(r->line, "--tls %s needs --cert and --key", r->tls);
    if (is_plain && r->tls != NULL && r->cert != NULL)
        return cli_wrong(r->line, "--tls %s has no use for --cert and --key", r->tls);
    if (r->address != NULL && !is_one_of(r->address, ADDRESS))
        return cli_wrong(r->line,
                         "--client-address '%s': expected own, proxy-header, xclient or "
                         "transparent",
                         r->address);
    return EX_OK;
}

/* ---- the configuration ---- */

/* A text in which `${` means itself. */
static json_t *text_of(const char *text)
{
    buffer out = {0};
    int error = 0;
    for (const char *c = text; *c != '\0' && error == 0; c++) {
        if (c[0] == '$' && c[1] == '{')
            error = buffer_append_char(&out, '$');
        if (error == 0)
            error = buffer_append_char(&out, *c);
    }
    json_t *value = error == 0 ? json_stringn(buffer_slice(&out).data, buffer_length(&out)) : NULL;
    buffer_free(&out);
    return value;
}

static void set_text(json_t *object, const char *key, const char *text)
{
    if (text != NULL)
        (void)json_object_set_new(object, key, text_of(text));
}

static json_t *upstream_of(const proxy_run *r)
{
    json_t *behind = json_object();
    set_text(behind, "url", r->upstream);
    set_text(behind, "ca", r->ca);
    if (r->skips_verify)
        (void)json_object_set_new(behind, "tls_verify", json_false());
    return behind;
}

static json_t *listener_of(const proxy_run *r)
{
    json_t *listener = json_object();
    set_text(listener, "mode", "proxy");
    set_text(listener, "listen", r->listen);
    set_text(listener, "tls", r->tls);
    set_text(listener, "client_address", r->address);
    set_text(listener, "audit",
             r->audit != NULL && strcmp(r->audit, "-") == 0 ? "stdout" : r->audit);
    if (r->cert != NULL) {
        json_t *pair = json_object();
        set_text(pair, "cert", r->cert);
        set_text(pair, "key", r->key);
        (void)json_object_set_new(listener, "certificates", json_pack("[o]", pair));
    }
    if (r->is_transparent)
        (void)json_object_set_new(listener, "transparent", json_true());
    if (r->allows_insecure_auth)
        (void)json_object_set_new(listener, "allow_insecure_auth", json_true());
    if (json_array_size(r->extensions) > 0)
        (void)json_object_set(listener, "extensions", r->extensions);
    (void)json_object_set_new(listener, "upstream", upstream_of(r));
    return listener;
}

/* JSON is YAML. NULL: no memory, or octets that are no UTF-8. */
static char *write_file(const proxy_run *r)
{
    json_t *all =
        json_pack("{s:{s:s}, s:[o]}", "admin", "listen", "off", "listeners", listener_of(r));
    if (r->workers != NULL)
        set_text(all, "workers", r->workers);
    char *text = all == NULL ? NULL : json_dumps(all, JSON_COMPACT);
    json_decref(all);
    return text;
}

/* Sentences only: there is no file that a position could be of. */
static void tell(const problems *told)
{
    for (size_t i = 0; i < told->count; i++)
        (void)fprintf(stderr, "smtpmux proxy: %s%s\n",
                      told->entries[i].is_warning ? "warning: " : "", told->entries[i].text);
}

static int load(const proxy_run *r, config **c)
{
    char *text = write_file(r);
    if (text == NULL) {
        (void)fputs("smtpmux proxy: out of memory\n", stderr);
        return EX_OSERR;
    }
    problems told = {.file = "the command line", .text = slice_of_text(text)};
    int error = config_load(&told, c);
    tell(&told);
    problems_free(&told);
    free(text);
    if (error == 0)
        (*c)->listeners[0].trace = r->traces;
    return error == 0 ? EX_OK : error == SMX_E_NOMEM ? EX_OSERR : EX_USAGE;
}

static int run_proxy(const proxy_run *r)
{
    config *c = NULL;
    int code = load(r, &c);
    if (code == EX_OK)
        code = daemon_run(&(daemon_options){.config = c, .verb = command_proxy.name});
    config_free(c);
    return code;
}

static int run(int argc, char **argv)
{
    int first;
    proxy_run r = {.listen = DEFAULT_LISTEN, .extensions = json_array()};
    const cli_option options[] = {
        {'l', "listen", "ADDRESS", "host:port or unix:PATH; port 0: any free [127.0.0.1:2525]",
         .text = &r.listen},
        {'u', "upstream", "URL", "the server behind the proxy, see below", .text = &r.upstream},
        {0, "cert", "FILE", "PEM file of our certificate: STARTTLS is offered", .text = &r.cert},
        {0, "key", "FILE", "PEM file of its private key", .text = &r.key},
        {0, "tls", "WORD", "towards clients: off, starttls, required, implicit, passthrough",
         .text = &r.tls},
        {0, "ca", "FILE", "PEM file of the CAs to believe of the upstream [the system's]",
         .text = &r.ca},
        {0, "insecure-skip-verify", NULL, "take whatever certificate the upstream shows",
         .flag = &r.skips_verify},
        {0, "allow-insecure-auth", NULL, "show AUTH although one of the sides is not safe",
         .flag = &r.allows_insecure_auth},
        {0, "client-address", "WORD",
         "told the upstream: own, proxy-header, xclient, transparent [own]", .text = &r.address},
        {0, "transparent", NULL, "take connections to any address, as TPROXY hands them over",
         .flag = &r.is_transparent},
        {0, "extension", "WORD", "let this keyword of EHLO pass too; may be given several times",
         .take = take_extension, .arg = &r},
        {0, "audit", "FILE", "append a line of JSON for each transaction; -: standard output",
         .text = &r.audit},
        {0, "trace", NULL, "the transcript of all sessions on standard output", .flag = &r.traces},
        {0, "workers", "N", "threads [one per core]", .text = &r.workers},
    };
    const cli_command line = {command_proxy.name,
                              "--upstream URL [--listen ADDRESS] [OPTIONS]",
                              command_proxy.help,
                              options,
                              sizeof(options) / sizeof(options[0]),
                              EXPLANATION};
    r.line = &line;
    cli_result parsed = cli_parse(&line, argc, argv, &first);
    int code = parsed == CLI_USAGE ? EX_USAGE : EX_OK;
    if (parsed == CLI_RUN) {
        code = check_options(&r, argc, argv, first);
        if (code == EX_OK)
            code = run_proxy(&r);
    }
    json_decref(r.extensions);
    return code;
}

const command command_proxy = {"proxy", "Pass every command and reply to one server", run};
