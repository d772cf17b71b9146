#!/usr/bin/python3
"""daemon_lease.py CASE INTERFACE [ARGUMENT...] - ask ztcpd for a queue of an interface, as no library would

Runs without privileges. Prints what it found wrong; exit status 0 when all was as it should be.

refused INTERFACE ERRNO           an ask gets this errno
many INTERFACE MOST               no more than so many sockets are handed out
forged INTERFACE PORT OTHERS      PORT: a rule gives it, nobody listens yet. OTHERS: another user listens there, and a rule gives it
kept INTERFACE PORT FILE          name PORT, stop to listen, make FILE, and read what comes until it is gone
successor INTERFACE ELSEWHERE USER   as root: a process of USER in the namespace ELSEWHERE connects and ends, one in this namespace
                                  has its number, and who has kept its socket asks
"""
import ctypes
import errno
import mmap
import os
import signal
import socket
import struct
import sys
import time

LEVEL, ANSWER = 0x7a74, 1
ASK, BIND, NAME, UNNAME, NEIGH, TOLD = 19, 20, 21, 22, 23, 18
ANY = 0xffffffff
MSG = struct.Struct('=IIiIII16s16s2s2sI')
AF_XDP = 44
SOL_XDP, RX_RING, TX_RING, UMEM_REG, FILL_RING, COMPLETION_RING = 283, 2, 3, 4, 5, 6
LOCAL, REMOTE = '10.9.0.2', '10.9.0.1'
wrong = []
keep = []  # memory that sockets use


def mapped(address):
    return socket.inet_pton(socket.AF_INET6, '::ffff:' + address)


class Session:
    def __init__(self):
        with socket.socket() as tcp:
            agent = struct.unpack('=IBBHiIQQQQIIQ', tcp.getsockopt(LEVEL, ANSWER, 64))[9]
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.s.connect('\0ztcpd/%s/%016x' % (os.environ['DAEMON_VERSIONS'], agent))
        self.s.settimeout(60)  # ends a hang
        self.xsk = None

    def ask(self, kind, ifindex=0, queue=ANY, local=LOCAL, lport=0, remote='0.0.0.0', rport=0):
        """The answer's rc, or None: ztcpd has ended the session."""
        try:
            self.s.send(MSG.pack(kind, 2, 0, ifindex, queue, 0, mapped(local), mapped(remote),
                                 struct.pack('!H', lport), struct.pack('!H', rport), 7))
            if kind == NEIGH:
                return 0
            data, fds, _, _ = socket.recv_fds(self.s, 256, 4)
        except ConnectionError:
            return None
        if not data:
            return None
        answer = MSG.unpack(data)
        if answer[0] != TOLD or answer[10] != 7:
            wrong.append('message %d was answered by %s' % (kind, answer))
        for fd in fds:
            if kind != ASK or answer[2] or self.xsk:
                wrong.append('a descriptor came for message %d' % kind)
            self.xsk = socket.socket(AF_XDP, socket.SOCK_RAW, 0, fd)
        return answer[2]

    def prepare(self):
        """Give the socket memory and rings, as the library does."""
        memory = mmap.mmap(-1, 256 * 4096)
        keep.append((memory, ctypes.c_char.from_buffer(memory)))
        self.xsk.setsockopt(SOL_XDP, UMEM_REG, struct.pack('=QQIII4x', ctypes.addressof(keep[-1][1]), 256 * 4096, 4096, 0, 0))
        for ring in (FILL_RING, COMPLETION_RING, RX_RING, TX_RING):
            self.xsk.setsockopt(SOL_XDP, ring, 64)


def expect(what, got, want):
    if got != want:
        wrong.append('%s: %s and not %s' % (what, got, want))


def leased(ifindex):
    s = Session()
    expect('ask', s.ask(ASK, ifindex), 0)
    s.prepare()
    end = time.monotonic() + 30  # the kernel lets a queue go some time after its socket's end
    while (rc := s.ask(BIND)) == -errno.EBUSY and time.monotonic() < end:
        time.sleep(0.01)
    expect('bind', rc, 0)
    return s


def refused(ifindex, number):
    s = Session()
    expect('ask', s.ask(ASK, ifindex), -int(number))
    expect('after a refusal, ask', s.ask(ASK, ifindex), -int(number))


def many(ifindex, most):
    held = [Session() for _ in range(int(most) + 3)]
    got = [s.ask(ASK, ifindex) for s in held]
    expect('sockets', got, [0] * int(most) + [-errno.EDQUOT] * 3)
    held[0].s.close()
    end = time.monotonic() + 30
    while (rc := Session().ask(ASK, ifindex)) == -errno.EDQUOT and time.monotonic() < end:
        time.sleep(0.05)
    expect('after one was given back', rc, 0)


def nonsense(ifindex):
    """What comes too early, twice, or is no message ends the session."""
    for kind in (BIND, NAME, UNNAME, 24, 99):
        expect('message %d first' % kind, Session().ask(kind, ifindex), None)
    s = Session()
    expect('ask', s.ask(ASK, ifindex), 0)
    expect('a name before the queue', s.ask(NAME, lport=1), None)
    s = Session()
    s.ask(ASK, ifindex)
    expect('to ask twice', s.ask(ASK, ifindex), None)
    s = Session()
    s.ask(ASK, ifindex)
    expect('a socket without memory', s.ask(BIND), -errno.EINVAL)
    s.prepare()
    expect('no such queue', s.ask(BIND, queue=63), -errno.EINVAL)
    expect('no such queue at all', s.ask(BIND, queue=1 << 20), -errno.EINVAL)
    s = Session()
    s.ask(ASK, ifindex)
    s.prepare()
    bind_self(s.xsk, ifindex)
    expect('a socket that its holder has bound', s.ask(BIND), -errno.EBUSY)
    for nothing in (socket.if_nametoindex('lo'), 0, 9999):
        expect('interface %d' % nothing, Session().ask(ASK, nothing), -errno.ENOENT)


