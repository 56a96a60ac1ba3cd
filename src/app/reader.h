/* Reads a tree of values into structs by the tables of keys. */
#ifndef APP_READER_H
#define APP_READER_H

#include "app/keys.h"

/* One reading of one file. The arrays run beside those of the snapshot: where each listener and user
 * stands, for what can only be judged when all is read. */
struct config_reader {
    config *config;
    problems *problems;
    yaml_entry top;     /* all of the file */
    const char *folder; /* that the file's paths are of, with its slash; NULL: they have none */
    const yaml_entry **listener_entries;
    const yaml_entry **user_entries;
    const yaml_entry **route_entries;
    size_t upstream_capacity;
};

/* Cleared memory of the snapshot; NULL (and the problems know) when there is none. */
void *reader_alloc(config_reader *reader, size_t count, size_t size);
/* A copy with a NUL behind it; "" when there is no memory. */
const char *reader_copy(config_reader *reader, smx_slice text);

/* The same, with its length; empty when there is no memory. */
smx_slice reader_copy_slice(config_reader *reader, smx_slice text);

/* The folder of the file `name`, as a whole path, so that what is printed means the same anywhere. */
const char *reader_folder(config_reader *reader, const char *name);
/* A path of the file: one that does not begin with a slash is of the file's folder. A copy, as above. */
const char *reader_path(config_reader *reader, smx_slice path);

/* What another module said is wrong: its sentence, or that memory ran out. */
void reader_problem(config_reader *reader, int64_t offset, int error, const problem *p);

/* All keys of a level: unknown ones are told, absent ones get their defaults. */
void reader_level(config_reader *reader, const config_level *level, const yaml_entry *at,
                  void *target);

/* Only the first half of that: keys of the mapping that the level does not know. */
void reader_unknown_keys(config_reader *reader, const config_level *level, const yaml_entry *at);

/* The scalar's text; false, and a problem that says what was expected, for anything else. */
bool reader_scalar(config_reader *reader, const yaml_entry *entry, const char *expected,
                   smx_slice *text);
/* A word of a table: its index; false and a problem for any other. */
bool reader_word(config_reader *reader, const yaml_entry *entry, const char *const *words,
                 const char *const *later, size_t *index);
/* The members of a list, or the one value itself; how many. */
size_t reader_list(const yaml_entry *entry, const yaml_entry **first);
/* True when the key stands in the mapping of `at`. */
bool reader_has(const yaml_entry *at, const char *key);
/* True when it stands there, or NAME_file does, and an error was told of its value: what would follow
 * from the value's absence is none. */
bool reader_has_failed(const config_reader *reader, const yaml_entry *at, const char *key);

/* True of a key of the level, NAME_file of a secret included. */
bool reader_knows(const config_level *level, smx_slice key);
/* True when a key of the mapping is told to mean `key`. */
bool reader_has_misspelt(const config_level *level, const yaml_entry *at, const char *key);
/* True, and told, of a mapping in the place of a list none of whose keys is one of the level's: names
 * of things, most likely. */
bool reader_is_stray(config_reader *reader, const config_level *level, const yaml_entry *entry);

/* secret.c: the value of NAME, or what the file of NAME_file holds. False: neither is there, or a
 * problem was told. */
bool reader_secret(config_reader *reader, const yaml_node *level, const char *name,
                   smx_slice *secret);

#endif
