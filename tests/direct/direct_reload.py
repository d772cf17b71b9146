#!/usr/bin/python3
"""direct_reload.py - asks a web server all the time while it reads its configuration again, and counts what is lost

usage: direct_reload.py ADDRESS PORT STOP_FILE
Threads with one request for each connection, and threads that keep theirs. Lost is a request whose connection was refused,
reset, or ended before its answer was complete. A kept connection that the server ends between two requests, without one byte
of an answer, is not: HTTP has the client ask again by another.
Exit: 0 nothing was lost, 1.
"""
import os
import socket
import sys
import threading
import time

ADDRESS, PORT, STOP = sys.argv[1], int(sys.argv[2]), sys.argv[3]
ASK = "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: %s\r\n\r\n"
LIMIT_S = 150
lost, done = [], {"close": 0, "keep-alive": 0}
begun = time.monotonic()


def ended():
    return os.path.exists(STOP) or time.monotonic() - begun > LIMIT_S


def dial():
    c = socket.create_connection((ADDRESS, PORT), timeout=30)
    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return c


def answer(c):
    """The answer up to its body; what has come when the connection ends before."""
    got = b""
    while not got.endswith(b"hello\n"):
        more = c.recv(4096)
        if not more:
            break
        got += more
    return got


def close_each():
    with dial() as c:
        c.sendall((ASK % "close").encode())
        got = answer(c)
    if not got.endswith(b"hello\n"):
        raise ConnectionError("ended after %d bytes" % len(got))


def keep():
    with dial() as c:
        for turn in range(50):
            try:
                c.sendall((ASK % "keep-alive").encode())
                got = answer(c)
            except (ConnectionResetError, BrokenPipeError):
                got = b""
            if not got and turn:
                return
            if not got.endswith(b"hello\n"):
                raise ConnectionError("kept: ended after %d bytes in turn %d" % (len(got), turn))
            done["keep-alive"] += 1
            time.sleep(0.001)


def ask(kind):
    while not ended():
        try:
            if kind == "close":
                close_each()
                done[kind] += 1
            else:
                keep()
        except OSError as e:
            lost.append("%s: %s" % (kind, e))


threads = [threading.Thread(target=ask, args=(k,)) for k in ["close"] * 12 + ["keep-alive"] * 8]
for t in threads:
    t.start()
for t in threads:
    t.join()
print("asked %(close)d and %(keep-alive)d times" % done, "lost %d" % len(lost), *lost[:10], sep="\n")
sys.exit(1 if lost or not done["close"] or not done["keep-alive"] else 0)
