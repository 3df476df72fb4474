/* Intrusive doubly linked list: the node is a member of the listed object, and `list_of` gives the
 * object of a node. An object can be in as many lists as it has nodes. No thread safety. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *previous;
};

/* clang-format off */ /* clang-format's versions space the minus differently */
#define list_of(node, type, member) ((type *)((char *)(node) - offsetof(type, member)))
/* clang-format on */
#define list_each(at, head) for (struct list *at = (head)->next; at != (head); at = at->next)
/* Like list_each, for loops that remove the current node. */
#define list_each_safe(at, head)                                                                   \
    for (struct list *at = (head)->next, *at##_next = at->next; at != (head);                      \
         at = at##_next, at##_next = at->next)

static inline void list_init(struct list *list)
{
    list->next = list->previous = list;
}

static inline bool list_empty(const struct list *list)
{
    return list->next == list;
}

/* Whether an initialised node is in a list. */
static inline bool list_linked(const struct list *node)
{
    return node->next != node;
}

static inline void list_insert_before(struct list *at, struct list *node)
{
    node->previous = at->previous;
    node->next = at;
    at->previous->next = node;
    at->previous = node;
}

static inline void list_append(struct list *list, struct list *node)
{
    list_insert_before(list, node);
}

static inline void list_prepend(struct list *list, struct list *node)
{
    list_insert_before(list->next, node);
}

/* Takes the node out of its list. A node that is in no list stays as it is. */
static inline void list_remove(struct list *node)
{
    node->previous->next = node->next;
    node->next->previous = node->previous;
    list_init(node);
}

/* Takes the first node out. NULL: the list is empty. */
static inline struct list *list_take_first(struct list *list)
{
    struct list *node = list->next;
    if (node == list)
        return NULL;
    list_remove(node);
    return node;
}

/* Moves all nodes of `from` to the end of `to`. */
static inline void list_append_all(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->previous = to->previous;
    to->previous->next = from->next;
    from->previous->next = to;
    to->previous = from->previous;
    list_init(from);
}
