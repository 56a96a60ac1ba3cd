/* Requests on libcurl's easy interface. A call owns its handle; nothing is shared between threads. */
#include "net/http.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>

#include "smx/proto.h"

#define MASK "********"

int http_begin(void)
{
    return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 0 : SMX_E_NOMEM;
}

void http_end(void)
{
    curl_global_cleanup();
}

/* ---- URLs ---- */

static bool http_is_here(const char *host)
{
    static const uint8_t one[16] = {[15] = 1};
    smx_slice name = slice_of_text(host);
    smx_address address;
    if (slice_equal_nocase(name, SMX_SLICE("localhost")))
        return true;
    if (name.len > 2 && name.data[0] == '[')
        name = slice_of(name.data + 1, name.len - 2);
    if (smx_address_parse(name, &address) != 0)
        return false;
    return address.family == 4 ? address.octets[0] == 127
                               : memcmp(address.octets, one, sizeof(one)) == 0;
}

/* *here: the URL leads to this machine; *clear: in clear text. */
static int http_url_judge(const char *text, bool *here, bool *clear)
{
    char *scheme = NULL;
    char *host = NULL;
    CURLU *url = curl_url();
    int error = url == NULL ? SMX_E_NOMEM : SMX_E_SYNTAX;
    if (url != NULL && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK && host[0] != '\0' &&
        (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0)) {
        *here = http_is_here(host);
        *clear = strcmp(scheme, "http") == 0;
        error = 0;
    }
    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(url);
    return error;
}

int http_url_check(const char *url, bool secret, problem *p)
{
    bool here = false;
    bool clear = false;
    int error = http_url_judge(url, &here, &clear);
    if (error == SMX_E_NOMEM)
        return problem_set(p, error, "out of memory");
    if (error != 0)
        return problem_set(p, error, "expected a URL that begins with https:// or http://");
    if (secret && clear && !here)
        return problem_set(p, SMX_E_SYNTAX,
                           "secrets would leave on clear text: the URL must begin with https://");
    return 0;
}

/* User and password are of one part, the query of another: either may bear a token. */
static int http_url_hide(CURLU *url, CURLUPart part)
{
    char *value = NULL;
    CURLUcode code = curl_url_get(url, part, &value, 0);
    curl_free(value);
    if (code != CURLUE_OK)
        return code == CURLUE_OUT_OF_MEMORY ? SMX_E_NOMEM : 0;
    return curl_url_set(url, part, MASK, 0) == CURLUE_OK ? 0 : SMX_E_NOMEM;
}

int http_url_mask(const char *text, buffer *out)
{
    static const CURLUPart hidden[] = {CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_QUERY};
    char *shown = NULL;
    CURLU *url = curl_url();
    int error = url == NULL ? SMX_E_NOMEM : 0;
    if (error == 0 && curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK)
        error = SMX_E_SYNTAX;
    for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]) && error == 0; i++)
        error = http_url_hide(url, hidden[i]);
    if (error == 0 && curl_url_get(url, CURLUPART_URL, &shown, 0) != CURLUE_OK)
        error = SMX_E_NOMEM;
    if (error == 0)
        error = buffer_append_text(out, shown);
    curl_free(shown);
    curl_url_cleanup(url);
    return error;
}

/* ---- requests ---- */

typedef struct http_call {
    const http_request *request;
    buffer body;
    int error; /* why our callbacks ended it */
} http_call;

static size_t http_on_body(char *data, size_t one, size_t count, void *arg)
{
    http_call *call = arg;
    size_t len = one * count;
    if (len > call->request->answer_max - buffer_length(&call->body))
        call->error = SMX_E_LIMIT;
    else
        call->error = buffer_append(&call->body, slice_of(data, len));
    return call->error == 0 ? len : CURL_WRITEFUNC_ERROR;
}

static int http_on_progress(void *arg, curl_off_t to_get, curl_off_t got, curl_off_t to_put,
                            curl_off_t put)
{
    http_call *call = arg;
    (void)to_get, (void)got, (void)to_put, (void)put;
    if (call->request->stop == NULL || !atomic_load(call->request->stop))
        return 0;
    call->error = SMX_E_CLOSED;
    return 1;
}

