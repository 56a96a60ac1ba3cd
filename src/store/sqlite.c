/* A store in one SQLite file, of this process alone: the file stays locked while it is open. WAL with
 * synchronous=FULL: what was committed survives the machine's fall. It owns the connection and its
 * prepared statements.
 *
 * `boot` counts the openings: a lease of an earlier one belongs to a process that is gone. */
#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>

#include "store/backend.h"

enum {
    APPLICATION = 0x736d7578, /* "smux", in the file's head */
    VERSION = 1,
    BUSY_MS = 1000, /* one that is being stopped may still hold it */
};

#define LEASES_KEPT_MS "31622400000" /* a year */

/* One line for each statement. Leases of the dead are kept long: until the key is next asked for,
 * nobody knows how much of them was used. */
#define SQLITE_STATEMENT_MAP(X)                                                                    \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                    \
    X(COMMIT, "COMMIT")                                                                            \
    X(ROLLBACK, "ROLLBACK")                                                                        \
    X(DEAD_SUM, "SELECT coalesce(sum(amount), 0) FROM lease WHERE key = ?1 AND boot <> ?2")        \
    X(DEAD_FORGET, "DELETE FROM lease WHERE key = ?1 AND boot <> ?2")                              \
    X(LATER_SUM, "SELECT coalesce(sum(amount), 0) FROM used WHERE key = ?1 AND window > ?2")       \
    X(LATER_FORGET, "DELETE FROM used WHERE key = ?1 AND window > ?2")                             \
    X(ADD,                                                                                         \
      ("INSERT INTO used (key, window, amount, expires) VALUES (?1, ?2, ?3, ?4) "                  \
       "ON CONFLICT DO UPDATE SET amount = amount + excluded.amount, expires = excluded.expires")) \
    X(USED, "SELECT window, amount FROM used WHERE key = ?1 AND window > ?2 AND window <= ?3")     \
    X(OTHERS,                                                                                      \
      "SELECT coalesce(sum(amount), 0) FROM lease WHERE key = ?1 AND boot = ?2 AND owner <> ?3")   \
    X(LEASE, ("INSERT OR REPLACE INTO lease (key, boot, owner, amount, expires) "                  \
              "VALUES (?1, ?2, ?3, ?4, ?5)"))                                                      \
    X(LEASE_FORGET, "DELETE FROM lease WHERE key = ?1 AND boot = ?2 AND owner = ?3")               \
    X(GET, "SELECT value FROM value WHERE key = ?1 AND expires > ?2")                              \
    X(PUT, "INSERT OR REPLACE INTO value (key, value, expires) VALUES (?1, ?2, ?3)")               \
    X(EXPIRE_USED, "DELETE FROM used WHERE expires <= ?1")                                         \
    X(EXPIRE_LEASES,                                                                               \
      ("DELETE FROM lease WHERE expires <= ?1 - " LEASES_KEPT_MS " AND boot <> ?2"))               \
    X(EXPIRE_VALUES, "DELETE FROM value WHERE expires <= ?1")                                      \
    X(RUN, "SELECT boot, last_use FROM run")                                                       \
    X(RUN_BEGIN, "UPDATE run SET boot = boot + 1, last_use = -1")                                  \
    X(RUN_END, "UPDATE run SET last_use = ?1")

typedef enum sqlite_statement {
#define SQLITE_STATEMENT_ENTRY(name, text) SQL_##name,
    SQLITE_STATEMENT_MAP(SQLITE_STATEMENT_ENTRY)
#undef SQLITE_STATEMENT_ENTRY
        SQL_COUNT
} sqlite_statement;

static const char *const STATEMENTS[] = {
#define SQLITE_STATEMENT_ENTRY(name, text) text,
    SQLITE_STATEMENT_MAP(SQLITE_STATEMENT_ENTRY)
#undef SQLITE_STATEMENT_ENTRY
};

/* last_use: when a process last closed the file; 0: none ever did; -1: it is open, or its process was
 * killed. */
