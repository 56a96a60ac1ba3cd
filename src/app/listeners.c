/* The `listeners` of the configuration: lists of networks and certificates, what the keys of one
 * listener mean together, and what they need of the users. */
#include "app/parts.h"
#include "net/endpoint.h"
#include "net/tls.h"
#include "sasl/password.h"

static const config_key *listener_key(const char *name)
{
    for (size_t i = 0; i < level_listener.count; i++) {
        if (strcmp(level_listener.keys[i].name, name) == 0)
            return &level_listener.keys[i];
    }
    return NULL;
}

/* ---- networks ---- */

static bool read_network(config_reader *reader, smx_slice text, int64_t offset,
                         smx_network *network)
{
    if (smx_network_parse(text, network) == 0)
        return true;
    problems_error(reader->problems, offset,
                   "expected an address or a network, such as 10.0.0.0/24 or 2001:db8::1, found "
                   "`%s`",
                   text.data);
    return false;
}

void listeners_read_networks(config_reader *reader, const yaml_entry *entry,
                             const smx_network **networks, size_t *count)
{
    const yaml_entry *items;
    size_t item_count = reader_list(entry, &items);
    smx_network *made = reader_alloc(reader, item_count, sizeof(*made));
    size_t filled = 0;
    smx_slice text;
    for (size_t i = 0; i < item_count && made != NULL; i++) {
        if (reader_scalar(reader, &items[i], "an address or a network", &text) &&
            read_network(reader, text, items[i].value->offset, &made[filled]))
            filled++;
    }
    *networks = made;
    *count = filled;
}

void listeners_read_proxy_protocol(config_reader *reader, const yaml_entry *entry, void *target)
{
    smx_listener_options *options = target;
    listeners_read_networks(reader, entry, &options->proxy_protocol,
                            &options->proxy_protocol_count);
}

void listeners_read_xclient(config_reader *reader, const yaml_entry *entry, void *target)
{
    smx_listener_options *options = target;
    listeners_read_networks(reader, entry, &options->xclient, &options->xclient_count);
}

/* The users' names are judged in listeners_check. */
void listeners_read_trust(config_reader *reader, const yaml_entry *entry, void *target)
{
    smx_listener_options *options = target;
    const yaml_node *value = entry->value;
    if (value->kind != YAML_MAPPING) {
        problems_error(reader->problems, value->offset,
                       "expected networks and the users they send as, such as {10.0.0.0/24: "
                       "printers}, found %s",
                       yaml_kind_text(value));
        return;
    }
    smx_trust *made = reader_alloc(reader, value->count, sizeof(*made));
    size_t count = 0;
    for (size_t i = 0; i < value->count && made != NULL; i++) {
        const yaml_entry *one = &value->entries[i];
        smx_slice user;
        bool is_network = read_network(reader, one->key, one->offset, &made[count].network);
        if (!reader_scalar(reader, one, "the name of a user", &user) || !is_network)
            continue;
        made[count++].user = reader_copy_slice(reader, user);
    }
    options->trust = made;
    options->trust_count = count;
}

void listeners_read_certificates(config_reader *reader, const yaml_entry *entry, void *target)
{
    smx_listener_options *options = target;
    const yaml_entry *items;
    size_t count = reader_list(entry, &items);
    smx_certificate *made = reader_alloc(reader, count, sizeof(*made));
    if (made == NULL)
        return;
    for (size_t i = 0; i < count; i++)
        reader_level(reader, &level_certificate, &items[i], &made[i]);
    options->certificates = made;
    options->certificate_count = count;
}

/* ---- one listener ---- */

/* The port of "25", ":25" or "*:25"; NULL for all else. */
static const char *port_alone(const char *listen)
{
    const char *port = listen + (listen[0] == '*' ? 1 : 0);
    port += port[0] == ':' ? 1 : 0;
    return port[0] != '\0' && port[strspn(port, "0123456789")] == '\0' ? port : NULL;
}

