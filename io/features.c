#include "io/features.h"

#include <string.h>

struct spg__features spg__features;

static const char *const op_names[] = {
	[IORING_OP_NOP] = "op:nop",
	[IORING_OP_READV] = "op:readv",
	[IORING_OP_WRITEV] = "op:writev",
	[IORING_OP_FSYNC] = "op:fsync",
	[IORING_OP_POLL_ADD] = "op:poll",
	[IORING_OP_SYNC_FILE_RANGE] = "op:sync_file_range",
	[IORING_OP_SENDMSG] = "op:sendmsg",
	[IORING_OP_RECVMSG] = "op:recvmsg",
	[IORING_OP_TIMEOUT] = "op:timeout",
	[IORING_OP_ACCEPT] = "op:accept",
	[IORING_OP_ASYNC_CANCEL] = "op:async_cancel",
	[IORING_OP_CONNECT] = "op:connect",
	[IORING_OP_FALLOCATE] = "op:fallocate",
	[IORING_OP_OPENAT] = "op:openat",
	[IORING_OP_CLOSE] = "op:close",
	[IORING_OP_STATX] = "op:statx",
	[IORING_OP_READ] = "op:read",
	[IORING_OP_WRITE] = "op:write",
	[IORING_OP_FADVISE] = "op:fadvise",
	[IORING_OP_MADVISE] = "op:madvise",
	[IORING_OP_SEND] = "op:send",
	[IORING_OP_RECV] = "op:recv",
	[IORING_OP_OPENAT2] = "op:openat2",
	[IORING_OP_EPOLL_CTL] = "op:epoll_ctl",
	[IORING_OP_SPLICE] = "op:splice",
	[IORING_OP_TEE] = "op:tee",
	[IORING_OP_SHUTDOWN] = "op:shutdown",
	[IORING_OP_RENAMEAT] = "op:renameat2",
	[IORING_OP_UNLINKAT] = "op:unlinkat",
	[IORING_OP_MKDIRAT] = "op:mkdirat",
	[IORING_OP_SYMLINKAT] = "op:symlinkat",
	[IORING_OP_LINKAT] = "op:linkat",
	[IORING_OP_MSG_RING] = "op:msg_ring",
	[IORING_OP_FSETXATTR] = "op:fsetxattr",
	[IORING_OP_FGETXATTR] = "op:fgetxattr",
	[IORING_OP_SOCKET] = "op:socket",
	[SPG__OP_READ_MULTISHOT] = "op:read_multishot",
	[SPG__OP_WAITID] = "op:waitid",
	[SPG__OP_FUTEX_WAIT] = "op:futex_wait",
	[SPG__OP_FUTEX_WAKE] = "op:futex_wake",
	[SPG__OP_FTRUNCATE] = "op:ftruncate",
	[IORING_OP_URING_CMD] = "op:uring_cmd",
	[IORING_OP_SEND_ZC] = "op:send_zc",
	[SPG__OP_BIND] = "op:bind",
	[SPG__OP_LISTEN] = "op:listen",
};
#define OP_NAMES (sizeof(op_names) / sizeof(op_names[0]))

const char *spg__op_name(unsigned opcode)
{
	return opcode < OP_NAMES && op_names[opcode] != NULL ? op_names[opcode] + strlen("op:") : "op";
}

static const struct {
	const char *name, *what;
	size_t offset;
} flags[] = {
#define FLAG(name, what) { #name, what, offsetof(struct spg__features, name) }
	FLAG(io_uring, "everything (5.18 or newer)"),
	FLAG(submit_all, "one bad operation does not hold up those behind it (5.18)"),
	FLAG(coop_taskrun, "completions do not interrupt (5.19)"),
	FLAG(taskrun_flag, "the ring says when it has completions to run (5.19)"),
	FLAG(single_issuer, "one thread submits (6.0)"),
	FLAG(defer_taskrun, "completions run when the shard asks (6.1)"),
	FLAG(registered_ring, "io_uring_enter without a descriptor lookup (5.18)"),
	FLAG(no_iowait, "idle shards are no I/O wait (6.15)"),
	FLAG(sqpoll, "a thread of the kernel's takes operations (sqpoll_idle_ms)"),
	FLAG(msg_ring, "shards wake each other by their rings (5.18)"),
	FLAG(send_msg_ring, "other threads wake shards by their rings (6.13)"),
	FLAG(sync_cancel, "cancels reach a shard that computes (6.0)"),
	FLAG(guard_install, "stack guards that cost no mapping (6.13)"),
	FLAG(process_madvise, "many stacks with one call (6.13 for oneself)"),
	FLAG(multishot, "one accept for many connections (5.19)"),
	FLAG(buf_ring, "buffers the kernel chooses (5.19)"),
#undef FLAG
};
#define FLAGS (sizeof(flags) / sizeof(flags[0]))

bool spg__feature_at(const struct spg__features *features, unsigned index, struct spg__feature *out)
{
	unsigned seen = FLAGS;

	if (index < FLAGS) {
		out->name = flags[index].name;
		out->what = flags[index].what;
		out->on = *(const bool *)((const char *)features + flags[index].offset);
		return true;
	}
	for (unsigned i = 0; i < OP_NAMES; i++) {
		if (op_names[i] == NULL || seen++ != index)
			continue;
		out->name = op_names[i];
		out->what = "an operation of the ring; else a system call, after poll(2) or on the blocking pool";
		out->on = features->op[i];
		return true;
	}
	return false;
}

static bool *find(struct spg__features *features, const char *name, size_t len)
{
	if (len > 3 && memcmp(name, "op:", 3) == 0) {
		for (unsigned i = 0; i < OP_NAMES; i++) {
			if (op_names[i] != NULL && strlen(op_names[i]) == len &&
			    memcmp(op_names[i], name, len) == 0)
				return &features->op[i];
		}
		return NULL;
	}
	for (size_t i = 0; i < FLAGS; i++) {
		if (strlen(flags[i].name) == len && memcmp(flags[i].name, name, len) == 0)
			return (bool *)((char *)features + flags[i].offset);
	}
	return NULL;
}

int spg__features_parse(struct spg__features *features, const char *disable, const char **bad)
{
	const char *name = disable != NULL ? disable : "";

	memset(features, true, sizeof(*features));
	while (*name != '\0') {
		size_t len = strcspn(name, ",");
		bool *feature = find(features, name, len);

		if (len > 0 && feature == NULL) {
			*bad = name;
			return -EINVAL;
		}
		if (len > 0)
			*feature = false;
		name += len + (name[len] == ',');
	}
	return 0;
}