static const char SCHEMA[] =
    "CREATE TABLE used (key TEXT, window INTEGER, amount INTEGER NOT NULL, expires INTEGER NOT NULL,"
    " PRIMARY KEY (key, window)) WITHOUT ROWID;"
    "CREATE TABLE lease (key TEXT, boot INTEGER, owner INTEGER, amount INTEGER NOT NULL,"
    " expires INTEGER NOT NULL, PRIMARY KEY (key, boot, owner)) WITHOUT ROWID;"
    "CREATE TABLE value (key TEXT PRIMARY KEY, value BLOB NOT NULL, expires INTEGER NOT NULL)"
    " WITHOUT ROWID;"
    "CREATE TABLE run (boot INTEGER NOT NULL, last_use INTEGER NOT NULL);"
    "INSERT INTO run VALUES (0, 0);"
    "PRAGMA application_id = 1936553336;" /* APPLICATION */
    "PRAGMA user_version = 1;";           /* VERSION */
_Static_assert(APPLICATION == 1936553336, "the number in the schema");

typedef struct sqlite_db {
    sqlite3 *connection;
    sqlite3_stmt *statements[SQL_COUNT];
    uint64_t boot;
    uint64_t last_use; /* of a process before this one */
} sqlite_db;

/* ---- statements ---- */

/* Binds numbers from parameter `first` on. */
static int sqlite_bind(sqlite3_stmt *statement, int first, const uint64_t *numbers, size_t count)
{
    int result = SQLITE_OK;
    for (size_t i = 0; i < count && result == SQLITE_OK; i++)
        result = sqlite3_bind_int64(statement, first + (int)i, (sqlite3_int64)numbers[i]);
    return result == SQLITE_OK ? 0 : SMX_E_IO;
}

static int sqlite_bind_text(sqlite3_stmt *statement, int at, smx_slice text)
{
    const char *data = text.data == NULL ? "" : text.data;
    int result = sqlite3_bind_text64(statement, at, data, text.len, SQLITE_STATIC, SQLITE_UTF8);
    return result == SQLITE_OK ? 0 : SMX_E_IO;
}

/* Goes to the next row: SMX_E_NOTFOUND at the end. */
static int sqlite_step(sqlite3_stmt *statement)
{
    int result = sqlite3_step(statement);
    if (result == SQLITE_ROW)
        return 0;
    return result == SQLITE_DONE ? SMX_E_NOTFOUND : SMX_E_IO;
}

static void sqlite_done(sqlite3_stmt *statement)
{
    (void)sqlite3_reset(statement);
    (void)sqlite3_clear_bindings(statement);
}

/* Runs one whose first parameter is the key, if there is one, and whose others are numbers. `result`
 * (may be NULL) gets the number of the first row, which there must be. */
static int sqlite_run(sqlite_db *db, sqlite_statement which, const smx_slice *key,
                      const uint64_t *numbers, size_t count, uint64_t *result)
{
    sqlite3_stmt *statement = db->statements[which];
    int error = key == NULL ? 0 : sqlite_bind_text(statement, 1, *key);
    if (error == 0)
        error = sqlite_bind(statement, key == NULL ? 1 : 2, numbers, count);
    if (error == 0)
        error = sqlite_step(statement);
    if (error == 0 && result != NULL)
        *result = (uint64_t)sqlite3_column_int64(statement, 0);
    sqlite_done(statement);
    return error == SMX_E_NOTFOUND && result == NULL ? 0 : error;
}

#define NUMBERS(...)                                                                               \
    (const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t)

/* ---- opening and closing ---- */

static int sqlite_check(smx_slice rest, problem *p)
{
    if (rest.len > 0 && rest.data[0] == '/' && rest.data[rest.len - 1] != '/')
        return 0;
    return problem_set(p, SMX_E_SYNTAX,
                       "`sqlite:` takes the path of a file, such as "
                       "`sqlite:/var/lib/smtpmux/state.db`");
}