static void check_address(config_reader *reader, const yaml_entry *at,
                          const smx_listener_options *options)
{
    endpoint e;
    problem p;
    const yaml_entry *entry = yaml_find(at->value, SMX_SLICE("listen"));
    if (entry == NULL || entry->value->kind != YAML_SCALAR || options->listen == NULL)
        return;
    int error = endpoint_parse(slice_of_text(options->listen), 0, &e, &p);
    smx_address address;
    const char *port = port_alone(options->listen);
    if (port != NULL)
        problems_error(reader->problems, entry->value->offset,
                       "`%s` says no address: 127.0.0.1:%s is for this machine alone, 0.0.0.0:%s "
                       "for all who can reach it",
                       options->listen, port, port);
    else if (error != 0)
        reader_problem(reader, entry->value->offset, error, &p);
    else if (!e.is_unix && !slice_equal_nocase(e.host, SMX_SLICE("localhost")) &&
             smx_address_parse(e.host, &address) != 0)
        problems_error(reader->problems, entry->value->offset,
                       "expected an address of this machine, such as 0.0.0.0:587 or [::]:587, "
                       "found `%s`",
                       options->listen);
}

/* Reads the files as serving would. */
static void check_certificates(config_reader *reader, const yaml_entry *at,
                               const smx_listener_options *options)
{
    const yaml_entry *entry = yaml_find(at->value, SMX_SLICE("certificates"));
    if (entry == NULL || options->certificate_count == 0)
        return;
    tls_certificate *made = reader_alloc(reader, options->certificate_count, sizeof(*made));
    for (size_t i = 0; i < options->certificate_count && made != NULL; i++)
        made[i] = (tls_certificate){options->certificates[i].cert_file,
                                    options->certificates[i].key_file};
    tls_server_options tls = {.certificates = made,
                              .certificate_count = options->certificate_count,
                              .client_ca_file = options->client_ca_file};
    tls_server *server = NULL;
    problem p;
    int error = made == NULL ? 0 : tls_server_new(&tls, &server, &p);
    if (error != 0)
        reader_problem(reader, entry->offset, error, &p);
    tls_server_free(server);
}

static int64_t offset_of(const yaml_entry *at, const char *key)
{
    const yaml_entry *entry = yaml_find(at->value, slice_of_text(key));
    return entry == NULL ? at->offset : entry->offset;
}

static void check_tls(config_reader *reader, const yaml_entry *at, smx_listener_options *options,
                      bool is_sound)
{
    bool has_certificates = reader_has(at, "certificates");
    if (has_certificates && !reader_has(at, "tls"))
        options->tls = SMX_LISTENER_STARTTLS;
    if (is_sound && options->tls == SMX_LISTENER_CLEAR && has_certificates)
        problems_warn(reader->problems, offset_of(at, "certificates"),
                      "these certificates are not used, since `tls` is off");
    if (options->tls != SMX_LISTENER_CLEAR && !has_certificates)
        problems_error(reader->problems, offset_of(at, "tls"),
                       "`tls: %s` needs `certificates: [{cert: FILE, key: FILE}]`",
                       listener_key("tls")->words[options->tls]);
}

/* AUTH never on clear text unless it is asked for, and somebody must be able to send. */
static void check_auth(config_reader *reader, const yaml_entry *at, smx_listener_options *options)
{
    if (reader_has_failed(reader, at, "tls") || reader_has_failed(reader, at, "auth") ||
        reader_has_failed(reader, at, "allow_insecure_auth"))
        return;
    bool is_safe = options->tls != SMX_LISTENER_CLEAR || options->allow_insecure_auth;
    if (!reader_has(at, "auth"))
        options->auth = is_safe ? SMX_AUTH_REQUIRED : SMX_AUTH_OFF;
    if (options->auth != SMX_AUTH_OFF && !is_safe)
        problems_error(reader->problems, offset_of(at, "auth"),
                       "`auth: %s` needs TLS: set `tls` and `certificates`, or "
                       "`allow_insecure_auth: true` where nobody can listen in",
                       listener_key("auth")->words[options->auth]);
    if (options->auth == SMX_AUTH_OFF && !reader_has(at, "trust") && !reader_has(at, "xclient"))
        problems_error(reader->problems, offset_of(at, "auth"),
                       "nobody may send here: set `tls` and `certificates` so that users can sign "
                       "in, or `allow_insecure_auth: true` where nobody can listen in, or name "
                       "the clients that need not sign in with `trust`");
}

