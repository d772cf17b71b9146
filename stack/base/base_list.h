/* base_list.h - doubly linked rings threaded through the objects themselves
 *
 * What it does: O(1) insert and remove without allocation. An object embeds a struct base_list; the
 * list owns nothing. A removed node points at itself, so removing twice is harmless and "is it on a
 * list" can be asked. Called by all of stack/; the owner of the list is its only user.
 */
#ifndef ZTCP_BASE_LIST_H
#define ZTCP_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct base_list {
	struct base_list *next, *prev;
};

/** base_list_init() - make @l an empty list, or a node that is on none. */
static inline void base_list_init(struct base_list *l)
{
	l->next = l;
	l->prev = l;
}

/** base_list_empty() - Return: true for an empty list, or for a node that is on none. */
static inline bool base_list_empty(const struct base_list *l)
{
	return l->next == l;
}

/** base_list_insert() - put @node right after @where. */
static inline void base_list_insert(struct base_list *where, struct base_list *node)
{
	node->next = where->next;
	node->prev = where;
	where->next->prev = node;
	where->next = node;
}

/** base_list_push_head() - put @node first. */
static inline void base_list_push_head(struct base_list *list, struct base_list *node)
{
	base_list_insert(list, node);
}

/** base_list_push_tail() - put @node last. */
static inline void base_list_push_tail(struct base_list *list, struct base_list *node)
{
	base_list_insert(list->prev, node);
}

/** base_list_remove() - take @node off its list, if it is on one. */
static inline void base_list_remove(struct base_list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	base_list_init(node);
}

/** base_list_pop_head() - take the first node. Return: the node, or NULL when the list is empty. */
static inline struct base_list *base_list_pop_head(struct base_list *list)
{
	struct base_list *node = list->next;

	if (node == list)
		return NULL;
	base_list_remove(node);
	return node;
}

#define base_container_of(ptr, type, member) \
	((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define base_list_entry(ptr, type, member) base_container_of(ptr, type, member)

#define base_list_for_each(pos, list) \
	for (struct base_list *pos = (list)->next; pos != (list); pos = pos->next)

/* Lets the body remove @pos. */
#define base_list_for_each_safe(pos, list)                                                 \
	for (struct base_list *pos = (list)->next, *pos##_next = pos->next; pos != (list); \
	     pos = pos##_next, pos##_next = pos->next)

#endif
