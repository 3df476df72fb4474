/* The addresses that are passed over. libcurl tries the next address of a host only if TCP fails.
 * So an address that accepts TCP and fails in TLS (a proxy that hangs, a process that is frozen)
 * would take every new connection, although the next address works. Such an address is passed over
 * for a while, unless no other is left. Nothing was sent on its connection. */
#include <string.h>

#include "base/clock.h"
#include "io/platform_internal.h"

enum { PASS_OVER_MS = 60000 };

/* What happens at the hosts of files has no effect on calls. */
static struct passed_over *list_for(struct transfer *transfer)
{
    struct platform *platform = transfer->platform;
    return transfer->use == TRANSFER_FETCH ? &platform->passed_over_of_files
                                           : &platform->passed_over;
}

/* Returns when the address was last tried; NULL: it is not in the list. */
static int64_t *find(struct passed_over *list, const struct peer *peer)
{
    for (size_t i = 0; i < PASSED_OVER; i++)
        if (list->entries[i].tried_ms && !memcmp(&list->entries[i].peer, peer, sizeof *peer))
            return &list->entries[i].tried_ms;
    return NULL;
}

static void add(struct passed_over *list, const struct peer *peer)
{
    int64_t *tried_ms = find(list, peer);
    if (!tried_ms) {
        unsigned i = list->added++ % PASSED_OVER;
        list->entries[i].peer = *peer;
        tried_ms = &list->entries[i].tried_ms;
    }
    *tried_ms = clock_boot_ms();
}

struct peer platform_peer(const struct curl_sockaddr *address)
{
    struct peer peer;
    memset(&peer, 0, sizeof peer);
    if (address->addrlen <= sizeof peer.address)
        memcpy(&peer.address, &address->addr, address->addrlen);
    return peer;
}

bool platform_passes_over(struct transfer *transfer, const struct peer *peer)
{
    int64_t *tried_ms = find(list_for(transfer), peer), now = clock_boot_ms();
    if (!tried_ms)
        return false;
    if (now - *tried_ms < PASS_OVER_MS)
        return transfer->passed_over = true;
    *tried_ms = now; /* by this transfer; the others wait for what it finds */
    return false;
}

void platform_peer_works(struct transfer *transfer, int local_port)
{
    if (!transfer->opened)
        return;
    ports_each(watch, &transfer->platform->ports, local_port)
    {
        int64_t *tried_ms = find(list_for(transfer), &watch->peer);
        if (tried_ms)
            *tried_ms = 0;
    }
}

bool platform_peer_fails(struct transfer *transfer, CURLcode code)
{
    if (code == CURLE_OK || transfer->has_connection || transfer->attempt.sends > 0)
        return false;
    if (transfer->in_tls)
        add(list_for(transfer), &transfer->peer);
    if (transfer->in_tls || !transfer->passed_over)
        return false;
    *list_for(transfer) = (struct passed_over){0};
    return code == CURLE_COULDNT_CONNECT || !transfer->opened;
}
