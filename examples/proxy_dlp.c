/* A proxy that lets no numbers of payment cards out: 550 5.7.1 at the end of the message.
 *
 *     ./proxy_dlp 127.0.0.1:2525 mail.example.net 25
 *
 * A number is 13 to 19 digits of which the last one is right (ISO/IEC 7812-1, annex B), in groups that
 * one blank or one hyphen may part. It is found wherever the chunks of a message are cut, since what
 * is known of its digits so far is kept with the session. Nothing is held: each chunk is on its way when
 * the next one comes. So the server behind us may have the first digits of a number, but it gets no end of
 * the message and drops them; the client's session ends with it. With `.flags = SMX_HOOK_HOLD` a
 * message waits until it is whole: the server hears nothing of it, and the session goes on.
 *
 * What it does not do: the body is read as it is, so it finds nothing in base64 (attachments, most
 * text of other scripts than Latin), in quoted-printable where a line is broken within the number, in
 * UTF-16, in archives, or where markup or the end of a line parts the groups; and it does not look at
 * header fields. One of ten other numbers as long passes the sum too, be it an order's, or in a
 * boundary of MIME. */
#include <smx/proxy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FEWEST = 13, MOST = 19 };

/* The last digits, with the groups that they stand in. */
typedef struct scan {
    char digits[MOST];
    bool begins[MOST]; /* a group */
    size_t count;
    char last; /* octet */
} scan;

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_card(const char *digits, size_t count)
{
    int sum = 0;
    for (size_t i = 0; i < count; i++) {
        int digit = digits[count - 1 - i] - '0';
        int twice = digit > 4 ? 2 * digit - 9 : 2 * digit;
        sum += i % 2 == 0 ? digit : twice;
    }
    return sum % 10 == 0;
}

/* A group has ended: it, or it with some groups before it, may be a number. */
static bool ends_card(const scan *s)
{
    for (size_t i = 0; i + FEWEST <= s->count; i++)
        if (s->begins[i] && is_card(s->digits + i, s->count - i))
            return true;
    return false;
}

static void add_digit(scan *s, char digit)
{
    if (s->count == MOST) {
        s->count--;
        memmove(s->digits, s->digits + 1, s->count * sizeof(s->digits[0]));
        memmove(s->begins, s->begins + 1, s->count * sizeof(s->begins[0]));
    }
    s->digits[s->count] = digit;
    s->begins[s->count++] = !is_digit(s->last);
}

static bool scan_octet(scan *s, char octet)
{
    bool ends_group = is_digit(s->last) && !is_digit(octet);
    bool found = ends_group && ends_card(s);
    if (is_digit(octet))
        add_digit(s, octet);
    else if (!ends_group || (octet != ' ' && octet != '-'))
        s->count = 0;
    s->last = octet;
    return found;
}

/* ---- the hook ---- */

static smx_verdict refuse(void)
{
    return (smx_verdict){SMX_REPLY_WITH, SMX_REPLY(550, 5, 7, 1, "no card numbers, please")};
}

static smx_verdict see_body(void *arg, smx_hook_call *call)
{
    (void)arg;
    smx_slice text = smx_hook_get_view(call)->text;
    scan *s = smx_hook_value(call);
    if (s == NULL) {
        s = calloc(1, sizeof(*s));
        if (s == NULL)
            return (smx_verdict){SMX_REPLY_WITH, SMX_REPLY(451, 4, 3, 0, "out of memory")};
        smx_hook_set_value(call, s, free);
    }
    for (size_t i = 0; i < text.len; i++)
        if (scan_octet(s, text.data[i]))
            return refuse();
    return (smx_verdict){.kind = SMX_CONTINUE};
}

/* A message sent by BDAT may end with a digit. */
static smx_verdict see_end(void *arg, smx_hook_call *call)
{
    (void)arg;
    scan *s = smx_hook_value(call);
    return s != NULL && scan_octet(s, '\n') ? refuse() : (smx_verdict){.kind = SMX_CONTINUE};
}

static smx_verdict forget(void *arg, smx_hook_call *call)
{
    (void)arg;
    scan *s = smx_hook_value(call);
    if (s != NULL)
        *s = (scan){0};
    return (smx_verdict){.kind = SMX_CONTINUE};
}

int main(int argc, char **argv)
{
    smx_loop *loop = NULL;
    smx_proxy *proxy = NULL;
    char problem[SMX_PROBLEM_TEXT] = "out of memory";
    const smx_hook hook = {
        .version = SMX_HOOK_VERSION,
        .name = "cards",
        .phases = {[SMX_HOOK_BODY] = see_body, [SMX_HOOK_EOM] = see_end, [SMX_HOOK_RESET] = forget},
    };
    const smx_hook *hooks[] = {&hook};
    const smx_proxy_options options = {
        .version = SMX_PROXY_VERSION, .hooks = hooks, .hook_count = 1};
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
        (void)fprintf(stderr, "proxy_dlp: %s\n", problem);
    smx_proxy_free(proxy);
    smx_loop_free(loop);
    return 1;
}
