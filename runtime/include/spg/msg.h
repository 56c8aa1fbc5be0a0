/*
 * spg/msg.h - messages between shards: 64 bits and a tag, without locks and allocations.
 *
 * Where plain channels are as good: nearly everywhere. A channel is a value one can pass
 * around, takes elements of any size, closes, works in select, and costs not much more for a
 * question and an answer between two shards: both pay for waking the other side. Messages are
 * for programs that think in shards: one owner of some state on each, addressed by number.
 * They are better where
 *   - many senders feed one shard: each has a queue of its own, so they share no lock;
 *   - bursts go one way: a batch is one store, and the doorbell rings once;
 *   - only sums matter: a counter merges any number of updates into one word. (An atomic
 *     counter of one's own does that, too; this one can be waited for.)
 *
 * The source of a message is the shard that runs the sender at the moment of the call; all
 * foreign threads together are one more. Each source has a queue of msg_queue messages
 * (spg_config) to each lane of each shard, mapped at its first message. What one source sends
 * to one lane of one shard arrives in that order; there is no order between sources, nor
 * between lanes. A receiver receives what is sent to the shard it runs on: pin it (SPG_PIN).
 * While a coroutine waits here it stays on its shard.
 *
 * Several may receive from one lane, and wait for room in one queue: first in, first out. What
 * is queued when the runtime stops may still be received, and is dropped with it.
 */
#ifndef SPG_MSG_H
#define SPG_MSG_H

#include <spg/base.h>

SPG__EXTERN_C_BEGIN

/* Tags are 0 to this; none is reserved. */
#define SPG_MSG_TAG_MAX 65535u
/* Tags that can have a lane of their own. */
#define SPG_MSG_LANES_MAX 63u

typedef struct spg_msg {
	int32_t from; /* the source shard, -1: a foreign thread; set by the library */
	uint16_t tag;
	uint64_t value;
} spg_msg;

/**
 * spg_msg_send - send one message to a shard.
 * @shard: 0 to spg_shards() - 1; the caller's own is fine
 * @tag:   0 to SPG_MSG_TAG_MAX
 * @value: carried as it is
 *
 * Parks while the queue from here to there is full. A canceled or expired call has sent
 * nothing. The message is visible to the receiver when the call returns.
 *
 * Return: 0, or
 *   -EINVAL     no such shard or tag
 *   -ESRCH      no runtime is running
 *   -EPIPE      the runtime is stopping
 *   -ECANCELED  the context was canceled, or spg_stop ended a foreign thread's wait
 *   -ETIMEDOUT  the context's deadline passed first
 *   -ENOMEM     no memory for the queue, or for a foreign thread's first call
 * Cancellation: yes. Threads: any; a coroutine parks, a foreign thread blocks itself.
 * Allocates: the queue, at the first message from here to there. Source: io_uring_prep_msg_ring(3)
 * (the doorbell). Since: 0.1.
 */
SPG_API int spg_msg_send(int shard, unsigned tag, uint64_t value);

/**
 * spg_msg_try_send - send one message if there is room.
 * @shard: 0 to spg_shards() - 1
 * @tag:   0 to SPG_MSG_TAG_MAX
 * @value: carried as it is
 *
 * Return: 0, or, and then nothing was sent,
 *   -EAGAIN  the queue is full, or others wait for room in it
 *   -EINVAL  no such shard or tag
 *   -ESRCH   no runtime is running
 *   -EPIPE   the runtime is stopping
 *   -ENOMEM  no memory for the queue
 * Cancellation: none: contexts are ignored. Threads: any; never parks. Allocates: as
 * spg_msg_send. Source: -. Since: 0.1.
 */
SPG_API int spg_msg_try_send(int shard, unsigned tag, uint64_t value);

