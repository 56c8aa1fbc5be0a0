#include "coro/overflow.h"

#include "coro/alloc.h"
#include "coro/coro.h"
#include "coro/frames.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#define ALTSTACK_BYTES ((size_t)64 << 10)

static const int fault_signals[] = { SIGSEGV, SIGBUS };
#define FAULT_SIGNALS (sizeof(fault_signals) / sizeof(fault_signals[0]))

static struct sigaction previous[FAULT_SIGNALS];
static void (*print_trace)(const struct spg__coro *coro, const void *const *frames, unsigned depth);

/* Async-signal-safe text: snprintf is not on the list. */
struct text {
	char buf[512];
	size_t len;
};

static void put_str(struct text *t, const char *s)
{
	while (*s != '\0' && t->len < sizeof(t->buf))
		t->buf[t->len++] = *s++;
}

static void put_number(struct text *t, uint64_t value, unsigned base)
{
	char digits[24];
	size_t n = 0;

	do {
		digits[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value != 0);
	while (n > 0 && t->len < sizeof(t->buf))
		t->buf[t->len++] = digits[--n];
}

static void report(const struct spg__stack *stack, const void *addr)
{
	const struct spg__coro *coro = stack->owner;
	size_t bytes = spg__stack_class_bytes(stack->class);
	struct text t = { .len = 0 };

	put_str(&t, "spg: stack overflow in coroutine ");
	if (coro != NULL) {
		put_number(&t, coro->id, 10);
		if (coro->name[0] != '\0') {
			put_str(&t, " \"");
			put_str(&t, coro->name);
			put_str(&t, "\"");
		}
		put_str(&t, ", function 0x");
		put_number(&t, (uint64_t)(uintptr_t)coro->fn, 16);
	} else {
		put_str(&t, "(none: its stack is free)");
	}
	put_str(&t, ", fault at 0x");
	put_number(&t, (uint64_t)(uintptr_t)addr, 16);
	put_str(&t, "\nspg: its stack has ");
	put_number(&t, bytes - spg__stack_guard_bytes(stack->class), 10);
	put_str(&t, " of ");
	put_number(&t, bytes, 10);
	put_str(&t, " bytes; raise spg_attr.stack_size for it, or SPG_STACK (spg_config.stack_size) for all\n");
	if (write(STDERR_FILENO, t.buf, t.len) < 0)
		return;
}

static void trace(const struct spg__stack *stack, const void *ucontext)
{
	struct spg__frames_at at = spg__frames_at(ucontext);
	const void *frames[SPG__FRAMES_MAX];

	/* As if after a call: the others are return addresses. */
	print_trace(stack->owner, frames,
		    spg__frames_walk(frames, SPG__FRAMES_MAX, at.pc + 1, at.fp,
				     (uintptr_t)spg__stack_bottom(stack), (uintptr_t)stack->top));
}

static void chain(int signal, siginfo_t *info, void *context)
{
	size_t i = signal == fault_signals[0] ? 0 : 1;
	struct sigaction *prev = &previous[i];

	if (prev->sa_flags & SA_SIGINFO) {
		prev->sa_sigaction(signal, info, context);
	} else if (prev->sa_handler != SIG_DFL && prev->sa_handler != SIG_IGN) {
		prev->sa_handler(signal);
	} else {
		/* Ignoring a fault would loop: the default action, when the access is repeated. */
		struct sigaction dfl = { .sa_handler = SIG_DFL };

		sigaction(signal, &dfl, NULL);
	}
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
	struct spg__stack *stack = spg__stack_guard_at(info->si_addr);

	if (stack != NULL) {
		struct sigaction dfl = { .sa_handler = SIG_DFL };

		report(stack, info->si_addr);
		if (stack->owner != NULL)
			trace(stack, context);
		sigaction(signal, &dfl, NULL);
		return; /* the access repeats and ends the process */
	}
	chain(signal, info, context);
}

void spg__overflow_install(void (*print)(const struct spg__coro *coro, const void *const *frames, unsigned depth))
{
	struct sigaction ours = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	print_trace = print;
	sigemptyset(&ours.sa_mask);
	for (size_t i = 0; i < FAULT_SIGNALS; i++)
		SPG_CHECK(sigaction(fault_signals[i], &ours, &previous[i]) == 0);
}

void spg__overflow_remove(void)
{
	for (size_t i = 0; i < FAULT_SIGNALS; i++) {
		struct sigaction now;

		SPG_CHECK(sigaction(fault_signals[i], NULL, &now) == 0);
		if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_fault)
			SPG_CHECK(sigaction(fault_signals[i], &previous[i], NULL) == 0);
	}
}

int spg__altstack_enter(void)
{
	stack_t ss = { .ss_size = ALTSTACK_BYTES };

	ss.ss_sp = spg__map(ALTSTACK_BYTES);
	if (ss.ss_sp == NULL)
		return -ENOMEM;
	SPG_CHECK(sigaltstack(&ss, NULL) == 0);
	return 0;
}

void spg__altstack_leave(void)
{
	stack_t off = { .ss_flags = SS_DISABLE }, was;

	SPG_CHECK(sigaltstack(&off, &was) == 0);
	if (was.ss_sp != NULL)
		spg__unmap(was.ss_sp, ALTSTACK_BYTES);
}
