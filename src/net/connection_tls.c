/* The transport of TLS, on top of the socket. OpenSSL decrypts straight out of the loop's read
 * buffer into its plain buffer, and encrypts into the socket's queue; what an owner queues is
 * gathered in clear and encrypted at the turn's end, so that small replies share a record. What the
 * owner cannot take stays encrypted, in a block.
 */
#include "net/connection_tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <stdlib.h>

enum {
    TLS_RECORD = 16384,    /* octets of a record (RFC 8446 section 5.1) */
    TLS_OWN_RECORD = 2048, /* from here on a piece is not copied to be gathered */
};

/* ---- OpenSSL's way to the octets ---- */

static int tls_bio_read(BIO *bio, char *out, int size)
{
    connection_tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (tls->cipher.len == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t len = tls->cipher.len < (size_t)size ? tls->cipher.len : (size_t)size;
    memcpy(out, tls->cipher.data, len);
    tls->cipher = slice_from(tls->cipher, len);
    return (int)len;
}

static int tls_bio_write(BIO *bio, const char *octets, int size)
{
    connection_tls *tls = BIO_get_data(bio);
    connection *c = tls->c;
    BIO_clear_retry_flags(bio);
    if (octet_queue_append(&c->out, c->loop, slice_of(octets, (size_t)size)) != 0)
        return -1;
    return size;
}

static long tls_bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

/* The table of functions is made once for each loop, which frees it. */
static BIO_METHOD *tls_bio_method(smx_loop *loop)
{
    struct bio_method_st **method = loop_bio_method(loop);
    if (*method != NULL)
        return *method;
    BIO_METHOD *new = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "connection");
    if (new == NULL)
        return NULL;
    (void)BIO_meth_set_read(new, tls_bio_read);
    (void)BIO_meth_set_write(new, tls_bio_write);
    (void)BIO_meth_set_ctrl(new, tls_bio_control);
    *method = new;
    return new;
}

BIO *connection_tls_bio(connection_tls *tls)
{
    const BIO_METHOD *method = tls_bio_method(tls->c->loop);
    BIO *bio = method == NULL ? NULL : BIO_new(method);
    if (bio == NULL)
        return NULL;
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    return bio;
}

/* ---- octets to the owner ---- */

static void tls_give_held(connection_tls *tls)
{
    if (tls->held != NULL)
        loop_block_give(tls->c->loop, tls->held);
    tls->held = NULL;
    tls->held_length = 0;
}

/* Without read-ahead OpenSSL holds no octets of a record behind the one that it gives. */
static bool tls_has_input(const connection_tls *tls)
{
    return tls->cipher.len > 0 || SSL_pending(tls->ssl) > 0;
}

/* As much as there is, up to `room`: SSL_ERROR_NONE if there may be more. */
static int tls_read(connection_tls *tls, char *plain, size_t room, size_t *length)
{
    *length = 0;
    while (*length < room) {
        if (!tls_has_input(tls))
            return SSL_ERROR_WANT_READ;
        size_t got;
        ERR_clear_error();
        int result = SSL_read_ex(tls->ssl, plain + *length, room - *length, &got);
        if (result != 1)
            return SSL_get_error(tls->ssl, result);
        *length += got;
    }
    return SSL_ERROR_NONE;
}

static void tls_read_ended(connection *c, int reason)
{
    switch (reason) {
    case SSL_ERROR_NONE:
    case SSL_ERROR_WANT_READ:
        break;
    case SSL_ERROR_ZERO_RETURN: /* close_notify: nothing may follow it */
        connection_ended(c, 0);
        break;
    default:
        c->tls->failed = true;
        connection_ended(c, connection_tls_failure(c->tls));
        break;
    }
    ERR_clear_error();
}

/* Decrypts until the owner has enough or the octets are used up. */
static void tls_pump(connection *c)
{
    connection_tls *tls = c->tls;
    int reason = SSL_ERROR_NONE;
    if (tls->failed || (tls->handshaking && !connection_tls_handshake(c)))
        return;
    while (reason == SSL_ERROR_NONE && c->state == CONNECTION_OPEN && connection_room(c) > 0) {
        size_t length;
        reason = tls_read(tls, loop_plain_buffer(c->loop), connection_room(c), &length);
        if (reason != SSL_ERROR_NONE && reason != SSL_ERROR_WANT_READ)
            tls_read_ended(c, reason);
        if (length > 0)
            connection_deliver(c, slice_of(loop_plain_buffer(c->loop), length));
    }
    connection_tell_later(c, 0);
}

