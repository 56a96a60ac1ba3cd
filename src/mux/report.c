/* What a client and an operator are told of an upstream's refusals and failures. Replies of upstreams
 * are quoted on one line. */
#include "mux/mux_internal.h"
#include "proto/enhanced.h"

/* "250 2.0.0 " */
static int report_code(buffer *out, const smx_reply *reply)
{
    char enhanced[ENHANCED_TEXT];
    int error = buffer_append_number(out, reply->code);
    if (error == 0)
        error = buffer_append_char(out, ' ');
    if (error != 0 || reply->enhanced.class_digit == 0)
        return error;
    error = buffer_append(out, enhanced_write(&reply->enhanced, enhanced));
    return error != 0 ? error : buffer_append_char(out, ' ');
}

static int report_reply(buffer *out, const smx_reply *reply)
{
    int error = report_code(out, reply);
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
        error = buffer_append_char(out, '<');
        if (error == 0)
            error = buffer_append(out, mailbox);
        if (error == 0)
            error = buffer_append(out, SMX_SLICE(">: "));
    }
    if (error == 0)
        error = buffer_append_text(out, name);
    if (error == 0)
        error = buffer_append(out, SMX_SLICE(": "));
    return error != 0 ? error : buffer_append(out, result->reply.text);
}
