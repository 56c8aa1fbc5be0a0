/*
 * What the command line says.
 */
#ifndef HTTPD_OPTIONS_H
#define HTTPD_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct options {
	const char *root;      /* the folder served */
	const char *address;   /* host:port */
	const char *log_path;  /* access log; "-": stdout; NULL: none */
	unsigned connections_max;
	size_t header_bytes_max;
	int64_t idle_ns;       /* between two requests of a connection */
	int64_t request_ns;    /* from a request's first byte to its last; and for a connection's first */
	int64_t send_ns;       /* for each piece of a response */
	int64_t drain_ns;      /* for open requests, after SIGINT or SIGTERM */
	int64_t fresh_ns;      /* how long an open file is trusted to be what its path names */
	unsigned open_files;   /* kept open; 0: none */
	bool reuse_port;       /* one listener per shard */
	bool stats;
};

/* Ends the program with status 2 and a reason when they are wrong, with 0 after --help. */
void options_parse(struct options *o, int argc, char **argv);

#endif
