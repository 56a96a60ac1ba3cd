/* What an attempt sends: our Received field and what the message lacks, the header section as it is to leave through this
 * upstream, the envelope (DESIGN 4.11). Everything else stays as it came, octet for octet. */
#include "mux/compose.h"

#include "base/clock.h"
#include "mail/missing_fields.h"
#include "mail/rewrite_from.h"
#include "proto/writer.h"

static smx_slice compose_tls(const smx_session_view *session, char *text, size_t capacity)
{
    if (!session->tls)
        return (smx_slice){NULL, 0};
    writer w = writer_to(text, capacity);
    writer_slice(&w, session->tls_protocol);
    writer_char(&w, ' ');
    writer_slice(&w, session->tls_cipher);
    return slice_of(text, w.len);
}

static int compose_received(composition *c, mux_received kind)
{
    const smx_session_view *session = smx_transaction_session(c->tx);
    const smx_envelope *envelope = smx_transaction_envelope(c->tx);
    char tls[96];
    size_t len = 0;
    bool full = kind == MUX_RECEIVED_FULL;
    smx_received received = {
        .helo = full ? session->helo : (smx_slice){NULL, 0},
        .client = full ? &session->client : NULL,
        .by = slice_of_text(c->by->hostname),
        .protocol = smx_received_protocol(session->esmtp, false, envelope->mail.smtputf8,
                                          session->tls, session->authenticated),
        .id = smx_transaction_id(c->tx),
        .tls = compose_tls(session, tls, sizeof(tls)),
        .date = clock_date_text(&c->by->date, clock_wall_ms()),
    };
    if (envelope->recipient_count == 1)
        received.recipient = envelope->recipients[0].path.mailbox;
    int error = buffer_reserve(&c->header, SMX_RECEIVED_MAX);
    if (error == 0)
        error =
            smx_received_write(&received, c->header.data + c->header.end, SMX_RECEIVED_MAX, &len);
    if (error == 0)
        c->header.end += len;
    return error;
}

static int compose_missing(composition *c, uint32_t kinds)
{
    const missing_fields wanted = {
        .date = (kinds & MUX_ADD_DATE) != 0,
        .message_id = (kinds & MUX_ADD_MESSAGE_ID) != 0,
        .wall_ms = smx_transaction_started(c->tx),
        .id = smx_transaction_id(c->tx),
        .host = slice_of_text(c->by->hostname),
    };
    smx_slice header = smx_transaction_header(c->tx);
    return header.data == NULL ? SMX_E_NOMEM : missing_fields_write(&wanted, header, &c->header);
}

int compose_begin(composition *c, smx_transaction *tx, const mux_plan *plan, composer *by)
{
    *c = (composition){.by = by, .tx = tx};
    if (by->spare_count > 0)
        c->header = by->spares[--by->spare_count];
    int error = 0;
    if (plan->received != MUX_RECEIVED_OFF)
        error = compose_received(c, plan->received);
    if (error == 0 && plan->add_missing != 0)
        error = compose_missing(c, plan->add_missing);
    c->added = buffer_length(&c->header);
    return error;
}

void compose_end(composition *c)
{
    composer *by = c->by;
    size_t capacity = c->header.capacity;
    if (capacity == 0 || capacity > COMPOSER_SPARE_MAX || by->spare_count == COMPOSER_SPARES) {
        buffer_free(&c->header);
        return;
    }
    buffer_clear(&c->header);
    by->spares[by->spare_count++] = c->header;
    c->header = (buffer){0};
}

void composer_free(composer *by)
{
    while (by->spare_count > 0)
        buffer_free(&by->spares[--by->spare_count]);
}

/* Replaces the sender, but never that of a bounce (DESIGN 4.11). */
static bool compose_rewrites(const composition *c, const upstream_options *o)
{
    return o->rewrite_from != NULL && c->envelope.mail.path.mailbox.len > 0;
}

int compose_envelope(composition *c, const smx_envelope *envelope, const upstream_options *o)
{
    c->envelope = *envelope;
    c->envelope.mail.has_auth = false;
    if (!compose_rewrites(c, o))
        return 0;
    return smx_mailbox_parse(slice_of_text(o->rewrite_from), SMX_PATH_UTF8, &c->envelope.mail.path);
}

int compose_for(composition *c, const upstream_options *o, smx_submission *submission)
{
    const smx_message *message = smx_transaction_message(c->tx);
    smx_slice original = {NULL, 0};
    smx_slice header = smx_transaction_header(c->tx);
    int error = smx_message_header(message, &original);
    if (error != 0)
        return error;
    if (header.data == NULL)
        return SMX_E_NOMEM;
    bool edited = header.data != original.data || header.len != original.len;
    buffer_truncate(&c->header, c->added);
    error = compose_envelope(c, smx_transaction_envelope(c->tx), o);
    if (error != 0)
        return error;
    if (compose_rewrites(c, o)) {
        error = rewrite_from(header, slice_of_text(o->rewrite_from), o->reply_to_add, &c->header);
        edited = true;
    } else if (edited) {
        error = buffer_append(&c->header, header);
    }
    *submission = (smx_submission){
        .envelope = &c->envelope,
        .header = buffer_slice(&c->header),
        .message = message,
        .body_offset = edited ? smx_message_body_offset(message) : 0,
        .all_or_nothing = true,
    };
    return error;
}
