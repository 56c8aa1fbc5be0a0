#ifndef SPG__RUNTIME_LOCAL_H
#define SPG__RUNTIME_LOCAL_H

/* Values by key of a coroutine or a foreign thread that ends: runs the destructors. */
void spg__locals_end(void *locals);

#endif
