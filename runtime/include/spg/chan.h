/*
 * spg/chan.h - channels, with Go's meaning.
 *
 * Unbuffered (capacity 0) is a rendezvous. Waiters are served first in, first out; a
 * value goes straight to a waiting receiver. Close wakes all; buffered values are still
 * delivered. A send to a closed channel is an error, never a crash. What happens before a
 * send happens after its receive.
 */
#ifndef SPG_CHAN_H
#define SPG_CHAN_H

#include <spg/base.h>

SPG__EXTERN_C_BEGIN

/**
 * spg_chan_new - make a channel.
 * @elem_size: bytes of a value; 0 is allowed: only the event counts
 * @capacity:  values buffered; 0: sender and receiver meet
 *
 * Return: the channel with one reference; NULL: no memory, or sizes that overflow.
 * Cancellation: none. Threads: any. Allocates: the channel and its buffer.
 * Source: Go spec, "Channel types". Since: 0.1.
 */
SPG_API SPG_MUST_USE spg_chan *spg_chan_new(size_t elem_size, size_t capacity);

/**
 * spg_chan_send - send a value.
 * @c:    borrowed
 * @elem: elem_size bytes, copied; may be NULL when elem_size is 0
 *
 * Parks until a receiver takes the value or the buffer has room. A canceled or expired
 * call has sent nothing.
 *
 * Return: 0, or
 *   -EPIPE      the channel is closed
 *   -ECANCELED  the context was canceled
 *   -ETIMEDOUT  the context's deadline passed first
 *   -EINVAL     c is NULL, or elem is NULL and values have a size
 *   -ENOMEM     a foreign thread's first call found no memory
 * Cancellation: yes. Threads: any; a coroutine parks and may resume on another thread.
 * Allocates: nothing. Source: Go spec, "Send statements". Since: 0.1.
 */
SPG_API int spg_chan_send(spg_chan *c, const void *elem);

/**
 * spg_chan_recv - take the oldest value from a channel.
 * @c:    borrowed
 * @elem: receives elem_size bytes, zeroed on -EPIPE; NULL drops the value
 *
 * Parks until a value arrives. Values sent before the close are still delivered.
 * A canceled or expired call has taken no value.
 *
 * Return: 0, or
 *   -EPIPE      closed and drained
 *   -ETIMEDOUT  the context's deadline passed first
 *   -ECANCELED  the context was canceled
 *   -EINVAL     c is NULL
 *   -ENOMEM     a foreign thread's first call found no memory
 * Cancellation: yes. Threads: any; a coroutine parks and may resume on another thread.
 * Allocates: nothing. Source: Go spec, "Receive operator". Since: 0.1.
 */
SPG_API int spg_chan_recv(spg_chan *c, void *elem);

/**
 * spg_chan_try_send - send a value if that needs no waiting.
 * @c:    borrowed
 * @elem: elem_size bytes, copied; may be NULL when elem_size is 0
 *
 * Return: 0, or, and then nothing was sent,
 *   -EAGAIN  no receiver waits and the buffer is full
 *   -EPIPE   the channel is closed
 *   -EINVAL  c is NULL, or elem is NULL and values have a size
 * Cancellation: none: contexts are ignored. Threads: any; never parks. Allocates: nothing.
 * Source: Go spec, "Select statements" (a send beside a default). Since: 0.1.
 */
SPG_API int spg_chan_try_send(spg_chan *c, const void *elem);

/**
 * spg_chan_try_recv - take the oldest value from a channel if that needs no waiting.
 * @c:    borrowed
 * @elem: receives elem_size bytes, zeroed on -EPIPE; NULL drops the value
 *
 * Return: 0, or
 *   -EAGAIN  there is none, and no sender waits
 *   -EPIPE   closed and drained
 *   -EINVAL  c is NULL
 * Cancellation: none: contexts are ignored. Threads: any; never parks. Allocates: nothing.
 * Source: Go spec, "Select statements" (a receive beside a default). Since: 0.1.
 */
SPG_API int spg_chan_try_recv(spg_chan *c, void *elem);

/**
 * spg_chan_close - say that no more values will be sent.
 * @c: borrowed
 *
 * Wakes every waiter: senders get -EPIPE at once, receivers once the buffer is drained.
 *
 * Return: 0, or
 *   -EPIPE   it was closed already
 *   -EINVAL  c is NULL
 * Cancellation: none. Threads: any; never parks. Allocates: nothing. Source: Go spec,
 * "Close". Since: 0.1.
 */
SPG_API int spg_chan_close(spg_chan *c);

/**
 * spg_chan_len - how many values a channel's buffer holds now.
 * @c: borrowed
 *
 * Return: values, old as soon as told; 0 for NULL.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: Go spec, "Length and
 * capacity". Since: 0.1.
 */
SPG_API size_t spg_chan_len(const spg_chan *c);

/**
 * spg_chan_cap - how many values a channel's buffer can hold.
 * @c: borrowed
 *
 * Return: the capacity given to spg_chan_new; 0 for NULL.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: Go spec, "Length and
 * capacity". Since: 0.1.
 */
SPG_API size_t spg_chan_cap(const spg_chan *c);

/**
 * spg_chan_ref - take one more reference to a channel.
 * @c: NULL is passed through
 *
 * Return: c.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: -. Since: 0.1.
 */
SPG_API spg_chan *spg_chan_ref(spg_chan *c);

/**
 * spg_chan_unref - give a reference to a channel back; the last one frees it.
 * @c: NULL does nothing; nobody may wait on it by then: that ends the process
 *
 * Values in the buffer are dropped; it does not close. A peer may give the last reference
 * back as soon as it has seen the value or the close: no call touches the channel after.
 *
 * Return: nothing.
 * Cancellation: none. Threads: any. Allocates: nothing; the last one frees. Source: -.
 * Since: 0.1.
 */
SPG_API void spg_chan_unref(spg_chan *c);

SPG__EXTERN_C_END

/*
 * SPG_CHAN_DEFINE(name, type) - typed inline functions: name is a typedef of spg_chan;
 * name_new(cap), name_send(c, value), name_recv(c, &value), and name_try_send, name_try_recv.
 */
#define SPG_CHAN_DEFINE(name, type)                                                                \
	typedef spg_chan name;                                                                     \
	static inline __attribute__((unused)) name *name##_new(size_t capacity)                    \
	{                                                                                          \
		return spg_chan_new(sizeof(type), capacity);                                       \
	}                                                                                          \
	static inline __attribute__((unused)) int name##_send(name *c, type value)                 \
	{                                                                                          \
		return spg_chan_send(c, &value);                                                   \
	}                                                                                          \
	static inline __attribute__((unused)) int name##_recv(name *c, type *value)                \
	{                                                                                          \
		return spg_chan_recv(c, value);                                                    \
	}                                                                                          \
	static inline __attribute__((unused)) int name##_try_send(name *c, type value)             \
	{                                                                                          \
		return spg_chan_try_send(c, &value);                                               \
	}                                                                                          \
	static inline __attribute__((unused)) int name##_try_recv(name *c, type *value)            \
	{                                                                                          \
		return spg_chan_try_recv(c, value);                                                \
	}

#endif
