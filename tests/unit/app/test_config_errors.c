/* What a configuration that is wrong is told: one case for each kind of mistake, with the exact place
 * and sentence. */
#include "test_app.h"

typedef struct mistake {
    const char *name;
    const char *text;
    const char *told;
} mistake;

#define OAUTH2(more)   "oauth2: {token_url: 'https://x/t', client_id: c, " more "}"
#define PIN            "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define UP(keys)       LISTENERS "upstreams: {one: {url: 'smtp://127.0.0.1:1', " keys "}}\n" USERS
#define LISTENER(keys) "listeners: [{listen: '127.0.0.1:0', " keys "}]\n" UPSTREAMS USERS
#define USER(keys)     LISTENERS UPSTREAMS "users: [{email: u, " keys "}]\n"

static const mistake MISTAKES[] = {
    /* the whole file */
    {"empty", "", " the file is empty\n"},
    {"no_mapping", "- a\n",
     " expected the keys of a configuration (`name: value`), found a list\n"},
    {"syntax_alone", "hostnam: x\nusers: [\n", "3:1: flow sequence without a closing bracket\n"},
    {"not_utf8", "hostname: a\xff\n", "1:12: this is not UTF-8 text\n"},
    {"second_document", LISTENERS UPSTREAMS USERS "---\nhostname: a\n",
     "5:1: a second document begins here; only one is read\n"},
    {"nothing_there", "hostname: a.example\n",
     " this file needs the key `listeners`: where clients connect, such as [{listen: "
     "\"127.0.0.1:2525\", allow_insecure_auth: true}]\n"
     " this file needs the key `users`: who may send, and through which upstreams\n"},
    {"empty_lists", "listeners: []\nusers: []\n",
     "1:1: `listeners` is empty, so nobody can connect\n"
     "2:1: `users` is empty, so nobody may send\n"},
    /* keys */
    {"unknown_key_has_a_neighbour", "hostnam: x\n" LISTENERS UPSTREAMS USERS,
     "1:1: unknown key `hostnam` in this file; did you mean `hostname`?\n"},
    {"unknown_key_without_a_neighbour", "zzzzzz: x\n" LISTENERS UPSTREAMS USERS,
     "1:1: unknown key `zzzzzz` in this file; docs/configuration.md lists the known ones\n"},
    {"doubled_key", "workers: 1\nworkers: 2\n" LISTENERS UPSTREAMS USERS,
     "2:1: the key `workers` stands here twice\n"},
    {"key_without_value", "workers:\n" LISTENERS UPSTREAMS USERS,
     "1:1: `workers` has no value; leave the key out to have its default\n"},
    {"required_key_without_value", LISTENERS UPSTREAMS "users:\n",
     "3:1: `users` has no value: the lines that belong to it are indented\n"},
    {"admin_on_tcp_without_a_token",
     "admin: {listen: '127.0.0.1:8025'}\n" LISTENERS UPSTREAMS USERS,
     "1:17: `127.0.0.1:8025` can be reached by others, so `admin` needs a `token` or `token_file` "
     "(`openssl rand -hex 32` makes one), or listens on a Unix socket\n"},
    {"admin_at_no_address", "admin: {listen: here}\n" LISTENERS UPSTREAMS USERS,
     "1:17: \"here\": the port is missing, as in here:587\n"},
    {"later_keys", "hooks: []\nspool: /x\nalerts: x\n" LISTENERS UPSTREAMS USERS,
     "1:1: `hooks` is not in this version\n"
     "2:1: `spool` is not in this version\n3:9: expected a URL that begins with https:// or http://\n"},
    /* values */
    {"number_too_small", "workers: 0\n" LISTENERS UPSTREAMS USERS,
     "1:10: `workers` must be from 1 to 256, found `0`\n"},
    {"no_number", "workers: many\n" LISTENERS UPSTREAMS USERS,
     "1:10: expected a number, found `many`\n"},
    {"number_is_a_list", "workers: [1]\n" LISTENERS UPSTREAMS USERS,
     "1:1: expected a number, found a list\n"},
    {"duration_without_unit", "drain_timeout: 30\n" LISTENERS UPSTREAMS USERS,
     "1:16: expected a duration such as 500ms, 30s, 5m or 1h, found `30`\n"},
    {"duration_too_long", LISTENER("allow_insecure_auth: true, idle_timeout: 25h"),
     "1:78: `idle_timeout` must be from 1s to 24h, found `25h`\n"},
    {"no_size", "memory_limit: lots\n" LISTENERS UPSTREAMS USERS,
     "1:15: expected a size such as 64KiB, 25MiB or 10M, found `lots`\n"},
    {"size_too_small", LISTENER("allow_insecure_auth: true, max_size: 10"),
     "1:74: `max_size` must be from 1KiB to 1024GiB, found `10`\n"},
    {"size_over_64_bits", "memory_limit: 99999999999999999999\n" LISTENERS UPSTREAMS USERS,
     "1:15: `memory_limit` must be from 0 to 18446744073709551615, found "
     "`99999999999999999999`\n"},
    {"no_bool", "log: {anonymize: maybe}\n" LISTENERS UPSTREAMS USERS,
     "1:18: expected `true` or `false`, found `maybe`\n"},
    {"no_such_word", "log: {format: xml}\n" LISTENERS UPSTREAMS USERS,
     "1:15: expected `logfmt` or `json`, found `xml`\n"},
    {"unknown_key_below", "log: {levle: warn}\n" LISTENERS UPSTREAMS USERS,
     "1:7: unknown key `levle` in this mapping `log`; did you mean `level`?\n"},
    {"bad_hostname", "hostname: a_b c\n" LISTENERS UPSTREAMS USERS,
     "1:11: expected a domain such as mux.example.com, found `a_b c`\n"},
    {"bad_temp_dir", "temp_dir: /nonexistent\n" LISTENERS UPSTREAMS USERS,
     "1:11: `/nonexistent` cannot be written to: No such file or directory\n"},
    /* the environment */
    {"unset_variable", "hostname: ${SMX_TEST_UNSET}\n" LISTENERS UPSTREAMS USERS,
     "1:11: the environment variable `SMX_TEST_UNSET` is not set\n"},
    {"unclosed_variable", "hostname: \"a${B\"\n" LISTENERS UPSTREAMS USERS,
     "1:11: `${` begins the name of an environment variable, as in ${NAME}; write $${ where it does "
     "not\n"},
    {"unquoted_variable_in_a_mapping",
     LISTENERS UPSTREAMS "users: [{email: u, password: ${P}, upstreams: [one]}]\n",
     "3:31: missing comma in flow mapping; a value with ${NAME} between { } or [ ] needs quotes\n"},
    {"unknown_alias", "hostname: *nobody\n" LISTENERS UPSTREAMS USERS,
     "1:11: this alias names an anchor that does not exist; a value that begins with `*` needs "
     "quotes\n"},
    /* what newcomers write */
    {"tab", "listeners:\n\t- listen: x\n",
     "2:1: tab character may not be used as indentation; indent with spaces\n"},
    {"unclosed_mapping", "listeners:\n  - {listen: x\nusers: []\n",
     "3:6: missing comma in flow mapping; or a `}` is missing before here\n"},
    {"at_sign", "hostname: @x\n",
     "1:11: plain scalar cannot start with '@'; a value that begins so needs quotes\n"},
    {"second_colon", "store: memory:\n",
     "1:14: invalid nested block mapping on the same line; a value with `: ` in it, or `:` at its "
     "end, needs quotes\n"},
    {"address_in_brackets", "listeners:\n  - listen: [::]:587\n",
     "2:17: invalid value after mapping; a value that begins with `[` or `{` needs quotes\n"},
    {"unlike_indentation", "listeners:\n  - listen: x\n  auth: off\n",
     "3:3: invalid scalar at the end of block sequence; keys that belong together begin in the same "
     "column\n"},
    {"unclosed_quote", "hostname: \"x\nusers: []\n",
     "1:11: wrongly indented double-quoted scalar; is its closing quote missing?\n"},
    {"singular_keys", "listener: []\nupstream: {}\nuser: []\n",
     "1:1: unknown key `listener` in this file; did you mean `listeners`?\n"
     "2:1: unknown key `upstream` in this file; did you mean `upstreams`?\n"
     "3:1: unknown key `user` in this file; did you mean `users`?\n"},
    {"keys_of_other_programs",
     LISTENERS "upstreams: {one: {host: x, username: a, password: b, tls: on}}\n"
               "users: [{username: u, pass: p, upstream: one}]\n",
     "2:19: unknown key `host` in this upstream; write `url`: scheme, host and port, such as "
     "`smtp+tls://smtp.example.com:587`\n"
     "2:28: unknown key `username` in this upstream; write `user`: the name to sign in with\n"
     "2:41: unknown key `password` in this upstream; write `pass`: its password\n"
     "2:54: unknown key `tls` in this upstream; write `url`: scheme, host and port, such as "
     "`smtp+tls://smtp.example.com:587`\n"
     "3:10: unknown key `username` in this user; write `email`: the name to sign in with\n"
     "3:23: unknown key `pass` in this user; write `password`: clear text, a crypt(3) hash, or "
     "SCRAM-SHA-256$...; `smtpmux passwd` makes the latter\n"
     "3:32: unknown key `upstream` in this user; did you mean `upstreams`?\n"},
    {"password_of_another_name_is_one", UP("user: a, password: b"),
     "2:55: unknown key `password` in this upstream; write `pass`: its password\n"},
    {"no_password", UP("user: a, pass: "),
     "2:55: `pass` has no value: put the secret here, as ${NAME} from the environment, or into a "
     "file that `pass_file` names\n"},
    {"users_by_name", LISTENERS UPSTREAMS "users: {vault@example.com: {password: p}}\n",
     "3:1: `users` is a list: each user begins with `- `, as in `- email: ...`\n"},
    {"listeners_by_name", "listeners: {smtp: {listen: '127.0.0.1:0'}}\n" UPSTREAMS USERS,
     "1:1: `listeners` is a list: each listener begins with `- `, as in `- listen: ...`\n"},
    {"keys_where_names_stand",
     LISTENERS "upstreams:\n  one:\n    url: 'smtp://127.0.0.1:1'\n  pass: x\n" USERS,
     "5:3: `pass` stands where the names of upstreams stand: indent it, so that it belongs to one "
     "of them\n"},
    {"no_space_behind_a_colon", LISTENERS "upstreams:\n  one:\n    url:smtp://x.example\n" USERS,
     "4:5: expected the keys of this upstream (`name: value`), found a value; each has a line, and "
     "a space behind its colon\n"},
    {"no_upstreams_at_all", LISTENERS USERS,
     "2:45: no upstream is called `one`: add to the file `upstreams: {one: {url: "
     "\"smtp+tls://smtp.example.com:587\"}}`\n"},
    {"an_upstream_of_no_list",
     LISTENERS UPSTREAMS "users: [{email: u, password: p, upstreams: zzz}]\n",
     "3:44: no upstream is called `zzz`: the key `upstreams` of the file lists them\n"},
    {"url_without_a_scheme", LISTENERS "upstreams: {one: {url: 'a.example:587'}}\n" USERS,
     "2:24: expected a URL that begins with smtp://, smtp+tls://, smtp+notls://, smtps://, lmtp://, "
     "smtp+unix: or lmtp+unix:, such as smtp+tls://a.example:587\n"},
    {"url_without_a_host", LISTENERS "upstreams: {one: {url: 'smtps://'}}\n" USERS,
     "2:24: the host is missing, as in smtps://smtp.example.com\n"},
    {"listen_on_a_port_alone",
     "listeners: [{listen: 2525, allow_insecure_auth: true}]\n" UPSTREAMS USERS,
     "1:22: `2525` says no address: 127.0.0.1:2525 is for this machine alone, 0.0.0.0:2525 for all "
     "who can reach it\n"},
    {"listen_on_a_star",
     "listeners: [{listen: '*:25', allow_insecure_auth: true}]\n" UPSTREAMS USERS,
     "1:22: `*:25` says no address: 127.0.0.1:25 is for this machine alone, 0.0.0.0:25 for all who "
     "can reach it\n"},
    {"dkim_is_later", "dkim: {}\n" LISTENERS UPSTREAMS USERS,
     "1:1: `dkim` is not in this version\n"},
    /* what follows from a value that was told is not told */
    {"unset_user_is_told_alone", UP("user: \"${SMX_TEST_UNSET}\", pass: p"),
     "2:52: the environment variable `SMX_TEST_UNSET` is not set\n"},
    {"unset_refresh_token_is_told_alone",
     UP("user: a, " OAUTH2("refresh_token: \"${SMX_TEST_UNSET}\"")),
     "2:119: the environment variable `SMX_TEST_UNSET` is not set\n"},
    {"unset_rewrite_from_is_told_alone", UP("rewrite_from: \"${SMX_TEST_UNSET}\", reply_to: add"),
     "2:60: the environment variable `SMX_TEST_UNSET` is not set\n"},
    {"unset_tls_is_told_alone", LISTENER("tls: \"${SMX_TEST_UNSET}\", auth: required"),
     "1:42: the environment variable `SMX_TEST_UNSET` is not set\n"},
    {"unset_token_is_told_alone",
     "admin: {listen: '127.0.0.1:8025', token: \"${SMX_TEST_UNSET}\"}\n" LISTENERS UPSTREAMS USERS,
     "1:42: the environment variable `SMX_TEST_UNSET` is not set\n"},
    {"unset_name_of_an_upstream_is_told_alone",
     LISTENERS UPSTREAMS "users: [{email: u, password: p, upstreams: \"${SMX_TEST_UNSET}\"}]\n",
     "3:44: the environment variable `SMX_TEST_UNSET` is not set\n"},
    {"unset_name_of_a_trusted_user_is_told_alone",
     "listeners: [{listen: '127.0.0.1:0', trust: {10.0.0.1: u}}]\n" UPSTREAMS
     "users: [{email: \"${SMX_TEST_UNSET}\", upstreams: [one]}]\n",
     "3:17: the environment variable `SMX_TEST_UNSET` is not set\n"},
    {"upstreams_without_value_are_told_alone", LISTENERS "upstreams:\n" USERS,
     "2:1: `upstreams` has no value: the lines that belong to it are indented\n"},
    {"listeners_without_value_are_told_alone", "listeners:\n" UPSTREAMS USERS,
     "1:1: `listeners` has no value: the lines that belong to it are indented\n"},
    {"empty_source_is_told_alone", UP("source: ''"), "2:54: `source` is empty\n"},
    /* listeners */
    {"listener_is_no_mapping", "listeners: [a]\n" UPSTREAMS USERS,
     "1:13: expected the keys of this listener (`name: value`), found a value\n"},
    {"listener_without_address", "listeners: [{allow_insecure_auth: true}]\n" UPSTREAMS USERS,
     "1:14: this listener needs the key `listen`: the address and port, such as `0.0.0.0:587`, "
     "`[::]:587` or `unix:/run/smtpmux.sock`\n"},
    {"listen_without_port",
     "listeners: [{listen: 127.0.0.1, allow_insecure_auth: true}]\n" UPSTREAMS USERS,
     "1:22: \"127.0.0.1\": the port is missing, as in 127.0.0.1:587\n"},
    {"listen_on_a_name",
     "listeners: [{listen: 'mail.example:25', allow_insecure_auth: true}]\n" UPSTREAMS USERS,
     "1:22: expected an address of this machine, such as 0.0.0.0:587 or [::]:587, found "
     "`mail.example:25`\n"},
    {"passthrough_of_a_multiplexer", LISTENER("allow_insecure_auth: true, tls: passthrough"),
     "1:64: `tls: passthrough` needs `mode: proxy`, which has a server behind it\n"},
    {"bare_newline_pass_of_a_multiplexer",
     LISTENER("allow_insecure_auth: true, bare_newline: pass"),
     "1:64: `bare_newline: pass` needs `mode: proxy`; expected `reject` or `normalize`\n"},
    {"tls_without_certificates", LISTENER("tls: starttls"),
     "1:37: `tls: starttls` needs `certificates: [{cert: FILE, key: FILE}]`\n"},
    {"certificate_without_key", LISTENER("certificates: [{cert: /dev/null}]"),
     "1:53: this certificate needs the key `key`: PEM file of its private key\n"},
    {"certificate_that_cannot_be_read",
     LISTENER("certificates: [{cert: /nonexistent, key: /dev/null}]"),
     "1:59: the file `/nonexistent` cannot be read: No such file or directory\n"},
    {"auth_on_clear_text", LISTENER("auth: required"),
     "1:37: `auth: required` needs TLS: set `tls` and `certificates`, or `allow_insecure_auth: "
     "true` where nobody can listen in\n"},
    {"nobody_may_send", "listeners: [{listen: '127.0.0.1:0'}]\n" UPSTREAMS USERS,
     "1:14: nobody may send here: set `tls` and `certificates` so that users can sign in, or "
     "`allow_insecure_auth: true` where nobody can listen in, or name the clients that need not "
     "sign in with `trust`\n"},
    {"trust_of_no_network", LISTENER("trust: {10.0.0.0/33: u}"),
     "1:45: expected an address or a network, such as 10.0.0.0/24 or 2001:db8::1, found "
     "`10.0.0.0/33`\n"},
    {"trust_of_an_unknown_user", LISTENER("trust: {10.0.0.1: v}"), "1:55: no user is called `v`\n"},
    {"trust_is_a_list", LISTENER("trust: [10.0.0.1]"),
     "1:37: expected networks and the users they send as, such as {10.0.0.0/24: printers}, found a "
     "list\n"},
    {"xclient_of_no_network", LISTENER("xclient: [localhost]"),
     "1:47: expected an address or a network, such as 10.0.0.0/24 or 2001:db8::1, found "
     "`localhost`\n"},
    {"two_listeners_at_one_address",
     "listeners:\n  - {listen: '[::1]:25', allow_insecure_auth: true}\n"
     "  - {listen: '[0:0::1]:25', allow_insecure_auth: true}\n" UPSTREAMS USERS,
     "3:6: listeners[0] has this address already: `[::1]:25`\n"},
    /* upstreams */
    {"upstreams_are_a_list", LISTENERS "upstreams: [a]\n" USERS,
     "2:1: expected a mapping of names to upstreams, such as {ses: {url: ...}}, found a list\n"},
    {"upstream_without_url", LISTENERS "upstreams: {one: {user: a, pass: b}}\n" USERS,
     "2:13: this upstream needs the key `url`: scheme, host and port, such as "
     "`smtp+tls://smtp.example.com:587`\n"},
    {"url_of_another_kind", LISTENERS "upstreams: {one: {url: 'http://x'}}\n" USERS,
     "2:24: expected a URL that begins with smtp://, smtp+tls://, smtp+notls://, smtps://, lmtp://, "
     "smtp+unix: or lmtp+unix:\n"},
    {"user_without_pass", UP("user: a"), "2:46: `user` needs `pass`, `pass_file` or `oauth2`\n"},
    {"pass_without_user", UP("pass: a"), "2:46: `pass` needs `user`\n"},
    {"auth_without_user", UP("auth: plain"), "2:46: `auth` needs `user`\n"},
    {"xoauth2_with_a_password", UP("user: a, pass: b, auth: xoauth2"),
     "2:64: `auth: xoauth2` and `auth: oauthbearer` need `oauth2`\n"},
    {"oauth2_with_a_password", UP("user: a, pass: b, " OAUTH2("refresh_token: t")),
     "2:64: `pass` and `oauth2` are both given; keep one of them\n"},
    {"oauth2_with_a_password_mechanism", UP("user: a, auth: plain, " OAUTH2("refresh_token: t")),
     "2:55: with `oauth2` there is no password: expected `xoauth2` or `oauthbearer`\n"},
    {"oauth2_without_user", UP(OAUTH2("refresh_token: t")), "2:46: `oauth2` needs `user`\n"},
    {"oauth2_without_secrets", UP("user: a, " OAUTH2("scope: s")),
     "2:55: `oauth2` needs `refresh_token`, or `client_secret` for the grant "
     "client_credentials\n"},
    {"oauth2_grant_without_its_token", UP("user: a, " OAUTH2("grant: refresh_token")),
     "2:104: `grant: refresh_token` needs `refresh_token` or `refresh_token_file`\n"},
    {"oauth2_grant_with_another_token",
     UP("user: a, " OAUTH2("client_secret: s, refresh_token: t, grant: client_credentials")),
     "2:140: `grant: client_credentials` has no use for `refresh_token`\n"},
    {"oauth2_on_clear_text",
     UP("user: a, oauth2: {token_url: 'http://x.example/t', client_id: c, refresh_token: t}"),
     "2:64: secrets would leave on clear text: the URL must begin with https://\n"},
    {"oauth2_url_of_another_kind",
     UP("user: a, oauth2: {token_url: 'ftp://x.example/t', client_id: c, refresh_token: t}"),
     "2:64: expected a URL that begins with https:// or http://\n"},
    {"oauth2_without_url_and_id", UP("user: a, oauth2: {refresh_token: t}"),
     "2:55: this mapping `oauth2` needs the key `token_url`: the provider's token endpoint; "
     "https, but to this machine\n"
     "2:55: this mapping `oauth2` needs the key `client_id`: the application's name at the "
     "provider\n"},
    {"pin_that_is_none", UP("pin: [sha256/AAAA, md5/x]"),
     "2:52: expected `sha256/` and the Base64 of a SHA-256, found `sha256/AAAA`\n"
     "2:65: expected `sha256/` and the Base64 of a SHA-256, found `md5/x`\n"},
    {"pin_without_tls",
     LISTENERS "upstreams: {one: {url: 'smtp+notls://mail.example', pin: " PIN "}}\n" USERS,
     "2:53: `pin` needs TLS: use smtp+tls:// or smtps://\n"},
    {"both_pass_and_file", UP("user: a, pass: b, pass_file: /x"),
     "2:64: `pass` and `pass_file` are both given; keep one of them\n"},
    {"secret_file_that_is_not_there", UP("user: a, pass_file: /nonexistent"),
     "2:66: the file `/nonexistent` cannot be read: No such file or directory\n"},
    {"secret_file_that_is_a_folder", UP("user: a, pass_file: /proc"),
     "2:66: the file `/proc` cannot be read: Is a directory\n"
     "2:66: warning: everybody on this machine may read the secret file `/proc`; chmod o-r it\n"},
    {"secret_file_that_is_empty", UP("user: a, pass_file: /dev/null"),
     "2:66: the file `/dev/null` is empty\n"
     "2:66: warning: everybody on this machine may read the secret file `/dev/null`; chmod o-r "
     "it\n"},
    {"password_on_clear_text",
     LISTENERS "upstreams: {one: {url: 'smtp+notls://mail.example:25', user: a, pass: b}}\n" USERS,
     "2:19: the password would leave on clear text: use smtp+tls:// or smtps://, or set "
     "`allow_insecure_auth: true`\n"},
    {"password_to_nobody_known", UP("user: a, pass: b, tls_verify: false"),
     "2:64: the password would go to a server that has not shown who it is: name its CA with `ca` "
     "instead, or its key with `pin`, or set `allow_insecure_auth: true`\n"},
    {"client_cert_without_key", UP("client_cert: /dev/null"),
     "2:46: `client_cert` and `client_key` need each other\n"},
    {"ca_that_is_no_certificate", UP("ca: /dev/null"),
     "2:46: the file of CA certificates /dev/null is not a regular file\n"},
    {"source_is_no_address", UP("source: eth0"),
     "2:46: expected a local address such as 192.0.2.1, found `eth0`\n"},
    {"rewrite_to_no_address", UP("rewrite_from: me"),
     "2:46: expected an address such as me@example.com, found `me`\n"},
    {"family_is_a_number", UP("family: 4"), "2:54: expected `any`, `ipv4` or `ipv6`, found `4`\n"},
    {"probe_without_pause", UP("probe: 999ms"),
     "2:53: `probe` must be from 1s to 24h, found `999ms`\n"},
    {"later_keys_of_an_upstream", UP("proxy: x"), "2:46: `proxy` is not in this version\n"},
    {"unknown_timeout", UP("timeouts: {conect: 5s}"),
     "2:57: unknown key `conect` in this mapping `timeouts`; did you mean `connect`?\n"},
    /* users */
    {"user_without_email", LISTENERS UPSTREAMS "users: [{password: p, upstreams: [one]}]\n",
     "3:10: this user needs the key `email`: the name to sign in with\n"},
    {"user_without_upstreams", USER("password: p"),
     "3:10: this user has no upstreams: add `upstreams: [NAME, ...]`\n"},
    {"user_with_an_empty_list", USER("password: p, upstreams: []"),
     "3:33: `upstreams` names no upstream\n"},
    {"unknown_upstream", USER("password: p, upstreams: [onne]"),
     "3:45: no upstream is called `onne`; did you mean `one`?\n"},
    {"upstream_twice", USER("password: p, upstreams: [one, one]"),
     "3:50: the upstream `one` stands here twice\n"},
    {"weight_of_nothing", USER("password: p, upstreams: [{one: 0}]"),
     "3:51: expected a weight from 1 to 1000, found `0`\n"},
    {"weights_without_round_robin", USER("password: p, upstreams: [{one: 2}]"),
     "3:33: warning: weights do not count with `selector: failover`\n"},
    {"inline_upstream_without_url", USER("password: p, upstreams: [{user: a, pass: b}]"),
     "3:46: this upstream needs the key `url`: scheme, host and port, such as "
     "`smtp+tls://smtp.example.com:587`\n"},
    {"unknown_selector", USER("password: p, selector: round-robbin, upstreams: [one]"),
     "3:43: unknown selector `round-robbin`; did you mean `round-robin`?\n"},
    {"script_selector_is_later", USER("password: p, selector: ./x.lua, upstreams: [one]"),
     "3:43: the selector `./x.lua` is not in this version; there are `failover`, "
     "`round-robin`, `weighted`, `random`, `least-latency` and `hash`\n"},
    {"hash_by_what", USER("password: p, selector: {hash: subject}, upstreams: [one]"),
     "3:50: expected `sender`, `recipient` or `user`, found `subject`\n"},
    {"user_twice",
     LISTENERS UPSTREAMS "users:\n  - {email: u, password: p, upstreams: [one]}\n"
                         "  - {email: u, password: p, upstreams: [one]}\n",
     "5:6: users[0] is called `u` already\n"},
    {"user_who_cannot_send", USER("upstreams: [one]"),
     "3:10: warning: `u` has no password and stands in no `trust`, so cannot send\n"},
    {"masked_secret", USER("password: '********', upstreams: [one]"),
     "3:30: warning: `********` is what `check --print` shows instead of a secret; put the secret "
     "here\n"},
    /* limits */
    {"limit_that_is_none", UP("limits: [5/day, 10k/day]"),
     "2:62: `10k` is no number: a limit is written `N [messages|recipients]/window [calendar "
     "[ZONE]]`, such as `500 recipients/day`\n"},
    {"limit_of_a_user", USER("password: p, upstreams: [one], limits: [5/fortnight]"),
     "3:60: `fortnight` is no window: write s, minute, hour, day, week or month, or a length such "
     "as `5m` or `90s`\n"},
    {"limit_that_is_no_text", UP("limits: [[5/day]]"),
     "2:56: expected a limit, such as `500 recipients/day`, found a list\n"},
    {"limits_that_count_the_same", UP("limits: [5/day, 9/s, 7 messages/24h]"),
     "2:67: `7 messages/24h` counts the same as `5/day`: write one of them\n"},
    {"store_of_another_kind", "store: redis:x\n" LISTENERS UPSTREAMS USERS,
     "1:8: `redis:x` is no store: write `sqlite:/path/of/a/file` or `memory`\n"},
    {"store_without_a_path", "store: 'sqlite:'\n" LISTENERS UPSTREAMS USERS,
     "1:8: `sqlite:` takes the path of a file, such as "
     "`sqlite:/var/lib/smtpmux/state.db`\n"},
    {"store_of_a_cluster_is_later", "store: 'postgresql://db/x'\n" LISTENERS UPSTREAMS USERS,
     "1:8: a store in PostgreSQL is not in this version: write `sqlite:/path/of/a/file`\n"},
};

static void mistake_is_told(void **state)
{
    const mistake *m = *state;
    assert_problems(m->text, m->told);
}

int main(void)
{
    enum { COUNT = sizeof(MISTAKES) / sizeof(MISTAKES[0]) };
    static struct CMUnitTest tests[COUNT];
    static char names[COUNT][96];
    assert_true(unsetenv("SMX_TEST_UNSET") == 0);
    for (size_t i = 0; i < COUNT; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "app_config__%s_is_told", MISTAKES[i].name);
        tests[i] = (struct CMUnitTest){names[i], mistake_is_told, NULL, NULL,
                                       (void *)(uintptr_t)&MISTAKES[i]};
    }
    return cmocka_run_group_tests_name("app_config_errors", tests, NULL, NULL);
}
