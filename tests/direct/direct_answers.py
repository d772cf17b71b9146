"""direct_answers.py - answers of two writes to several requests that are told together, counted in segments where they arrive

usage: direct_answers.py serve ADDRESS PORT READY    epoll; each request is answered by a header and, in a second write, a body
       direct_answers.py ask ADDRESS PORT            eight connections ask at once, over and over; 0: answers came as one segment each

Connections of the kernel never do that, and the first may be such, where a process that has just ended still has the queue: so others are made.
"""

import os
import select
import socket
import struct
import sys
import time

CONNECTIONS, ROUNDS, TRIES = 8, 10, 60
HEADER, BODY = b"h" * 100, b"b" * 300
DATA_SEGS_IN = 152  # tcpi_data_segs_in: where it lies in struct tcp_info


def serve(address, port, ready):
    listener = socket.create_server((address, int(port)), backlog=64)
    poll, conns = select.epoll(), {}
    poll.register(listener, select.EPOLLIN)
    open(ready, "w").close()
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                c, _ = listener.accept()
                c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                conns[c.fileno()] = c
                poll.register(c, select.EPOLLIN)
                continue
            if not conns[fd].recv(100):
                conns.pop(fd).close()
                continue
            conns[fd].send(HEADER)
            conns[fd].send(BODY)
        time.sleep(0.02)  # the next requests are all there when they are asked for


def segments(c):
    return struct.unpack_from("I", c.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192), DATA_SEGS_IN)[0]


def once(conns):
    """Of the answers to one request on each, how many came as one segment."""
    before = [segments(c) for c in conns]
    for c in conns:
        c.sendall(b"?")
    for c in conns:
        got = b""
        while len(got) < len(HEADER + BODY):
            got += c.recv(1000)
        assert got == HEADER + BODY, got
    return sum(segments(c) - n == 1 for c, n in zip(conns, before))


def ask(address, port):
    most = 0
    for _ in range(TRIES):
        conns = [socket.create_connection((address, int(port)), timeout=60) for _ in range(CONNECTIONS)]
        for n in range(ROUNDS):
            whole = once(conns)
            if n < 3:  # the ends of the connections before are told along with the first requests
                continue
            most = max(most, whole)
            if most >= CONNECTIONS - 1:  # the last answer waits for nothing
                return 0
        for c in conns:
            c.close()
    print("of %d answers, %d at most were one segment each" % (CONNECTIONS, most))
    return 1


sys.exit({"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:]))
