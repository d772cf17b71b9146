#!/usr/bin/python3
"""daemon_subordinate.py NAMESPACE USER IDS EACH LIMIT - one person with many user ids, by a user namespace of its own, has the limits of one user

A process of USER makes a user namespace; root maps IDS subordinate user ids into it, as newuidmap does. A process of each
id opens EACH sessions with ztcpd. Runs as root. Prints how many of them stay open, and what is wrong with that.
"""
import ctypes
import os
import select
import socket
import struct
import sys
import traceback

LEVEL, ANSWER, NEWUSER, FIRST = 0x7a74, 1, 0x10000000, 300000
PATIENCE = 60  # seconds; ends a hang
libc = ctypes.CDLL(None, use_errno=True)
namespace, user, ids, each, limit = sys.argv[1], *map(int, sys.argv[2:])


def child(action, *arguments):
    """A process that is told to go on and says something, by lines."""
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE)
    pid = os.fork()
    if pid:
        theirs.close()
        return pid, ours
    status = 1
    try:
        ours.close()
        theirs.settimeout(PATIENCE)
        action(theirs, *arguments)
        status = 0
    except BaseException:
        traceback.print_exc()
    os._exit(status)


def session(agent):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect('\0ztcpd/%s/%016x' % (os.environ['DAEMON_VERSIONS'], agent))  # waits where many others do
    return s


def subject(ctl, number):
    """A process of one of the ids."""
    os.setgid(number)
    os.setuid(number)
    agent = struct.unpack('=IBBHiIQQQQIIQ', socket.socket().getsockopt(LEVEL, ANSWER, 64))[9]
    held = [session(agent) for _ in range(each)]
    ctl.send(b'y')
    ctl.recv(1)  # all have connected
    poll = select.poll()
    for s in held:
        poll.register(s, select.POLLIN)
    ctl.send(struct.pack('=I', each - len(poll.poll(0))))
    ctl.recv(1)


def person(ctl):
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    if libc.unshare(NEWUSER):
        raise OSError(ctypes.get_errno(), 'unshare')
    ctl.send(b'y')
    ctl.recv(1)  # mapped
    subjects = [child(subject, 1 + i)[1] for i in range(ids)]
    for s in subjects:
        s.recv(1)
    ctl.send(b'y')
    ctl.recv(1)  # ztcpd has looked at all of them
    for s in subjects:
        s.send(b'y')
    ctl.send(struct.pack('=I', sum(struct.unpack('=I', s.recv(4))[0] for s in subjects)))
    ctl.recv(1)


with open('/run/netns/' + namespace) as ns:
    if libc.setns(ns.fileno(), 0x40000000):
        sys.exit('setns')
pid, ctl = child(person)
ctl.recv(1)
for kind in 'uid', 'gid':
    with open('/proc/%d/%s_map' % (pid, kind), 'w') as f:
        f.write('0 %d 1\n1 %d %d\n' % (user, FIRST, ids))
ctl.send(b'y')
if not ctl.recv(1):
    sys.exit('FAIL: the processes with subordinate user ids do not start')
# one more, of a user of its own, that is answered: what came before it has been looked at
probe = session(struct.unpack('=IBBHiIQQQQIIQ', socket.socket().getsockopt(LEVEL, ANSWER, 64))[9])
probe.settimeout(PATIENCE)
probe.send(b'nonsense')
if probe.recv(1):
    sys.exit('FAIL: nonsense is answered')
ctl.send(b'y')
held = struct.unpack('=I', ctl.recv(4))[0]
print('%d of %d sessions of %d user ids of one person are open' % (held, ids * each, ids))
wrong = held > limit or held == 0
if wrong:
    print('FAIL: the limit is %d' % limit)
ctl.close()
os.waitpid(pid, 0)
sys.exit(wrong)
