/* What a client and an operator are told of an upstream's refusals and failures. Replies of upstreams
 * are quoted on one line. */
#include "mux/mux_internal.h"

static int report_reply(buffer *out, const smx_reply *reply)
{
    int error = buffer_printf(out, "%u ", reply->code);
    if (error == 0 && reply->enhanced.class_digit != 0)
        error = buffer_printf(out, "%u.%u.%u ", reply->enhanced.class_digit,
                              reply->enhanced.subject, reply->enhanced.detail);
    for (size_t i = 0; i < reply->text.len && error == 0; i++) {
        char c = reply->text.data[i];
        error = buffer_append_char(out, c == '\n' ? ' ' : c);
    }
    return error;
}

int mux_report_reason(buffer *out, const char *name, const upstream_result *result)
{
    const smx_client_result *r = result->client;
    int error = buffer_printf(out, "%s%s: ", buffer_length(out) > 0 ? "; " : "", name);
    if (error != 0)
        return error;
    if (result->unsuitable != NULL)
        return buffer_append_text(out, result->unsuitable);
    if (r->reply.code != 0)
        error = report_reply(out, &r->reply);
    if (r->reply.code != 0 && error == 0 && r->phase == SMX_CLIENT_PHASE_AUTH &&
        r->detail[0] != '\0') /* what a server said of a token */
        error = buffer_printf(out, " [%s]", r->detail);
    else if (r->reply.code == 0)
        error =
            buffer_append_text(out, r->detail[0] != '\0' ? r->detail : smx_error_text(r->error));
    return error != 0 ? error : buffer_printf(out, " (%s)", smx_client_phase_text(r->phase));
}

int mux_report_text(buffer *out, const char *name, const smx_envelope *envelope,
                    const smx_client_result *result)
{
    int error = 0;
    if (result->refused < envelope->recipient_count) {
        smx_slice mailbox = envelope->recipients[result->refused].path.mailbox;
        error = buffer_printf(out, "<%.*s>: ", (int)mailbox.len, mailbox.data);
    }
    if (error == 0)
        error = buffer_printf(out, "%s: ", name);
    return error != 0 ? error : buffer_append(out, result->reply.text);
}
