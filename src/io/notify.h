/* Words to the service manager that started this process, by the protocol of sd_notify(3): a
 * datagram to the socket that NOTIFY_SOCKET names. Nothing blocks. One thread's. */
#pragma once

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/error.h"

struct notify {
    int fd; /* -1: nobody wants to be told */
    struct sockaddr_un address;
    socklen_t address_size;
    int64_t watchdog_ms; /* how often it wants to hear WATCHDOG=1 at least; 0: never */
};

/* Reads the environment: NOTIFY_SOCKET (a path, or an abstract name after '@'), WATCHDOG_USEC and
 * WATCHDOG_PID. Returns 0, also where nobody wants to be told, or -1 with what is wrong. */
int notify_open(struct notify *notify, struct error *error);

/* Sends `NAME=value` lines. Returns 0, or -1 when they are not taken now. */
int notify_send(const struct notify *notify, const char *lines);

void notify_close(struct notify *notify);
