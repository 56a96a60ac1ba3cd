/* An intrusive list that knows its length: state is membership, and the lengths are the metrics. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct list list;

/* Embedded in the member; zero means "on no list". */
typedef struct list_node {
    struct list_node *next;
    struct list_node *previous;
    list *owner;
} list_node;

/* Zero is a valid empty list. */
struct list {
    list_node *first;
    list_node *last;
    size_t count;
};

/* The member that a node is embedded in. */
#define list_member(node, type, field) ((type *)(void *)((char *)(node)-offsetof(type, field)))

static inline void list_append(list *l, list_node *n)
{
    assert(n->owner == NULL);
    *n = (list_node){.previous = l->last, .owner = l};
    if (l->last != NULL)
        l->last->next = n;
    else
        l->first = n;
    l->last = n;
    l->count++;
}

static inline void list_prepend(list *l, list_node *n)
{
    assert(n->owner == NULL);
    *n = (list_node){.next = l->first, .owner = l};
    if (l->first != NULL)
        l->first->previous = n;
    else
        l->last = n;
    l->first = n;
    l->count++;
}

/* Off whatever list it is on; nothing if on none. */
static inline void list_remove(list_node *n)
{
    list *l = n->owner;
    if (l == NULL)
        return;
    if (n->previous != NULL)
        n->previous->next = n->next;
    else
        l->first = n->next;
    if (n->next != NULL)
        n->next->previous = n->previous;
    else
        l->last = n->previous;
    l->count--;
    *n = (list_node){0};
}

/* The one setter of a member's state: from its list to the end of another. */
static inline void list_move(list *to, list_node *n)
{
    list_remove(n);
    list_append(to, n);
}

static inline list_node *list_take_first(list *l)
{
    list_node *n = l->first;
    if (n != NULL)
        list_remove(n);
    return n;
}

#endif
