/* A YAML text as a tree of values that know where they stand. */
#ifndef APP_YAML_H
#define APP_YAML_H

#include "app/problems.h"

typedef enum yaml_kind { YAML_NOTHING, YAML_SCALAR, YAML_SEQUENCE, YAML_MAPPING } yaml_kind;

typedef struct yaml_node yaml_node;

typedef struct yaml_entry {
    smx_slice key;  /* ends in NUL; empty in a sequence */
    int64_t offset; /* of the key */
    const yaml_node *value;
} yaml_entry;

struct yaml_node {
    yaml_kind kind;
    int64_t offset; /* of a scalar itself; of the key of anything else, or of its first member */
    smx_slice text; /* of a scalar, `${NAME}` expanded; ends in NUL */
    yaml_entry *entries;
    size_t count;
    bool is_broken; /* a scalar whose expansion failed, which was told */
};

/* Reads list->text. `${NAME}` is the environment's value, `$${` a plain `${`; anchors, aliases and
 * `<<` are followed. NULL where there is nothing to go on with: the list says why. Problems of
 * expansion and doubled keys are added and do not stop it. The tree lives in `memory`. */
const yaml_node *yaml_parse(problems *list, arena *memory);
/* The same of one key of the file: what stands behind the others is not looked at, so long as it is
 * YAML. */
const yaml_node *yaml_parse_key(problems *list, arena *memory, const char *key);

/* The value behind a key, or NULL. */
const yaml_entry *yaml_find(const yaml_node *mapping, smx_slice key);

/* Overwrites the text of all values, some of which are secrets. */
void yaml_wipe(const yaml_node *node);

/* "a mapping", "a list", ... for sentences. */
const char *yaml_kind_text(const yaml_node *node);

#endif
