/* Writes the snapshot as YAML by the tables of keys. */
#ifndef APP_WRITER_H
#define APP_WRITER_H

#include "app/keys.h"

struct config_writer {
    const config *config;
    buffer *out;
    unsigned depth; /* of indentation, two columns each */
    bool is_item;   /* the next key begins an item of a list: "- " before it */
    int error;      /* the first one; what follows is not written */
};

/* "name:" at the start of a line, with the indentation; the value follows. */
void writer_key(config_writer *writer, const char *name);
void writer_text(config_writer *writer, const char *text); /* as it is */
void writer_scalar(config_writer *writer, smx_slice text); /* quoted where needed */
void writer_end(config_writer *writer);                    /* of the line */
/* All keys of a level that have a value. */
void writer_level(config_writer *writer, const config_level *level, const void *target);
/* A list of mappings. */
void writer_items(config_writer *writer, const char *name, const config_level *level,
                  const void *items, size_t count, size_t size);

#endif
