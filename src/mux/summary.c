/* The summary line of each message (DESIGN 5), and the count of its outcome: a middleware around the
 * delivery, so that messages which never came to one are told too. */
#include "base/digits.h"
#include "mux/mux_internal.h"
#include "proto/enhanced.h"

mux_record *mux_record_of(mux_worker *worker, smx_transaction *tx)
{
    mux_record *record = smx_transaction_value(tx);
    if (record != NULL)
        return record;
    record = smx_transaction_alloc(tx, sizeof(*record));
    if (record == NULL)
        return NULL;
    *record = (mux_record){.started = loop_now(worker->loop)};
    smx_transaction_set_value(tx, record);
    return record;
}

static smx_verdict summary_before(void *arg, smx_transaction *tx)
{
    mux_worker *worker = arg;
    mux_record *record = mux_record_of(worker, tx);
    if (record == NULL)
        return (smx_verdict){SMX_REPLY_WITH, SMX_REPLY(451, 4, 3, 0, "out of memory, try again")};
    record->started = loop_now(worker->loop);
    return (smx_verdict){.kind = SMX_CONTINUE};
}

/* Without a delivery the reply alone tells. */
static mux_outcome summary_outcome(const mux_record *record, const smx_reply *reply)
{
    if (record->has_outcome)
        return record->outcome;
    switch (reply->code / 100) {
    case 2:
        return MUX_OUTCOME_DISCARDED;
    case 5:
        return MUX_OUTCOME_REJECTED;
    default:
        return MUX_OUTCOME_DEFERRED;
    }
}

typedef struct summary_numbers {
    char nrcpt[DIGITS_MAX], size[DIGITS_MAX], attempts[DIGITS_MAX], code[DIGITS_MAX],
        delay[DIGITS_MAX], enhanced[ENHANCED_TEXT];
} summary_numbers;

/* As the client sees it: its class is the reply code's, and X.0.0 where a reply has none. */
static smx_slice summary_enhanced(const smx_reply *reply, char text[ENHANCED_TEXT])
{
    smx_enhanced e = reply->enhanced;
    e.class_digit = (uint16_t)(reply->code / 100);
    return enhanced_write(&e, text);
}

static smx_slice summary_message_id(const smx_transaction *tx)
{
    smx_field field;
    if (!smx_field_find(smx_transaction_header(tx), SMX_SLICE("Message-ID"), 0, &field))
        return (smx_slice){NULL, 0};
    return slice_trim(field.value);
}

static void summary_after(void *arg, smx_transaction *tx, smx_reply *reply)
{
    mux_worker *worker = arg;
    static const mux_record none = {0};
    const mux_record *record = smx_transaction_value(tx);
    const smx_session_view *session = smx_transaction_session(tx);
    const smx_envelope *envelope = smx_transaction_envelope(tx);
    if (record == NULL) /* there was no memory for it */
        record = &none;
    mux_outcome outcome = summary_outcome(record, reply);
    summary_numbers n;
    char client[SMX_ADDRESS_TEXT];
    uint64_t took = record == &none ? 0 : loop_now(worker->loop) - record->started;
    mux_state_count(worker->mux->state, outcome, took);
    if (worker->log == NULL)
        return;
    smx_log_field fields[] = {
        {"id", smx_transaction_id(tx)},
        {"user", session->user},
        {"client", smx_address_write(&session->client, client)},
        {"from", envelope->mail.path.mailbox},
        {"nrcpt", digits_of(envelope->recipient_count, n.nrcpt)},
        {"size", digits_of(smx_message_size(smx_transaction_message(tx)), n.size)},
        {"route", slice_of_text(record->route)},
        {"upstream", slice_of_text(record->upstream)},
        {"attempts", digits_of(record->attempts, n.attempts)},
        {"code", digits_of(reply->code, n.code)},
        {"enhanced", summary_enhanced(reply, n.enhanced)},
        {"phase", record->has_phase ? slice_of_text(smx_client_phase_text(record->phase))
                                    : (smx_slice){NULL, 0}},
        {"tls", session->tls_protocol},
        {"delay_ms", digits_of(took, n.delay)},
        {"outcome", slice_of_text(mux_outcome_text(outcome))},
        {"message_id", summary_message_id(tx)},
    };
    worker->log(worker->log_arg, SMX_LOG_INFO, "message", session->id, fields,
                sizeof(fields) / sizeof(fields[0]));
}

void mux_summary_init(mux_worker *worker)
{
    worker->summary = (smx_middleware){
        .version = SMX_MIDDLEWARE_VERSION,
        .name = "summary",
        .arg = worker,
        .before = summary_before,
        .after = summary_after,
    };
}
