/* Inside of a sink. */
#ifndef APP_SINK_INTERNAL_H
#define APP_SINK_INTERNAL_H

#include "app/sink.h"
#include "base/arena.h"
#include "base/buffer.h"
#include "mail/envelope.h"
#include "net/listener.h"
#include "sasl/sasl.h"
#include "smx/session.h"

struct sink {
    smx_loop *loop;
    sink_options options;
    listener *listener;
    tls_server *tls;
    uint16_t port;
    list sessions;
    uint64_t last_session;
    uint64_t window_started; /* of the limit */
    uint32_t window_count;
    uint64_t files; /* written to the maildir */
    bool closing;
};

/* An answer that waits for the latency to pass. */
typedef struct sink_answer {
    smx_ticket ticket;
    smx_reply reply;
    bool challenge; /* 334 with `reply.text` */
} sink_answer;

typedef struct sink_session {
    list_node node;
    sink *sink;
    uint64_t number;
    connection *connection;
    smx_server_session *machine;
    sasl_server *sasl;
    buffer sasl_output;
    char user[256];
    arena arena; /* the transaction's */
    smx_envelope envelope;
    size_t recipient_capacity;
    smx_message *message;
    sink_answer answer;
    timer_entry latency;
    bool stalled;
    bool over;
} sink_session;

/* sink_session.c: a connection was accepted. */
void sink_session_new(sink *s, connection *c);
/* sink.c: the last session may have been waited for. */
void sink_session_gone(sink *s);

/* sink_store.c: writes down a message; its sha256 and reply code are filled in by the caller. */
void sink_store(sink *s, const sink_record *record);
SMX_MUST_USE int sink_store_prepare(const char *maildir, problem *p);
SMX_MUST_USE int sink_store_digest(const smx_message *message, char hex[65]);

#endif