/**
 * spg_msg_send_many - send messages in order, as many as there is room for.
 * @shard: 0 to spg_shards() - 1
 * @msgs:  borrowed; tag and value count, from is ignored
 * @n:     how many
 *
 * Parks only while there is room for none. Those accepted are the first ones, and nothing of
 * the same source stands between them. Lanes may be mixed.
 *
 * Return: how many were accepted, 0 only for n = 0; or, and then none was,
 *   -EINVAL     no such shard; or msgs is NULL and n is not 0
 *   -ESRCH, -EPIPE, -ECANCELED, -ETIMEDOUT, -ENOMEM as spg_msg_send
 * Cancellation: yes. Threads: any; a coroutine parks, a foreign thread blocks itself.
 * Allocates: as spg_msg_send. Source: write(2) (partial counts). Since: 0.1.
 */
SPG_API ssize_t spg_msg_send_many(int shard, const spg_msg *msgs, size_t n);

/**
 * spg_msg_try_send_many - the same without waiting.
 * @shard: 0 to spg_shards() - 1
 * @msgs:  borrowed; tag and value count, from is ignored
 * @n:     how many
 *
 * Return: how many were accepted, 0 only for n = 0; or, and then none was,
 *   -EAGAIN  there is room for none
 *   -EINVAL, -ESRCH, -EPIPE, -ENOMEM as spg_msg_try_send
 * Cancellation: none: contexts are ignored. Threads: any; never parks. Allocates: as
 * spg_msg_send. Source: -. Since: 0.1.
 */
SPG_API ssize_t spg_msg_try_send_many(int shard, const spg_msg *msgs, size_t n);

/**
 * spg_msg_flush - wait until the doorbells of this shard have been rung.
 *
 * A sent message is visible at once; what may still be on its way is the wake of a shard that
 * slept. When this returns, the ring of the calling shard has completed every wake it was
 * handed before. It says nothing about what receivers have done: that takes an answer.
 *
 * Return: 0, or
 *   -ESRCH      no runtime is running
 *   -ECANCELED  the context was canceled
 *   -ETIMEDOUT  the context's deadline passed first
 * Cancellation: yes. Threads: any; on a foreign thread wakes are done when a send returns.
 * Allocates: nothing. Source: io_uring_enter(2). Since: 0.1.
 */
SPG_API int spg_msg_flush(void);

/**
 * spg_msg_recv - take the next message of this shard's common lane.
 * @msg: receives it
 *
 * Parks until there is one. Sources take turns of up to 64 messages. A canceled or expired
 * call has taken none.
 *
 * Return: 0, or
 *   -EINVAL     msg is NULL
 *   -ESRCH      the caller is no coroutine: it has no shard
 *   -EPIPE      the runtime is stopping, and nothing is queued
 *   -ECANCELED  the context was canceled
 *   -ETIMEDOUT  the context's deadline passed first
 *   -ENOMEM     no memory for the lane
 * Cancellation: yes. Threads: coroutines; stays on its shard while it waits. Allocates: the
 * lane, at its first use. Source: -. Since: 0.1.
 */
SPG_API int spg_msg_recv(spg_msg *msg);

/**
 * spg_msg_try_recv - take the next message of the common lane if there is one.
 * @msg: receives it
 *
 * Return: 0, or
 *   -EAGAIN  none is there, or others wait for it
 *   -EINVAL, -ESRCH, -EPIPE, -ENOMEM as spg_msg_recv
 * Cancellation: none: contexts are ignored. Threads: coroutines; never parks. Allocates: as
 * spg_msg_recv. Source: -. Since: 0.1.
 */
SPG_API int spg_msg_try_recv(spg_msg *msg);

/**
 * spg_msg_recv_many - take what is there, up to n messages, of the common lane.
 * @msgs: receives them
 * @n:    room in msgs
 *
 * Parks until there is at least one.
 *
 * Return: how many were taken, 0 only for n = 0; or an error of spg_msg_recv.
 * Cancellation: yes. Threads: coroutines; stays on its shard while it waits. Allocates: as
 * spg_msg_recv. Source: recvmmsg(2). Since: 0.1.
 */
SPG_API ssize_t spg_msg_recv_many(spg_msg *msgs, size_t n);

