#!/usr/bin/python3
"""daemon_crowd.py NAMESPACE-A NAMESPACE-B USER VICTIM - a user who is allowed connections of its own misuses ztcpd with them

USER's processes in A and B are attested to each other, and a rule allows them to be lifted. They claim thousands of connections
and take none of the channels, exit while they are introduced, and take over the process id of a VICTIM who has claimed. Runs as
root in the test's namespaces. Prints what it found wrong; exit status 0 when nothing was.
"""
import ctypes
import errno
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
import traceback

LEVEL, ANSWER, CLAIM, ACCEPTED, ATTESTED = 0x7a74, 1, 2, 4, 2
MSG = struct.Struct('=IIQQQQIIII')
CLAIMED, PAIRED, REFUSED = 1, 2, 3
UNVERIFIED, DAEMON_LIMIT = 26, 37
HOST, PORT = '10.9.0.2', 7100
CROWD, SESSIONS = 10000, 100
USER_CLAIMS, USER_CHANNELS = 4096, 2048
RACES = 200
PATIENCE = 60  # seconds; ends a hang
libc = ctypes.CDLL(None, use_errno=True)
wrong = []


def enter(namespace):
    with open('/run/netns/' + namespace) as ns:
        if libc.setns(ns.fileno(), 0x40000000):
            raise OSError(ctypes.get_errno(), 'setns')


def become(user):
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)


def verdict(sock, accepted=False):
    name = ANSWER | (ACCEPTED if accepted else 0)
    v = struct.unpack('=IBBHiIQQQQIIQ', sock.getsockopt(LEVEL, name, 64))
    return {'attested': bool(v[3] & ATTESTED), 'cookie': v[6], 'agent': v[9]}


def session(agent):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect('\0ztcpd/%s/%016x' % (os.environ['DAEMON_VERSIONS'], agent))
    return s


def claim(s, sock, secret, accepted=False):
    """Claim a TCP socket of ours. Returns whether it is attested: only then it can be."""
    v = verdict(sock, accepted)
    if not v['attested']:
        return False
    try:
        sock.setsockopt(LEVEL, CLAIM, struct.pack('=Q', secret))
    except OSError as e:
        if e.errno != errno.ENOTCONN:
            raise
        return False  # the other end has gone meanwhile
    s.send(MSG.pack(CLAIMED, 1, v['cookie'], secret, 0, 0, 1, 0, 0, 0))
    return True


def hear(s, seconds):
    """The next message: (type, reason, descriptor or -1); None: nothing came, or the session has ended."""
    if not select.select([s], [], [], seconds)[0]:
        return None
    data, fds, _, _ = socket.recv_fds(s, 256, 4)
    if not data:
        return None
    if len(fds) > 1:
        wrong.append('%d descriptors in a message' % len(fds))
    fields = MSG.unpack(data)
    return fields[0], fields[9], fds[0] if fds else -1


class Worker:
    """A process of a user in a namespace, in lockstep with this one."""

    def __init__(self, namespace, user, action, *arguments):
        self.ctl, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ctl.settimeout(PATIENCE)
        self.pid = os.fork()
        if self.pid:
            theirs.close()
            return
        status = 1
        try:
            self.ctl.close()
            theirs.settimeout(PATIENCE)
            wrong.clear()
            enter(namespace)
            become(user)
            action(theirs, *arguments)
            for w in sorted(set(wrong)):
                print('FAIL:', w, flush=True)
            status = bool(wrong)
        except BaseException:  # nothing of the parent's runs here
            traceback.print_exc()
        finally:
            os._exit(status)

    def said(self):
        return self.ctl.recv(4096)

    def say(self, what=b'go'):
        self.ctl.send(what)

    def end(self):
        self.ctl.close()
        status = os.waitpid(self.pid, 0)[1]
        if status:
            wrong.append('a process ended with %d' % os.waitstatus_to_exitcode(status))


def listener():
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((HOST, PORT))
    s.listen(512)
    s.settimeout(PATIENCE)
    return s


