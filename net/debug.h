/*
 * Of the debug server, for its test: how long a client may take to send a request.
 */
#ifndef SPG__NET_DEBUG_H
#define SPG__NET_DEBUG_H

#include "coro/base.h"

extern int64_t spg__debug_request_ns;

#endif
