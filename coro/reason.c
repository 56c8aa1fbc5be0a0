#include "coro/waiter.h"

const char *const spg__reason_names[SPG__REASON_COUNT] = {
	[SPG__REASON_NONE] = "running",
	[SPG__REASON_SLEEP] = "sleep",
	[SPG__REASON_TIMER] = "timer",
	[SPG__REASON_CHAN_SEND] = "chan send",
	[SPG__REASON_CHAN_RECV] = "chan receive",
	[SPG__REASON_SELECT] = "select",
	[SPG__REASON_MUTEX] = "mutex",
	[SPG__REASON_RDLOCK] = "read lock",
	[SPG__REASON_WRLOCK] = "write lock",
	[SPG__REASON_COND] = "cond",
	[SPG__REASON_SEM] = "semaphore",
	[SPG__REASON_WG] = "wait group",
	[SPG__REASON_ONCE] = "once",
	[SPG__REASON_BARRIER] = "barrier",
	[SPG__REASON_JOIN] = "join",
	[SPG__REASON_GROUP] = "group",
	[SPG__REASON_IO] = "I/O",
	[SPG__REASON_CLOSE] = "close",
	[SPG__REASON_BLOCKING] = "blocking",
	[SPG__REASON_CALL] = "call",
	[SPG__REASON_PROCESS] = "process",
	[SPG__REASON_MESSAGE] = "message",
};

const char *spg__reason_name(unsigned reason)
{
	return reason < SPG__REASON_COUNT && spg__reason_names[reason] != NULL ? spg__reason_names[reason] : "?";
}
