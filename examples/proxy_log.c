/* The smallest proxy: stands in front of a server and says on standard output what passes.
 *
 *     ./proxy_log 127.0.0.1:2525 mail.example.net 25
 */
#include <smx/proxy.h>
#include <stdio.h>
#include <stdlib.h>

static void tell(void *arg, const smx_proxy_record *record)
{
    (void)arg;
    if (!record->has_from)
        return; /* a session without a transaction */
    printf("<%.*s> to", (int)record->from.len, record->from.data);
    for (size_t i = 0; i < record->recipient_count; i++)
        printf(" <%.*s>", (int)record->recipients[i].address.len,
               record->recipients[i].address.data);
    printf(": %llu octets, %.*s, %u\n", (unsigned long long)record->size, (int)record->outcome.len,
           record->outcome.data, record->reply.code);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    smx_loop *loop = NULL;
    smx_proxy *proxy = NULL;
    char problem[SMX_PROBLEM_TEXT] = "out of memory";
    const smx_proxy_options options = {.version = SMX_PROXY_VERSION, .record = tell};
    const smx_proxy_listener listener = {
        .listener = {.version = SMX_LISTENER_VERSION,
                     .listen = argc > 1 ? argv[1] : "127.0.0.1:2525"},
        .upstream = {.host = argc > 2 ? argv[2] : "127.0.0.1",
                     .port = (uint16_t)(argc > 3 ? strtoul(argv[3], NULL, 10) : 25)},
    };
    if (smx_loop_new(NULL, &loop) == 0 && smx_proxy_new(loop, &options, &proxy) == 0 &&
        smx_proxy_listen(proxy, &listener, problem) == 0 && smx_proxy_start(proxy) == 0)
        smx_loop_run(loop);
    else
        (void)fprintf(stderr, "proxy_log: %s\n", problem);
    smx_proxy_free(proxy);
    smx_loop_free(loop);
    return 1;
}
