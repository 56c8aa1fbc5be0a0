/*
 * spg - Go-like green threads in plain C, on io_uring. One include for everything.
 */
#ifndef SPG_SPG_H
#define SPG_SPG_H

#include <spg/base.h>
#include <spg/runtime.h>
#include <spg/go.h>
#include <spg/ctx.h>
#include <spg/chan.h>
#include <spg/select.h>
#include <spg/msg.h>
#include <spg/sync.h>
#include <spg/time.h>
#include <spg/io.h>
#include <spg/stream.h>
#include <spg/fs.h>
#include <spg/net.h>
#include <spg/conn.h>
#include <spg/call.h>
#include <spg/process.h>
#include <spg/signal.h>
#include <spg/debug.h>
#include <spg/features.h>

#endif