/**
 * spg_msg_lane - give a tag a lane of its own, on all shards.
 * @tag: 0 to SPG_MSG_TAG_MAX
 *
 * Messages of the tag that are sent after this has returned have queues of their own and are
 * received by spg_msg_recv_tag only. Those sent before stay where they are. It lasts as long as
 * the runtime; saying it again does nothing.
 *
 * Return: 0, or
 *   -EINVAL  no such tag
 *   -ESRCH   no runtime is running
 *   -ENOSPC  SPG_MSG_LANES_MAX tags have lanes already
 * Cancellation: none. Threads: any; never parks. Allocates: nothing. Source: -. Since: 0.1.
 */
SPG_API int spg_msg_lane(unsigned tag);

/**
 * spg_msg_recv_tag - take the next message of a tag's own lane.
 * @tag: one that spg_msg_lane was called for
 * @msg: receives it
 *
 * Return: 0, or
 *   -ENOENT  the tag has no lane of its own
 *   -EINVAL, -ESRCH, -EPIPE, -ECANCELED, -ETIMEDOUT, -ENOMEM as spg_msg_recv
 * Cancellation: yes. Threads: coroutines; stays on its shard while it waits. Allocates: as
 * spg_msg_recv. Source: -. Since: 0.1.
 */
SPG_API int spg_msg_recv_tag(unsigned tag, spg_msg *msg);

/**
 * spg_msg_try_recv_tag - the same without waiting.
 * @tag: one that spg_msg_lane was called for
 * @msg: receives it
 *
 * Return: 0, or
 *   -EAGAIN  none is there, or others wait for it
 *   -ENOENT  the tag has no lane of its own
 *   -EINVAL, -ESRCH, -EPIPE, -ENOMEM as spg_msg_recv
 * Cancellation: none: contexts are ignored. Threads: coroutines; never parks. Allocates: as
 * spg_msg_recv. Source: -. Since: 0.1.
 */
SPG_API int spg_msg_try_recv_tag(unsigned tag, spg_msg *msg);

/**
 * spg_msg_handle - call a function for every message of a tag that comes to this shard.
 * @tag: gets a lane of its own
 * @fn:  called with each message, one after the other; may block
 * @arg: passed to fn
 *
 * A coroutine pinned to the calling shard receives and calls, until the caller's current
 * context ends.
 *
 * Return: 0, or
 *   -EINVAL  no such tag, or fn is NULL
 *   -ESRCH   the caller is no coroutine
 *   -ENOSPC  as spg_msg_lane
 *   -ENOMEM, -EAGAIN as spg_go
 * Cancellation: none. Threads: coroutines; never parks. Allocates: a coroutine. Source: -.
 * Since: 0.1.
 */
SPG_API int spg_msg_handle(unsigned tag, void (*fn)(const spg_msg *msg, void *arg), void *arg);

/**
 * spg_msg_counter_add - add to a counter of a shard.
 * @shard: 0 to spg_shards() - 1
 * @tag:   0 to SPG_MSG_TAG_MAX; counters and messages of one tag know nothing of each other
 * @n:     added; 0 does nothing
 *
 * Adds merge at once, from all sources, into one word per shard and tag: there is no queue that
 * could be full.
 *
 * Return: 0, or, and then nothing was added,
 *   -EOVERFLOW  the sum does not fit 64 bits
 *   -EINVAL     no such shard or tag
 *   -ESRCH      no runtime is running
 *   -EPIPE      the runtime is stopping
 *   -ENOMEM     no memory for the counter
 * Cancellation: none: contexts are ignored. Threads: any; never parks. Allocates: at a
 * counter's first use. Source: Go's sync/atomic (Add). Since: 0.1.
 */
SPG_API int spg_msg_counter_add(int shard, unsigned tag, uint64_t n);

/**
 * spg_msg_counter_take - take all that was added to a counter of this shard.
 * @tag: 0 to SPG_MSG_TAG_MAX
 * @n:   receives the count, at least 1; the counter is 0 then
 *
 * Parks until the count is not 0: the first update wakes it.
 *
 * Return: 0, or
 *   -EINVAL     no such tag, or n is NULL
 *   -ESRCH, -EPIPE, -ECANCELED, -ETIMEDOUT, -ENOMEM as spg_msg_recv
 * Cancellation: yes; nothing is lost. Threads: coroutines; stays on its shard while it waits.
 * Allocates: at a counter's first use. Source: eventfd(2). Since: 0.1.
 */
