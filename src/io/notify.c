#include "io/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

static int set_address(struct notify *notify, const char *name, struct error *error)
{
    char *path = notify->address.sun_path;
    size_t length = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || !name[1])
        return error_set(error, "NOTIFY_SOCKET: expected a path, or an abstract name after @");
    if (length >= sizeof notify->address.sun_path)
        return error_set(error, "NOTIFY_SOCKET: expected at most %zu bytes",
                         sizeof notify->address.sun_path - 1);
    notify->address.sun_family = AF_UNIX;
    memcpy(path, name, length);
    if (path[0] == '@')
        path[0] = '\0';
    /* An abstract name ends with the address, not with a NUL. */
    notify->address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    return 0;
}

/* 0: there is no watchdog, or it is another process's. */
static int64_t watchdog_ms(void)
{
    const char *period = getenv("WATCHDOG_USEC"), *whose = getenv("WATCHDOG_PID");
    int64_t us = 0, pid = getpid();
    if (whose && (text_to_integer(whose, 1, INT32_MAX, &pid) < 0 || pid != getpid()))
        return 0;
    if (!period || text_to_integer(period, 1, INT64_MAX, &us) < 0)
        return 0;
    return us < 1000 ? 1 : us / 1000;
}

int notify_open(struct notify *notify, struct error *error)
{
    const char *name = getenv("NOTIFY_SOCKET");
    *notify = (struct notify){.fd = -1};
    if (!name || !*name)
        return 0;
    if (set_address(notify, name, error) < 0)
        return -1;
    notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (notify->fd < 0)
        return error_set(error, "NOTIFY_SOCKET: %s", strerror(errno));
    notify->watchdog_ms = watchdog_ms();
    return 0;
}

int notify_send(const struct notify *notify, const char *lines)
{
    ssize_t sent = sendto(notify->fd, lines, strlen(lines), MSG_NOSIGNAL,
                          (const struct sockaddr *)&notify->address, notify->address_size);
    return sent < 0 ? -1 : 0;
}

void notify_close(struct notify *notify)
{
    if (notify->fd >= 0)
        close(notify->fd);
    notify->fd = -1;
}