def connect():
    s = socket.create_connection((HOST, PORT), PATIENCE)
    s.settimeout(PATIENCE)
    return s


# ---- thousands of claims, and channels that nobody takes ----

def crowd(ctl, accepting):
    """Each of one end's sessions claims a connection with each of the other's: ends that never met before."""
    door = listener() if accepting else None
    ctl.send(b'ready')
    ctl.recv(16)
    agent = verdict(socket.socket())['agent']
    sessions = [session(agent) for _ in range(SESSIONS)]
    socks = []
    for _ in range(CROWD):
        socks.append(door.accept()[0] if accepting else connect())
    ctl.send(b'connected')
    ctl.recv(16)
    claimed = 0
    for k, sock in enumerate(socks):
        claimed += claim(sessions[k % SESSIONS if accepting else k // SESSIONS], sock, k + 1, accepting)
    if claimed < CROWD // 2:
        wrong.append('only %d of %d connections were attested' % (claimed, CROWD))
    ctl.send(b'claimed')
    ctl.recv(16)
    taken = limited = 0
    for s in sessions:
        while (m := hear(s, 0)):
            limited += m[0] == REFUSED and m[1] == DAEMON_LIMIT
            taken += m[2] >= 0
            if m[2] >= 0:
                os.close(m[2])
    if taken > USER_CHANNELS:
        wrong.append('%d descriptors were handed out' % taken)
    ctl.send(struct.pack('=II', taken, limited))
    ctl.recv(16)


def try_crowd():
    b = Worker(sys.argv[2], user, crowd, True)
    b.said()
    a = Worker(sys.argv[1], user, crowd, False)
    a.said()
    b.say()
    a.say()
    a.said()
    b.said()
    for worker in (a, b):
        worker.say()
        worker.said()
    mark('crowd')
    counts = []
    for worker in (a, b):
        worker.say()
        counts.append(struct.unpack('=II', worker.said()))
    if counts[0][1] + counts[1][1] < CROWD - USER_CLAIMS:
        wrong.append('of %d claims %d were refused' % (2 * CROWD, counts[0][1] + counts[1][1]))
    if not counts[0][0] or not counts[1][0]:
        wrong.append('nobody was introduced at all')
    for worker in (a, b):
        worker.say()
        worker.end()
    print('%d connections: %d and %d claims refused, %d and %d channels taken' %
          (CROWD, counts[0][1], counts[1][1], counts[0][0], counts[1][0]), flush=True)


# ---- processes that end while they are introduced ----

def racer(agent, hasty):
    """Connect, claim, and be gone: before the claim is sent, after, or when something has come."""
    s = session(agent)
    sock = connect()
    if hasty:
        claim(s, sock, 77)
    if hasty == 2:
        hear(s, 0.001)
    os._exit(0)


def racers(ctl):
    agent = verdict(socket.socket())['agent']
    ctl.send(b'ready')
    for i in range(RACES):
        ctl.recv(16)
        pid = os.fork()
        if not pid:
            try:
                racer(agent, i % 3)
            finally:
                os._exit(1)
        os.waitpid(pid, 0)
        ctl.send(b'gone')


def try_races():
    """The other end is left with a refusal, with a channel to nobody, or waiting; never with somebody else."""
    done = struct.Struct('=I')

    def accept(ctl):
        door = listener()
        s = session(verdict(socket.socket())['agent'])
        introduced = 0
        ctl.send(b'ready')
        for _ in range(RACES):
            sock, _ = door.accept()
            claim(s, sock, 78, True)
            ctl.recv(16)  # it is gone
            while (m := hear(s, 0.002)):
                if m[2] < 0:
                    continue
                introduced += 1
                with socket.socket(fileno=m[2]) as chan:
                    chan.settimeout(PATIENCE)
                    if chan.recv(1):
                        wrong.append('a process that has ended sends')
            sock.close()
            ctl.send(b'next')
        ctl.send(done.pack(introduced))

    b = Worker(sys.argv[2], user, accept)
    b.said()
    a = Worker(sys.argv[1], user, racers)
    a.said()
    for _ in range(RACES):
        a.say()
        a.said()
        b.say()
        b.said()
    print('%d processes that ended meanwhile, %d of them introduced' % (RACES, done.unpack(b.said())[0]), flush=True)
    a.end()
    b.end()


# ---- a process id that comes back ----

def fork_as(pid):
    """fork() to a process id: clone3() with set_tid."""
    number = ctypes.c_int(pid)
    args = (ctypes.c_uint64 * 11)()
    args[4] = signal.SIGCHLD
    args[8], args[9] = ctypes.addressof(number), 1
    return libc.syscall(435, args, ctypes.sizeof(args))


def try_pids():
    """A victim has claimed and gone, its connection is still there, and its number is somebody else's now."""
    def accept(ctl):
        door = listener()
        s = session(verdict(socket.socket())['agent'])
        ctl.send(b'ready')
        sock, _ = door.accept()
        ctl.recv(16)
        claim(s, sock, 79, True)
        ctl.send(b'claimed')
        ctl.recv(16)
        while (m := hear(s, 0.2)):
            if m[0] == PAIRED:
                wrong.append('introduced to who took over a process id')

    def victim(ctl):
        sock = connect()
        agent = verdict(sock)['agent']
        s = session(agent)
        if not claim(s, sock, 0x76696374696d):
            wrong.append('the victim is not attested')
        socket.send_fds(ctl, [struct.pack('=QQ', verdict(sock)['cookie'], agent)], [sock.fileno()])
        ctl.recv(16)

    b = Worker(sys.argv[2], victim_user, accept)
    b.said()
    v = Worker(sys.argv[1], victim_user, victim)
    told, held, _, _ = socket.recv_fds(v.ctl, 64, 1)
    cookie, agent = struct.unpack('=QQ', told)
    v.say()
    v.end()
    successor = fork_as(v.pid)
    if successor == 0:
        status = 1
        try:
            enter(sys.argv[1])
            become(user)
            s = session(agent)
            refusals = 0
            for secret in (1, 79, cookie, agent, 0x76696374696e, 2 ** 64 - 1):
                s.send(MSG.pack(CLAIMED, 1, cookie, secret, 0, 0, 1, 0, 0, 0))
                m = hear(s, PATIENCE)
                refusals += m is not None and m[0] == REFUSED and m[1] == UNVERIFIED and m[2] < 0
            b.say()
            b.said()
            s.send(MSG.pack(CLAIMED, 1, cookie, 2, 0, 0, 1, 0, 0, 0))
            m = hear(s, PATIENCE)
            refusals += m is not None and m[0] == REFUSED and m[1] == UNVERIFIED and m[2] < 0
            status = 0 if refusals == 7 and hear(s, 0.2) is None else 3
        finally:
            os._exit(status)
    if successor != v.pid:
        wrong.append('no process id can be chosen: %s' % os.strerror(ctypes.get_errno()))
        b.say()
        b.said()
    elif os.waitpid(successor, 0)[1]:
        wrong.append('a successor to a process id was not refused each time')
    b.say()
    b.end()
    os.close(held[0])
    print('a process id was taken over', flush=True)


def mark(what):
    """Let the test look at ztcpd in the middle of it."""
    if len(sys.argv) > 5:
        with open(sys.argv[5], 'w') as f:
            f.write(what + '\n')
        end = time.monotonic() + PATIENCE
        while os.path.exists(sys.argv[5]) and time.monotonic() < end:
            time.sleep(0.01)


user, victim_user = int(sys.argv[3]), int(sys.argv[4])
resource.setrlimit(resource.RLIMIT_NOFILE, (CROWD + 4096, CROWD + 4096))
try_pids()
try_races()
try_crowd()
for w in sorted(set(wrong)):
    print('FAIL:', w)
sys.exit(bool(wrong))
