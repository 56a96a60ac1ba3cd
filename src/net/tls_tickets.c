/* Keys of session tickets, which the contexts of all loops share: a ticket is good whichever of them a
 * client meets next. Two are kept, in memory only: the one that makes tickets, and the one before it,
 * until the last of its tickets is too old. Handshakes read them side by side; turning them, which
 * is done by time and not by a handshake, keeps those out for a moment.
 */
#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "net/tls_internal.h"

enum { NAME_SIZE = 16, TICKET_KEY_SIZE = 32 };

/* RFC 5077 section 4. All of it random. */
typedef struct ticket_key {
    unsigned char name[NAME_SIZE]; /* at the head of each ticket, in clear */
    unsigned char cipher[TICKET_KEY_SIZE];
    unsigned char mac[TICKET_KEY_SIZE];
} ticket_key;

struct tls_tickets {
    atomic_uint holders;
    pthread_rwlock_t lock; /* guards what stands below */
    uint64_t due;          /* the next turn */
    ticket_key current;
    ticket_key previous; /* at first one that no ticket was made with */
};

/* ---- what OpenSSL asks ---- */

static bool ticket_key_begin_mac(const ticket_key *key, EVP_MAC_CTX *mac)
{
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)key->mac,
                                          sizeof(key->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

static const ticket_key *tls_tickets_find(const tls_tickets *t, const unsigned char *name)
{
    if (memcmp(t->current.name, name, NAME_SIZE) == 0)
        return &t->current;
    return memcmp(t->previous.name, name, NAME_SIZE) == 0 ? &t->previous : NULL;
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb says what to answer. */
enum { ANSWER_FAILED = -1, ANSWER_UNKNOWN = 0, ANSWER_DONE = 1, ANSWER_RENEW = 2 };

static int tls_tickets_make(const tls_tickets *t, unsigned char *name, unsigned char *iv,
                            EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    const EVP_CIPHER *kind = EVP_aes_256_cbc();
    memcpy(name, t->current.name, NAME_SIZE);
    if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(kind)) != 1 ||
        EVP_EncryptInit_ex(cipher, kind, NULL, t->current.cipher, iv) != 1 ||
        !ticket_key_begin_mac(&t->current, mac))
        return ANSWER_FAILED;
    return ANSWER_DONE;
}

/* TLS 1.3's are to be used once (RFC 8446 section C.4): the client gets another. */
static int tls_tickets_take(const tls_tickets *t, bool used_once, const unsigned char *name,
                            const unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    const ticket_key *key = tls_tickets_find(t, name);
    if (key == NULL)
        return ANSWER_UNKNOWN;
    if (!ticket_key_begin_mac(key, mac) ||
        EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv) != 1)
        return ANSWER_FAILED;
    return used_once || key != &t->current ? ANSWER_RENEW : ANSWER_DONE;
}

static int tls_tickets_on_key(SSL *ssl, unsigned char *name, unsigned char *iv,
                              EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int makes)
{
    tls_tickets *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    bool used_once = SSL_version(ssl) >= TLS1_3_VERSION;
    (void)pthread_rwlock_rdlock(&t->lock);
    int answer = makes != 0 ? tls_tickets_make(t, name, iv, cipher, mac)
                            : tls_tickets_take(t, used_once, name, iv, cipher, mac);
    (void)pthread_rwlock_unlock(&t->lock);
    return answer;
}

int tls_tickets_serve(tls_tickets *t, SSL_CTX *context)
{
    if (SSL_CTX_set_app_data(context, t) != 1 ||
        SSL_CTX_set_tlsext_ticket_key_evp_cb(context, tls_tickets_on_key) != 1)
        return SMX_E_NOMEM;
    return 0;
}

/* ---- life ---- */

static int ticket_key_make(ticket_key *key)
{
    return getrandom(key, sizeof(*key), 0) == (ssize_t)sizeof(*key) ? 0 : SMX_E_IO;
}

int tls_tickets_new(uint64_t now, tls_tickets **tickets)
{
    tls_tickets *new = calloc(1, sizeof(*new));
    if (new == NULL)
        return SMX_E_NOMEM;
    atomic_init(&new->holders, 1);
    (void)pthread_rwlock_init(&new->lock, NULL);
    new->due = now + TLS_TICKETS_TURN_MS;
    int error = ticket_key_make(&new->current);
    if (error == 0)
        error = ticket_key_make(&new->previous);
    if (error != 0) {
        tls_tickets_free(new);
        return error;
    }
    *tickets = new;
    return 0;
}

void tls_tickets_turn(tls_tickets *t, uint64_t now)
{
    ticket_key next = {0};
    (void)pthread_rwlock_wrlock(&t->lock);
    if (now >= t->due && ticket_key_make(&next) == 0) {
        t->previous = t->current;
        t->current = next;
        t->due = now + TLS_TICKETS_TURN_MS;
    }
    (void)pthread_rwlock_unlock(&t->lock);
    explicit_bzero(&next, sizeof(next));
}

tls_tickets *tls_tickets_share(tls_tickets *t)
{
    if (t != NULL)
        (void)atomic_fetch_add(&t->holders, 1);
    return t;
}

void tls_tickets_free(tls_tickets *t)
{
    if (t == NULL || atomic_fetch_sub(&t->holders, 1) > 1)
        return;
    (void)pthread_rwlock_destroy(&t->lock);
    explicit_bzero(t, sizeof(*t));
    free(t);
}
