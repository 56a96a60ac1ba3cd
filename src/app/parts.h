/* The custom readers and writers of the configuration, and what is judged when all is read. Each
 * group is one file: listeners.c, upstreams.c, users.c, go_form.c. */
#ifndef APP_PARTS_H
#define APP_PARTS_H

#include "app/reader.h"
#include "app/writer.h"

typedef void part_read_fn(config_reader *reader, const yaml_entry *entry, void *target);
typedef void part_write_fn(config_writer *writer, const void *target);

/* ---- listeners ---- */
part_read_fn listeners_read, listeners_read_certificates, listeners_read_trust,
    listeners_read_proxy_protocol, listeners_read_xclient;
part_write_fn listeners_write, listeners_write_certificates, listeners_write_trust,
    listeners_write_proxy_protocol, listeners_write_xclient;
/* What needs the users: trust's names, SCRAM; and addresses that are there twice. */
void listeners_check(config_reader *reader);

/* A list of addresses and networks. */
void listeners_read_networks(config_reader *reader, const yaml_entry *entry,
                             const smx_network **networks, size_t *count);
void listeners_write_networks(config_writer *writer, const char *name, const smx_network *networks,
                              size_t count);

/* ---- listeners of the mode proxy ---- */
part_read_fn proxies_read_upstream, proxies_read_url, proxies_read_client_address,
    proxies_read_extensions, proxies_read_capture, proxies_read_clients, proxies_read_senders;
part_write_fn proxies_write_upstream, proxies_write_client_address, proxies_write_extensions,
    proxies_write_capture, proxies_write_clients, proxies_write_senders;
/* Whether a key has its place in the listener's mode: for config_key's `applies`. */
bool proxies_is_proxy(const void *listener);
bool proxies_is_mux(const void *listener);
/* Keys that are of the other mode. */
void proxies_check_mode(config_reader *reader, const yaml_entry *at, const config_listener *l);
/* What the keys of a proxy say together; `is_sound`: no error was found so far. */
void proxies_check(config_reader *reader, const yaml_entry *at, config_listener *l, bool is_sound);

/* ---- upstreams ---- */
part_read_fn upstreams_read, upstreams_read_url, upstreams_read_auth, upstreams_read_family,
    upstreams_read_verify, upstreams_read_reply_to, upstreams_read_profile, upstreams_read_caps,
    upstreams_read_pin, upstreams_read_oauth2, upstreams_read_alerts;
part_write_fn upstreams_write, upstreams_write_url, upstreams_write_auth, upstreams_write_family,
    upstreams_write_verify, upstreams_write_reply_to, upstreams_write_profile, upstreams_write_caps,
    upstreams_write_pin, upstreams_write_oauth2, upstreams_write_alerts;
/* The files of TLS, and the local address: whether they are right. */
void upstreams_check_tls_files(config_reader *reader, const yaml_entry *at,
                               const upstream_options *options);
void upstreams_check_source(config_reader *reader, const yaml_entry *at,
                            const upstream_options *options);
/* Where a key of an upstream stands, or the upstream itself. */
int64_t upstreams_offset_of(const yaml_entry *at, const char *key);
/* upstream_security.c: what `auth`, `pass`, `oauth2`, `pin` and the URL say together. */
void upstreams_check_security(config_reader *reader, const yaml_entry *at,
                              upstream_options *options);
/* One that stands in a user's list, named by its host and port. False: there is no memory. */
bool upstreams_read_inline(config_reader *reader, const yaml_entry *entry, size_t *index);
bool upstreams_find(const config *c, smx_slice name, size_t *index);

/* ---- users, and the plans that they share with routes ---- */
part_read_fn users_read, users_read_add_missing, users_read_allow_from, users_read_selector,
    users_read_upstreams;
part_write_fn users_write, users_write_add_missing, users_write_allow_from, users_write_selector,
    users_write_upstreams;
/* A problem, with the nearest name, if no user is called so. */
void users_check_name(config_reader *reader, const yaml_node *name);
void users_check(config_reader *reader);

/* ---- routes ---- */
part_read_fn routes_read, routes_read_match, routes_read_word, routes_read_header, routes_read_not;
part_write_fn routes_write, routes_write_match;
/* What needs the users: routes that nobody takes, or that split a message (routes_check.c). */
void routes_check(config_reader *reader);
/* The time zones that they hold. */
void routes_free(config *c);

/* ---- limits and where they are kept ---- */
part_read_fn limits_read, limits_read_store;
part_write_fn limits_write, limits_write_store;

/* ---- admin ---- */
part_read_fn admin_read_hosts;
part_write_fn admin_write_hosts;
void admin_check(config_reader *reader, const yaml_node *top);

/* ---- the Go program's file ---- */
part_read_fn go_form_read_selector, go_form_read_downstreams;
/* True for a file with `downstreams` or `selector_algo_path`. */
bool go_form_is(const yaml_node *top);
/* Its listener, if the file has none. */
void go_form_listeners(config_reader *reader);

#endif
