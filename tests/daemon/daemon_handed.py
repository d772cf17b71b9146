#!/usr/bin/python3
"""daemon_handed.py - a server that hands its connections over, and clients that hear when it is killed meanwhile

usage: daemon_handed.py serve MODE PORT | daemon_handed.py ask PID PORT ADDRESS DELAY_MS OVER
MODE: thread  one thread accepts, others serve
      fork    a child serves what its parent has used
      rights  a worker gets it by SCM_RIGHTS
      exec    a child becomes another program, which serves
A server answers one line in the process that has accepted, and hands over. ask: CLIENTS connections at once; all say their first
line, half then wait in silence after the answer. PID is killed DELAY_MS after the first answer; once there is a file OVER, which says
that nothing of it is left and ztcpd is done, everybody is asked once more: who is served by another process answers, all others have been reset by then, not when they
speak. Prints how many were: served reset, and the longest time from the kill to a reset, in ms. Exit: 0, 1 where one heard nothing, or only when it spoke.
"""
import os
import selectors
import signal
import socket
import sys
import threading
import time

CLIENTS, PATIENCE = 40, 90


def echo(c):
    while True:
        got = c.recv(4096)
        if not got:
            return
        c.sendall(got)


def serve_rest(number):
    """In another process: resets of its clients are theirs to count."""
    try:
        echo(socket.socket(fileno=number))
    except OSError:
        pass
    os._exit(0)


def workers():
    ours, theirs = socket.socketpair()
    if not os.fork():
        ours.close()
        while True:
            _, fds, _, _ = socket.recv_fds(theirs, 1, 1)
            if not fds:
                os._exit(0)
            if not os.fork():
                serve_rest(fds[0])
            os.close(fds[0])
    theirs.close()
    return ours


def hand_over(mode, c, channel):
    if mode == "thread":
        threading.Thread(target=echo, args=(c,), daemon=True).start()
        return
    if mode == "fork" and not os.fork():
        serve_rest(c.detach())
    if mode == "rights":
        socket.send_fds(channel, [b"x"], [c.fileno()])
    if mode == "exec" and not os.fork():  # not by vfork(), whose child's copies are unconnected (docs/compatibility.md)
        os.set_inheritable(c.fileno(), True)
        os.execv(sys.executable, [sys.executable, os.path.abspath(__file__), "on", str(c.fileno())])
    c.close()


def serve(mode, port):
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    channel = workers() if mode == "rights" else None
    listener = socket.create_server(("0.0.0.0", int(port)), backlog=256)
    while True:
        c, _ = listener.accept()
        try:
            c.sendall(c.recv(4096))
            hand_over(mode, c, channel)
        except OSError:
            c.close()


def dial(address, port):
    c = socket.create_connection((address, port), timeout=PATIENCE)
    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return c


def ask(pid, port, address, delay, over):
    """A connection is in `state` until it was reset; every one has begun before the server is killed."""
    poller, state, resets = selectors.DefaultSelector(), {}, []
    for n in range(CLIENTS):
        c = dial(address, port)
        c.sendall(b"first\n")
        c.setblocking(False)
        poller.register(c, selectors.EVENT_READ)
        state[c] = {"talks": n % 2 == 0, "answers": 0}
    due = killed = None
    asked, late, begun = False, 0, time.monotonic()
    while state:
        now = time.monotonic()
        if due and not killed and now >= due:
            killed = time.monotonic()
            os.kill(pid, signal.SIGKILL)
        if killed and not asked and os.path.exists(over) and not poller.select(0):
            asked = True
            for c in list(state):
                state[c]["answers"] = 0
                speak(c, b"last\n")
        if now - begun > PATIENCE:
            break
        for key, _ in poller.select(0.002):
            c = key.fileobj
            try:
                got = c.recv(4096)
            except BlockingIOError:
                continue
            except OSError:
                got = b""
            if not got:
                poller.unregister(c)
                late += asked
                if killed:
                    resets.append((time.monotonic() - killed) * 1000)
                del state[c]
                c.close()
                continue
            due = due or time.monotonic() + delay / 1000
            state[c]["answers"] += 1
            if state[c]["talks"] and not asked:
                speak(c, b"more\n")
        if asked and all(s["answers"] for s in state.values()):
            break
    if not killed:
        os.kill(pid, signal.SIGKILL)
        sys.exit("all connections ended before the server was killed")
    deaf = sum(1 for s in state.values() if not s["answers"])
    print(len(state) - deaf, len(resets), "%.1f" % max([0, *resets]))
    if deaf or late:
        sys.exit("%d of %d heard nothing, %d only when they spoke" % (deaf, CLIENTS, late))


def speak(c, what):
    try:
        c.send(what)
    except OSError:
        pass  # its reset is read next


if sys.argv[1] == "serve":
    serve(*sys.argv[2:])
elif sys.argv[1] == "on":
    serve_rest(int(sys.argv[2]))
else:
    ask(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], float(sys.argv[5]), sys.argv[6])
