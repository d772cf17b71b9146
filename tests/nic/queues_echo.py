#!/usr/bin/python3
"""queues_echo.py serve ADDRESS PORT READY HOP | ask ADDRESS PORT THREADS TURNS HOP - lines there and back, over connections of several threads

Server and client have a thread for each connection. HOP 1: a thread moves to another processor before each line that it sends, and with it goes
the queue of the interface. "ask": each thread holds three connections and uses all in each turn. "serve" ends when it is told to.
"""
import os
import signal
import socket
import sys
import threading
import time

HELD = 3
CPUS = sorted(os.sched_getaffinity(0))


def place(hop, n):
    if hop:
        os.sched_setaffinity(0, {CPUS[n % len(CPUS)]})


def echo(c, hop):
    with c:
        for n, line in enumerate(c.makefile("rb")):
            place(hop, n)
            c.sendall(line)


def serve(address, port, ready, hop):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listener = socket.create_server((address, int(port)), backlog=64)

    def accepts():
        while True:
            c, _ = listener.accept()
            threading.Thread(target=echo, args=(c, hop == "1"), daemon=True).start()

    for _ in range(2):
        threading.Thread(target=accepts, daemon=True).start()
    with open(ready, "w", encoding="ascii"):
        pass
    while True:  # a signal may be given to another thread than this one, which must see it all the same
        time.sleep(0.5)


def asks(address, port, turns, hop, ready, done):
    held = [socket.create_connection((address, port), timeout=30)]
    ready.wait()  # each thread has its queue
    held += [socket.create_connection((address, port), timeout=30) for _ in range(HELD - 1)]
    files = [c.makefile("rb") for c in held]
    for turn in range(turns):
        place(hop, turn)
        want = b"%d %s\n" % (turn, b"x" * (turn * 997 % 9000))
        for c in held:
            c.sendall(want)
        for f in files:
            got = f.readline()
            assert got == want, (got[:40], want[:40])
    for c in held:
        c.close()
    done.append(True)


def ask(address, port, threads, turns, hop):
    done, ready = [], threading.Barrier(int(threads), timeout=60)
    every = [threading.Thread(target=asks, args=(address, int(port), int(turns), hop == "1", ready, done))
             for _ in range(int(threads))]
    for t in every:
        t.start()
    for t in every:
        t.join()
    sys.exit(len(done) != len(every))


if __name__ == "__main__":
    {"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:])