static int http_error_of(CURLcode code)
{
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return SMX_E_RESOLVE;
    case CURLE_COULDNT_CONNECT:
        return SMX_E_REFUSED;
    case CURLE_OPERATION_TIMEDOUT:
        return SMX_E_TIMEOUT;
    case CURLE_OUT_OF_MEMORY:
        return SMX_E_NOMEM;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
        return SMX_E_TLS;
    default:
        return SMX_E_IO;
    }
}

static void http_block_sigpipe(void)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* One line for each fact of a handle; the first that fails ends it. */
#define HTTP_SET(option, value)                                                                    \
    do {                                                                                           \
        if (curl_easy_setopt(curl, option, value) != CURLE_OK)                                     \
            return SMX_E_NOMEM;                                                                    \
    } while (0)

static int http_set_up(CURL *curl, http_call *call, const struct curl_slist *headers, char *words)
{
    const http_request *r = call->request;
    bool here = false;
    bool clear = false;
    int error = http_url_judge(r->url, &here, &clear);
    if (error != 0)
        return error;
    HTTP_SET(CURLOPT_URL, r->url);
    HTTP_SET(CURLOPT_PROTOCOLS_STR, "http,https");
    HTTP_SET(CURLOPT_FOLLOWLOCATION, 0L);
    HTTP_SET(CURLOPT_NOSIGNAL, 1L);
    HTTP_SET(CURLOPT_TIMEOUT_MS, (long)r->timeout_ms);
    HTTP_SET(CURLOPT_CONNECTTIMEOUT_MS, (long)r->timeout_ms);
    HTTP_SET(CURLOPT_USERAGENT, "smtpmux/" SMX_VERSION_TEXT);
    HTTP_SET(CURLOPT_HTTPHEADER, headers);
    HTTP_SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.len);
    HTTP_SET(CURLOPT_POSTFIELDS, r->body.data);
    HTTP_SET(CURLOPT_WRITEFUNCTION, http_on_body);
    HTTP_SET(CURLOPT_WRITEDATA, call);
    HTTP_SET(CURLOPT_NOPROGRESS, 0L);
    HTTP_SET(CURLOPT_XFERINFOFUNCTION, http_on_progress);
    HTTP_SET(CURLOPT_XFERINFODATA, call);
    HTTP_SET(CURLOPT_ERRORBUFFER, words);
    if (here)
        HTTP_SET(CURLOPT_PROXY, "");
    return 0;
}

static int http_add_header(struct curl_slist **headers, const char *name, const char *value)
{
    buffer line = {0};
    struct curl_slist *longer = NULL;
    if (value == NULL)
        return 0;
    if (buffer_printf(&line, "%s: %s", name, value) == 0 && buffer_append_char(&line, '\0') == 0)
        longer = curl_slist_append(*headers, buffer_slice(&line).data);
    buffer_free(&line);
    if (longer == NULL)
        return SMX_E_NOMEM;
    *headers = longer;
    return 0;
}

static int http_run(CURL *curl, http_call *call, const struct curl_slist *headers,
                    http_answer *answer, problem *p)
{
    char words[CURL_ERROR_SIZE] = "";
    long status = 0;
    int error = http_set_up(curl, call, headers, words);
    if (error != 0)
        return problem_set(p, error, "%s", smx_error_text(error));
    CURLcode code = curl_easy_perform(curl);
    if (code != CURLE_OK) {
        error = call->error != 0 ? call->error : http_error_of(code);
        if (call->error != 0 || words[0] == '\0')
            return problem_set(p, error, "%s", smx_error_text(error));
        return problem_set(p, error, "%s", words);
    }
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    *answer = (http_answer){(unsigned)status, call->body};
    call->body = (buffer){0};
    return 0;
}

int http_post(const http_request *request, http_answer *answer, problem *p)
{
    http_call call = {.request = request};
    struct curl_slist *headers = NULL;
    http_block_sigpipe();
    CURL *curl = curl_easy_init();
    int error = curl == NULL ? SMX_E_NOMEM : 0;
    if (error == 0)
        error = http_add_header(&headers, "Content-Type", request->content_type);
    if (error == 0)
        error = http_add_header(&headers, "Accept", request->accept);
    if (error != 0)
        (void)problem_set(p, error, "out of memory");
    else
        error = http_run(curl, &call, headers, answer, p);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    http_answer_free(&(http_answer){0, call.body});
    return error;
}

void http_answer_free(http_answer *answer)
{
    if (answer->body.data != NULL)
        explicit_bzero(answer->body.data, answer->body.capacity);
    buffer_free(&answer->body);
}
