/* The system's CA certificates. OpenSSL says where they stand: in a file, which is read here, and in a
 * folder, in which it looks an issuer up once it needs one, and remembers it. */
#include <openssl/err.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls_internal.h"

struct tls_authorities {
    atomic_uint holders;
    X509_STORE *store; /* locks itself */
    tls_file_state file;
    tls_file_state folder;
};

static const char *authorities_file(void)
{
    const char *name = secure_getenv(X509_get_default_cert_file_env());
    return name == NULL ? X509_get_default_cert_file() : name;
}

static const char *authorities_folder(void)
{
    const char *name = secure_getenv(X509_get_default_cert_dir_env());
    return name == NULL ? X509_get_default_cert_dir() : name;
}

int tls_authorities_new(tls_authorities **authorities)
{
    tls_authorities *new = calloc(1, sizeof(*new));
    if (new == NULL)
        return SMX_E_NOMEM;
    atomic_init(&new->holders, 1);
    new->file = tls_file_look(authorities_file()); /* before the reading, to miss no change */
    new->folder = tls_file_look(authorities_folder());
    new->store = X509_STORE_new();
    bool is_read = new->store != NULL &&X509_STORE_set_default_paths(new->store) == 1;
    ERR_clear_error();
    if (!is_read) {
        tls_authorities_free(new);
        return SMX_E_NOMEM;
    }
    *authorities = new;
    return 0;
}

bool tls_authorities_are_current(const tls_authorities *a)
{
    const char *folder = authorities_folder();
    const tls_file_state file_now = tls_file_look(authorities_file());
    const tls_file_state folder_now = tls_file_look(folder);
    bool is_one = strchr(folder, ':') == NULL; /* a list of folders is not looked at */
    return is_one && tls_file_same(&a->file, &file_now) && tls_file_same(&a->folder, &folder_now);
}

tls_authorities *tls_authorities_share(tls_authorities *a)
{
    if (a != NULL)
        (void)atomic_fetch_add(&a->holders, 1);
    return a;
}

void tls_authorities_free(tls_authorities *a)
{
    if (a == NULL || atomic_fetch_sub(&a->holders, 1) > 1)
        return;
    X509_STORE_free(a->store);
    free(a);
}

X509_STORE *tls_authorities_store(tls_authorities *a)
{
    return a->store;
}
