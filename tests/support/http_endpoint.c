/* See http_endpoint.h. The mutex guards all that the test looks at; a body that was counted stays as
 * it is. */
#include "support/http_endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "support/unit_test.h"

enum { REQUEST_MAX = 8192, BODY_MAX = 1024, REQUESTS_MAX = 1024, PATIENCE_S = 20 };

struct http_endpoint {
    int fd;
    char url[64];
    const char *answer;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool is_held;
    bool is_over;
    size_t count;
    char bodies[REQUESTS_MAX][BODY_MAX];
};

/* The request up to its end; its body, or NULL if it never came. */
static const char *read_request(int fd, char *request)
{
    size_t len = 0;
    while (len < REQUEST_MAX - 1) {
        ssize_t got = recv(fd, request + len, REQUEST_MAX - 1 - len, 0);
        if (got <= 0)
            return NULL;
        len += (size_t)got;
        request[len] = '\0';
        const char *end = strstr(request, "\r\n\r\n");
        const char *size = strstr(request, "Content-Length: ");
        if (end != NULL && size != NULL &&
            strlen(end + 4) >= strtoul(size + sizeof("Content-Length: ") - 1, NULL, 10))
            return end + 4;
    }
    return NULL;
}

static void serve_one(http_endpoint *e, int fd)
{
    char request[REQUEST_MAX];
    const char *body = read_request(fd, request);
    if (body == NULL)
        return;
    (void)pthread_mutex_lock(&e->mutex);
    if (e->count < REQUESTS_MAX)
        (void)snprintf(e->bodies[e->count++], BODY_MAX, "%s", body);
    (void)pthread_cond_broadcast(&e->changed);
    while (e->is_held && !e->is_over)
        (void)pthread_cond_wait(&e->changed, &e->mutex);
    (void)pthread_mutex_unlock(&e->mutex);
    (void)dprintf(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
                  strlen(e->answer), e->answer);
}

static void *endpoint_work(void *arg)
{
    http_endpoint *e = arg;
    for (int fd; (fd = accept(e->fd, NULL, NULL)) >= 0; (void)close(fd))
        serve_one(e, fd);
    return NULL;
}

http_endpoint *http_endpoint_new(const char *answer)
{
    http_endpoint *e = calloc(1, sizeof(*e));
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    assert_non_null(e);
    e->answer = answer;
    e->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(e->fd, (struct sockaddr *)(void *)&at, sizeof(at)), 0);
    assert_int_equal(listen(e->fd, 64), 0);
    assert_int_equal(getsockname(e->fd, (struct sockaddr *)(void *)&at, &size), 0);
    (void)snprintf(e->url, sizeof(e->url), "http://127.0.0.1:%u/", ntohs(at.sin_port));
    assert_int_equal(pthread_mutex_init(&e->mutex, NULL), 0);
    assert_int_equal(pthread_cond_init(&e->changed, NULL), 0);
    assert_int_equal(pthread_create(&e->thread, NULL, endpoint_work, e), 0);
    return e;
}

void http_endpoint_free(http_endpoint *e)
{
    (void)pthread_mutex_lock(&e->mutex);
    e->is_over = true;
    (void)pthread_cond_broadcast(&e->changed);
    (void)pthread_mutex_unlock(&e->mutex);
    (void)shutdown(e->fd, SHUT_RDWR);
    (void)pthread_join(e->thread, NULL);
    (void)close(e->fd);
    (void)pthread_cond_destroy(&e->changed);
    (void)pthread_mutex_destroy(&e->mutex);
    free(e);
}

const char *http_endpoint_url(const http_endpoint *e)
{
    return e->url;
}

void http_endpoint_hold(http_endpoint *e, bool is_held)
{
    (void)pthread_mutex_lock(&e->mutex);
    e->is_held = is_held;
    (void)pthread_cond_broadcast(&e->changed);
    (void)pthread_mutex_unlock(&e->mutex);
}

size_t http_endpoint_count(http_endpoint *e)
{
    (void)pthread_mutex_lock(&e->mutex);
    size_t count = e->count;
    (void)pthread_mutex_unlock(&e->mutex);
    return count;
}

void http_endpoint_wait(http_endpoint *e, size_t count)
{
    struct timespec until;
    int error = clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    (void)pthread_mutex_lock(&e->mutex);
    while (error == 0 && e->count < count)
        error = pthread_cond_timedwait(&e->changed, &e->mutex, &until);
    size_t found = e->count;
    (void)pthread_mutex_unlock(&e->mutex);
    if (found < count)
        fail_msg("%zu requests came of %zu", found, count);
}

const char *http_endpoint_body(http_endpoint *e, size_t nth)
{
    assert_true(nth < http_endpoint_count(e));
    return e->bodies[nth];
}
