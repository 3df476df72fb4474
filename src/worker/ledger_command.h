/* The command `ledger`, which shows what the groups have committed, decoded, for people and for
 * scripts; and `ledger repair`, which lets a halted partition go on. Both query the brokers and
 * join no group. Main thread. Text goes to standard output, errors to standard error. */
#pragma once

#include "core/config.h"
#include "worker/options.h"

/* Returns the exit status: 0; 1 if something cannot be read or a partition is halted. */
int ledger_command_show(const struct config *config, const struct options *options);

/* Returns the exit status: 0 if the partition was repaired or, without --yes, if it can be; 2 for
 * impossible options; otherwise 1. */
int ledger_command_repair(const struct config *config, const struct options *options);