/* What is wrong with the file, for a person. */
static int sqlite_problem(const sqlite_db *db, const char *path, int result, problem *p)
{
    const char *text = db->connection == NULL ? "" : sqlite3_errmsg(db->connection);
    int system = db->connection == NULL ? 0 : sqlite3_system_errno(db->connection);
    switch (result & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return problem_set(p, SMX_E_BUSY,
                           "the store %s is in use by another process: stop it, or "
                           "give this one a file of its own",
                           path);
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        return problem_set(p, SMX_E_SYNTAX,
                           "the store %s is damaged, or no SQLite file (%s): move it "
                           "away to begin with an empty one",
                           path, text);
    case SQLITE_CANTOPEN:
        return problem_set(p, SMX_E_IO,
                           "the store %s cannot be opened (%s): its folder must exist "
                           "and be writable",
                           path, system == 0 ? text : strerror(system));
    case SQLITE_READONLY:
        return problem_set(p, SMX_E_IO,
                           "the store %s cannot be written: the file and its folder "
                           "must be writable",
                           path);
    case SQLITE_NOMEM:
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    default:
        return problem_set(p, SMX_E_IO, "the store %s: %s", path, text);
    }
}

/* A number that SQLite keeps in the file's head. */
static int sqlite_pragma(sqlite_db *db, const char *text, int *number)
{
    sqlite3_stmt *statement;
    int result = sqlite3_prepare_v2(db->connection, text, -1, &statement, NULL);
    if (result != SQLITE_OK)
        return result;
    result = sqlite3_step(statement);
    if (result == SQLITE_ROW)
        *number = sqlite3_column_int(statement, 0);
    (void)sqlite3_finalize(statement);
    return result == SQLITE_ROW ? SQLITE_OK : result;
}

/* Makes the tables of a new file; refuses a file that is somebody else's or of a later version. */
static int sqlite_prepare_file(sqlite_db *db, const char *path, problem *p)
{
    int application = 0;
    int version = 0;
    int tables = 0;
    int result = sqlite_pragma(db, "PRAGMA application_id", &application);
    if (result == SQLITE_OK)
        result = sqlite_pragma(db, "PRAGMA user_version", &version);
    if (result == SQLITE_OK)
        result = sqlite_pragma(db, "SELECT count(*) FROM sqlite_schema", &tables);
    if (result == SQLITE_OK && tables > 0 && (application != APPLICATION || version != VERSION))
        return problem_set(p, SMX_E_SYNTAX,
                           "%s is a SQLite file, but no store of this version of "
                           "smtpmux: name another file",
                           path);
    if (result == SQLITE_OK && tables == 0)
        result = sqlite3_exec(db->connection, SCHEMA, NULL, NULL, NULL);
    return result == SQLITE_OK ? 0 : sqlite_problem(db, path, result, p);
}

static int sqlite_prepare_statements(sqlite_db *db)
{
    for (size_t i = 0; i < SQL_COUNT; i++) {
        int result = sqlite3_prepare_v3(db->connection, STATEMENTS[i], -1,
                                        SQLITE_PREPARE_PERSISTENT, &db->statements[i], NULL);
        if (result != SQLITE_OK)
            return result;
    }
    return SQLITE_OK;
}

/* Notes that it is open from now on. A file that was never closed was in use until now, perhaps. */
static int sqlite_begin_run(sqlite_db *db, uint64_t now_ms)
{
    sqlite3_stmt *run = db->statements[SQL_RUN];
    int error = sqlite_step(run);
    if (error == 0) {
        db->boot = (uint64_t)sqlite3_column_int64(run, 0) + 1;
        int64_t last_use = sqlite3_column_int64(run, 1);
        db->last_use = last_use < 0 ? now_ms : (uint64_t)last_use;
    }
    sqlite_done(run);
    return error == 0 ? sqlite_run(db, SQL_RUN_BEGIN, NULL, NULL, 0, NULL) : SMX_E_IO;
}

static void sqlite_free(sqlite_db *db)
{
    for (size_t i = 0; i < SQL_COUNT; i++)
        (void)sqlite3_finalize(db->statements[i]);
    (void)sqlite3_close(db->connection);
    free(db);
}

