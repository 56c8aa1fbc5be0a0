#!/usr/bin/env python3
"""httpd and its twin on bad days: every answer is defined, nothing leaks, others are served meanwhile. Prints TAP.

What is set from outside: test/httpd.py.
"""
import contextlib
import os
import random
import shutil
import socket
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, "test")
from httpd import (BIG_BYTES, ROOT, SEED, SLOW, Server, abort, content, get, main, read_reply, request, test)


@test
def slow_requests_end_with_408_and_hold_nobody_up(program):
    with Server(program, "--request-seconds", "0.6", "--idle-seconds", "0.9") as server:
        slow = [server.connect() for _ in range(20)]
        silent, idle = server.connect(), server.connect()
        idle.sendall(request("/f12.txt"))
        start = time.monotonic()
        for beat in range(4):
            for s in slow:
                s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n"[beat * 6:beat * 6 + 6])
            assert get(server, "/f12.txt").status == 200
            time.sleep(0.1)
        for s in slow:
            with s, s.makefile("rb") as stream:
                assert read_reply(stream).status == 408
                assert stream.read() == b""
        with silent:
            assert silent.recv(1) == b""
        with idle, idle.makefile("rb") as stream:
            assert read_reply(stream).status == 200
            assert stream.read() == b""
            assert time.monotonic() - start > 0.8
        server.wait_closed()


@test
def clients_that_never_read_are_cut_off(program):
    with Server(program, "--send-seconds", "0.5") as server:
        deaf = [server.connect() for _ in range(10)]
        for s in deaf:
            s.sendall(request("/big") * 3)
        assert get(server, "/f1048576.txt").body == content("f1048576.txt")
        server.wait_closed()
        for s in deaf:
            s.close()


@test
def resets_anywhere_in_a_response(program):
    source = random.Random(SEED)
    with Server(program) as server:
        whole = len(get(server, "/f12.txt").head) + 12 - len("Connection: close\r\n")
        for count in range(0, whole + 1, 1 if SLOW == 1 else 8):
            s = server.connect()
            s.sendall(request("/f12.txt"))
            s.recv(count) if count else None
            abort(s)
        for _ in range(60):
            s = server.connect()
            s.sendall(request("/big"))
            got = source.randrange(200000)
            while got > 0:
                got -= len(s.recv(min(got, 65536)))
            abort(s)
        for count in range(0, 40):  # half a request, then a reset or an end
            s = server.connect()
            s.sendall(request("/f12.txt")[:count])
            abort(s) if count % 2 else s.close()
        server.wait_closed()
        assert get(server, "/f12.txt").body == content("f12.txt")


@test
def garbage_is_answered_or_dropped(program):
    source = random.Random(SEED)
    valid = request("/f12.txt", headers=["Range: bytes=1-2", "If-None-Match: \"a\""])
    with Server(program, "--request-seconds", "2") as server:
        for round_number in range(300 // SLOW):
            if round_number % 2:
                data = source.randbytes(source.randrange(1, 3000))
            else:
                damaged = bytearray(valid * 3)
                for _ in range(source.randrange(1, 6)):
                    damaged[source.randrange(len(damaged))] = source.randrange(256)
                data = bytes(damaged)
            with server.connect() as s, s.makefile("rb") as stream:
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionResetError):
                    reply = read_reply(stream)
                    assert reply is None or 200 <= reply.status <= 505
        endless = server.connect()  # a header that never ends
        with endless, contextlib.suppress(ConnectionResetError, BrokenPipeError):
            endless.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
            for _ in range(64):
                endless.sendall(b"a" * 65536)
            raise AssertionError("4 MiB of a header were taken")
        assert get(server, "/f12.txt").status == 200


@test
def connections_beyond_the_limit_get_503(program):
    with Server(program, "--connections", "20") as server:
        held = [server.connect() for _ in range(20)]
        for s in held:
            s.sendall(request("/f12.txt"))
            with s.makefile("rb") as stream:
                assert read_reply(stream).status == 200
        crowd = [server.connect() for _ in range(300 // SLOW)]
        for s in crowd:
            s.sendall(request("/f12.txt"))
        for s in crowd:
            with s, s.makefile("rb") as stream:
                assert read_reply(stream).status == 503
                assert stream.read() == b""
        for s in held:  # they were served all the while
            s.sendall(request("/f12.txt"))
            with s.makefile("rb") as stream:
                assert read_reply(stream).status == 200
            s.close()
        server.wait_closed()
        assert get(server, "/f12.txt").status == 200


@test
def out_of_descriptors(program):
    with Server(program, files_max=48) as server:
        held = [server.connect() for _ in range(100)]
        for s in held:
            s.sendall(request("/f1.txt"))
        answered = 0
        for s in held[:15]:
            with s.makefile("rb") as stream:
                assert read_reply(stream).status in (200, 503)
                answered += 1
        assert answered == 15
        for s in held:
            abort(s)
        server.wait_closed()
        assert get(server, "/f12.txt").body == content("f12.txt")


@test
def a_file_cut_or_removed_during_its_transfer(program):
    path = os.path.join(ROOT, "victim")
    with Server(program) as server:
        for how in ("cut", "removed"):
            shutil.copyfile(os.path.join(ROOT, "big"), path)
            time.sleep(0.15)
            with server.connect() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                s.sendall(request("/victim"))
                first = s.recv(1000)
                os.truncate(path, BIG_BYTES // 2) if how == "cut" else os.unlink(path)
                assert get(server, "/f12.txt").status == 200
                total = len(first)
                while data := s.recv(1 << 20):
                    total += len(data)
                    if total > BIG_BYTES:
                        break
                if how == "cut":
                    assert BIG_BYTES // 2 <= total < BIG_BYTES, total
                else:
                    assert total > BIG_BYTES, total
        time.sleep(0.15)
        assert get(server, "/victim").status == 404


sys.exit(main())
