/* The strings of XOAUTH2 and OAUTHBEARER. The octet 1 parts their fields, so that it may stand neither
 * in a name nor in a token. */
#include "sasl/bearer.h"

/* A token is printable ASCII (RFC 6750 section 2.1 takes still less). */
static bool bearer_is_token(const char *token)
{
    for (const char *c = token; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~')
            return false;
    return token[0] != '\0';
}

static bool bearer_is_name(const char *user)
{
    for (const char *c = user; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return false;
    return user[0] != '\0';
}

int bearer_xoauth2(const char *user, const char *token, buffer *output)
{
    if (!bearer_is_name(user) || !bearer_is_token(token))
        return SMX_E_INVALID;
    return buffer_printf(output, "user=%s\1auth=Bearer %s\1\1", user, token);
}

/* RFC 5801 section 4: in a name of the GS2 header "," and "=" are written as codes. */
static int bearer_append_name(const char *user, buffer *output)
{
    int error = 0;
    for (const char *c = user; *c != '\0' && error == 0; c++) {
        if (*c == ',')
            error = buffer_append_text(output, "=2C");
        else if (*c == '=')
            error = buffer_append_text(output, "=3D");
        else
            error = buffer_append_char(output, *c);
    }
    return error;
}

/* RFC 7628 section 3.1. `host` and `port` are for tokens that sign them, which Bearer ones do not. */
int bearer_oauthbearer(const char *user, const char *token, buffer *output)
{
    if (!bearer_is_name(user) || !bearer_is_token(token))
        return SMX_E_INVALID;
    int error = buffer_append_text(output, "n,a=");
    if (error == 0)
        error = bearer_append_name(user, output);
    return error != 0 ? error : buffer_printf(output, ",\1auth=Bearer %s\1\1", token);
}

/* Cuts off blanks and `c` in front; false if something else stands there. */
static bool bearer_skip(smx_slice *json, char c)
{
    *json = slice_trim(*json);
    if (json->len == 0 || json->data[0] != c)
        return false;
    *json = slice_from(*json, 1);
    return true;
}

/* RFC 7628 section 3.2.2: {"status":"invalid_token", ...}. Only a word for the log is wanted. */
void bearer_read_status(smx_slice json, char status[static BEARER_STATUS])
{
    static const char key[] = "\"status\"";
    size_t len = 0;
    status[0] = '\0';
    for (; json.len >= sizeof(key) - 1; json = slice_from(json, 1))
        if (slice_starts_with(json, slice_of_text(key)))
            break;
    if (json.len < sizeof(key) - 1)
        return;
    json = slice_from(json, sizeof(key) - 1);
    if (!bearer_skip(&json, ':') || !bearer_skip(&json, '"'))
        return;
    for (; len < json.len && len < BEARER_STATUS - 1 && json.data[len] != '"'; len++)
        status[len] = json.data[len] > ' ' && json.data[len] <= '~' ? json.data[len] : '?';
    status[len] = '\0';
}
