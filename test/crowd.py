"""Thousands of HTTP clients at once, in one thread: for tests and benchmarks of servers."""
import collections
import re
import resource
import select
import socket
import struct
import time

WAIT_S = 0.005


def abort(s):
    """Closes with a reset."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def raise_file_limit(count):
    """So many descriptors, here and in a server: each has one end of a connection. False: the system forbids it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        return False
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    return True


class Client:
    """One of a crowd: `answers` are (status, body) since it asked last, `closed` says how it ended."""

    def __init__(self, data):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.to_send = data
        self.received = b""
        self.answers = []
        self.closed = None
        self.asked_at = time.monotonic()
        self.took_s = None

    def send(self):
        self.to_send = self.to_send[self.socket.send(self.to_send):]

    def take_answers(self):
        while (end := self.received.find(b"\r\n\r\n") + 4) > 3:
            head = self.received[:end]
            end += int(re.search(rb"Content-Length: (\d+)", head).group(1))
            if len(self.received) < end:
                return
            self.answers.append((int(head[9:12]), self.received[len(head):end]))
            self.took_s = time.monotonic() - self.asked_at
            self.received = self.received[end:]


class Crowd:
    """Thousands of connections at once, which never wait for each other."""

    def __init__(self, address):
        self.address = address
        self.poll = select.epoll()
        self.clients = {}

    def add(self, data):
        """One more, that connects and asks."""
        client = Client(data)
        client.socket.connect_ex(self.address)
        number = client.socket.fileno()
        self.clients[number] = client
        self.poll.register(number, select.EPOLLIN | select.EPOLLOUT)
        return client

    def ask(self, client, data):
        client.answers.clear()
        client.to_send = data
        client.asked_at = time.monotonic()
        client.send()

    def serve(self, number, events):
        client = self.clients[number]
        try:
            if events & select.EPOLLOUT:
                client.send()
                self.poll.modify(number, select.EPOLLIN)
            if events & ~select.EPOLLOUT:
                data = client.socket.recv(1 << 16)
                client.received += data
                client.take_answers()
                if not data:
                    self.end(client, "end")
        except OSError as err:
            self.end(client, repr(err))

    def end(self, client, why):
        client.closed = why
        self.poll.unregister(client.socket)
        del self.clients[client.socket.fileno()]
        abort(client.socket)

    def run(self, done, limit_s, step=lambda: None):
        """Until done() is true; step() is called again and again."""
        until = time.monotonic() + limit_s
        while not done():
            if time.monotonic() >= until:
                raise TimeoutError(f"not done within {limit_s} s")
            step()
            for number, events in self.poll.poll(WAIT_S, 1000):
                self.serve(number, events)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        for client in list(self.clients.values()):
            self.end(client, "over")
        self.poll.close()


class Rounds:
    """Asks the clients of a crowd in turn, some at a time, and looks at every answer."""

    def __init__(self, crowd, clients, data, right, at_once):
        self.crowd, self.data, self.right, self.at_once = crowd, data, right, at_once
        self.idle = collections.deque(clients)
        self.waiting = []
        self.served = 0
        self.wrong = []  # what was not answered well; asked no more

    def step(self):
        still = []
        for client in self.waiting:
            if client.closed is None and not client.answers:
                still.append(client)
            elif client.closed is None and client.answers == self.right:
                self.served += 1
                self.idle.append(client)
            else:
                self.wrong.append(client)
        self.waiting = still
        while self.idle and len(self.waiting) < self.at_once:
            client = self.idle.popleft()
            self.waiting.append(client)
            try:
                self.crowd.ask(client, self.data)
            except OSError as err:
                client.closed = client.closed or repr(err)