/* What is judged with the mode mux alone. */
static void check_mux(config_reader *reader, const yaml_entry *at, smx_listener_options *options)
{
    if (options->tls == SMX_LISTENER_PASSTHROUGH)
        problems_error(reader->problems, offset_of(at, "tls"),
                       "`tls: passthrough` needs `mode: proxy`, which has a server behind it");
    else
        check_auth(reader, at, options);
    if (options->bare_newline == SMX_BARE_NEWLINE_PASS)
        problems_error(
            reader->problems, offset_of(at, "bare_newline"),
            "`bare_newline: pass` needs `mode: proxy`; expected `reject` or `normalize`");
}

static void read_listener(config_reader *reader, const yaml_entry *at, config_listener *l)
{
    smx_listener_options *options = &l->smtp;
    options->version = SMX_LISTENER_VERSION;
    size_t errors = reader->problems->errors;
    reader_level(reader, &level_listener, at, l);
    if (at->value->kind != YAML_MAPPING)
        return;
    check_address(reader, at, options);
    if (options->tls != SMX_LISTENER_PASSTHROUGH)
        check_tls(reader, at, options, reader->problems->errors == errors);
    proxies_check_mode(reader, at, l);
    if (l->mode == CONFIG_PROXY)
        proxies_check(reader, at, l, reader->problems->errors == errors);
    else
        check_mux(reader, at, options);
    if (reader->problems->errors == errors)
        check_certificates(reader, at, options);
}

void listeners_read(config_reader *reader, const yaml_entry *entry, void *target)
{
    config *c = target;
    const yaml_entry *items;
    size_t count = reader_list(entry, &items);
    if (reader_is_stray(reader, &level_listener, entry))
        return;
    c->listeners = reader_alloc(reader, count, sizeof(*c->listeners));
    reader->listener_entries = reader_alloc(reader, count, sizeof(yaml_entry *));
    if (c->listeners == NULL || reader->listener_entries == NULL)
        return;
    c->listener_count = count;
    for (size_t i = 0; i < count; i++) {
        reader->listener_entries[i] = &items[i];
        read_listener(reader, &items[i], &c->listeners[i]);
    }
}

/* ---- all listeners ---- */

/* Two texts of one address, such as [::]:25 and [0::0]:25, are one; port 0 is always another. */
static bool is_same_place(const char *a, const char *b)
{
    endpoint one, two;
    if (a == NULL || b == NULL || endpoint_parse(slice_of_text(a), 0, &one, NULL) != 0 ||
        endpoint_parse(slice_of_text(b), 0, &two, NULL) != 0)
        return false;
    if (one.is_unix != two.is_unix || one.port != two.port || (!one.is_unix && one.port == 0))
        return false;
    smx_address first, second;
    if (!one.is_unix && smx_address_parse(one.host, &first) == 0 &&
        smx_address_parse(two.host, &second) == 0)
        return first.family == second.family && memcmp(first.octets, second.octets, 16) == 0;
    return slice_equal_nocase(one.host, two.host);
}

