#!/usr/bin/python3
"""direct_pass.py - a server whose connections change the process, and its clients

usage: direct_pass.py serve MODE ADDRESS PORT READY_FILE | direct_pass.py ask|hear ADDRESS PORT |
       direct_pass.py on FD | direct_pass.py next FD
MODE: fork    the parent accepts, a child serves: nothing was read yet
      orphan  the same, and the parent ends
      rights  a connection that was used, with bytes unread and bytes unsent, goes to a worker by SCM_RIGHTS
      exec    the same goes to another program in this process
      inetd   a program that is started has it as its standard input and output
      used    a child serves what its parent has used, with bytes unread and bytes unsent; both know its names
      alone   as used, and no thread can be made
      both    parent and child answer the lines in turn
      reset   a child resets it
      wait    a program that a child becomes serves the listener, in which the first connection waits
      next    a program that a child becomes has the listener: it accepts what waits at the first one's when that closes it
      again   the server itself becomes it
A client sends a first line, a block, and lines; it gets all back. Exit: 0, or the Python exception's 1.
"""
import ctypes
import errno
import hashlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time

BLOCK = hashlib.shake_128(b"ztcp").digest(300000)
LINES = 20


def echo(c):
    """All that comes goes back, until the client ends."""
    while True:
        got = c.recv(65536)
        if not got:
            return
        c.sendall(got)


def on(number):
    echo(socket.socket(fileno=number))


def first(c):
    """The first line comes and goes in the process that has accepted; what follows may come already."""
    got = c.recv(6, socket.MSG_WAITALL)
    assert got == b"first\n", got
    c.sendall(got)
    time.sleep(0.2)


def serve_fork(listener, orphan):
    while True:
        c, _ = listener.accept()
        time.sleep(0.1)
        if not os.fork():
            listener.close()
            if orphan and os.fork():
                os._exit(0)
            time.sleep(0.1)
            echo(c)
            os._exit(0)
        c.close()


def serve_rights(listener):
    ours, theirs = socket.socketpair()
    if not os.fork():
        ours.close()
        while True:
            _, fds, _, _ = socket.recv_fds(theirs, 1, 1)
            if not fds:
                os._exit(0)
            if not os.fork():
                on(fds[0])
                os._exit(0)
            os.close(fds[0])
    while True:
        c, _ = listener.accept()
        first(c)
        socket.send_fds(ours, [b"x"], [c.fileno()])
        c.close()


def names(c):
    return c.getsockname(), c.getpeername()


def serve_used(listener):
    while True:
        c, _ = listener.accept()
        first(c)
        known = names(c)
        child = os.fork()
        if not child:
            c.setblocking(True)
            c.send(b"")
            poller = select.poll()
            poller.register(c, select.POLLIN)
            poller.poll(30000)
            assert names(c) == known, names(c)
            echo(c)
            os._exit(0)
        os.waitpid(child, 0)
        assert names(c) == known, names(c)
        c.close()


def no_threads():
    """clone() of a thread is EAGAIN from now on, clone3() ENOSYS (x86-64)."""
    libc = ctypes.CDLL(None, use_errno=True)
    steps = [(0x20, 0, 0, 0), (0x15, 4, 0, 435), (0x15, 0, 2, 56), (0x20, 0, 0, 16), (0x45, 2, 0, 0x10000),
             (0x06, 0, 0, 0x7fff0000), (0x06, 0, 0, 0x50000 | errno.ENOSYS), (0x06, 0, 0, 0x50000 | errno.EAGAIN)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *s) for s in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0, ctypes.get_errno()


def serve_both(listener):
    while True:
        c, _ = listener.accept()
        first(c)
        turn, back = os.pipe(), os.pipe()
        if not os.fork():
            os.close(turn[1])  # the end of it ends this process
            while os.read(turn[0], 1):
                got = c.recv(65536)
                c.sendall(got)
                os.write(back[1], b"x" if got else b".")
            os._exit(0)
        got = b"x"
        while got:
            got = c.recv(65536)
            c.sendall(got)
            os.write(turn[1], b"x")
            if os.read(back[0], 1) == b".":
                break
        c.close()
        for end in turn + back:
            os.close(end)


