#!/usr/bin/python3
"""direct_again.py ADDRESS PORT FILE ROUNDS - a redis client whose server is killed, and started again, ROUNDS times

Each time it writes "served N" to FILE, when it is served. Its connection must then be reset by the new
server, and a new one must come about.
"""
import socket
import sys
import time

PEER, FILE, ROUNDS = (sys.argv[1], int(sys.argv[2])), sys.argv[3], int(sys.argv[4])


def served():
    end = time.monotonic() + 60
    while True:
        try:
            s = socket.create_connection(PEER, timeout=10)
            s.sendall(b"PING\r\n")
            assert s.recv(100) == b"+PONG\r\n"
            return s
        except OSError:
            assert time.monotonic() < end, "nobody serves"
            time.sleep(0.1)


def ends(s):
    """Who only waits is not told that nobody is there: it goes on asking."""
    end = time.monotonic() + 60
    s.settimeout(0.5)
    while True:
        assert time.monotonic() < end, "the connection has neither ended nor gone on"
        try:
            s.sendall(b"PING\r\n")
            if not s.recv(100):
                return
        except TimeoutError:
            continue
        except OSError:
            return


s = served()
for i in range(ROUNDS):
    with open(FILE, "a") as f:
        print("served", i + 1, file=f)
    ends(s)
    s = served()
