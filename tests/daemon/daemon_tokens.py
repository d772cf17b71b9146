"""daemon_tokens.py - a middlebox between two network namespaces that does what it likes with the selector's option

daemon_tokens.py NAMESPACE-A NAMESPACE-B CGROUP: makes a tun device in each (10.8.0.1 in A, 10.8.0.2 in B), carries packets between
them, and connects from A to B once for each way of treating the option. What the selector says at both ends must be
"attested" only where the option has passed untouched; bytes must arrive in any case. Runs as root in the test's namespaces.
"""
import ctypes
import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time

LEVEL, ANSWER, ATTESTED = 0x7A74, 1, 2
KIND, LENGTH, MAGIC, SYN_TYPE, SYNACK_TYPE = 254, 16, b'zt', 1, 2
PORT = 7000
libc = ctypes.CDLL(None, use_errno=True)


def enter(name):
    with open('/run/netns/' + name) as ns:
        if libc.setns(ns.fileno(), 0x40000000):
            raise OSError(ctypes.get_errno(), 'setns')


def within(name, action):
    """Do something in a namespace; sockets and devices stay where they were made."""
    result = []

    def run():
        enter(name)
        result.append(action())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return result[0]


def tun(name, address):
    fd = os.open('/dev/net/tun', os.O_RDWR)
    fcntl.ioctl(fd, 0x400454CA, struct.pack('16sH22x', b'tok', 0x1001))  # TUNSETIFF: IFF_TUN, no head
    subprocess.run(['ip', 'addr', 'add', address + '/24', 'dev', 'tok'], check=True)
    subprocess.run(['ip', 'link', 'set', 'tok', 'up'], check=True)
    return fd


