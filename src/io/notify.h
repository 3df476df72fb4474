/* Messages to the service manager that started this process, by the protocol of sd_notify(3):
 * datagrams to the socket that NOTIFY_SOCKET names. Nothing blocks. One thread. */
#pragma once

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/error.h"

struct notify {
    int fd; /* -1: there is no service manager */
    struct sockaddr_un address;
    socklen_t address_size;
    int64_t watchdog_ms; /* longest interval between two WATCHDOG=1; 0: there is no watchdog */
};

/* Reads the environment: NOTIFY_SOCKET (a path, or an abstract name after '@'), WATCHDOG_USEC and
 * WATCHDOG_PID. Returns 0, also without a service manager, or -1 with an error. */
int notify_open(struct notify *notify, struct error *error);

/* Sends `NAME=value` lines. Returns 0, or -1 if the manager does not accept them now. */
int notify_send(const struct notify *notify, const char *lines);

void notify_close(struct notify *notify);
