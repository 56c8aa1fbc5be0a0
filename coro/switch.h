/*
 * The context switch: boost.context's fcontext, whose header is C++; its three
 * symbols are plain assembler and declared here.
 *
 * X1  A context is resumed exactly once: each jump consumes the pointer it gets
 *     and hands the resumed side a fresh one for the context it left.
 * X2  Callee-saved registers and the stack pointer live on the left stack; the
 *     floating-point control words too. Nothing else is switched: signal mask,
 *     errno and thread-locals belong to the thread.
 */
#ifndef SPG__CORO_SWITCH_H
#define SPG__CORO_SWITCH_H

#include "coro/base.h"

struct spg__transfer {
	void *context; /* of the side that jumped here */
	void *data;    /* what it passed */
};

/* Symbols of libboost_context. */
struct spg__transfer spg__jump(void *to, void *data) __asm__("jump_fcontext");
void *spg__make_context(void *stack_top, size_t stack_bytes,
			void (*entry)(struct spg__transfer)) __asm__("make_fcontext");

/* Where a context holds the frame pointer and the address it goes on at; for dumps and debuggers. */
#if defined(__x86_64__)
#define SPG__CONTEXT_FP 0x30
#define SPG__CONTEXT_PC 0x38
#define SPG__CONTEXT_BYTES 0x40
#elif defined(__aarch64__)
#define SPG__CONTEXT_FP 0x90
#define SPG__CONTEXT_PC 0xa0
#define SPG__CONTEXT_BYTES 0xb0
#endif

#endif
