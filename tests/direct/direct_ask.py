#!/usr/bin/python3
"""direct_ask.py ADDRESS PORT - the other end of direct_serve.py"""
import select
import socket
import struct
import sys
import time

PEER = (sys.argv[1], int(sys.argv[2]))


def connected():
    return socket.create_connection(PEER, timeout=30)


def without_blocking():
    s = socket.socket()
    s.setblocking(False)
    assert s.connect_ex(PEER) in (0, 115), "EINPROGRESS"
    poller = select.poll()
    poller.register(s, select.POLLOUT)
    assert poller.poll(30000)[0][1] & select.POLLOUT
    assert s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    assert s.getpeername() == PEER
    s.setblocking(True)
    return s


s = without_blocking()
s.sendall(b"abcdefgh")
time.sleep(1)  # the server has filled its buffer by then, or fills it while we read
got, last = 0, b""
while data := s.recv(65536):
    got, last = got + len(data), (last + data)[-13:]
assert last == b"END%010d" % (got - 13), (got, last)
s.sendall(b"bye")
s.close()

s = connected()
assert s.recv(1) == b"!"
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
s.close()

s = connected()
time.sleep(0.3)
s.sendall(b"wake")
said = b""
while data := s.recv(100):
    said += data
assert said == b"child and parent", said
s.close()

stays = [connected() for _ in range(20)]
for i in range(180):
    c = connected()
    c.sendall(b"%d" % i)
    assert c.recv(100) == b"%d" % i
    c.close()
for c in stays:
    c.sendall(b"last")
    assert c.recv(100) == b"last"
    c.close()

refused = socket.socket()
assert refused.connect_ex((PEER[0], PEER[1] + 1)) == 111, "ECONNREFUSED"
print("asked")