static void check_places(config_reader *reader)
{
    const config *c = reader->config;
    if (reader->listener_entries == NULL)
        return;
    for (size_t i = 1; i < c->listener_count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (!is_same_place(c->listeners[i].smtp.listen, c->listeners[j].smtp.listen))
                continue;
            problems_error(reader->problems, offset_of(reader->listener_entries[i], "listen"),
                           "listeners[%zu] has this address already: `%s`", j,
                           c->listeners[j].smtp.listen);
            break;
        }
    }
}

static void check_trust(config_reader *reader, const yaml_entry *at)
{
    const yaml_entry *trust = yaml_find(at->value, SMX_SLICE("trust"));
    for (size_t i = 0;
         trust != NULL && trust->value->kind == YAML_MAPPING && i < trust->value->count; i++) {
        const yaml_node *name = trust->value->entries[i].value;
        if (name->kind == YAML_SCALAR && !name->is_broken)
            users_check_name(reader, name);
    }
}

/* SCRAM needs more than a crypt(3) hash (DESIGN 4.16): one list of mechanisms for all users. */
static bool is_scram_possible(const config *c)
{
    for (size_t i = 0; i < c->user_count; i++) {
        if (password_kind_of(c->users[i].user.secret) == PASSWORD_CRYPT)
            return false;
    }
    return true;
}

void listeners_check(config_reader *reader)
{
    config *c = reader->config;
    bool is_possible = is_scram_possible(c);
    for (size_t i = 0; i < c->listener_count; i++) {
        c->listeners[i].smtp.no_scram = !is_possible;
        if (reader->listener_entries != NULL &&
            reader->listener_entries[i]->value->kind == YAML_MAPPING)
            check_trust(reader, reader->listener_entries[i]);
    }
    check_places(reader);
}

/* ---- printing ---- */

static void write_address(const smx_network *network, char *text, size_t capacity)
{
    char address[SMX_ADDRESS_TEXT];
    smx_slice written = smx_address_write(&network->address, address);
    (void)snprintf(text, capacity, "%.*s/%u", (int)written.len, written.data, network->prefix);
}

void listeners_write_networks(config_writer *writer, const char *name, const smx_network *networks,
                              size_t count)
{
    char text[SMX_ADDRESS_TEXT + 8];
    if (count == 0)
        return;
    writer_key(writer, name);
    for (size_t i = 0; i < count; i++) {
        write_address(&networks[i], text, sizeof(text));
        writer_text(writer, i == 0 ? " [" : ", ");
        writer_scalar(writer, slice_of_text(text));
    }
    writer_text(writer, "]\n");
}

void listeners_write_proxy_protocol(config_writer *writer, const void *target)
{
    const smx_listener_options *options = target;
    listeners_write_networks(writer, "proxy_protocol", options->proxy_protocol,
                             options->proxy_protocol_count);
}

void listeners_write_xclient(config_writer *writer, const void *target)
{
    const smx_listener_options *options = target;
    listeners_write_networks(writer, "xclient", options->xclient, options->xclient_count);
}

void listeners_write_trust(config_writer *writer, const void *target)
{
    const smx_listener_options *options = target;
    char text[SMX_ADDRESS_TEXT + 8];
    if (options->trust_count == 0)
        return;
    writer_key(writer, "trust");
    writer_end(writer);
    writer->depth++;
    for (size_t i = 0; i < options->trust_count; i++) {
        write_address(&options->trust[i].network, text, sizeof(text));
        writer_key(writer, text);
        writer_text(writer, " ");
        writer_scalar(writer, options->trust[i].user);
        writer_end(writer);
    }
    writer->depth--;
}

void listeners_write_certificates(config_writer *writer, const void *target)
{
    const smx_listener_options *options = target;
    if (options->certificate_count > 0)
        writer_items(writer, "certificates", &level_certificate, options->certificates,
                     options->certificate_count, sizeof(*options->certificates));
}

void listeners_write(config_writer *writer, const void *target)
{
    const config *c = target;
    writer_items(writer, "listeners", &level_listener, c->listeners, c->listener_count,
                 sizeof(*c->listeners));
}
