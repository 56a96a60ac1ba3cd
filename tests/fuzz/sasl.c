/* Exchanges with a peer that says anything. The first octet chooses side and mechanism; then come
 * messages, each behind an octet with its length. "%r" in one of them stands for what our side said
 * last up to its first comma: with it a made-up SCRAM message can bear our nonce. */
#include "sasl/sasl.h"
#include "base/buffer.h"
#include "fuzz.h"

/* RFC 7677 section 3: user "user", password "pencil". */
#define PENCIL_KEYS                                                                                \
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"    \
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

static bool sasl_fuzz_secret(void *arg, smx_slice user, smx_slice *secret)
{
    (void)arg;
    *secret = slice_equal(user, SMX_SLICE("user")) ? SMX_SLICE(PENCIL_KEYS) : SMX_SLICE("pencil");
    return user.len < 8;
}

/* The next message, with %r replaced; false at the end. */
static bool sasl_fuzz_next(smx_slice *rest, smx_slice said, buffer *message)
{
    if (rest->len == 0)
        return false;
    size_t len = (unsigned char)rest->data[0];
    *rest = slice_from(*rest, 1);
    len = len < rest->len ? len : rest->len;
    smx_slice text = slice_to(*rest, len);
    *rest = slice_from(*rest, len);
    size_t mark = slice_search(text, SMX_SLICE("%r"));
    buffer_clear(message);
    FUZZ_CHECK(buffer_append(message, slice_to(text, mark)) == 0);
    if (mark < text.len) {
        /* Behind the r= of a server's first message, or of a client's. */
        size_t nonce = slice_search(said, SMX_SLICE("r="));
        smx_slice from = nonce < said.len ? slice_from(said, nonce + 2) : slice_to(said, 0);
        FUZZ_CHECK(buffer_append(message, slice_to(from, slice_find(from, ','))) == 0);
        FUZZ_CHECK(buffer_append(message, slice_from(text, mark + 2)) == 0);
    }
    return true;
}

/* The message in memory of exactly its size. */
static sasl_step sasl_fuzz_step(sasl_server *server, bool has_input, const buffer *message,
                                buffer *output)
{
    char *copy = fuzz_copy(buffer_slice(message).data, buffer_length(message));
    sasl_step step =
        sasl_server_step(server, has_input, slice_of(copy, buffer_length(message)), output);
    free(copy);
    return step;
}

static void sasl_fuzz_server(const char *mechanism, bool has_initial, smx_slice rest)
{
    sasl_server *server = NULL;
    buffer message = {0};
    buffer output = {0};
    sasl_step step = SASL_CHALLENGE;
    FUZZ_CHECK(sasl_server_new(slice_of_text(mechanism), sasl_fuzz_secret, NULL, &server) == 0);
    if (!has_initial)
        step = sasl_fuzz_step(server, false, &message, &output);
    while (step == SASL_CHALLENGE && sasl_fuzz_next(&rest, buffer_slice(&output), &message)) {
        buffer_clear(&output);
        step = sasl_fuzz_step(server, true, &message, &output);
    }
    /* Nobody guesses a proof. */
    FUZZ_CHECK(step != SASL_SUCCESS && step != SASL_NOMEM);
    FUZZ_CHECK(!fuzz_has_control(sasl_server_user(server)));
    smx_slice password = sasl_server_password(server);
    FUZZ_CHECK((step == SASL_PASSWORD) == (password.len > 0));
    FUZZ_CHECK(step != SASL_PASSWORD || sasl_server_user(server).len > 0);
    FUZZ_CHECK(slice_find(password, '\0') == password.len);
    if (step != SASL_CHALLENGE)
        FUZZ_CHECK(sasl_fuzz_step(server, true, &message, &output) == SASL_FAILURE);
    sasl_server_free(server);
    buffer_free(&message);
    buffer_free(&output);
}

static void sasl_fuzz_client(const char *mechanism, smx_slice rest)
{
    sasl_client *client = NULL;
    buffer message = {0};
    buffer output = {0};
    bool has_initial = false;
    int error = sasl_client_new(mechanism, "user", "pencil", &client);
    FUZZ_CHECK(error == 0);
    FUZZ_CHECK(sasl_client_initial(client, &has_initial, &output) == 0);
    while (error == 0 && sasl_fuzz_next(&rest, buffer_slice(&output), &message)) {
        buffer_clear(&output);
        char *copy = fuzz_copy(buffer_slice(&message).data, buffer_length(&message));
        error = sasl_client_step(client, slice_of(copy, buffer_length(&message)), &output);
        FUZZ_CHECK(error == 0 || error == SMX_E_AUTH);
        free(copy);
    }
    /* A server that knows no password cannot prove that it does. */
    FUZZ_CHECK(mechanism[0] != 'S' || !sasl_client_is_complete(client));
    FUZZ_CHECK(error == 0 || sasl_client_step(client, SMX_SLICE(""), &output) == SMX_E_AUTH);
    sasl_client_free(client);
    buffer_free(&message);
    buffer_free(&output);
}

static void sasl_fuzz_choose(smx_slice offered)
{
    const char *mechanism = NULL;
    int error = sasl_client_choose(offered, NULL, false, false, &mechanism);
    FUZZ_CHECK(error == (mechanism == NULL ? SMX_E_NOTFOUND : 0));
    FUZZ_CHECK(mechanism == NULL || strcmp(mechanism, "CRAM-MD5") != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const servers[] = {"PLAIN", "LOGIN", "SCRAM-SHA-256"};
    static const char *const clients[] = {"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"};
    if (size == 0 || size > 4096)
        return 0;
    smx_slice rest = slice_of((const char *)data + 1, size - 1);
    unsigned choice = data[0] % 11;
    if (choice < 6)
        sasl_fuzz_server(servers[choice / 2], choice % 2 == 0, rest);
    else if (choice < 10)
        sasl_fuzz_client(clients[choice - 6], rest);
    else
        sasl_fuzz_choose(rest);
    return 0;
}
