/* The keys of the configuration: one table for each level of the file, one line for each key, with
 * the documentation in it. The reader, `check --print` and docs/configuration.md follow these tables. */
#ifndef APP_KEYS_H
#define APP_KEYS_H

#include "app/config.h"
#include "app/yaml.h"

/* Texts are a const char * or an smx_slice, by the size of their place. */
typedef enum key_kind {
    KEY_TEXT,
    KEY_SECRET,   /* a text; also NAME_file */
    KEY_FILE,     /* a text: the name of a file that can be read */
    KEY_BOOL,     /* bool */
    KEY_NUMBER,   /* an unsigned integer */
    KEY_DURATION, /* uint32_t, milliseconds */
    KEY_SIZE,     /* uint64_t, octets */
    KEY_WORD,     /* an enum: the index in `words` */
    KEY_LEVEL,    /* a mapping with a table of its own, in the same struct */
    KEY_CUSTOM,   /* read and written by functions of its own */
    KEY_LATER,    /* known, and not in this version */
} key_kind;

typedef struct config_reader config_reader;
typedef struct config_writer config_writer;
typedef struct config_level config_level;

typedef struct config_key {
    const char *name;
    key_kind kind;
    size_t offset;             /* of the value in the level's struct */
    size_t size;               /* of it */
    uint64_t minimum, maximum; /* of a number, a duration in milliseconds, a size */
    const char *const *words;  /* of KEY_WORD, or of custom keys for the documentation */
    const char *const *later;  /* words that are not in this version */
    const config_level *level; /* of KEY_LEVEL; of custom keys for the documentation */
    /* KEY_CUSTOM: `target` is what stands at `offset` in the level's struct: without one all of it.
     * `write` NULL: not printed. */
    void (*read)(config_reader *reader, const yaml_entry *entry, void *target);
    void (*write)(config_writer *writer, const void *target);
    /* NULL: always. False: the key means nothing in this struct of its level, and is not printed. */
    bool (*applies)(const void *level);
    bool is_required;
    const char *type;      /* in the documentation, of custom keys */
    const char *initial;   /* the default, as it would stand in the file; NULL: none */
    const char *otherwise; /* in the documentation: what is without the key, where `initial` cannot
                              say it */
    const char *doc;
    const char *also; /* words, each between spaces, that other programs have for it: what is told
                         when such a key is found */
} config_key;

struct config_level {
    const char *name; /* "listener" */
    const config_key *keys;
    size_t count;
};

/* The places of a key's value in the struct T. */
#define KEY_AT(T, field) .offset = offsetof(T, field), .size = sizeof(((T *)NULL)->field)
#define KEY_LEVEL_OF(title, table)                                                                 \
    {                                                                                              \
        title, table, sizeof(table) / sizeof((table)[0])                                           \
    }

extern const config_level level_top;
extern const config_level level_door; /* the file, as far as it says where the admin listens */
extern const config_level level_log;
extern const config_level level_admin;
extern const config_level level_listener;
extern const config_level level_certificate;
extern const config_level level_proxy_upstream;
extern const config_level level_proxy_timeouts;
extern const config_level level_capture;
extern const config_level level_upstream;
extern const config_level level_timeouts;
extern const config_level level_breaker;
extern const config_level level_oauth2;
extern const config_level level_user;
extern const config_level level_route;
extern const config_level level_match;
extern const config_level level_downstream; /* of the Go program's file */

/* All levels, in the order of the documentation; NULL at the end. */
const config_level *keys_level_at(size_t nth);

#endif