def bind_self(xsk, ifindex):
    libc = ctypes.CDLL(None, use_errno=True)
    to = struct.pack('=HHIII', AF_XDP, 8, ifindex, 0, 0)
    if libc.bind(xsk.fileno(), to, len(to)):
        wrong.append('bind: %s' % os.strerror(ctypes.get_errno()))


def forged(ifindex, port, others):
    port, others = int(port), int(others)
    nonsense(ifindex)
    s = leased(ifindex)
    expect('a port that nobody has', s.ask(NAME, lport=port), -errno.EACCES)
    expect("another user's port", s.ask(NAME, lport=others), -errno.EACCES)
    expect("another user's port, on all addresses", s.ask(NAME, local='0.0.0.0', lport=others), -errno.EACCES)
    expect("a connection to another user's port", s.ask(NAME, lport=others, remote=REMOTE, rport=5555), -errno.EACCES)
    expect('port 0', s.ask(NAME, lport=0), -errno.EINVAL)
    with socket.create_server((LOCAL, 0)) as own:
        expect('a port that no rule gives', s.ask(NAME, lport=own.getsockname()[1]), -errno.EACCES)
    with socket.socket() as bound:
        bound.bind((LOCAL, port))
        expect('a port that is bound and not listened on', s.ask(NAME, lport=port), -errno.EACCES)
    with socket.create_server((LOCAL, port)):
        expect('an own port', s.ask(NAME, lport=port), 0)
        expect('an own port again', s.ask(NAME, lport=port), 0)
        expect('an own port on all addresses, where it listens on one', s.ask(NAME, local='0.0.0.0', lport=port), -errno.EACCES)
    expect('an own port, given back', s.ask(UNNAME, lport=port), 0)
    expect('what is not named', s.ask(UNNAME, lport=port), -errno.ENOENT)
    with socket.create_connection((REMOTE, others), timeout=60) as c:
        expect("a connection of the kernel's",
               s.ask(NAME, lport=c.getsockname()[1], remote=REMOTE, rport=others), -errno.EACCES)
    expect('a connection that no rule gives', s.ask(NAME, lport=50000, remote=REMOTE, rport=9), -errno.EACCES)
    expect('a connection', s.ask(NAME, lport=50000, remote=REMOTE, rport=others), 0)
    expect('its end', s.ask(UNNAME, lport=50000, remote=REMOTE, rport=others), 0)
    expect('its end again', s.ask(UNNAME, lport=50000, remote=REMOTE, rport=others), -errno.ENOENT)
    for address in (REMOTE, '255.255.255.255', '0.0.0.0'):
        s.ask(NEIGH, remote=address)
    expect('after all of it', s.ask(UNNAME, lport=port), -errno.ENOENT)


def kept(ifindex, port, file):
    s = leased(ifindex)
    with socket.create_server((LOCAL, int(port))):
        expect('an own port', s.ask(NAME, lport=int(port)), 0)
    expect('a connection to it', s.ask(NAME, lport=int(port), remote=REMOTE, rport=20404), 0)
    open(file, 'w').close()
    end = time.monotonic() + 100  # ends a hang
    while os.path.exists(file) and time.monotonic() < end:
        time.sleep(0.05)


def become(user):
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)


def fork_as(pid):
    """As fork(), with this number, which must be free."""
    number = ctypes.c_int(pid)
    arguments = (ctypes.c_uint64 * 10)()
    arguments[4], arguments[8], arguments[9] = signal.SIGCHLD, ctypes.addressof(number), 1
    libc = ctypes.CDLL(None, use_errno=True)
    got = libc.syscall(435, arguments, ctypes.sizeof(arguments))  # clone3
    if got < 0:
        raise OSError(ctypes.get_errno(), 'clone3 as %d' % pid)
    return got


def successor(ifindex, elsewhere, user):
    hold, asks = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    hold.settimeout(60)  # ends a hang
    pid = os.fork()
    if not pid:
        hold.close()
        with open('/run/netns/' + elsewhere) as ns:
            if ctypes.CDLL(None).setns(ns.fileno(), 0x40000000):
                os._exit(1)
        become(int(user))
        s = Session()
        if not os.fork():
            asks.recv(16)
            asks.send(struct.pack('=i', s.ask(ASK, ifindex) or 0))
        os._exit(0)
    asks.close()
    expect('who connects', os.waitpid(pid, 0)[1], 0)
    wait, go = os.pipe()
    ready, done = os.pipe()
    if not fork_as(pid):
        os.close(go)
        become(int(user))
        os.write(done, b'y')
        os.read(wait, 1)
        os._exit(0)
    os.read(ready, 1)
    hold.send(b'ask')
    expect('a queue for a process that has ended', struct.unpack('=i', hold.recv(16))[0], -errno.ESRCH)
    os.close(go)
    os.waitpid(pid, 0)


globals()[sys.argv[1]](socket.if_nametoindex(sys.argv[2]), *sys.argv[3:])
for w in wrong:
    print('FAIL:', w)
sys.exit(bool(wrong))
