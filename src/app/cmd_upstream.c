/* smtpmux upstream: what the running daemon knows of its providers, and what is done about them. */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "app/admin_client.h"
#include "app/admin_show.h"
#include "app/commands.h"
#include "app/nearest.h"
#include "app/options.h"
#include "app/scalar.h"

typedef struct request {
    admin_client *client;
    const char *name;     /* of the upstream, or NULL */
    const char *duration; /* of a suspension, or NULL */
    bool json;
} request;

/* Its name, what it takes, and how it is done. */
typedef struct action {
    const char *name;
    bool takes_name;
    int (*run)(const request *r);
} action;

static int list_upstreams(const request *r)
{
    json_t *answer = NULL;
    int code = admin_client_ask(r->client, "/api/upstreams", NULL, NULL, &answer);
    if (code == EX_OK && r->json)
        code = admin_client_print(json_object_get(answer, "upstreams"));
    else if (code == EX_OK)
        admin_show_upstreams(json_object_get(answer, "upstreams"));
    json_decref(answer);
    return code;
}

/* A change is answered by the upstream as it is then. */
static int change(const request *r, const char *path, json_t *body)
{
    json_t *answer = NULL;
    int code = admin_client_ask(r->client, path, r->name, body, &answer);
    if (code == EX_OK && r->json) {
        code = admin_client_print(answer);
    } else if (code == EX_OK) {
        json_t *all = json_pack("[O]", answer);
        admin_show_upstreams(all);
        json_decref(all);
    }
    json_decref(answer);
    return code;
}

static int suspend_upstream(const request *r)
{
    json_t *body = r->duration == NULL ? json_object() : json_pack("{s:s}", "for", r->duration);
    return change(r, "/api/upstreams/?/suspend", body);
}

static int resume_upstream(const request *r)
{
    return change(r, "/api/upstreams/?/resume", json_object());
}

static int test_upstream(const request *r)
{
    json_t *answer = NULL;
    int code =
        admin_client_ask(r->client, "/api/upstreams/?/test", r->name, json_object(), &answer);
    if (code == EX_OK && r->json)
        code = admin_client_print(answer);
    else if (code == EX_OK)
        admin_show_test(answer);
    if (code == EX_OK && !json_is_true(json_object_get(answer, "ok")))
        code = EX_UNAVAILABLE;
    json_decref(answer);
    return code;
}

static const action ACTIONS[] = {
    {"list", false, list_upstreams},
    {"suspend", true, suspend_upstream},
    {"resume", true, resume_upstream},
    {"test", true, test_upstream},
};

static const action *find_action(const cli_command *line, const char *word)
{
    nearest near = nearest_begin(slice_of_text(word));
    for (size_t i = 0; i < sizeof(ACTIONS) / sizeof(ACTIONS[0]); i++) {
        if (strcmp(ACTIONS[i].name, word) == 0)
            return &ACTIONS[i];
        nearest_try(&near, ACTIONS[i].name);
    }
    if (near.best != NULL)
        (void)cli_wrong(line, "what is `%s`? Did you mean `%s`?", word, near.best);
    else
        (void)cli_wrong(line, "what is `%s`? There are list, suspend, resume and test", word);
    return NULL;
}

/* NULL: told what is wrong. */
static const action *take_words(const cli_command *line, int count, char **words, request *r)
{
    uint32_t ms;
    const action *what = count == 0 ? NULL : find_action(line, words[0]);
    if (count == 0)
        (void)cli_wrong(line, "what is to be done? list, suspend, resume or test");
    if (what == NULL)
        return NULL;
    r->name = count > 1 ? words[1] : NULL;
    const char *wrong = NULL;
    if (what->takes_name && r->name == NULL)
        wrong = "`%s` needs the name of an upstream (`smtpmux upstream list` tells them)";
    else if (count > (what->takes_name ? 2 : 1))
        wrong = "too many words behind `%s`";
    else if (r->duration != NULL && what->run != suspend_upstream)
        wrong = "`%s` takes no --for";
    else if (r->duration != NULL && scalar_duration(slice_of_text(r->duration), &ms) != 0)
        wrong = "%s --for: expected a duration such as 15m or 2h";
    if (wrong == NULL)
        return what;
    (void)cli_wrong(line, wrong, what->name);
    return NULL;
}

static int run(int argc, char **argv)
{
    const char *path = NULL;
    const char *listen = NULL;
    request r = {0};
    int first;
    const cli_option options[] = {
        {'c', "config", "FILE", "the configuration, which names the admin socket", .text = &path},
        {0, "admin", "ADDRESS", "the admin socket, such as unix:/run/smtpmux/admin.sock",
         .text = &listen},
        {0, "for", "DURATION", "suspend: how long [15m, doubling up to 6h]", .text = &r.duration},
        {0, "json", NULL, "print the answer as JSON", .flag = &r.json},
    };
    const cli_command line = {command_upstream.name,
                              "list|suspend|resume|test [NAME] [--for 15m] [-c FILE] [--json]",
                              command_upstream.help,
                              options,
                              sizeof(options) / sizeof(options[0]),
                              "\n  list      all upstreams with their state\n"
                              "  suspend   no messages go there, for a time\n"
                              "  resume    ends a suspension and closes the breaker\n"
                              "  test      connects, secures and signs in; sends no mail\n"};
    cli_result parsed = cli_parse(&line, argc, argv, &first);
    if (parsed != CLI_RUN)
        return parsed == CLI_DONE ? EX_OK : EX_USAGE;
    const action *what = take_words(&line, argc - first, argv + first, &r);
    if (what == NULL)
        return EX_USAGE;
    int code = admin_client_open(path, listen, &r.client);
    if (code == EX_OK)
        code = what->run(&r);
    admin_client_free(r.client);
    return code;
}

const command command_upstream = {"upstream", "List, suspend, resume and test providers", run};
