#!/usr/bin/python3
"""direct_idle.py ADDRESS PORT CONNECTIONS SECONDS - a redis client whose connections wait, all in one poll(); it must sleep

The processor time that it takes meanwhile, by its own account, stays below a third of one.
"""
import resource
import select
import socket
import sys
import time

PEER, COUNT, SECONDS = (sys.argv[1], int(sys.argv[2])), int(sys.argv[3]), int(sys.argv[4])


def spent():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def ask(s):
    s.sendall(b"PING\r\n")
    assert s.recv(100) == b"+PONG\r\n"


connections = [socket.create_connection(PEER, timeout=30) for _ in range(COUNT)]
poller = select.poll()
for s in connections:
    ask(s)
    poller.register(s, select.POLLIN)
before = spent()
end = time.monotonic() + SECONDS
while (left := end - time.monotonic()) > 0:
    assert poller.poll(left * 1000) == []
used = spent() - before
print(f"idle: {used / SECONDS:.2%} of a processor")
assert used < SECONDS / 3, used
for s in connections:
    ask(s)
