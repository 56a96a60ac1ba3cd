/* The smallest server: takes mail on a port and says on standard output what came.
 *
 *     ./hello_server 127.0.0.1:2525
 *     ./hello_server 127.0.0.1:2525 cert.pem key.pem      (with STARTTLS)
 */
#include <smx/server.h>
#include <stdio.h>

static smx_reply tell(void *arg, smx_transaction *tx)
{
    (void)arg;
    const smx_envelope *envelope = smx_transaction_envelope(tx);
    smx_slice id = smx_transaction_id(tx);
    smx_slice sender = envelope->mail.path.mailbox;
    printf("%.*s: <%.*s> sends %llu octets to", (int)id.len, id.data, (int)sender.len, sender.data,
           (unsigned long long)smx_message_size(smx_transaction_message(tx)));
    for (size_t i = 0; i < envelope->recipient_count; i++) {
        smx_slice recipient = envelope->recipients[i].path.mailbox;
        printf(" <%.*s>", (int)recipient.len, recipient.data);
    }
    printf("\n");
    (void)fflush(stdout);
    return SMX_REPLY(250, 2, 0, 0, "thank you");
}

int main(int argc, char **argv)
{
    smx_loop *loop = NULL;
    smx_server *server = NULL;
    char problem[SMX_PROBLEM_TEXT] = "out of memory";
    const smx_certificate certificate = {argc > 3 ? argv[2] : NULL, argc > 3 ? argv[3] : NULL};
    const smx_server_options options = {.version = SMX_SERVER_VERSION, .handler = tell};
    const smx_listener_options listener = {
        .version = SMX_LISTENER_VERSION,
        .listen = argc > 1 ? argv[1] : "127.0.0.1:2525",
        .tls = argc > 3 ? SMX_LISTENER_STARTTLS : SMX_LISTENER_CLEAR,
        .certificates = &certificate,
        .certificate_count = argc > 3 ? 1 : 0,
    };
    if (smx_loop_new(NULL, &loop) == 0 && smx_server_new(loop, &options, &server) == 0 &&
        smx_server_listen(server, &listener, problem) == 0 && smx_server_start(server) == 0)
        smx_loop_run(loop);
    else
        (void)fprintf(stderr, "hello_server: %s\n", problem);
    smx_server_free(server);
    smx_loop_free(loop);
    return 1;
}
