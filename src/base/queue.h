/* The way between two threads: any thread pushes, one takes all. Nothing is called while its lock
 * is held. A push onto an empty queue calls `wake` afterwards, so the taker may sleep on whatever
 * it likes. */
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

/* The items that are still in it are the caller's to release first. */
void queue_fini(struct queue *queue);

/* Any thread. The node's thing belongs to the taker from here on. */
void queue_push(struct queue *queue, struct list *node);

/* Appends to an empty list at once what was pushed, in order. The taker's thread. */
void queue_take(struct queue *queue, struct list *into);
