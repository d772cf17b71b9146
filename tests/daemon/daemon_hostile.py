#!/usr/bin/python3
"""daemon_hostile.py - a user whom nothing is attested tries to be introduced, to hear of others, and to be in the way

Prints what it found wrong; exit status 0 when it got nothing.

daemon_hostile.py SECONDS
daemon_hostile.py --flood MESSAGES    send as fast as it can until so many were read
"""
import array
import os
import select
import socket
import struct
import sys
import time

LEVEL, ANSWER, CLAIM = 0x7a74, 1, 2
MSG = struct.Struct('=IIQQQQIIII')
CLAIMED, PAIRED, REFUSED = 1, 2, 3
wrong = []


def verdict(sock):
    return struct.unpack('=IBBHiIQQQQIIQ', sock.getsockopt(LEVEL, ANSWER, 64))


def session(agent):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect('\0ztcpd/%s/%016x' % (os.environ['DAEMON_VERSIONS'], agent))
    s.setblocking(False)
    return s


def claim(cookie, secret, number=1, flags=0, chan=0):
    return MSG.pack(CLAIMED, 1, cookie, secret, chan, 0, number, 0, flags, 0)


def hear(s):
    """All that came: never a channel, never a descriptor."""
    try:
        while True:
            data, control, _, _ = s.recvmsg(256, socket.CMSG_SPACE(64))
            if not data:
                return False
            if control:
                wrong.append('a descriptor was handed out')
            kind, _, cookie, secret, chan, domain, _, peer, _, reason = MSG.unpack(data)
            if kind != REFUSED or secret or chan or domain or peer or not reason:
                wrong.append('told of cookie %d: kind %d, channel %d' % (cookie, kind, chan))
    except BlockingIOError:
        return True
    except OSError:
        return False


def send(s, data):
    try:
        s.send(data)
        return True
    except BlockingIOError:
        return True  # made to wait, as it should be
    except OSError:
        return False


def leases(agent):
    """A queue is watched for whom root has let at the selector's tables alone, and given to whom a rule names (daemon_lease.sh); all
    else is refused, or ends the session."""
    lease, watch, table, ask = struct.Struct('=IIiIII40s'), 16, 17, 19
    memory = os.memfd_create('none')
    for kind in (watch, table, 18, ask, 20, 21, 22, 23, 99):
        for fds in ([], [0], [memory], [0, 0], [memory, memory], [memory] * 100):
            s = session(agent)
            s.settimeout(60)  # ends a hang
            control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))] if fds else []
            try:
                s.sendmsg([lease.pack(kind, 2, 0, 1, 0, os.getpid(), os.urandom(40))], control)
                data = s.recv(256)
            except ConnectionError:  # ztcpd has ended it
                data = b''
            if data and (kind not in (watch, ask) or len(data) != lease.size or lease.unpack(data)[2] >= 0):
                wrong.append('a lease: message %d with %d descriptors' % (kind, len(fds)))
            s.close()
    os.close(memory)


def flood(agent, messages):
    """In sessions side by side, none of them ever full of answers; ends when so many were answered, which is that they were read."""
    many = [session(agent) for _ in range(20)]
    poll = select.poll()
    for s in many:
        poll.register(s, select.POLLIN)
    sent = heard = full = 0
    last = time.monotonic() + 60  # ends a hang
    while heard < messages and time.monotonic() < last:
        for s in many:
            try:
                s.send(claim(1, 1))
                sent += 1
            except BlockingIOError:
                full += 1
        for fd, _ in poll.poll(0 if full < 20 else 10):
            s = next(s for s in many if s.fileno() == fd)
            try:
                while s.recv(256):
                    heard += 1
            except BlockingIOError:
                pass
    print('%d messages sent, %d answered, %d times there was no more room' % (sent, heard, full))
    sys.exit(heard < messages)


tcp = socket.socket()
answer = verdict(tcp)
agent = answer[9]
if not agent:
    sys.exit('no ztcpd is known')
if answer[3] & 2 or answer[7] or answer[8]:
    wrong.append('an unconnected socket is attested')
try:
    tcp.setsockopt(LEVEL, CLAIM, struct.pack('=Q', 1))
    wrong.append('a socket that is not attested could be claimed')
except OSError as e:
    if e.errno != 107:
        wrong.append('claim: %s' % e)

if sys.argv[1] == '--flood':
    flood(agent, int(sys.argv[2]))
end = time.monotonic() + float(sys.argv[1])
most = answer[6] + 200  # cookies are counted up: those of the others lie around ours
sent = rounds = 0
many = [session(agent) for _ in range(100)]
while time.monotonic() < end:
    rounds += 1
    s = session(agent)
    # forged: sockets of others, with guessed secrets; replayed: the same again
    for cookie in range(max(1, most - 600), most):
        for secret in (0, 1, agent, cookie):
            sent += send(s, claim(cookie, secret, flags=cookie & 1, chan=cookie))
        if sent % 64 == 0 and not hear(s):
            s = session(agent)
    hear(s)
    s.close()
    # descriptors with nothing else in the message, which ends the session
    for fds in ([0], [0, 0]):
        s = session(agent)
        try:
            s.sendmsg([b''], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))])
        except OSError:
            pass
        hear(s)
        s.close()
    # nonsense of every size, and descriptors that nobody asked for
    for size in (0, 1, 55, 57, 200, 4096):
        s = session(agent)
        send(s, os.urandom(size))
        try:
            s.sendmsg([claim(most, 1)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0] * 200))])
        except OSError:
            pass
        hear(s)
        s.close()
    leases(agent)
    # slow: sessions that send and never read
    for s in many:
        send(s, claim(most, rounds))
print('%d claims' % sent)
# more sessions than a user may have
held = []
try:
    for i in range(1500):
        held.append(session(agent))
except OSError:
    pass
poll = select.poll()
for s in held:
    poll.register(s, select.POLLIN)
last = time.monotonic() + 60  # ends a hang; ztcpd may not have come to all of them
while (open_ones := len(held) - len(poll.poll(0))) > 1024 and time.monotonic() < last:
    time.sleep(0.1)
if open_ones > 1024:
    wrong.append('%d sessions are open' % open_ones)
for w in sorted(set(wrong)):
    print('FAIL:', w)
sys.exit(bool(wrong))
