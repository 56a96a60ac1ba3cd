/* Reads "host:port" and "unix:/path", and turns sockets' addresses into values. Owns nothing. */
#include "net/endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ENDPOINT_PORT_MAX = 65535 };

/* A sentence's piece: at most so much of a text that may be anything. */
#define ENDPOINT_SHOWN(s) (int)((s).len < 200 ? (s).len : 200), (s).data

static int endpoint_parse_unix(smx_slice text, endpoint *e, problem *p)
{
    smx_slice path = slice_from(text, sizeof("unix:") - 1);
    if (path.len == 0 || path.data[0] != '/')
        return problem_set(p, SMX_E_SYNTAX,
                           "\"%.*s\": an absolute path is expected, as unix:/run/x.sock",
                           ENDPOINT_SHOWN(text));
    if (path.len >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
        return problem_set(
            p, SMX_E_RANGE, "\"%.*s\": the path of a Unix socket has at most %zu octets",
            ENDPOINT_SHOWN(path), sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1);
    if (slice_find(path, '\0') < path.len)
        return problem_set(p, SMX_E_SYNTAX, "the path of the Unix socket has a NUL in it");
    *e = (endpoint){.is_unix = true, .host = path};
    return 0;
}

static bool endpoint_is_ipv6(smx_slice host)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char octets[16];
    if (host.len == 0 || host.len >= sizeof(text))
        return false;
    memcpy(text, host.data, host.len);
    text[host.len] = '\0';
    return inet_pton(AF_INET6, text, octets) == 1;
}

/* Splits into host and the port's digits; `has_port` tells "name:" from "name". */
static bool endpoint_split(smx_slice text, smx_slice *host, smx_slice *port, bool *has_port)
{
    if (text.len > 0 && text.data[0] == '[') {
        size_t end = slice_find(text, ']');
        if (end == text.len)
            return false;
        *host = slice_of(text.data + 1, end - 1);
        smx_slice rest = slice_from(text, end + 1);
        *has_port = rest.len > 0;
        *port = *has_port ? slice_from(rest, 1) : rest;
        return endpoint_is_ipv6(*host) && (rest.len == 0 || rest.data[0] == ':');
    }
    if (endpoint_is_ipv6(text)) {
        *host = text;
        *port = (smx_slice){0};
        *has_port = false;
        return true;
    }
    size_t colon = slice_find(text, ':');
    *host = slice_to(text, colon);
    *has_port = colon < text.len;
    *port = slice_from(text, *has_port ? colon + 1 : colon);
    return slice_find(*port, ':') == port->len;
}

static bool endpoint_host_is_plausible(smx_slice host)
{
    if (host.len == 0 || host.len > 255)
        return false;
    for (size_t i = 0; i < host.len; i++)
        if ((unsigned char)host.data[i] <= ' ' || host.data[i] == 0x7f || host.data[i] == '/' ||
            host.data[i] == '@')
            return false;
    return true;
}

int endpoint_parse(smx_slice text, uint16_t default_port, endpoint *e, problem *p)
{
    smx_slice host;
    smx_slice digits;
    bool has_port;
    uint64_t port = default_port;
    if (slice_starts_with(text, SMX_SLICE("unix:")))
        return endpoint_parse_unix(text, e, p);
    if (!endpoint_split(text, &host, &digits, &has_port) || !endpoint_host_is_plausible(host))
        return problem_set(p, SMX_E_SYNTAX,
                           "\"%.*s\": expected HOST:PORT, [IPV6]:PORT or unix:/PATH",
                           ENDPOINT_SHOWN(text));
    if (!has_port && default_port == 0)
        return problem_set(p, SMX_E_SYNTAX, "\"%.*s\": the port is missing, as in %.*s:587",
                           ENDPOINT_SHOWN(text), ENDPOINT_SHOWN(text));
    if (has_port && slice_to_number(digits, ENDPOINT_PORT_MAX, &port) != 0)
        return problem_set(p, SMX_E_SYNTAX, "\"%.*s\": the port is to be a number up to %d",
                           ENDPOINT_SHOWN(text), ENDPOINT_PORT_MAX);
    *e = (endpoint){.host = host, .port = (uint16_t)port};
    return 0;
}

static void endpoint_address_ipv6(const struct sockaddr_in6 *from, smx_address *address)
{
    const unsigned char *octets = from->sin6_addr.s6_addr;
    address->port = ntohs(from->sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&from->sin6_addr)) {
        address->family = 4;
        memcpy(address->octets, octets + 12, 4);
        return;
    }
    address->family = 6;
    memcpy(address->octets, octets, 16);
}

void endpoint_address(const struct sockaddr *from, smx_address *address)
{
    *address = (smx_address){0};
    if (from->sa_family == AF_INET) {
        const struct sockaddr_in *ipv4 = (const struct sockaddr_in *)(const void *)from;
        address->family = 4;
        address->port = ntohs(ipv4->sin_port);
        memcpy(address->octets, &ipv4->sin_addr, 4);
    } else if (from->sa_family == AF_INET6) {
        endpoint_address_ipv6((const struct sockaddr_in6 *)(const void *)from, address);
    } else if (from->sa_family == AF_UNIX) {
        address->family = 1;
    }
}

bool address_is_own(const smx_address *address)
{
    union {
        struct sockaddr any;
        struct sockaddr_in ipv4;
        struct sockaddr_in6 ipv6;
    } to = {.ipv6 = {.sin6_family = AF_INET6}};
    socklen_t size = sizeof(to.ipv6);
    if (address->family == 4) {
        to.ipv4 = (struct sockaddr_in){.sin_family = AF_INET};
        memcpy(&to.ipv4.sin_addr, address->octets, 4);
        size = sizeof(to.ipv4);
    } else {
        memcpy(&to.ipv6.sin6_addr, address->octets, 16);
    }
    int fd = socket(to.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool own = bind(fd, &to.any, size) == 0;
    (void)close(fd);
    return own;
}
