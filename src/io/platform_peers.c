/* The addresses that are passed over. libcurl tries the next address of a host only if TCP fails.
 * So an address that accepts TCP and fails in TLS (a proxy that hangs, a process that is frozen)
 * would take every new connection, although the next address works. Such an address is passed over
 * for a while, unless no other is left. Nothing was sent on its connection. */
#include <netdb.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/platform_internal.h"

enum { PASS_OVER_MS = 60000 };

/* What happens at the hosts of files has no effect on calls. */
static struct passed_over *list_for(struct transfer *transfer)
{
    struct platform *platform = transfer->platform;
    return transfer->use == TRANSFER_FETCH ? &platform->passed_over_of_files
                                           : &platform->passed_over;
}

/* NULL: the address is not passed over. */
static struct passed_peer *find(struct passed_over *list, const struct peer *peer)
{
    for (size_t i = 0; i < PASSED_OVER; i++)
        if (list->peers[i].tried_ms && !memcmp(&list->peers[i].peer, peer, sizeof *peer))
            return &list->peers[i];
    return NULL;
}

static void add(struct passed_over *list, const struct peer *peer)
{
    struct passed_peer *found = find(list, peer);
    if (!found)
        found = &list->peers[list->added++ % PASSED_OVER];
    *found = (struct passed_peer){*peer, clock_boot_ms()};
}

/* At most once a minute. */
static void log_passed_over(struct passed_over *list, const struct passed_peer *passed)
{
    int64_t now = clock_boot_ms();
    if (list->logged_ms && now - list->logged_ms < PASS_OVER_MS)
        return;
    list->logged_ms = now;
    const struct sockaddr *address = (const struct sockaddr *)&passed->peer.address;
    socklen_t size =
        address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "?";
    getnameinfo(address, size, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    log_warn("%s port %s accepts TCP and fails in TLS: new connections go to another address of "
             "the host; one a minute tries this address again",
             host, port);
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
    struct passed_peer *found = find(list_for(transfer), peer);
    int64_t now = clock_boot_ms();
    if (!found)
        return false;
    if (now - found->tried_ms < PASS_OVER_MS) {
        transfer->passed_over = found;
        return true;
    }
    found->tried_ms = now; /* by this transfer; the others wait for what it finds */
    return false;
}

void platform_peer_works(struct transfer *transfer, int local_port)
{
    struct passed_over *list = list_for(transfer);
    if (!transfer->opened)
        return;
    ports_each(watch, &transfer->platform->ports, local_port)
    {
        struct passed_peer *found = find(list, &watch->peer);
        if (found)
            found->tried_ms = 0;
    }
    if (transfer->passed_over && transfer->passed_over->tried_ms)
        log_passed_over(list, transfer->passed_over);
}

bool platform_peer_fails(struct transfer *transfer, CURLcode code)
{
    if (code == CURLE_OK || transfer->has_connection || transfer->attempt.sends > 0)
        return false;
    if (transfer->in_tls)
        add(list_for(transfer), &transfer->peer);
    if (transfer->in_tls || !transfer->passed_over)
        return false;
    memset(list_for(transfer)->peers, 0, sizeof list_for(transfer)->peers);
    return code == CURLE_COULDNT_CONNECT || !transfer->opened;
}
