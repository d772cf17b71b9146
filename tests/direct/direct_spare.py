#!/usr/bin/python3
"""direct_spare.py serve|ask ADDRESS PORT READY - descriptors of many short connections, each as a new one would be

What a program does to the descriptor of one connection must not be seen in that of a later one, by whatever way it is done, and no
descriptor may have two owners. Each step asserts; the exit status is 0 only when all were as the kernel has them.
"""
import fcntl
import os
import select
import socket
import struct
import sys

ROLE, PEER, READY = sys.argv[1], (sys.argv[2], int(sys.argv[3])), sys.argv[4]
ROUNDS = 200
SO_COOKIE = 57
cookies = set()


def number(s, level, name):
    return s.getsockopt(level, name)


def is_new(s, first):
    """As socket(2) makes it; @first: numbers in use before."""
    fd = s.fileno()
    assert fd == min(set(range(first + 1)) - in_use(fd)), "not the lowest number that is free"
    assert fcntl.fcntl(fd, fcntl.F_GETFL) == os.O_RDWR, oct(fcntl.fcntl(fd, fcntl.F_GETFL))
    assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    assert fcntl.fcntl(fd, fcntl.F_GETOWN) == 0
    for level, name in OPTIONS:
        assert number(s, level, name) == made[level, name], (level, name, number(s, level, name))


def in_use(but):
    return {int(n) for n in os.listdir("/proc/self/fd") if os.path.lexists("/proc/self/fd/" + n)} - {but}


OPTIONS = [(socket.IPPROTO_TCP, socket.TCP_NODELAY), (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
           (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
           (socket.IPPROTO_TCP, socket.TCP_KEEPCNT), (socket.SOL_SOCKET, socket.SO_PRIORITY),
           (socket.IPPROTO_IP, socket.IP_TOS), (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
           (socket.SOL_SOCKET, socket.SO_RCVTIMEO)]
plain = socket.socket(socket.AF_UNIX)  # nothing of ours
fresh = socket.socket()
made = {(level, name): fresh.getsockopt(level, name) for level, name in OPTIONS}
fresh.close()
plain.close()


def option(level, name, value):
    def change(s):
        s.setsockopt(level, name, value)
        if isinstance(value, int):
            assert number(s, level, name) == value
    return change


def keeps(s):
    """What the connection keeps by itself reads back, and nonsense is refused."""
    for name, value in ((socket.TCP_KEEPIDLE, 77), (socket.TCP_KEEPINTVL, 7), (socket.TCP_KEEPCNT, 3)):
        option(socket.IPPROTO_TCP, name, value)(s)
        for wrong in (0, -1, 40000):
            try:
                s.setsockopt(socket.IPPROTO_TCP, name, wrong)
                raise AssertionError("EINVAL expected")
            except OSError as e:
                assert e.errno == 22, e
        assert number(s, socket.IPPROTO_TCP, name) == value
    s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 5)
    assert number(s, socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    assert s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1) == b"\1"


def cookie(s):
    c = s.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8)
    assert c not in cookies, "a cookie names one socket"
    cookies.add(c)


def owner(s):
    fcntl.fcntl(s, fcntl.F_SETOWN, os.getpid())


def without_blocking(s):
    s.setblocking(False)
    s.settimeout(30)


def child(s):
    """It keeps the descriptor, and that alone: no later connection may have what is behind it."""
    asked, answer = os.pipe()
    seen, ready = os.pipe()
    mine = os.fstat(s.fileno()).st_ino
    if os.fork() == 0:
        low = 3
        for fd in sorted((asked, ready, s.fileno())) + [1024]:
            os.closerange(low, fd)
            low = fd + 1
        os.close(ready)
        os.read(asked, 1)
        os._exit(0)
    os.close(ready)
    os.read(seen, 1)
    os.close(seen)
    children.append((answer, mine))
    os.close(asked)


children = []
CHANGES = [lambda s: None, keeps, cookie, owner, without_blocking, lambda s: s.dup().close(), child,
           option(socket.SOL_SOCKET, socket.SO_PRIORITY, 3), option(socket.IPPROTO_IP, socket.IP_TOS, 16),
           option(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 5000),
           option(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 30, 0))]
CHANGES_ALONE = [c for c in CHANGES if c is not child]


def ours_alone(s):
    inode = os.fstat(s.fileno()).st_ino
    assert inode not in {taken for _, taken in children}, "a child has it, too"


def turn(s, i):
    """One connection: alternately we and the other end speak first, and close first."""
    ours_alone(s)
    if (ROLE == "ask") == (i % 2 == 0):
        s.sendall(b"%08d" % i)
        assert s.recv(8, socket.MSG_WAITALL) == b"%08d" % i
    else:
        assert s.recv(8, socket.MSG_WAITALL) == b"%08d" % i
        s.sendall(b"%08d" % i)
    CHANGES[i % len(CHANGES)](s)
    if CHANGES[i % len(CHANGES)] is child:
        s.shutdown(socket.SHUT_WR)  # the child may hold it open
    if (ROLE == "ask") == (i % 2 == 0):
        assert s.recv(1) == b""
    s.close()


def by_the_kernel(i):
    """What socket() gives serves the kernel, too: options, a name, an end that the other side hears of at once."""
    listener = socket.socket()
    is_new(listener, 1024)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    s = socket.socket()
    is_new(s, 1024)
    CHANGES_ALONE[i % len(CHANGES_ALONE)](s)
    s.setblocking(True)
    s.connect(listener.getsockname())
    far = listener.accept()[0]
    listener.close()
    s.close()
    far.settimeout(30)
    assert far.recv(1) == b""
    far.close()


def set_of_kernel():
    """A socket in a set, closed before it was connected, is told of no more."""
    with select.epoll() as e:
        s = socket.socket()
        e.register(s, select.EPOLLIN)
        s.close()
        for _ in range(3):
            with socket.socket():
                assert e.poll(0) == []


def ask():
    for i in range(ROUNDS):
        s = socket.socket()
        is_new(s, 1024)
        s.settimeout(None)
        s.connect(PEER)
        turn(s, i)
        if i % 10 == 9:
            by_the_kernel(i // 10)
            set_of_kernel()


def serve():
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(PEER)
    listener.listen(16)
    with open(READY, "w"):
        pass
    for i in range(ROUNDS):
        select.select([listener], [], [], 60)
        s = listener.accept()[0]
        is_new(s, 1024)
        turn(s, i)
    listener.close()
    socket.create_server(PEER).close()  # though children hold connections of that port


serve() if ROLE == "serve" else ask()
for answer, _ in children:
    os.close(answer)
for _ in children:
    assert os.wait()[1] == 0
