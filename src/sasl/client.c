/* The client's side of an exchange, on libgsasl. Each exchange owns a context of its own (about a
 * microsecond to make): nothing is shared between threads. libgsasl holds name and password. The
 * mechanisms that take a token are strings of our own (bearer.h). */
#include <gsasl.h>
#include <stdlib.h>

#include "sasl/bearer.h"
#include "sasl/sasl.h"
#include "sasl/scram.h"

typedef int client_bearer_fn(const char *user, const char *token, buffer *output);

/* Strongest first. */
static const struct client_mechanism {
    const char *name;
    bool client_first;
    bool clear_text_only;     /* no better than the channel: of use only where that is clear text */
    bool checks_iterations;   /* the challenge names the cost of the password's hash */
    client_bearer_fn *bearer; /* takes a token, no password */
    const char *dummy; /* what is answered when the server has said why it refuses the token */
} client_mechanisms[] = {
    {"SCRAM-SHA-256", true, false, true, NULL, NULL},
    {"CRAM-MD5", false, true, false, NULL, NULL},
    {"PLAIN", true, false, false, NULL, NULL},
    {"LOGIN", false, false, false, NULL, NULL},
    {"OAUTHBEARER", true, false, false, bearer_oauthbearer, "\1"}, /* RFC 7628 section 3.2.3 */
    {"XOAUTH2", true, false, false, bearer_xoauth2, ""},
};

typedef struct client_mechanism client_mechanism;

struct sasl_client {
    const client_mechanism *mechanism;
    Gsasl *gsasl;
    Gsasl_session *session;
    const char *user; /* with a token: the owner's */
    const char *token;
    char refusal[BEARER_STATUS];
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

int sasl_client_choose(smx_slice offered, const char *wanted, bool token, bool clear_text,
                       const char **mechanism)
{
    for (size_t i = 0; i < sizeof(client_mechanisms) / sizeof(client_mechanisms[0]); i++) {
        const client_mechanism *m = &client_mechanisms[i];
        bool eligible = wanted != NULL
                            ? slice_equal_nocase(slice_of_text(wanted), slice_of_text(m->name))
                            : clear_text || !m->clear_text_only;
        if (!eligible || (m->bearer != NULL) != token || !client_is_offered(offered, m->name))
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
    c->user = user;
    c->token = password;
    int error = found->bearer != NULL ? 0 : client_start(c, user, password);
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
    if (client->mechanism->bearer != NULL) {
        int error = client->mechanism->bearer(client->user, client->token, output);
        if (error != 0)
            return error;
        client->is_complete = true;
    } else if (client->mechanism->client_first) {
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

/* The one challenge to a token is its refusal: a dummy response makes the server end the exchange with
 * 535 (CHECKLIST 64). */
static int client_take_refusal(sasl_client *client, smx_slice challenge, bool first, buffer *output)
{
    client->is_complete = false;
    client->is_broken = !first;
    if (!first)
        return SMX_E_AUTH;
    bearer_read_status(challenge, client->refusal);
    return buffer_append_text(output, client->mechanism->dummy);
}

int sasl_client_step(sasl_client *client, smx_slice challenge, buffer *output)
{
    bool first = client->challenges++ == 0;
    if (client->mechanism->bearer != NULL)
        return client_take_refusal(client, challenge, first, output);
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

const char *sasl_client_refusal(const sasl_client *client)
{
    return client->refusal;
}
