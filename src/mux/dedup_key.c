/* What makes two messages the same: SHA-256 over user, sender, sorted recipients, Message-ID (without
 * one, the whole header section) and the body. */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "mux/dedup.h"

enum { STEP = 65536 };

/* Each part with its length in front, so that no two lists of parts look alike. */
static int key_add(EVP_MD_CTX *context, smx_slice part)
{
    uint64_t len = part.len;
    bool added = EVP_DigestUpdate(context, &len, sizeof(len)) == 1 &&
                 (part.len == 0 || EVP_DigestUpdate(context, part.data, part.len) == 1);
    return added ? 0 : SMX_E_NOMEM;
}

static int key_order(const void *a, const void *b)
{
    const smx_slice *one = a;
    const smx_slice *other = b;
    size_t common = one->len < other->len ? one->len : other->len;
    int order = common == 0 ? 0 : memcmp(one->data, other->data, common);
    return order != 0 ? order : (one->len > other->len) - (one->len < other->len);
}

static int key_add_recipients(EVP_MD_CTX *context, smx_transaction *tx)
{
    const smx_envelope *envelope = smx_transaction_envelope(tx);
    size_t count = envelope->recipient_count;
    smx_slice *sorted = smx_transaction_alloc(tx, (count + 1) * sizeof(*sorted));
    if (sorted == NULL)
        return SMX_E_NOMEM;
    for (size_t i = 0; i < count; i++)
        sorted[i] = envelope->recipients[i].path.mailbox;
    qsort(sorted, count, sizeof(*sorted), key_order);
    int error = 0;
    for (size_t i = 0; i < count && error == 0; i++)
        error = key_add(context, sorted[i]);
    return error;
}

/* Without a Message-ID two messages with the same body are told apart by what else they say: nothing
 * less than the whole header section may make one a repeat. */
static int key_add_header(EVP_MD_CTX *context, smx_transaction *tx)
{
    smx_field id = {0};
    smx_slice header = smx_transaction_header(tx);
    if (header.data == NULL)
        return SMX_E_NOMEM;
    (void)smx_field_find(header, SMX_SLICE("Message-ID"), 0, &id);
    smx_slice value = slice_trim(id.value);
    int error = key_add(context, value);
    return error != 0 || value.len > 0 ? error : key_add(context, header);
}

static int key_add_body(EVP_MD_CTX *context, const smx_message *message)
{
    smx_slice octets = {NULL, 0};
    char *scratch = malloc(STEP);
    int error = scratch == NULL ? SMX_E_NOMEM : 0;
    for (uint64_t at = smx_message_body_offset(message);
         error == 0 && at < smx_message_size(message); at += octets.len) {
        error = smx_message_read(message, at, scratch, STEP, &octets);
        if (error == 0 && EVP_DigestUpdate(context, octets.data, octets.len) != 1)
            error = SMX_E_NOMEM;
    }
    free(scratch);
    return error;
}

int dedup_key_of(smx_transaction *tx, unsigned char key[DEDUP_KEY])
{
    unsigned len = DEDUP_KEY;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int error =
        context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 ? 0 : SMX_E_NOMEM;
    if (error == 0)
        error = key_add(context, smx_transaction_session(tx)->user);
    if (error == 0)
        error = key_add(context, smx_transaction_envelope(tx)->mail.path.mailbox);
    if (error == 0)
        error = key_add_recipients(context, tx);
    if (error == 0)
        error = key_add_header(context, tx);
    if (error == 0)
        error = key_add_body(context, smx_transaction_message(tx));
    if (error == 0 && EVP_DigestFinal_ex(context, key, &len) != 1)
        error = SMX_E_NOMEM;
    EVP_MD_CTX_free(context);
    return error;
}
