/* Reads a tree of values into structs by the tables of keys. */
#ifndef APP_READER_H
#define APP_READER_H

#include "app/keys.h"

/* One reading of one file. The arrays run beside those of the snapshot: where each listener and user
 * stands, for what can only be judged when all is read. */
struct config_reader {
    config *config;
    problems *problems;
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

/* secret.c: the value of NAME, or what the file of NAME_file holds. False: neither is there, or a
 * problem was told. */
bool reader_secret(config_reader *reader, const yaml_node *level, const char *name,
                   smx_slice *secret);

#endif
