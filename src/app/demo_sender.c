/* Turns libsmx's client, which tells by callbacks, into one that waits. The client is the loop's and
 * frees itself behind `closed`. */
#include "app/demo_sender.h"

#include <stdlib.h>

#include "base/slice.h"
#include "smx/client.h"

/* Longer than a delivery may take; shorter than a person waits. */
enum { SENDER_COMMAND_MS = 20000, SENDER_FINAL_MS = 60000 };

struct demo_sender {
    smx_loop *loop;
    smx_client_options options;
    smx_client *client; /* NULL: not connected */
    bool is_ready;
    demo_answer *answer; /* of the message under way, or NULL */
    problem problem;     /* why the connection ended */
};

static void on_ready(void *arg, smx_client *client)
{
    demo_sender *sender = arg;
    (void)client;
    sender->is_ready = true;
    smx_loop_stop(sender->loop);
}

static void keep_text(const smx_client_result *result, char *text, size_t capacity)
{
    smx_slice words = result->reply.code != 0     ? result->reply.text
                      : result->detail[0] != '\0' ? slice_of_text(result->detail)
                                                  : slice_of_text(smx_error_text(result->error));
    size_t len = words.len < capacity - 1 ? words.len : capacity - 1;
    if (len > 0)
        memcpy(text, words.data, len);
    text[len] = '\0';
}

static void on_result(void *arg, smx_client *client, const smx_client_result *result)
{
    demo_sender *sender = arg;
    (void)client;
    sender->answer->code = result->reply.code;
    keep_text(result, sender->answer->text, sizeof(sender->answer->text));
    sender->answer = NULL;
    smx_loop_stop(sender->loop);
}

static void on_closed(void *arg, smx_client *client, const smx_client_result *result)
{
    demo_sender *sender = arg;
    (void)client;
    keep_text(result, sender->problem.text, sizeof(sender->problem.text));
    sender->client = NULL;
    sender->is_ready = false;
    smx_loop_stop(sender->loop);
}

static const smx_client_handler sender_handler = {on_ready, on_result, on_closed};

int demo_sender_new(smx_loop *loop, const demo_account *account, demo_sender **out)
{
    demo_sender *sender = calloc(1, sizeof(*sender));
    if (sender == NULL)
        return SMX_E_NOMEM;
    sender->loop = loop;
    sender->options = (smx_client_options){
        .version = SMX_CLIENT_VERSION,
        .host = "127.0.0.1",
        .port = account->port,
        .tls = SMX_TLS_OFF,
        .verify = SMX_VERIFY_NEVER,
        .helo = "app.example.com",
        .user = account->user,
        .password = account->password,
        .command_timeout_ms = SENDER_COMMAND_MS,
        .final_timeout_ms = SENDER_FINAL_MS,
    };
    *out = sender;
    return 0;
}

/* Connects if need be, and waits until the server is ready for a message. */
static int sender_wait(demo_sender *sender, problem *p)
{
    if (sender->client == NULL) {
        int error = smx_client_new(sender->loop, &sender->options, &sender_handler, sender,
                                   &sender->client);
        if (error != 0)
            return problem_set(p, error, "%s", smx_error_text(error));
    }
    while (sender->client != NULL && !sender->is_ready)
        smx_loop_run(sender->loop);
    return sender->is_ready ? 0 : problem_set(p, SMX_E_CLOSED, "%s", sender->problem.text);
}

static int submit(demo_sender *sender, const char *from, const char *to, smx_slice message)
{
    smx_rcpt recipient = {0};
    smx_envelope envelope = {.recipients = &recipient, .recipient_count = 1};
    const smx_submission submission = {.envelope = &envelope, .header = message};
    int error = smx_mailbox_parse(slice_of_text(from), 0, &envelope.mail.path);
    if (error == 0)
        error = smx_mailbox_parse(slice_of_text(to), 0, &recipient.path);
    if (error == 0)
        error = smx_client_submit(sender->client, &submission);
    if (error == 0)
        sender->is_ready = false;
    while (error == 0 && sender->answer != NULL)
        smx_loop_run(sender->loop);
    return error;
}

int demo_sender_send(demo_sender *sender, const char *from, const char *to, smx_slice message,
                     demo_answer *answer, problem *p)
{
    int error = sender_wait(sender, p);
    if (error != 0)
        return error;
    sender->answer = answer;
    error = submit(sender, from, to, message);
    sender->answer = NULL;
    return error == 0 ? 0 : problem_set(p, error, "%s", smx_error_text(error));
}

void demo_sender_free(demo_sender *sender)
{
    if (sender == NULL)
        return;
    if (sender->client != NULL)
        smx_client_close(sender->client);
    while (sender->client != NULL)
        smx_loop_run(sender->loop);
    free(sender);
}