SPG_API int spg_msg_counter_take(unsigned tag, uint64_t *n);

/**
 * spg_msg_counter_try_take - the same without waiting.
 * @tag: 0 to SPG_MSG_TAG_MAX
 * @n:   receives the count
 *
 * Return: 0, or
 *   -EAGAIN  the count is 0, or others wait for it
 *   -EINVAL, -ESRCH, -EPIPE, -ENOMEM as spg_msg_counter_take
 * Cancellation: none: contexts are ignored. Threads: coroutines; never parks. Allocates: at a
 * counter's first use. Source: -. Since: 0.1.
 */
SPG_API int spg_msg_counter_try_take(unsigned tag, uint64_t *n);

/**
 * spg_msg_counter_wait - wait until a counter of this shard has reached a threshold.
 * @tag:   0 to SPG_MSG_TAG_MAX
 * @least: the threshold; 0 counts as 1
 * @n:     receives the count, which stays as it is
 *
 * For consumers that would rather work in large portions; a deadline (SPG_TIMEOUT_SCOPE) bounds
 * how long the first updates wait. Only the update that reaches the threshold wakes it. It
 * delays nobody: who waits for less is served first, whoever came first.
 *
 * Return: 0, or an error of spg_msg_counter_take.
 * Cancellation: yes. Threads: coroutines; stays on its shard while it waits. Allocates: at a
 * counter's first use. Source: SO_RCVLOWAT in socket(7). Since: 0.1.
 */
SPG_API int spg_msg_counter_wait(unsigned tag, uint64_t least, uint64_t *n);

SPG__EXTERN_C_END

/*
 * SPG_MSG_DEFINE(name, tag, type) - messages that carry a type of up to 64 bits:
 *
 *	name_tag                        the tag
 *	name_send(shard, value)         spg_msg_send; name_try_send likewise
 *	name_msg(value)                 a message for spg_msg_send_many
 *	name_is(&msg, &value)           true: msg has the tag, and this is its value
 *	name_recv(&value)               spg_msg_recv_tag: after spg_msg_lane(name_tag)
 */
#define SPG_MSG_DEFINE(name, number, type)                                                         \
	typedef char name##_fits_64_bits[sizeof(type) <= sizeof(uint64_t) ? 1 : -1];               \
	enum { name##_tag = (number) };                                                            \
	static inline __attribute__((unused)) spg_msg name##_msg(type value)                       \
	{                                                                                          \
		spg_msg msg = { -1, (uint16_t)name##_tag, 0 };                                     \
		__builtin_memcpy(&msg.value, &value, sizeof(value));                               \
		return msg;                                                                        \
	}                                                                                          \
	static inline __attribute__((unused)) int name##_send(int shard, type value)               \
	{                                                                                          \
		return spg_msg_send(shard, name##_tag, name##_msg(value).value);                   \
	}                                                                                          \
	static inline __attribute__((unused)) int name##_try_send(int shard, type value)           \
	{                                                                                          \
		return spg_msg_try_send(shard, name##_tag, name##_msg(value).value);               \
	}                                                                                          \
	static inline __attribute__((unused)) bool name##_is(const spg_msg *msg, type *value)      \
	{                                                                                          \
		if (msg->tag != name##_tag)                                                        \
			return false;                                                              \
		__builtin_memcpy(value, &msg->value, sizeof(*value));                              \
		return true;                                                                       \
	}                                                                                          \
	static inline __attribute__((unused)) int name##_recv(type *value)                         \
	{                                                                                          \
		spg_msg msg;                                                                       \
		int err = spg_msg_recv_tag(name##_tag, &msg);                                      \
		if (err == 0)                                                                      \
			__builtin_memcpy(value, &msg.value, sizeof(*value));                       \
		return err;                                                                        \
	}

#endif
