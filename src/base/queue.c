#include "base/queue.h"

void queue_init(struct queue *queue, void (*wake)(void *argument), void *argument)
{
    pthread_mutex_init(&queue->lock, NULL);
    list_init(&queue->items);
    queue->wake = wake;
    queue->argument = argument;
}

void queue_fini(struct queue *queue)
{
    pthread_mutex_destroy(&queue->lock);
}

void queue_push(struct queue *queue, struct list *node)
{
    pthread_mutex_lock(&queue->lock);
    bool was_empty = list_empty(&queue->items);
    list_append(&queue->items, node);
    pthread_mutex_unlock(&queue->lock);
    if (was_empty && queue->wake)
        queue->wake(queue->argument);
}

void queue_take(struct queue *queue, struct list *into)
{
    pthread_mutex_lock(&queue->lock);
    list_append_all(into, &queue->items);
    pthread_mutex_unlock(&queue->lock);
}
