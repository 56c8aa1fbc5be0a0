/*
 * What each connection is doing, for the end: those that wait for a next request are
 * ended at once, those with a request under way go on.
 *
 * M1  A connection stores IDLE, then reads `draining`; the drain stores `draining`, then
 *     reads the marks (all seq_cst). So no connection goes idle unseen.
 * M2  A descriptor whose number was used again meanwhile is a connection too (then M1
 *     holds for it) or no socket (then shutdown(2) does nothing).
 */
#ifndef HTTPD_MARKS_H
#define HTTPD_MARKS_H

#include <stdbool.h>

/* Room for every descriptor the process may have. 0, or -ENOMEM. */
int marks_init(void);
void marks_fini(void);
void marks_open(int fd);
/* Waits for a request from now on. False: it must not, the server drains. */
bool marks_idle(int fd);
void marks_busy(int fd);
void marks_close(int fd);
bool marks_draining(void);
/* From any thread: ends those that are idle; marks_idle is false from now on. */
void marks_drain(void);
/* Ends all that are open, whatever they do. */
void marks_shutdown_all(void);

#endif
