/* Where the paths of a configuration lead, and the part of it that is enough to ask a daemon. */
#include "test_app.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CAPACITY = 256 };

/* A folder with a secret, a profile and another folder. */
typedef struct place {
    char folder[32];
    char before[PATH_MAX]; /* the folder that the test began in */
} place;

static void put(const char *folder, const char *name, const char *text)
{
    char path[CAPACITY];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
}

static const char *const NAMES[] = {"secret", "mine.yaml", "ca.pem"};

static int begin(void **state)
{
    place *p = calloc(1, sizeof(*p));
    char path[CAPACITY];
    assert_non_null(p);
    (void)snprintf(p->folder, sizeof(p->folder), "/tmp/smx-paths-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    assert_non_null(getcwd(p->before, sizeof(p->before)));
    put(p->folder, "secret", "sesame\n");
    put(p->folder, "mine.yaml", "title: Mine\nsource: https://example.com/\n");
    put(p->folder, "ca.pem", "");
    (void)snprintf(path, sizeof(path), "%s/temp", p->folder);
    assert_int_equal(mkdir(path, 0700), 0);
    *state = p;
    return 0;
}

static int end(void **state)
{
    place *p = *state;
    char path[CAPACITY];
    assert_int_equal(chdir(p->before), 0);
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", p->folder, NAMES[i]);
        (void)unlink(path);
    }
    (void)snprintf(path, sizeof(path), "%s/temp", p->folder);
    (void)rmdir(path);
    (void)rmdir(p->folder);
    free(p);
    return 0;
}

static void assert_path(const place *p, const char *found, const char *name)
{
    char expected[CAPACITY];
    (void)snprintf(expected, sizeof(expected), "%s/%s", p->folder, name);
    assert_non_null(found);
    assert_string_equal(found, expected);
}

#define RELATIVE                                                                                   \
    "store: sqlite:state.db\ntemp_dir: temp\n"                                                     \
    "listeners: [{listen: '127.0.0.1:0', allow_insecure_auth: true, client_ca: ./ca.pem}]\n"       \
    "upstreams: {one: {url: 'smtp://127.0.0.1:1', profile: mine.yaml}}\n"                          \
    "users: [{email: u, password_file: secret, upstreams: [one]}]\n"

/* Every kind of key that names a file, in a configuration that is called `name`. */
static void assert_of_the_folder(const place *p, const char *name)
{
    problems told = {.file = name, .text = slice_of_text(RELATIVE)};
    config *c = NULL;
    if (config_load(&told, &c) != 0)
        fail_msg("%s", sentences(&told));
    assert_path(p, c->listeners[0].smtp.client_ca_file, "ca.pem");
    assert_path(p, c->upstreams[0].profile, "mine.yaml");
    assert_path(p, c->temp_dir, "temp");
    assert_int_equal(strncmp(c->store, "sqlite:", 7), 0);
    assert_path(p, c->store + 7, "state.db");
    assert_true(slice_equal(c->users[0].user.secret, SMX_SLICE("sesame")));
    config_free(c);
    problems_free(&told);
}

static void app_config__paths_are_of_the_file_s_folder(void **state)
{
    const place *p = *state;
    char name[CAPACITY];
    (void)snprintf(name, sizeof(name), "%s/config.yaml", p->folder);
    assert_of_the_folder(p, name);
    assert_int_equal(chdir("/tmp"), 0);
    assert_of_the_folder(p, name);
    (void)snprintf(name, sizeof(name), "%s/config.yaml", p->folder + strlen("/tmp/"));
    assert_of_the_folder(p, name);
    assert_int_equal(chdir(p->folder), 0);
    assert_of_the_folder(p, "config.yaml");
    assert_of_the_folder(p, "./config.yaml");
}

static void app_config__a_path_is_told_as_it_was_looked_for(void **state)
{
    const place *p = *state;
    char name[CAPACITY];
    char expected[2 * CAPACITY];
    (void)snprintf(name, sizeof(name), "%s/f", p->folder);
    problems told = {.file = name,
                     .text = SMX_SLICE(LISTENERS UPSTREAMS "users: [{email: u, password_file: "
                                                           "nothing, upstreams: [one]}]\n")};
    config *c = NULL;
    assert_int_equal(config_load(&told, &c), SMX_E_SYNTAX);
    (void)snprintf(expected, sizeof(expected),
                   "the file `%s/nothing` cannot be read: No such file or directory", p->folder);
    assert_int_equal(told.count, 1);
    assert_string_equal(told.entries[0].text, expected);
    problems_free(&told);
}

/* ---- the door ---- */

static int load_door(const char *text, char **told, config **c)
{
    problems listed = list_for(text);
    int error = config_load_door(&listed, c);
    *told = sentences(&listed);
    problems_free(&listed);
    return error;
}

static void app_config__the_door_needs_nothing_else_of_the_file(void **state)
{
    (void)state;
    config *c = NULL;
    char *told;
    assert_int_equal(load_door("hostnam: x\nusers: ${SMX_TEST_UNSET}\nusers: [x]\n"
                               "store: ${SMX_TEST_UNSET}\n"
                               "admin: {listen: '127.0.0.1:8025', token: t}\n",
                               &told, &c),
                     0);
    assert_string_equal(told, "");
    assert_string_equal(c->admin.listen, "127.0.0.1:8025");
    assert_string_equal(c->admin.token, "t");
    assert_int_equal(strlen(c->digest), CONFIG_DIGEST_TEXT - 1);
    config_free(c);
    free(told);
    assert_int_equal(load_door("users: []\n", &told, &c), 0);
    assert_null(c->admin.listen);
    config_free(c);
    free(told);
}

static void app_config__what_is_wrong_with_the_door_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *told;
    } CASES[] = {
        {"admin: {listen: '127.0.0.1:8025', token: \"${SMX_TEST_UNSET}\"}\n",
         "1:42: the environment variable `SMX_TEST_UNSET` is not set\n"},
        {"users: ${SMX_TEST_UNSET}\nadmin: {listn: x}\n",
         "2:9: unknown key `listn` in this mapping `admin`; did you mean `listen`?\n"},
        {"users: []\nadmin:\n", "2:1: `admin` has no value\n"},
        {"- x\n", " expected the keys of a configuration (`name: value`), found a list\n"},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        config *c = NULL;
        char *told;
        assert_int_equal(load_door(CASES[i].text, &told, &c), SMX_E_SYNTAX);
        assert_null(c);
        assert_string_equal(told, CASES[i].told);
        free(told);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(app_config__paths_are_of_the_file_s_folder, begin, end),
        cmocka_unit_test_setup_teardown(app_config__a_path_is_told_as_it_was_looked_for, begin,
                                        end),
        cmocka_unit_test(app_config__the_door_needs_nothing_else_of_the_file),
        cmocka_unit_test(app_config__what_is_wrong_with_the_door_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
