/* What the credentials of an upstream are made of. Whoever asks owns the text. */
#include "upstream/secret.h"

#include <stdlib.h>
#include <string.h>

char *secret_of(const upstream_options *options)
{
    const oauth2_options *o = &options->oauth2;
    const char *const parts[] = {options->user,    options->password, o->token_url, o->client_id,
                                 o->client_secret, o->refresh_token,  o->scope};
    size_t size = 1;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        size += parts[i] == NULL ? 1 : strlen(parts[i]) + 1;
    char *secret = calloc(1, size);
    size_t at = 0;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && secret != NULL; i++) {
        size_t len = parts[i] == NULL ? 0 : strlen(parts[i]);
        memcpy(secret + at, parts[i] == NULL ? "" : parts[i], len);
        at += len;
        secret[at++] = '\n';
    }
    return secret;
}
