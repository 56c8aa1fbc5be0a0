#include "coro/frames.h"

#include <ucontext.h>

/* Nothing is mapped below: no code. */
#define PC_MIN 4096u

SPG__NO_SANITIZE unsigned spg__frames_walk(const void **frames, unsigned max, uintptr_t pc, uintptr_t fp,
					    uintptr_t low, uintptr_t high)
{
	unsigned n = 0;

	if (max == 0 || pc < PC_MIN)
		return 0;
	frames[n++] = (const void *)pc;
	while (n < max && fp % sizeof(fp) == 0 && fp >= low && fp < high && high - fp >= 2 * sizeof(fp)) {
		const volatile uintptr_t *frame = (const volatile uintptr_t *)fp;
		uintptr_t caller = frame[0];

		pc = frame[1];
		if (pc < PC_MIN)
			break;
		frames[n++] = (const void *)pc;
		/* Callers are further up. */
		if (caller <= fp)
			break;
		fp = caller;
	}
	return n;
}

struct spg__frames_at spg__frames_at(const void *ucontext)
{
	const mcontext_t *m = &((const ucontext_t *)ucontext)->uc_mcontext;

#if defined(__x86_64__)
	return (struct spg__frames_at){ .pc = (uintptr_t)m->gregs[REG_RIP],
					.fp = (uintptr_t)m->gregs[REG_RBP],
					.sp = (uintptr_t)m->gregs[REG_RSP] };
#elif defined(__aarch64__)
	return (struct spg__frames_at){ .pc = m->pc, .fp = m->regs[29], .sp = m->sp };
#else
	(void)m;
	return (struct spg__frames_at){ 0 };
#endif
}
