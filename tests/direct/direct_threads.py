#!/usr/bin/python3
"""direct_threads.py serve MODE ADDRESS PORT READY | ask ADDRESS PORT - several threads of a server share its connections

MODE: sets: each thread has an epoll set with the listener in it; accept: each thread waits in accept() and then serves that
connection until it ends; polls: the same by poll(); given: one accepts, and gives each to one of the others. "ask" holds as many
connections open at once as there are threads, over and over, and each is answered.
"""
import queue
import select
import signal
import socket
import sys
import threading
import time

THREADS, ROUNDS, TURNS = 3, 60, 5


def serve_one(c):
    while data := c.recv(4096):
        c.sendall(data)
    c.close()


def by_sets(listener, _):
    listener.setblocking(False)
    epoll, members = select.epoll(), {}
    epoll.register(listener, select.EPOLLIN)
    while True:
        for fd, _ in epoll.poll():
            if fd == listener.fileno():
                try:
                    c, _ = listener.accept()
                except BlockingIOError:
                    continue  # another thread has it
                members[c.fileno()] = c
                epoll.register(c, select.EPOLLIN)
            elif data := members[fd].recv(4096):
                members[fd].sendall(data)
            else:
                epoll.unregister(fd)
                members.pop(fd).close()


def by_accept(listener, _):
    while True:
        serve_one(listener.accept()[0])


def by_polls(listener, _):
    listener.setblocking(False)
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while True:
        poll.poll()
        try:
            c, _ = listener.accept()
        except BlockingIOError:
            continue
        c.setblocking(True)
        serve_one(c)


def by_given(_, given):
    while True:
        serve_one(given.get())


def serve(mode, address, port, ready):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listener = socket.create_server((address, int(port)), backlog=64)
    given = queue.Queue()
    work = {"sets": by_sets, "accept": by_accept, "polls": by_polls, "given": by_given}[mode]
    for _ in range(THREADS):
        threading.Thread(target=work, args=(listener, given), daemon=True).start()
    with open(ready, "w"):
        pass
    while mode == "given":
        given.put(listener.accept()[0])
    while True:  # a signal may be given to another thread than this one, which must see it all the same
        time.sleep(0.5)


def ask(address, port):
    for n in range(ROUNDS):
        held = [socket.create_connection((address, int(port)), timeout=30) for _ in range(THREADS)]
        for turn in range(TURNS):
            for k, c in enumerate(held):
                c.sendall(b"%d %d %d\n" % (n, turn, k))
            for k, c in enumerate(held):
                want = b"%d %d %d\n" % (n, turn, k)
                got = c.recv(len(want), socket.MSG_WAITALL)
                assert got == want, (got, want)
        for c in held:
            c.close()
    print("asked")


if __name__ == "__main__":
    {"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:])
