/*
 * Intrusive lists: circular, doubly linked, with a head that is a node of its own. A node that is
 * in no list points to itself, so that list_remove() needs no question.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct list_node {
    struct list_node *prev, *next;
};

static inline void list_init(struct list_node *node)
{
    node->prev = node;
    node->next = node;
}

/* Of a head: is it empty? Of a node: is it in no list? */
static inline bool list_is_alone(const struct list_node *node)
{
    return node->next == node;
}

static inline void list_remove(struct list_node *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* `node` MUST be in no list. */
static inline void list_append(struct list_node *head, struct list_node *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void list_move_to_end(struct list_node *head, struct list_node *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_append(head, node);
}

/* The structure that holds the node. */
#define list_entry(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))
