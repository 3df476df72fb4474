#include <netinet/in.h>
#include <sys/socket.h>

#include "io/platform_internal.h"

static int port_of(curl_socket_t socket)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    if (getsockname(socket, (struct sockaddr *)&address, &size))
        return 0;
    if (address.ss_family == AF_INET)
        return ntohs(((struct sockaddr_in *)&address)->sin_port);
    if (address.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return 0;
}

void ports_init(struct ports *ports)
{
    list_init(&ports->unknown);
    for (int i = 0; i < PORT_BUCKETS; i++)
        list_init(&ports->known[i]);
}

void ports_add(struct ports *ports, struct watch *watch)
{
    watch->of_connection = true;
    list_append(&ports->unknown, &watch->port_node);
}

/* connect() assigns the port: sockets without a port are between two calls of libcurl. */
static void learn(struct ports *ports)
{
    list_each_safe(node, &ports->unknown)
    {
        struct watch *watch = list_of(node, struct watch, port_node);
        watch->local_port = port_of(watch->socket);
        if (!watch->local_port)
            continue;
        list_remove(node);
        list_append(&ports->known[watch->local_port % PORT_BUCKETS], node);
    }
}

struct watch *ports_next(struct ports *ports, int local_port, const struct watch *after)
{
    struct list *bucket = &ports->known[(unsigned)local_port % PORT_BUCKETS];
    if (!after)
        learn(ports);
    for (struct list *at = after ? after->port_node.next : bucket->next; at != bucket;
         at = at->next) {
        struct watch *watch = list_of(at, struct watch, port_node);
        if (watch->local_port == local_port)
            return watch;
    }
    return NULL;
}
