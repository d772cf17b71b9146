#!/usr/bin/python3
"""direct_serve.py ADDRESS PORT READY - a server that asks a direct connection for what a kernel's would do

Its counterpart is direct_ask.py. Each step asserts; the exit status is 0 only when all were as the kernel has them.
"""
import array
import fcntl
import os
import select
import socket
import struct
import sys
import termios
import threading

ADDRESS, PORT, READY = sys.argv[1], int(sys.argv[2]), sys.argv[3]
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((ADDRESS, PORT))
listener.listen(16)
listener.setblocking(False)
epoll = select.epoll()
epoll.register(listener, select.EPOLLIN)


def accepted():
    events = epoll.poll(30)
    assert events == [(listener.fileno(), select.EPOLLIN)], events
    c, peer = listener.accept()
    assert c.getsockname()[1] == PORT, c.getsockname()
    assert c.getpeername() == peer, peer
    c.setblocking(True)
    return c


def times(c, seconds):
    c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO,
                 struct.pack("ll", int(seconds), int(seconds % 1 * 1e6)))


def raises(kind, call):
    try:
        call()
    except kind as e:
        return e
    raise AssertionError(f"{kind} expected")


def reading():
    c = accepted()
    epoll.register(c, select.EPOLLIN | select.EPOLLET | select.EPOLLRDHUP)
    assert epoll.poll(30) == [(c.fileno(), select.EPOLLIN)]
    assert c.recv(4, socket.MSG_PEEK) == b"abcd"
    there = array.array("i", [0])
    fcntl.ioctl(c, termios.FIONREAD, there)
    assert there[0] == 8, there
    assert epoll.poll(0) == [], "an edge is told once"
    assert c.recv(8, socket.MSG_WAITALL) == b"abcdefgh"
    times(c, 0.2)
    raises(BlockingIOError, lambda: c.recv(1))
    times(c, 0)
    assert c.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[0] == 1, "ESTABLISHED"
    assert c.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    epoll.unregister(c)
    return c


def writing(c):
    c.setblocking(False)
    sent = 0
    for _ in range(20):  # a client's stack that acknowledges late makes room once more
        try:
            while True:
                sent += c.send(b"x" * 65536)
        except BlockingIOError:
            pass
        ready = select.select([c], [c], [], 0.02)[:2]
        if ready == ([], []):
            break
    assert ready == ([], []), "full"
    poller = select.poll()
    poller.register(c, select.POLLOUT)
    assert poller.poll(30000) == [(c.fileno(), select.POLLOUT)], "the client reads now"
    c.setblocking(True)
    c.sendall(b"END%010d" % sent)
    c.shutdown(socket.SHUT_WR)
    raises(BrokenPipeError, lambda: c.send(b"x"))
    assert c.recv(10) == b"bye" and c.recv(10) == b"", "half closed"
    poller.register(c, select.POLLIN)
    events = poller.poll(30000)[0][1]
    assert events & select.POLLHUP and events & select.POLLIN, events
    c.close()


def reset():
    c = accepted()
    c.send(b"!")  # until then it is not reset: what is, before it is accepted, is never told of
    assert select.select([c], [], [], 30)[0] == [c]
    raises(ConnectionResetError, lambda: c.recv(1))
    assert c.recv(1) == b"", "told once"
    c.close()


def threads_and_fork():
    c = accepted()
    got = []
    reader = threading.Thread(target=lambda: got.append(c.recv(100)))
    reader.start()
    reader.join(30)
    assert got == [b"wake"], got
    child = os.fork()
    if child == 0:
        c.send(b"child")
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == 0, code
    copy = c.dup()
    c.close()
    copy.sendall(b" and parent")
    copy.close()


def many():
    """Connections that come and go while others stay, by a level-triggered set."""
    open_ones, done = {}, 0
    while done < 200:
        for fd, events in epoll.poll(30):
            if fd == listener.fileno():
                c, _ = listener.accept()
                c.setblocking(False)
                open_ones[c.fileno()] = c
                epoll.register(c, select.EPOLLIN)
                continue
            data = open_ones[fd].recv(4096)
            if data:
                open_ones[fd].send(data)
            else:
                epoll.unregister(fd)
                open_ones.pop(fd).close()
                done += 1


with open(READY, "w"):
    pass
writing(reading())
reset()
threads_and_fork()
many()
print("served")