def checksum(data):
    total = sum(struct.unpack('!%dH' % (len(data) // 2), data[:len(data) & ~1]))
    if len(data) & 1:
        total += data[-1] << 8
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Segment:
    """An IPv4 packet with TCP in it, to be changed and put together again."""

    def __init__(self, packet):
        head = (packet[0] & 15) * 4
        self.ip, tcp = packet[:head], packet[head:]
        offset = (tcp[12] >> 4) * 4
        self.tcp, self.options, self.data = bytearray(tcp[:20]), bytearray(tcp[20:offset]), tcp[offset:]
        self.syn, self.ack = bool(tcp[13] & 2), bool(tcp[13] & 16)
        self.at = self.find()

    def find(self):
        at = 0
        while at < len(self.options):
            if self.options[at] == 1:
                at += 1
            elif self.options[at] == 0 or at + 1 == len(self.options) or self.options[at + 1] < 2:
                return -1
            elif self.options[at] == KIND and self.options[at + 2:at + 4] == MAGIC:
                return at
            else:
                at += self.options[at + 1]
        return -1

    def option(self):
        return bytes(self.options[self.at:self.at + LENGTH]) if self.at >= 0 else None

    def put(self, option):
        if self.at >= 0:
            self.options[self.at:self.at + LENGTH] = option

    def packet(self):
        self.tcp[16:18] = b'\0\0'
        tcp = bytes(self.tcp) + bytes(self.options) + self.data
        pseudo = self.ip[12:20] + struct.pack('!BBH', 0, 6, len(tcp))
        self.tcp[16:18] = struct.pack('!H', checksum(pseudo + tcp))
        return self.ip + bytes(self.tcp) + bytes(self.options) + self.data

    def shift(self, at, by):
        value, = struct.unpack('!I', self.tcp[at:at + 4])
        self.tcp[at:at + 4] = struct.pack('!I', (value + by) & 0xFFFFFFFF)


def made_up(option):
    return option[:8] + os.urandom(8)


class Middlebox:
    """to_b() and to_a() get a segment each way. They return whether it is carried on."""
    seen = []  # every option of a SYN that has passed, of all of them

    def __init__(self):
        self.options = 0
        self.syn_option = None

    def to_b(self, s):
        if s.syn and s.option():
            self.options += 1
            self.syn_option = s.option()
            self.seen.append(self.syn_option)
        return self.syn(s) if s.syn else self.other_to_b(s)

    def to_a(self, s):
        return self.synack(s) if s.syn else self.other_to_a(s)

    def syn(self, s):
        return True

    def synack(self, s):
        return True

    def other_to_b(self, s):
        return True

    def other_to_a(self, s):
        return True

    def before(self, s, send):
        """What the box itself sends to B first."""


class Untouched(Middlebox):
    good = True


class Stripped(Middlebox):
    def syn(self, s):
        s.put(b'\1' * LENGTH)
        return True


class StrippedAnswer(Middlebox):
    def synack(self, s):
        s.put(b'\1' * LENGTH)
        return True


class Forged(Middlebox):
    def syn(self, s):
        s.put(made_up(s.option()) if s.option() else b'')
        return True


class ForgedAnswer(Middlebox):
    def synack(self, s):
        s.put(made_up(s.option()) if s.option() else b'')
        return True


class Echoed(Middlebox):
    """The answer is the question, as boxes do that copy options they do not know."""

    def synack(self, s):
        s.put(self.syn_option)
        return True


class EchoedAsAnswer(Echoed):
    """And it pretends to be of the right type."""

    def synack(self, s):
        s.put(self.syn_option[:4] + bytes([SYNACK_TYPE]) + self.syn_option[5:])
        return True


class Replayed(Middlebox):
    """The option of a connection before, whose token was used."""

    def syn(self, s):
        s.put(self.seen[0])
        return True


class Proxy(Middlebox):
    """Sequence numbers of its own: an end of TCP, though it copies the option. SACK goes: its numbers would be others."""
    by = 0x12345

    def syn(self, s):
        s.shift(4, self.by)
        at = s.options.find(b'\4\2')
        if at >= 0:
            s.options[at:at + 2] = b'\1\1'
        return True

    def other_to_b(self, s):
        s.shift(4, self.by)
        return True

    def synack(self, s):
        s.shift(8, -self.by)
        return True

    def other_to_a(self, s):
        s.shift(8, -self.by)
        return True


class Dropped(Middlebox):
    """SYNs with what it does not know are dropped: the next one must be without."""

    def syn(self, s):
        return s.option() is None


class Raced(Middlebox):
    """A SYN of the box's own with the token that is still alive comes first. It must not be answered as if it were the one."""
    good = True
    port = 999

    def __init__(self):
        super().__init__()
        self.answered = None

    def before(self, s, send):
        if not s.syn or not s.option():
            return
        copy = Segment(s.packet())
        copy.tcp[0:2] = struct.pack('!H', self.port)
        copy.shift(4, 77)
        send(copy.packet())

    def to_a(self, s):
        if struct.unpack('!H', s.tcp[2:4])[0] != self.port:
            return True
        if s.syn:
            self.answered = s.option()
            assert self.answered is None, 'a token was taken with another sequence number'
        return False


class Counted(Middlebox):
    """Options of the SYN, and of the SYN-ACK."""

    def __init__(self):
        super().__init__()
        self.sent = [0, 0]

    def syn(self, s):
        self.sent[0] += s.option() is not None
        return True

    def synack(self, s):
        self.sent[1] += s.option() is not None
        return True


# Ports, and the options of a connection to them by the policy of daemon_tokens.sh: none where no rule of the connecting end's lets shared
# memory be. A SYN with one is answered with one; of 7005 the accepting end's rule says no, which is asked when somebody has accepted, and
# nothing is attested.
PORTS = {7000: [1, 1], 7001: [0, 0], 7002: [0, 0], 7003: [0, 0], 7004: [0, 0], 7005: [1, 1], 7006: [0, 0]}


class Relay(threading.Thread):
    def __init__(self, a, b):
        super().__init__(daemon=True)
        self.a, self.b, self.box, self.errors = a, b, Middlebox(), []

    def run(self):
        while True:
            for fd in select.select([self.a, self.b], [], [])[0]:
                try:
                    self.carry(fd, os.read(fd, 65536))
                except Exception as e:  # told by the main thread
                    self.errors.append(repr(e))

    def carry(self, fd, packet):
        if packet[0] >> 4 != 4 or packet[9] != 6:
            return
        s = Segment(packet)
        if fd == self.a:
            self.box.before(s, lambda p: os.write(self.b, p))
        if self.box.to_b(s) if fd == self.a else self.box.to_a(s):
            os.write(self.b if fd == self.a else self.a, s.packet())


def attested(sock):
    answer = sock.getsockopt(LEVEL, ANSWER, 64)
    version, _, _, flags = struct.unpack_from('=IBBH', answer)
    assert version == 1
    return bool(flags & ATTESTED)


def connect(names, listener):
    def dial():
        s = socket.socket()
        s.settimeout(30)
        s.connect(listener.getsockname())
        return s

    client = within(names[0], dial)
    server = listener.accept()[0]
    server.settimeout(30)
    for s, t in (client, server), (server, client):
        s.sendall(b'x' * 100000)
        got = b''
        while len(got) < 100000:
            more = t.recv(65536)
            assert more, 'the connection ended'
            got += more
        assert got == b'x' * 100000
    return client, server


def main():
    names = sys.argv[1:3]
    fds = [within(n, lambda i=i, n=n: tun(n, '10.8.0.%d' % (i + 1))) for i, n in enumerate(names)]
    relay = Relay(*fds)
    relay.start()
    listener = within(names[1], lambda: socket.create_server(('10.8.0.2', PORT)))
    listener.settimeout(30)
    failed = 0
    boxes = [Untouched, Stripped, StrippedAnswer, Forged, ForgedAnswer, Echoed, EchoedAsAnswer, Replayed, Proxy, Dropped, Raced, Untouched]
    for kind in boxes:
        relay.box = kind()
        client, server = connect(names, listener)
        want = hasattr(kind, 'good')
        is_ = [attested(client), attested(server)]
        # one end alone that believes is not believed: it takes both records
        wrong = any(x != want for x in is_) or not relay.box.options
        print('%-15s %s, options seen: %d%s' % (kind.__name__, is_, relay.box.options, '  WRONG' if wrong else ''), flush=True)
        failed += wrong
        client.close()
        server.close()
    listener.close()
    for port, want in PORTS.items():
        relay.box = Counted()
        listener = within(names[1], lambda p=port: socket.create_server(('10.8.0.2', p), reuse_port=True))
        listener.settimeout(30)
        client, server = connect(names, listener)
        is_ = [attested(client), attested(server)]
        wrong = relay.box.sent != want or is_ != [port == 7000] * 2
        print('port %d: options %s, attested %s%s' % (port, relay.box.sent, is_, '  WRONG' if wrong else ''), flush=True)
        failed += wrong
    for e in relay.errors:
        print('the relay:', e)
    return bool(failed or relay.errors)


sys.exit(main())
