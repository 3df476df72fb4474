/* A queue between threads: any thread pushes, one thread takes all items. Nothing is called while
 * the lock is held. A push onto an empty queue calls `wake` afterwards, so the taking thread may
 * sleep in any way. */
#pragma once

#include <pthread.h>

#include "base/list.h"

struct queue {
    pthread_mutex_t lock;
    struct list items;
    void (*wake)(void *argument);
    void *argument;
};

/* wake may be NULL. */
void queue_init(struct queue *queue, void (*wake)(void *argument), void *argument);

/* The caller releases the items that are still queued first. */
void queue_fini(struct queue *queue);

/* Any thread. The node's object belongs to the taking thread from here on. */
void queue_push(struct queue *queue, struct list *node);

/* Moves all items, in order, to the end of `into`. The taking thread. */
void queue_take(struct queue *queue, struct list *into);
