#pragma once
/* Intrusive doubly linked list. `struct list` is both head and link; a head is LIST_INIT'ed. */
#include <stdbool.h>
#include "base/alloc.h"

struct list {
	struct list *next, *previous;
};
#define LIST_INIT(head) { &(head), &(head) }
static inline void
list_init(struct list *l)
{
	l->next = l->previous = l;
}
static inline bool
list_is_empty(const struct list *l)
{
	return l->next == l;
}
static inline void
list_add_tail(struct list *head, struct list *l)
{
	l->previous = head->previous;
	l->next = head;
	head->previous->next = l;
	head->previous = l;
}
static inline void
list_remove(struct list *l) /* safe to repeat */
{
	l->previous->next = l->next;
	l->next->previous = l->previous;
	list_init(l);
}
/* `p` and `following` are variables of the element's type; removing p inside the loop is safe. */
#define LIST_FOREACH(head, p, following, member)                                                   \
	for (p = CONTAINER_OF((head)->next, __typeof__(*p), member),                               \
	    following = CONTAINER_OF(p->member.next, __typeof__(*p), member);                      \
	     &p->member != (head);                                                                 \
	     p = following, following = CONTAINER_OF(p->member.next, __typeof__(*p), member))
