/* HTTP to the admin, by libcurl. The client owns the configuration that it found the socket by. */
#include "app/admin_client.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "app/admin_keys.h"
#include "net/endpoint.h"

enum { PATIENCE_SECONDS = 120, CONNECT_SECONDS = 10, SILENCE_SECONDS = 60, ANSWER_MAX = 64 << 20 };

struct admin_client {
    config *config;
    char *listen;
    char *token; /* or NULL */
    CURL *curl;
};

/* ---- where it is ---- */

static int find_listen(admin_client *c, const char *path)
{
    config_file file;
    bool is_asked = false;
    int code = config_file_load_door(path, &file);
    if (code != EX_OK && file.text.data != NULL)
        config_file_tell(&file);
    const char *listen = code == EX_OK ? admin_listen(file.config, &is_asked) : NULL;
    if (code == EX_OK && listen == NULL) {
        (void)fprintf(stderr,
                      "smtpmux: %s has no admin socket: add `admin: {listen: \"unix:/path\"}` and "
                      "start the daemon anew, or name the socket with --admin\n",
                      file.path);
        code = EX_CONFIG;
    }
    if (code == EX_OK) {
        const char *token = file.config->admin.token;
        c->config = config_share(file.config);
        c->listen = slice_to_text(slice_of_text(listen));
        c->token = token == NULL ? NULL : slice_to_text(slice_of_text(token));
        code = c->listen == NULL ? EX_OSERR : EX_OK;
    }
    config_free(file.config);
    config_file_close(&file);
    return code;
}

/* With --admin the token is in the environment: on the command line others could read it. */
static int take_listen(admin_client *c, const char *listen)
{
    const char *token = getenv("SMTPMUX_ADMIN_TOKEN");
    endpoint e;
    problem p;
    if (endpoint_parse(slice_of_text(listen), 0, &e, &p) != 0) {
        (void)fprintf(stderr, "smtpmux: --admin: %s\n", p.text);
        return EX_USAGE;
    }
    c->listen = slice_to_text(slice_of_text(listen));
    c->token = token == NULL ? NULL : slice_to_text(slice_of_text(token));
    return c->listen == NULL ? EX_OSERR : EX_OK;
}

int admin_client_open(const char *path, const char *listen, admin_client **out)
{
    admin_client *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return EX_OSERR;
    int code = listen != NULL ? take_listen(c, listen) : find_listen(c, path);
    if (code == EX_OK) {
        c->curl = curl_easy_init();
        code = c->curl == NULL ? EX_OSERR : EX_OK;
    }
    if (code != EX_OK) {
        admin_client_free(c);
        return code;
    }
    *out = c;
    return EX_OK;
}

void admin_client_free(admin_client *client)
{
    if (client == NULL)
        return;
    curl_easy_cleanup(client->curl);
    config_free(client->config);
    if (client->token != NULL)
        explicit_bzero(client->token, strlen(client->token));
    free(client->token);
    free(client->listen);
    free(client);
}

/* ---- a request ---- */

static size_t on_octets(char *octets, size_t size, size_t count, void *arg)
{
    buffer *in = arg;
    if (buffer_length(in) + size * count > ANSWER_MAX)
        return 0;
    return buffer_append(in, slice_of(octets, size * count)) == 0 ? size * count : 0;
}

/* "http://localhost" + path, with the name in its place. */
static int write_url(admin_client *c, const endpoint *at, const char *path, const char *name,
                     buffer *url)
{
    smx_slice all = slice_of_text(path);
    size_t mark = slice_find(all, '?');
    bool is_ipv6 = slice_find(at->host, ':') < at->host.len;
    char *escaped = curl_easy_escape(c->curl, name == NULL ? "" : name, 0);
    int error = escaped == NULL ? SMX_E_NOMEM : 0;
    if (error == 0 && at->is_unix)
        error = buffer_append_text(url, "http://localhost");
    else if (error == 0)
        error = buffer_printf(url, is_ipv6 ? "http://[%.*s]:%u" : "http://%.*s:%u",
                              (int)at->host.len, at->host.data, at->port);
    if (error == 0)
        error = buffer_printf(url, "%.*s%s%s", (int)mark, path, escaped,
                              mark < all.len ? path + mark + 1 : "");
    if (error == 0)
        error = buffer_append_char(url, '\0');
    curl_free(escaped);
    return error;
}

