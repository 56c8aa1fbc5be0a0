"""Runs one lane once, whatever its kind, and returns its report."""

import http_server
import measure
import tree

KINDS = {"line": measure.line, "echo": measure.echo, "idle": measure.idle, "peer": measure.peer, "tree": tree.tree,
         "program": measure.program, "http": http_server.load, "http_idle": http_server.idle, "http_held": http_server.held}


def lane(one, group, context):
    return KINDS[one.kind](one, group, context)