/* What OpenSSL did not read is kept for when the owner can take more. */
static void tls_hold_rest(connection *c)
{
    connection_tls *tls = c->tls;
    smx_slice rest = tls->cipher;
    tls->cipher = (smx_slice){0};
    if (rest.len == 0 || c->state != CONNECTION_OPEN || tls->failed || c->end_seen) {
        tls_give_held(tls);
        return;
    }
    if (tls->held == NULL) {
        tls->held = loop_block_take(c->loop);
        if (tls->held == NULL) {
            connection_ended(c, SMX_E_NOMEM);
            return;
        }
        memcpy(tls->held, rest.data, rest.len);
        rest.data = tls->held;
    }
    tls->held_start = (uint32_t)(rest.data - tls->held);
    tls->held_length = (uint32_t)rest.len;
}

static void tls_input(connection *c, smx_slice octets)
{
    assert(c->tls->held == NULL && octets.len <= LOOP_BLOCK);
    c->tls->cipher = octets;
    tls_pump(c);
    tls_hold_rest(c);
}

static void tls_more(connection *c)
{
    connection_tls *tls = c->tls;
    if (c->end_seen || connection_room(c) == 0)
        return;
    tls->cipher =
        slice_of(tls->held == NULL ? NULL : tls->held + tls->held_start, tls->held_length);
    tls_pump(c);
    tls_hold_rest(c);
}

bool connection_tls_holds_input(const connection *c)
{
    return c->tls->held_length > 0;
}

/* ---- octets to the peer ---- */

size_t connection_tls_queued(const connection *c)
{
    return c->tls->plain.length;
}

/* False when OpenSSL failed; nothing can be sent from then on. */
static bool tls_encrypt(connection *c, smx_slice octets)
{
    size_t written;
    ERR_clear_error();
    if (SSL_write_ex(c->tls->ssl, octets.data, octets.len, &written) == 1)
        return true;
    c->tls->failed = true;
    connection_write_failed(c, connection_tls_failure(c->tls));
    return false;
}

static void tls_flush(connection *c)
{
    connection_tls *tls = c->tls;
    if (tls->handshaking || tls->failed || c->write_error != 0)
        return;
    while (tls->plain.first != NULL) {
        smx_slice octets = octet_block_slice(tls->plain.first);
        if (octets.len > 0 && !tls_encrypt(c, octets))
            return;
        octet_block_give(octet_queue_take(&tls->plain));
    }
}

static int tls_queue(connection *c, smx_slice octets)
{
    return octet_queue_append(&c->tls->plain, c->loop, octets);
}

/* A piece, or the part of it that may go: large ones are encrypted in place. */
static int tls_send_piece(connection *c, smx_slice piece)
{
    if (piece.len < TLS_OWN_RECORD || c->tls->handshaking)
        return tls_queue(c, piece);
    tls_flush(c);
    return c->write_error == 0 && tls_encrypt(c, piece) ? 0 : SMX_E_CLOSED;
}

static int tls_send(connection *c, const smx_slice *pieces, size_t count, size_t most,
                    size_t *taken)
{
    int error = 0;
    *taken = 0;
    for (size_t i = 0; i < count && error == 0; i++) {
        smx_slice rest = pieces[i];
        while (rest.len > 0 && error == 0 && connection_queued(c) < most) {
            smx_slice piece = slice_to(rest, rest.len < TLS_RECORD ? rest.len : TLS_RECORD);
            error = tls_send_piece(c, piece);
            if (error == 0)
                *taken += piece.len;
            rest = slice_from(rest, piece.len);
        }
        if (rest.len > 0)
            break;
    }
    connection_flush(c);
    return *taken > 0 ? 0 : error;
}

static void tls_shutdown(connection *c)
{
    connection_tls *tls = c->tls;
    tls_flush(c);
    if (tls->handshaking || tls->failed || c->write_error != 0)
        return;
    ERR_clear_error();
    (void)SSL_shutdown(tls->ssl);
    ERR_clear_error();
}

void connection_tls_free(connection *c)
{
    connection_tls *tls = c->tls;
    if (tls == NULL)
        return;
    SSL_free(tls->ssl);
    octet_queue_clear(&tls->plain);
    tls_give_held(tls);
    tls_server_free(tls->server);
    tls_client_free(tls->client);
    free(tls->session_key);
    free(tls->problem);
    free(tls);
    c->tls = NULL;
}

const connection_transport connection_tls_transport = {
    .input = tls_input,
    .more = tls_more,
    .queue = tls_queue,
    .send = tls_send,
    .flush = tls_flush,
    .shutdown = tls_shutdown,
};