static struct curl_slist *add_header(struct curl_slist *headers, const char *header, bool *is_whole)
{
    struct curl_slist *longer = *is_whole ? curl_slist_append(headers, header) : NULL;
    *is_whole = longer != NULL;
    return longer == NULL ? headers : longer;
}

static struct curl_slist *make_headers(const admin_client *c, bool *is_whole)
{
    char token[1100];
    struct curl_slist *headers = NULL;
    *is_whole = true;
    headers = add_header(headers, "Content-Type: application/json", is_whole);
    headers = add_header(headers, "Expect:", is_whole);
    if (c->token != NULL) {
        (void)snprintf(token, sizeof(token), "Authorization: Bearer %.1024s", c->token);
        headers = add_header(headers, token, is_whole);
        explicit_bzero(token, sizeof(token));
    }
    return headers;
}

static int tell_no_connection(const admin_client *c, CURLcode result)
{
    long number = 0;
    (void)curl_easy_getinfo(c->curl, CURLINFO_OS_ERRNO, &number);
    if (result == CURLE_COULDNT_CONNECT && (number == EACCES || number == EPERM)) {
        (void)fprintf(
            stderr,
            "smtpmux: permission denied for %s: it is for the user and the group that the "
            "daemon runs as; use sudo, or join the group\n",
            c->listen);
        return EX_NOPERM;
    }
    if (result == CURLE_COULDNT_CONNECT)
        (void)fprintf(stderr, "smtpmux: nobody answers on %s: is `smtpmux serve` running? (%s)\n",
                      c->listen, number == 0 ? "no connection" : strerror((int)number));
    else
        (void)fprintf(stderr, "smtpmux: %s: %s\n", c->listen, curl_easy_strerror(result));
    return EX_UNAVAILABLE;
}

/* `seconds` of patience with the whole answer; 0: it goes on, as long as something comes. */
static int perform(admin_client *c, const endpoint *at, const char *url, const char *body,
                   long seconds, curl_write_callback take, void *arg)
{
    bool is_whole;
    char path[512];
    struct curl_slist *headers = make_headers(c, &is_whole);
    curl_easy_reset(c->curl);
    (void)snprintf(path, sizeof(path), "%.*s", (int)at->host.len, at->host.data);
    (void)curl_easy_setopt(c->curl, CURLOPT_URL, url);
    if (at->is_unix)
        (void)curl_easy_setopt(c->curl, CURLOPT_UNIX_SOCKET_PATH, path);
    (void)curl_easy_setopt(c->curl, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(c->curl, CURLOPT_PROTOCOLS_STR, "http");
    (void)curl_easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    (void)curl_easy_setopt(c->curl, CURLOPT_TIMEOUT, seconds);
    if (seconds == 0) {
        (void)curl_easy_setopt(c->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
        (void)curl_easy_setopt(c->curl, CURLOPT_LOW_SPEED_TIME, (long)SILENCE_SECONDS);
    }
    (void)curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, take);
    (void)curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, arg);
    if (body != NULL)
        (void)curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, body);
    CURLcode result = is_whole ? curl_easy_perform(c->curl) : CURLE_OUT_OF_MEMORY;
    curl_slist_free_all(headers);
    return result == CURLE_OK ? EX_OK : tell_no_connection(c, result);
}

/* ---- an answer ---- */

static const struct {
    long status;
    int code;
} CODES[] = {
    {400, EX_USAGE},    {401, EX_NOPERM},      {403, EX_NOPERM},      {404, EX_DATAERR},
    {409, EX_TEMPFAIL}, {422, EX_CONFIG},      {501, EX_UNAVAILABLE}, {503, EX_TEMPFAIL},
    {504, EX_TEMPFAIL}, {502, EX_UNAVAILABLE},
};

static int code_of(long status)
{
    for (size_t i = 0; i < sizeof(CODES) / sizeof(CODES[0]); i++) {
        if (CODES[i].status == status)
            return CODES[i].code;
    }
    return EX_SOFTWARE;
}

