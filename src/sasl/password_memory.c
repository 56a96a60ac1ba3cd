/* What was right before: HMACs of stored and given secrets under a key that dies with the memory, so
 * that what lies here is of no use to anybody else. A ring of digests, found through a map; the
 * oldest makes room. One mutex. */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/map.h"
#include "sasl/password.h"

enum { MEMORY_KEY = 32, MEMORY_ENTRIES = 4096 };

typedef struct memory_digest {
    unsigned char octets[MEMORY_KEY];
} memory_digest;

struct password_memory {
    unsigned char key[MEMORY_KEY];
    pthread_mutex_t mutex; /* guards what follows */
    map known;             /* digest to its place in the ring */
    memory_digest ring[MEMORY_ENTRIES];
    size_t count;
    size_t oldest; /* the place that is written next once the ring is full */
};

int password_memory_new(password_memory **memory)
{
    password_memory *m = calloc(1, sizeof(*m));
    if (m == NULL)
        return SMX_E_NOMEM;
    if (RAND_bytes(m->key, MEMORY_KEY) != 1) {
        free(m);
        return SMX_E_IO;
    }
    (void)pthread_mutex_init(&m->mutex, NULL);
    *memory = m;
    return 0;
}

void password_memory_free(password_memory *memory)
{
    if (memory == NULL)
        return;
    map_free(&memory->known);
    (void)pthread_mutex_destroy(&memory->mutex);
    OPENSSL_cleanse(memory, sizeof(*memory));
    free(memory);
}

static bool memory_hmac(const unsigned char key[MEMORY_KEY], smx_slice text,
                        unsigned char out[MEMORY_KEY])
{
    const char *data = text.len == 0 ? "" : text.data;
    return HMAC(EVP_sha256(), key, MEMORY_KEY, (const unsigned char *)data, text.len, out, NULL) !=
           NULL;
}

/* The stored secret makes the key for the given one: the two cannot run into each other. */
static bool memory_digest_of(const password_memory *m, smx_slice stored, smx_slice given,
                             memory_digest *digest)
{
    unsigned char key[MEMORY_KEY];
    bool done = memory_hmac(m->key, stored, key) && memory_hmac(key, given, digest->octets);
    OPENSSL_cleanse(key, sizeof(key));
    return done;
}

static smx_slice memory_slice(const memory_digest *digest)
{
    return slice_of((const char *)digest->octets, MEMORY_KEY);
}

bool password_memory_knows(password_memory *memory, smx_slice stored, smx_slice given)
{
    memory_digest digest;
    if (!memory_digest_of(memory, stored, given, &digest))
        return false;
    (void)pthread_mutex_lock(&memory->mutex);
    bool known = map_get(&memory->known, memory_slice(&digest)) != NULL;
    (void)pthread_mutex_unlock(&memory->mutex);
    return known;
}

static void memory_put(password_memory *m, const memory_digest *digest)
{
    if (map_get(&m->known, memory_slice(digest)) != NULL)
        return;
    memory_digest *place = &m->ring[m->count < MEMORY_ENTRIES ? m->count : m->oldest];
    if (m->count == MEMORY_ENTRIES)
        (void)map_remove(&m->known, memory_slice(place));
    *place = *digest;
    /* When memory is out it is not remembered, and the next one pays again. */
    int error = map_put(&m->known, memory_slice(digest), place);
    if (m->count < MEMORY_ENTRIES)
        m->count += error == 0;
    else
        m->oldest = (m->oldest + 1) % MEMORY_ENTRIES;
}

void password_memory_add(password_memory *memory, smx_slice stored, smx_slice given)
{
    memory_digest digest;
    if (!memory_digest_of(memory, stored, given, &digest))
        return;
    (void)pthread_mutex_lock(&memory->mutex);
    memory_put(memory, &digest);
    (void)pthread_mutex_unlock(&memory->mutex);
}
