#include "io/features.h"

#include <string.h>

struct spg__features spg__features;

static const char *const op_names[] = {
	[IORING_OP_NOP] = "nop",
	[IORING_OP_READV] = "readv",
	[IORING_OP_WRITEV] = "writev",
	[IORING_OP_FSYNC] = "fsync",
	[IORING_OP_POLL_ADD] = "poll",
	[IORING_OP_SYNC_FILE_RANGE] = "sync_file_range",
	[IORING_OP_SENDMSG] = "sendmsg",
	[IORING_OP_RECVMSG] = "recvmsg",
	[IORING_OP_TIMEOUT] = "timeout",
	[IORING_OP_ACCEPT] = "accept",
	[IORING_OP_ASYNC_CANCEL] = "async_cancel",
	[IORING_OP_CONNECT] = "connect",
	[IORING_OP_FALLOCATE] = "fallocate",
	[IORING_OP_OPENAT] = "openat",
	[IORING_OP_CLOSE] = "close",
	[IORING_OP_STATX] = "statx",
	[IORING_OP_READ] = "read",
	[IORING_OP_WRITE] = "write",
	[IORING_OP_FADVISE] = "fadvise",
	[IORING_OP_MADVISE] = "madvise",
	[IORING_OP_SEND] = "send",
	[IORING_OP_RECV] = "recv",
	[IORING_OP_OPENAT2] = "openat2",
	[IORING_OP_EPOLL_CTL] = "epoll_ctl",
	[IORING_OP_SPLICE] = "splice",
	[IORING_OP_TEE] = "tee",
	[IORING_OP_SHUTDOWN] = "shutdown",
	[IORING_OP_RENAMEAT] = "renameat2",
	[IORING_OP_UNLINKAT] = "unlinkat",
	[IORING_OP_MKDIRAT] = "mkdirat",
	[IORING_OP_SYMLINKAT] = "symlinkat",
	[IORING_OP_LINKAT] = "linkat",
	[IORING_OP_MSG_RING] = "msg_ring",
	[IORING_OP_FSETXATTR] = "fsetxattr",
	[IORING_OP_FGETXATTR] = "fgetxattr",
	[IORING_OP_SOCKET] = "socket",
	[SPG__OP_READ_MULTISHOT] = "read_multishot",
	[SPG__OP_WAITID] = "waitid",
	[SPG__OP_FUTEX_WAIT] = "futex_wait",
	[SPG__OP_FUTEX_WAKE] = "futex_wake",
	[SPG__OP_FTRUNCATE] = "ftruncate",
	[IORING_OP_URING_CMD] = "uring_cmd",
	[IORING_OP_SEND_ZC] = "send_zc",
	[SPG__OP_BIND] = "bind",
	[SPG__OP_LISTEN] = "listen",
};
#define OP_NAMES (sizeof(op_names) / sizeof(op_names[0]))

const char *spg__op_name(unsigned opcode)
{
	return opcode < OP_NAMES && op_names[opcode] != NULL ? op_names[opcode] : "op";
}

static const struct {
	const char *name;
	size_t offset;
} flags[] = {
#define FLAG(name) { #name, offsetof(struct spg__features, name) }
	FLAG(io_uring),	       FLAG(submit_all),  FLAG(coop_taskrun),  FLAG(taskrun_flag),
	FLAG(single_issuer),   FLAG(defer_taskrun), FLAG(registered_ring), FLAG(no_iowait),
	FLAG(msg_ring),	       FLAG(send_msg_ring), FLAG(guard_install), FLAG(process_madvise),
	FLAG(multishot),       FLAG(buf_ring),	     FLAG(sqpoll),
#undef FLAG
};
#define FLAGS (sizeof(flags) / sizeof(flags[0]))

static bool *find(const char *name, size_t len)
{
	if (len > 3 && memcmp(name, "op:", 3) == 0) {
		for (unsigned i = 0; i < OP_NAMES; i++) {
			if (op_names[i] != NULL && strlen(op_names[i]) == len - 3 &&
			    memcmp(op_names[i], name + 3, len - 3) == 0)
				return &spg__features.op[i];
		}
		return NULL;
	}
	for (size_t i = 0; i < FLAGS; i++) {
		if (strlen(flags[i].name) == len && memcmp(flags[i].name, name, len) == 0)
			return (bool *)((char *)&spg__features + flags[i].offset);
	}
	return NULL;
}

int spg__features_init(const char *disable, const char **bad)
{
	const char *name = disable != NULL ? disable : "";

	/* All true; the ring's set-up takes away what the kernel refuses. */
	memset(&spg__features, true, sizeof(spg__features));
	while (*name != '\0') {
		size_t len = strcspn(name, ",");
		bool *feature = find(name, len);

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