static int judge(const admin_client *c, smx_slice text, json_t **answer)
{
    long status = 0;
    json_error_t error;
    (void)curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
    *answer = json_loadb(text.data, text.len, 0, &error);
    if (status == 200 && *answer != NULL)
        return EX_OK;
    const char *why = json_string_value(json_object_get(*answer, "error"));
    if (why != NULL)
        (void)fprintf(stderr, "smtpmux: %s\n", why);
    else
        (void)fprintf(stderr, "smtpmux: what answers on %s is no smtpmux (HTTP status %ld)\n",
                      c->listen, status);
    if (status == 401)
        (void)fputs("smtpmux: with --admin on TCP, put the token into the environment variable "
                    "SMTPMUX_ADMIN_TOKEN\n",
                    stderr);
    return why == NULL ? EX_PROTOCOL : code_of(status);
}

int admin_client_ask(admin_client *client, const char *path, const char *name, json_t *body,
                     json_t **answer)
{
    endpoint at;
    problem p;
    buffer url = {0};
    buffer in = {0};
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    int code = EX_OSERR;
    *answer = NULL;
    if (endpoint_parse(slice_of_text(client->listen), 0, &at, &p) == 0 &&
        (body == NULL || text != NULL) && write_url(client, &at, path, name, &url) == 0)
        code = perform(client, &at, url.data, text, PATIENCE_SECONDS, on_octets, &in);
    else
        (void)fputs("smtpmux: out of memory\n", stderr);
    if (code == EX_OK)
        code = judge(client, buffer_slice(&in), answer);
    json_decref(body);
    free(text);
    buffer_free(&url);
    buffer_free(&in);
    return code;
}

/* ---- an answer that goes on ---- */

typedef struct follow {
    admin_client *client;
    buffer in; /* up to the end of a line, or the whole of a refusal */
    void (*line)(void *arg, smx_slice line);
    void *arg;
} follow;

static size_t on_lines(char *octets, size_t size, size_t count, void *arg)
{
    follow *f = arg;
    long status = 0;
    if (buffer_append(&f->in, slice_of(octets, size * count)) != 0)
        return 0;
    (void)curl_easy_getinfo(f->client->curl, CURLINFO_RESPONSE_CODE, &status);
    while (status == 200) {
        smx_slice all = buffer_slice(&f->in);
        size_t end = slice_find(all, '\n');
        if (end == all.len)
            break;
        if (end > 0)
            f->line(f->arg, slice_to(all, end));
        buffer_consume(&f->in, end + 1);
    }
    return size * count;
}

static int write_query(admin_client *c, const char *const *pairs, buffer *url)
{
    int error = 0;
    url->end--; /* its NUL */
    for (char sign = '?'; pairs[0] != NULL && error == 0; pairs += 2) {
        char *escaped = pairs[1] == NULL ? NULL : curl_easy_escape(c->curl, pairs[1], 0);
        if (pairs[1] == NULL)
            continue;
        error =
            escaped == NULL ? SMX_E_NOMEM : buffer_printf(url, "%c%s=%s", sign, pairs[0], escaped);
        curl_free(escaped);
        sign = '&';
    }
    return error == 0 ? buffer_append_char(url, '\0') : error;
}

int admin_client_follow(admin_client *client, const char *path, const char *const *pairs,
                        void (*line)(void *arg, smx_slice line), void *arg)
{
    endpoint at;
    problem p;
    buffer url = {0};
    follow f = {.client = client, .line = line, .arg = arg};
    json_t *answer = NULL;
    long status = 0;
    int code = EX_OSERR;
    if (endpoint_parse(slice_of_text(client->listen), 0, &at, &p) == 0 &&
        write_url(client, &at, path, NULL, &url) == 0 && write_query(client, pairs, &url) == 0)
        code = perform(client, &at, url.data, NULL, 0, on_lines, &f);
    else
        (void)fputs("smtpmux: out of memory\n", stderr);
    (void)curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
    if (code == EX_OK && status != 200)
        code = judge(client, buffer_slice(&f.in), &answer);
    json_decref(answer);
    buffer_free(&f.in);
    buffer_free(&url);
    return code;
}

int admin_client_print(const json_t *answer)
{
    int failed = json_dumpf(answer, stdout, JSON_INDENT(2)) != 0 || putchar('\n') == EOF;
    return failed ? EX_IOERR : EX_OK;
}
