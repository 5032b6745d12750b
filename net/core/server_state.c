#include "net/core/server_state.h"

struct server server;
