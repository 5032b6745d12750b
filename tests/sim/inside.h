/*
 * What must hold inside of net/ after each turn of its loop: nothing waits for something that will
 * not come. From outside a connection that was forgotten looks like one whose frames were lost.
 */
#pragma once

#include "net/server.h"

void inside_check(const struct server_config *config);
