/* The form and the JSON of a token endpoint. What the endpoint says of a failure goes to the log with
 * all but printable ASCII replaced. */
#include "upstream/oauth2_exchange.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    LIFE_DEFAULT_S = 3600, /* where the endpoint does not say `expires_in` */
    LIFE_MAX_S = 30 * 24 * 3600,
};

/* ---- the form ---- */

/* application/x-www-form-urlencoded. */
static int form_append_value(buffer *form, const char *value)
{
    static const char plain[] = "-._~";
    int error = 0;
    for (const char *c = value; *c != '\0' && error == 0; c++) {
        if (ascii_is_alnum(*c) || strchr(plain, *c) != NULL)
            error = buffer_append_char(form, *c);
        else
            error = buffer_printf(form, "%%%02X", (unsigned)(unsigned char)*c);
    }
    return error;
}

static int form_append(buffer *form, const char *name, const char *value)
{
    if (value == NULL)
        return 0;
    int error = buffer_printf(form, "%s%s=", buffer_length(form) > 0 ? "&" : "", name);
    return error != 0 ? error : form_append_value(form, value);
}

int oauth2_write_form(const oauth2_options *options, const char *refresh_token, buffer *form)
{
    bool refreshes = options->grant == OAUTH2_REFRESH_TOKEN;
    const char *const fields[][2] = {
        {"grant_type", refreshes ? "refresh_token" : "client_credentials"},
        {"refresh_token", refreshes ? refresh_token : NULL},
        {"client_id", options->client_id},
        {"client_secret", options->client_secret},
        {"scope", options->scope},
    };
    /* Secrets are not left behind in memory that was outgrown. */
    size_t size = 256;
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        size += fields[i][1] == NULL ? 0 : 3 * strlen(fields[i][1]);
    int error = buffer_reserve(form, size);
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]) && error == 0; i++)
        error = form_append(form, fields[i][0], fields[i][1]);
    return error;
}

/* ---- the answer ---- */

static const char *answer_text(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));
    return text == NULL ? "" : text;
}

static void answer_make_printable(char *text)
{
    for (; *text != '\0'; text++)
        if (*text < ' ' || *text > '~')
            *text = '?';
}

/* RFC 6749 section 5.2. A server in trouble, or one that asks for patience, has refused nothing. */
static void answer_of_failure(oauth2_grant_answer *answer, unsigned status, const json_t *json)
{
    const char *error = answer_text(json, "error");
    const char *description = answer_text(json, "error_description");
    bool refused = status / 100 == 4 && status != 408 && status != 429;
    answer->state = refused ? OAUTH2_REFUSED : OAUTH2_UNAVAILABLE;
    (void)snprintf(answer->reason, sizeof(answer->reason),
                   "the token endpoint answered %u%s%.60s%s%.120s%s", status,
                   error[0] != '\0' ? ": " : "", error, description[0] != '\0' ? " (" : "",
                   description, description[0] != '\0' ? ")" : "");
    answer_make_printable(answer->reason);
}

/* `expires_in` is a number, but some send it as a string. */
static uint64_t answer_life_ms(const json_t *json)
{
    const json_t *value = json_object_get(json, "expires_in");
    uint64_t seconds = LIFE_DEFAULT_S;
    if (json_is_number(value)) {
        double number = json_number_value(value);
        seconds = number < 1 ? 1 : number > LIFE_MAX_S ? LIFE_MAX_S : (uint64_t)number;
    } else if (json_is_string(value) && slice_to_number(slice_of_text(json_string_value(value)),
                                                        LIFE_MAX_S, &seconds) != 0) {
        seconds = LIFE_DEFAULT_S;
    }
    return (seconds == 0 ? 1 : seconds) * 1000;
}

static void answer_unusable(oauth2_grant_answer *answer, const char *reason)
{
    answer->state = OAUTH2_UNAVAILABLE;
    (void)snprintf(answer->reason, sizeof(answer->reason), "%s", reason);
}

/* What stands in a token is looked at where it is sent (sasl/bearer.c). */
static void answer_of_success(oauth2_grant_answer *answer, const json_t *json)
{
    const char *token = answer_text(json, "access_token");
    const char *type = answer_text(json, "token_type");
    const char *refresh = answer_text(json, "refresh_token");
    if (token[0] == '\0') {
        answer_unusable(answer, "the token endpoint answered without an access_token");
        return;
    }
    if (type[0] != '\0' && !slice_equal_nocase(slice_of_text(type), SMX_SLICE("bearer"))) {
        answer_unusable(answer, "the token endpoint's token is not of the type Bearer");
        return;
    }
    answer->token = strdup(token);
    answer->refresh_token = refresh[0] == '\0' ? NULL : strdup(refresh);
    answer->life_ms = answer_life_ms(json);
    if (answer->token == NULL || (refresh[0] != '\0' && answer->refresh_token == NULL)) {
        oauth2_grant_answer_free(answer);
        answer_unusable(answer, "out of memory");
    }
}

oauth2_grant_answer oauth2_read_answer(unsigned status, smx_slice body)
{
    oauth2_grant_answer answer = {.state = OAUTH2_TOKEN};
    json_t *json = json_loadb(body.data, body.len, 0, NULL);
    if (status / 100 != 2)
        answer_of_failure(&answer, status, json);
    else if (!json_is_object(json))
        answer_unusable(&answer, "the token endpoint's answer is not a JSON object");
    else
        answer_of_success(&answer, json);
    json_decref(json);
    return answer;
}

void oauth2_grant_answer_free(oauth2_grant_answer *answer)
{
    oauth2_token_free(answer->token);
    oauth2_token_free(answer->refresh_token);
    answer->token = NULL;
    answer->refresh_token = NULL;
}
