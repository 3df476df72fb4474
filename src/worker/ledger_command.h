/* The command `ledger`: shows what the groups have committed, decoded, for people and for scripts;
 * and `ledger repair`, which lets a halted partition go on. Both ask the brokers from outside and
 * join no group. Main thread; text goes to standard output, errors to standard error. */
#pragma once

#include "core/config.h"
#include "worker/options.h"

/* Returns the exit status: 0; 1 when something cannot be read or a partition is halted. */
int ledger_command_show(const struct config *config, const struct options *options);

/* Returns the exit status: 0 when the partition was repaired, or, without --yes, when it can be; 2
 * for options that make no sense; 1 otherwise. */
int ledger_command_repair(const struct config *config, const struct options *options);
