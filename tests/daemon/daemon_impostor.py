#!/usr/bin/python3
"""daemon_impostor.py - listens in the name of a ztcpd that has died, and introduces whoever asks to itself

Says "ready", and at SIGTERM how many claims it was told. Its answers name a channel that it hands out: nobody may take it.
"""
import selectors
import signal
import os
import socket
import struct
import sys

MSG = struct.Struct('=IIQQQQIIII')
CLAIMED, PAIRED = 1, 2
claims = 0


def finish(*_):
    print(claims, flush=True)
    sys.exit(0)


def answer(s):
    global claims
    data = s.recv(256)
    if not data:
        return False
    kind, version, cookie, _, _, _, number, _, _, _ = MSG.unpack(data)
    if kind == CLAIMED:
        claims += 1
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        held.append(ours)
        chan = struct.unpack('=Q', theirs.getsockopt(socket.SOL_SOCKET, 57, 8))[0]  # SO_COOKIE
        socket.send_fds(s, [MSG.pack(PAIRED, version, cookie, 0, chan, 0, number, 1, 0, 0)], [theirs.fileno()])
        theirs.close()
    return True


signal.signal(signal.SIGTERM, finish)
held = []
agent = struct.unpack('=IBBHiIQQQQIIQ', socket.socket().getsockopt(0x7a74, 1, 64))[9]
door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
door.bind('\0ztcpd/%s/%016x' % (os.environ['DAEMON_VERSIONS'], agent))
door.listen(64)
chosen = selectors.DefaultSelector()
chosen.register(door, selectors.EVENT_READ)
print('ready', flush=True)
while True:
    for key, _ in chosen.select():
        s = key.fileobj
        if s is door:
            chosen.register(s.accept()[0], selectors.EVENT_READ)
        elif not answer(s):
            chosen.unregister(s)
            s.close()
