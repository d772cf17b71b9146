#!/usr/bin/python3
"""direct_absent.py serve|ask ADDRESS PORT FIFO - a server that makes no call while its peer sends and ends

What is sent must be acknowledged, and so must the end, before the server may go on: it waits for the FIFO, which the
client opens only then.
"""
import fcntl
import socket
import struct
import sys
import termios
import time

ROLE, ADDRESS, PORT, FIFO = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
BYTES = 20000
FIN_WAIT2 = 5


def until(holds):
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "nothing is acknowledged while the server is away"
        time.sleep(0.01)


def serve():
    listener = socket.create_server((ADDRESS, PORT))
    c, _ = listener.accept()
    with open(FIFO) as go:
        go.read()
    got = b""
    while data := c.recv(65536):
        got += data
    assert got == b"x" * BYTES, len(got)
    c.sendall(b"all of it")


def ask():
    s = socket.create_connection((ADDRESS, PORT), timeout=60)
    s.sendall(b"x" * BYTES)
    until(lambda: struct.unpack("i", fcntl.ioctl(s, termios.TIOCOUTQ, b"\0" * 4)) == (0,))
    s.shutdown(socket.SHUT_WR)
    until(lambda: s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == bytes([FIN_WAIT2]))
    with open(FIFO, "w"):
        pass
    assert s.recv(100) == b"all of it"


serve() if ROLE == "serve" else ask()
