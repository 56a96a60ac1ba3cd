/* The client's side of an exchange, on libgsasl. Each exchange owns a context of its own (about a
 * microsecond to make): nothing is shared between threads. libgsasl holds name and password. */
#include <gsasl.h>
#include <stdlib.h>

#include "sasl/sasl.h"
#include "sasl/scram.h"

/* Strongest first. */
static const struct client_mechanism {
    const char *name;
    bool client_first;
    bool clear_text_only;   /* no better than the channel: of use only where that is clear text */
    bool checks_iterations; /* the challenge names the cost of the password's hash */
} client_mechanisms[] = {
    {"SCRAM-SHA-256", true, false, true},
    {"CRAM-MD5", false, true, false},
    {"PLAIN", true, false, false},
    {"LOGIN", false, false, false},
};

typedef struct client_mechanism client_mechanism;

struct sasl_client {
    const client_mechanism *mechanism;
    Gsasl *gsasl;
    Gsasl_session *session;
    unsigned challenges;
    bool is_complete;
    bool is_broken; /* no more steps: it went wrong */
};

static const client_mechanism *client_mechanism_of(smx_slice name)
{
    for (size_t i = 0; i < sizeof(client_mechanisms) / sizeof(client_mechanisms[0]); i++)
        if (slice_equal_nocase(name, slice_of_text(client_mechanisms[i].name)))
            return &client_mechanisms[i];
    return NULL;
}

static bool client_is_offered(smx_slice offered, const char *name)
{
    smx_slice word;
    while (slice_cut(&offered, ' ', &word))
        if (slice_equal_nocase(word, slice_of_text(name)))
            return true;
    return false;
}

int sasl_client_choose(smx_slice offered, const char *wanted, bool clear_text,
                       const char **mechanism)
{
    for (size_t i = 0; i < sizeof(client_mechanisms) / sizeof(client_mechanisms[0]); i++) {
        const client_mechanism *m = &client_mechanisms[i];
        bool eligible = wanted != NULL
                            ? slice_equal_nocase(slice_of_text(wanted), slice_of_text(m->name))
                            : clear_text || !m->clear_text_only;
        if (!eligible || !client_is_offered(offered, m->name))
            continue;
        *mechanism = m->name;
        return 0;
    }
    return SMX_E_NOTFOUND;
}

static int client_start(sasl_client *client, const char *user, const char *password)
{
    if (gsasl_init(&client->gsasl) != GSASL_OK ||
        gsasl_client_start(client->gsasl, client->mechanism->name, &client->session) != GSASL_OK ||
        gsasl_property_set(client->session, GSASL_AUTHID, user) != GSASL_OK ||
        gsasl_property_set(client->session, GSASL_PASSWORD, password) != GSASL_OK)
        return SMX_E_NOMEM;
    return 0;
}

int sasl_client_new(const char *mechanism, const char *user, const char *password,
                    sasl_client **client)
{
    const client_mechanism *found = client_mechanism_of(slice_of_text(mechanism));
    if (found == NULL)
        return SMX_E_UNSUPPORTED;
    if (user == NULL || user[0] == '\0' || password == NULL)
        return SMX_E_INVALID;
    sasl_client *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return SMX_E_NOMEM;
    c->mechanism = found;
    int error = client_start(c, user, password);
    if (error != 0) {
        sasl_client_free(c);
        return error;
    }
    *client = c;
    return 0;
}

void sasl_client_free(sasl_client *client)
{
    if (client == NULL)
        return;
    if (client->session != NULL)
        gsasl_finish(client->session);
    if (client->gsasl != NULL)
        gsasl_done(client->gsasl);
    free(client);
}

/* One step of libgsasl; the answer goes to the end of `output`. */
static int client_gsasl_step(sasl_client *client, smx_slice challenge, buffer *output)
{
    char *answer = NULL;
    size_t len = 0;
    int error = 0;
    int result = gsasl_step(client->session, challenge.data, challenge.len, &answer, &len);
    if (result == GSASL_MALLOC_ERROR)
        error = SMX_E_NOMEM;
    else if (result != GSASL_OK && result != GSASL_NEEDS_MORE)
        error = SMX_E_AUTH;
    else
        error = buffer_append(output, slice_of(answer, len));
    gsasl_free(answer);
    client->is_complete = error == 0 && result == GSASL_OK;
    client->is_broken = error != 0;
    return error;
}

int sasl_client_initial(sasl_client *client, bool *has_initial, buffer *output)
{
    if (client->is_broken || client->is_complete || client->challenges > 0)
        return SMX_E_STATE;
    if (client->mechanism->client_first) {
        int error = client_gsasl_step(client, slice_of("", 0), output);
        if (error != 0)
            return error;
    }
    *has_initial = client->mechanism->client_first;
    return 0;
}

/* SCRAM's server-first-message: "r=...,s=...,i=N". Too few iterations make the proof worth a
 * dictionary attack (RFC 7677 section 4), too many hold up the loop. */
static bool client_takes_iterations(smx_slice challenge)
{
    smx_slice word;
    uint64_t count;
    while (slice_cut(&challenge, ',', &word)) {
        if (slice_starts_with(word, SMX_SLICE("i=")))
            return slice_to_number(slice_from(word, 2), SCRAM_ITERATIONS_MAX, &count) == 0 &&
                   count >= SCRAM_ITERATIONS;
    }
    return false;
}

int sasl_client_step(sasl_client *client, smx_slice challenge, buffer *output)
{
    bool first = client->challenges++ == 0;
    if (client->is_broken || client->is_complete)
        return SMX_E_AUTH;
    /* libgsasl reads challenges up to a NUL. */
    bool bad =
        slice_find(challenge, '\0') < challenge.len ||
        (first && client->mechanism->checks_iterations && !client_takes_iterations(challenge));
    if (bad) {
        client->is_broken = true;
        return SMX_E_AUTH;
    }
    return client_gsasl_step(client, challenge, output);
}

bool sasl_client_is_complete(const sasl_client *client)
{
    return client->is_complete;
}
