/* The broker as a program: prints its address and runs until standard input ends. */
#include <stdio.h>
#include <unistd.h>

#include "sandbox/broker/broker.h"

int main(int argc, char **argv)
{
    struct error error;
    struct broker_options options = {.address = argc > 1 ? argv[1] : NULL};
    struct broker *broker = broker_new(&options, &error);
    if (!broker) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    printf("%s\n", broker_address(broker));
    fflush(stdout);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    broker_free(broker);
    return 0;
}