def serve_reset(listener):
    c, _ = listener.accept()
    first(c)
    if not os.fork():
        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.recv(1)
        c.close()
        os._exit(0)
    c.close()
    time.sleep(100)


def serve_exec(listener):
    while os.fork():  # one after the other accepts, uses its connection, and becomes another program
        os.wait()
    c, _ = listener.accept()
    first(c)
    os.set_inheritable(c.fileno(), True)
    os.execv(sys.executable, [sys.executable, __file__, "on", str(c.fileno())])


def serve_next(listener):
    c, _ = listener.accept()
    echo(c)
    c.close()
    if not os.fork():
        succeed(listener)
    select.select([listener], [], [])
    listener.close()
    time.sleep(100)


def serve_again(listener):
    c, _ = listener.accept()
    echo(c)
    c.close()
    select.select([listener], [], [])
    succeed(listener)


def serve_wait(listener):
    select.select([listener], [], [])
    if not os.fork():
        os.dup2(listener.fileno(), 0)
        listener.close()
        succeed(socket.socket(fileno=0))
    time.sleep(100)


def succeed(listener):
    listener.set_inheritable(True)
    os.execv(sys.executable, [sys.executable, __file__, "next", str(listener.fileno())])


def successor(number):
    listener = socket.socket(fileno=number)
    while True:
        c, _ = listener.accept()
        echo(c)
        c.close()


def serve_inetd(listener):
    while True:
        c, _ = listener.accept()
        subprocess.Popen(["/bin/cat"], stdin=c, stdout=c)
        c.close()


def serve(mode, address, port, ready):
    if mode not in ("exec", "used", "alone"):
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    if mode == "alone":
        no_threads()
    listener = socket.create_server((address, int(port)), backlog=64)
    open(ready, "w").close()
    {"fork": lambda: serve_fork(listener, False), "orphan": lambda: serve_fork(listener, True),
     "rights": lambda: serve_rights(listener), "exec": lambda: serve_exec(listener),
     "inetd": lambda: serve_inetd(listener), "used": lambda: serve_used(listener), "alone": lambda: serve_used(listener),
     "both": lambda: serve_both(listener), "next": lambda: serve_next(listener),
     "again": lambda: serve_again(listener), "wait": lambda: serve_wait(listener),
     "reset": lambda: serve_reset(listener)}[mode]()


def take(c, n):
    """MSG_WAITALL does not wait on a socket with a time-out."""
    got = b""
    while len(got) < n:
        more = c.recv(n - len(got))
        assert more, "ended after %d of %d bytes" % (len(got), n)
        got += more
    return got


def ask(address, port):
    for _ in range(3):
        with socket.create_connection((address, int(port)), timeout=30) as c:
            c.sendall(b"first\n")
            assert take(c, 6) == b"first\n"
            c.sendall(BLOCK[:100000])
            time.sleep(0.3)
            c.sendall(BLOCK[100000:200000])
            assert take(c, 200000) == BLOCK[:200000]
            for n in range(LINES):
                line = b"line %d\n" % n
                c.sendall(line)
                got = take(c, len(line))
                assert got == line, (got, line)
            c.shutdown(socket.SHUT_WR)
            assert c.recv(1) == b""


def hear(address, port):
    """Of a connection that is reset."""
    with socket.create_connection((address, int(port)), timeout=30) as c:
        c.sendall(b"first\n")
        assert take(c, 6) == b"first\n"
        c.sendall(BLOCK[:100000])
        try:
            assert c.recv(1) == b"", "bytes"
        except ConnectionResetError:
            return
        raise AssertionError("no reset")


{"serve": serve, "ask": ask, "hear": hear, "on": lambda fd: on(int(fd)),
 "next": lambda fd: successor(int(fd))}[sys.argv[1]](*sys.argv[2:])