/* The lock is taken with the first look at the file and kept until it is closed. */
static int sqlite_lock(sqlite_db *db, const char *path)
{
    int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int result = sqlite3_open_v2(path, &db->connection, flags, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_busy_timeout(db->connection, BUSY_MS);
    if (result == SQLITE_OK && sqlite3_db_readonly(db->connection, NULL) == 1)
        result = SQLITE_READONLY;
    if (result == SQLITE_OK)
        result = sqlite3_exec(db->connection,
                              "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
                              "PRAGMA synchronous = FULL; BEGIN EXCLUSIVE",
                              NULL, NULL, NULL);
    return result;
}

static int sqlite_open(const char *path, uint64_t now_ms, void **out, problem *p)
{
    sqlite_db *db = calloc(1, sizeof(*db));
    if (db == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    int result = sqlite_lock(db, path);
    int error = result == SQLITE_OK ? sqlite_prepare_file(db, path, p)
                                    : sqlite_problem(db, path, result, p);
    if (error != 0)
        goto failed;
    result = sqlite_prepare_statements(db);
    if (result == SQLITE_OK && sqlite_begin_run(db, now_ms) != 0)
        result = sqlite3_extended_errcode(db->connection);
    if (result == SQLITE_OK)
        result = sqlite3_exec(db->connection, "COMMIT", NULL, NULL, NULL);
    if (result != SQLITE_OK) {
        error = sqlite_problem(db, path, result, p);
        goto failed;
    }
    *out = db;
    return 0;
failed:
    sqlite_free(db);
    return error;
}

static void sqlite_close(void *arg, uint64_t now_ms)
{
    sqlite_db *db = arg;
    (void)sqlite_run(db, SQL_RUN_END, NULL, NUMBERS(now_ms), NULL); /* else: as if killed */
    sqlite_free(db);
}

static uint64_t sqlite_last_use(const void *db)
{
    return ((const sqlite_db *)db)->last_use;
}

/* ---- transactions ---- */

static int sqlite_begin(void *db)
{
    return sqlite_run(db, SQL_BEGIN, NULL, NULL, 0, NULL);
}

static int sqlite_commit(void *db)
{
    return sqlite_run(db, SQL_COMMIT, NULL, NULL, 0, NULL);
}

/* Some failures have undone the transaction already. */
static void sqlite_rollback(void *arg)
{
    sqlite_db *db = arg;
    if (sqlite3_get_autocommit(db->connection) == 0)
        (void)sqlite_run(db, SQL_ROLLBACK, NULL, NULL, 0, NULL);
}

/* ---- leases ---- */

static int sqlite_add(sqlite_db *db, const store_lease_request *r, uint64_t window, uint64_t amount)
{
    return sqlite_run(db, SQL_ADD, &r->key, NUMBERS(window, amount, r->expires_ms), NULL);
}

/* What `sum` finds is taken away and counts as used in the present window. */
static int sqlite_take_over(sqlite_db *db, const store_lease_request *r, sqlite_statement sum,
                            sqlite_statement forget, uint64_t number)
{
    uint64_t amount = 0;
    int error = sqlite_run(db, sum, &r->key, NUMBERS(number), &amount);
    if (error != 0 || amount == 0)
        return error;
    error = sqlite_run(db, forget, &r->key, NUMBERS(number), NULL);
    return error == 0 ? sqlite_add(db, r, r->window, amount) : error;
}

static int sqlite_read_used(sqlite_db *db, const store_lease_request *r, store_use *used,
                            store_lease_answer *answer, uint64_t *sum)
{
    sqlite3_stmt *statement = db->statements[SQL_USED];
    /* One below the first that counts, which may be below zero. */
    uint64_t before = r->window - r->span;
    int error = sqlite_bind_text(statement, 1, r->key);
    if (error == 0)
        error = sqlite_bind(statement, 2, NUMBERS(before, r->window));
    size_t count = 0;
    while (error == 0 && (error = sqlite_step(statement)) == 0) {
        used[count].window = (uint64_t)sqlite3_column_int64(statement, 0);
        used[count].amount = (uint64_t)sqlite3_column_int64(statement, 1);
        *sum += used[count++].amount;
    }
    sqlite_done(statement);
    answer->used = used;
    answer->used_count = count;
    return error == SMX_E_NOTFOUND ? 0 : error;
}

static int sqlite_write_lease(sqlite_db *db, const store_lease_request *r, uint64_t amount)
{
    if (amount == 0)
        return sqlite_run(db, SQL_LEASE_FORGET, &r->key, NUMBERS(db->boot, r->owner), NULL);
    return sqlite_run(db, SQL_LEASE, &r->key, NUMBERS(db->boot, r->owner, amount, r->expires_ms),
                      NULL);
}

static int sqlite_lease(void *arg, const store_lease_request *r, store_use *used,
                        store_lease_answer *answer)
{
    sqlite_db *db = arg;
    uint64_t sum = 0;
    int error = sqlite_take_over(db, r, SQL_DEAD_SUM, SQL_DEAD_FORGET, db->boot);
    for (size_t i = 0; i < r->used_count && error == 0; i++)
        if (store_counts(r, r->used[i].window))
            error = sqlite_add(db, r, r->used[i].window, r->used[i].amount);
    if (error == 0)
        error = sqlite_take_over(db, r, SQL_LATER_SUM, SQL_LATER_FORGET, r->window);
    if (error == 0)
        error = sqlite_read_used(db, r, used, answer, &sum);
    if (error == 0)
        error = sqlite_run(db, SQL_OTHERS, &r->key, NUMBERS(db->boot, r->owner), &answer->others);
    if (error != 0)
        return SMX_E_IO;
    answer->granted = store_grant(r, sum, answer->others);
    return sqlite_write_lease(db, r, answer->granted);
}

/* ---- values ---- */

static int sqlite_get(void *arg, smx_slice key, uint64_t now_ms, buffer *value)
{
    sqlite_db *db = arg;
    sqlite3_stmt *statement = db->statements[SQL_GET];
    int error = sqlite_bind_text(statement, 1, key);
    if (error == 0)
        error = sqlite_bind(statement, 2, NUMBERS(now_ms));
    if (error == 0)
        error = sqlite_step(statement);
    if (error == 0) {
        const char *data = sqlite3_column_blob(statement, 0);
        size_t len = (size_t)sqlite3_column_bytes(statement, 0);
        error = buffer_append(value, slice_of(data, len));
    }
    sqlite_done(statement);
    return error;
}

static int sqlite_put(void *arg, smx_slice key, smx_slice value, uint64_t expires_ms)
{
    sqlite_db *db = arg;
    sqlite3_stmt *statement = db->statements[SQL_PUT];
    const char *data = value.len == 0 ? "" : value.data;
    int error = sqlite_bind_text(statement, 1, key);
    if (error == 0 &&
        sqlite3_bind_blob64(statement, 2, data, value.len, SQLITE_STATIC) != SQLITE_OK)
        error = SMX_E_IO;
    if (error == 0)
        error = sqlite_bind(statement, 3, NUMBERS(expires_ms));
    if (error == 0)
        error = sqlite_step(statement);
    sqlite_done(statement);
    return error == SMX_E_NOTFOUND ? 0 : SMX_E_IO;
}

static int sqlite_expire(void *arg, uint64_t now_ms)
{
    sqlite_db *db = arg;
    int error = sqlite_run(db, SQL_EXPIRE_USED, NULL, NUMBERS(now_ms), NULL);
    if (error == 0)
        error = sqlite_run(db, SQL_EXPIRE_LEASES, NULL, NUMBERS(now_ms, db->boot), NULL);
    return error == 0 ? sqlite_run(db, SQL_EXPIRE_VALUES, NULL, NUMBERS(now_ms), NULL) : error;
}

static const char *sqlite_error_text(void *db)
{
    return sqlite3_errmsg(((const sqlite_db *)db)->connection);
}

const store_backend store_sqlite = {
    .scheme = "sqlite",
    .form = "sqlite:/path/of/a/file",
    .check = sqlite_check,
    .open = sqlite_open,
    .close = sqlite_close,
    .last_use = sqlite_last_use,
    .begin = sqlite_begin,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .lease = sqlite_lease,
    .get = sqlite_get,
    .put = sqlite_put,
    .expire = sqlite_expire,
    .error_text = sqlite_error_text,
};
