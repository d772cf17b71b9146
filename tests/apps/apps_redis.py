#!/usr/bin/python3
"""apps_redis.py - a Redis client of our own that checks every reply

    apps_redis.py PORT TEST...

Tests: values pipeline pubsub blocking kill churn transaction.  Exit 0 when all hold.
"""
import hashlib
import random
import socket
import sys
import threading
import time

PORT = int(sys.argv[1])


class Redis:
    """One connection, RESP2; reply errors are returned as exceptions, not raised."""

    def __init__(self):
        self.sock = socket.create_connection(('127.0.0.1', PORT), timeout=60)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = b''

    def send(self, *words):
        out = [b'*%d\r\n' % len(words)]
        for word in words:
            word = word if isinstance(word, bytes) else str(word).encode()
            out.append(b'$%d\r\n%s\r\n' % (len(word), word))
        self.sock.sendall(b''.join(out))

    def fill(self):
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        self.buf += data

    def line(self):
        while b'\r\n' not in self.buf:
            self.fill()
        line, self.buf = self.buf.split(b'\r\n', 1)
        return line

    def exactly(self, size):
        parts, have = [self.buf], len(self.buf)
        while have < size:
            data = self.sock.recv(min(1 << 20, size - have + 65536))
            if not data:
                raise EOFError
            parts.append(data)
            have += len(data)
        data = b''.join(parts)
        self.buf = data[size:]
        return data[:size]

    def reply(self):
        line = self.line()
        kind, rest = line[:1], line[1:]
        if kind == b'+':
            return rest
        if kind == b'-':
            return RuntimeError(rest)
        if kind == b':':
            return int(rest)
        if kind == b'$':
            return None if rest == b'-1' else self.exactly(int(rest) + 2)[:-2]
        if kind == b'*':
            return None if rest == b'-1' else [self.reply() for _ in range(int(rest))]
        raise ValueError(line)

    def call(self, *words):
        self.send(*words)
        return self.reply()


def expect(got, want, what):
    if got != want:
        raise AssertionError(f'{what}: got {str(got)[:200]!r}, expected {str(want)[:200]!r}')


def values():
    """values of 0 to 8 MB go there and back unchanged, and the server agrees on their digest"""
    r = Redis()
    rng = random.Random(1)
    for size in (0, 1, 63, 64, 65, 1000, 4096, 65535, 65536, 65537, 1 << 20, 8 << 20):
        value = rng.randbytes(size)
        expect(r.call('SET', f'v{size}', value), b'OK', 'SET')
        expect(r.call('STRLEN', f'v{size}'), size, 'STRLEN')
        got = r.call('GET', f'v{size}')
        expect(hashlib.sha256(got).digest(), hashlib.sha256(value).digest(), f'GET of {size} bytes')
        sha1 = r.call('EVAL', "return redis.sha1hex(redis.call('GET', KEYS[1]))", 1, f'v{size}')
        expect(sha1.decode(), hashlib.sha1(value).hexdigest(), f'the server\'s digest of {size} bytes')


def pipeline():
    """10 000 commands sent by one thread while another reads the replies, in order"""
    r = Redis()
    rng = random.Random(2)
    sizes = [rng.choice((1, 10, 100, 1000, 20000)) for _ in range(10000)]

    def write():
        for i, size in enumerate(sizes):
            r.send('ECHO', b'%d:' % i + b'x' * size)

    t = threading.Thread(target=write)
    t.start()
    for i, size in enumerate(sizes):
        expect(r.reply(), b'%d:' % i + b'x' * size, f'reply {i}')
    t.join()


def pubsub():
    """3 publishers, 8 subscribers: each gets all messages of each publisher, in order"""
    subs = [Redis() for _ in range(8)]
    for s in subs:
        for c in range(3):
            s.call('SUBSCRIBE', f'c{c}')
    errors = []

    def publish(c):
        try:
            r = Redis()
            for i in range(500):
                expect(r.call('PUBLISH', f'c{c}', i), 8, 'receivers')
        except BaseException as e:
            errors.append(e)

    def listen(s):
        try:
            at = [0, 0, 0]
            for _ in range(1500):
                kind, channel, data = s.reply()
                c = int(channel[1:])
                expect(int(data), at[c], f'message on c{c}')
                at[c] += 1
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=listen, args=(s,)) for s in subs]
    threads += [threading.Thread(target=publish, args=(c,)) for c in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]


def blocking():
    """blocking pops: every pushed item comes out once; a timeout is a timeout"""
    r = Redis()
    r.call('DEL', 'q')
    got, lock = [], threading.Lock()

    def pop():
        c = Redis()
        while True:
            _, item = c.call('BLPOP', 'q', 20)
            if item == b'end':
                return
            with lock:
                got.append(int(item))

    threads = [threading.Thread(target=pop) for _ in range(6)]
    for t in threads:
        t.start()
    for i in range(2000):
        r.call('RPUSH', 'q', i)
    for _ in threads:
        r.call('RPUSH', 'q', 'end')
    for t in threads:
        t.join()
    expect(sorted(got), list(range(2000)), 'items')
    began = time.monotonic()
    expect(r.call('BLPOP', 'nothing', '0.3'), None, 'BLPOP of nothing')
    took = time.monotonic() - began
    if took < 0.25:
        raise AssertionError(f'BLPOP with a timeout of 0.3 s came back after {took:.2f} s')


def kill():
    """CLIENT KILL of busy and of blocked clients: they get EOF or a reset, at once, and nobody else does"""
    admin, bystander = Redis(), Redis()
    for how in ('busy', 'blocked', 'idle') * 5:
        victim = Redis()
        ident = victim.call('CLIENT', 'ID')
        for i in range(50):
            expect(victim.call('ECHO', i), str(i).encode(), 'ECHO')
        if how == 'blocked':
            victim.send('BLPOP', 'never', 0)
        elif how == 'busy':
            for i in range(100):
                victim.send('ECHO', i)
        expect(admin.call('CLIENT', 'KILL', 'ID', ident), 1, 'CLIENT KILL')
        victim.sock.settimeout(60)
        try:
            while victim.sock.recv(65536):
                pass
        except ConnectionResetError:
            pass
        expect(bystander.call('ECHO', 'here'), b'here', 'bystander')


def churn():
    """400 connections, some closed with data unread, some reset; the server counts what is left"""
    keep = []
    for i in range(400):
        r = Redis()
        for n in range(i % 12):
            expect(r.call('ECHO', n), str(n).encode(), 'ECHO')
        if i % 4 == 0:
            keep.append(r)
        elif i % 4 == 1:
            r.send('GET', 'v1048576')
            r.sock.close()
        elif i % 4 == 2:
            r.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
            r.sock.close()
        else:
            r.sock.shutdown(socket.SHUT_WR)
            expect(r.sock.recv(1), b'', 'after shutdown')
    for r in keep:
        expect(r.call('PING'), b'PONG', 'PING')
    end = time.monotonic() + 60
    while True:
        n = int(next(l for l in keep[0].call('INFO', 'clients').split(b'\r\n')
                     if l.startswith(b'connected_clients')).split(b':')[1])
        if n == len(keep) or time.monotonic() > end:
            break
        time.sleep(0.05)
    expect(n, len(keep), 'connected_clients')


def transaction():
    """20 threads increment under WATCH/MULTI/EXEC; no update is lost"""
    r = Redis()
    r.call('SET', 'n', 0)
    errors = []

    def work():
        try:
            c = Redis()
            done = 0
            while done < 25:
                c.call('WATCH', 'n')
                n = int(c.call('GET', 'n'))
                for words in (('MULTI',), ('SET', 'n', n + 1), ('EXEC',)):
                    c.send(*words)
                c.reply()
                c.reply()
                done += c.reply() is not None
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]
    expect(r.call('GET', 'n'), b'200', 'counter')


for name in sys.argv[2:]:
    globals()[name]()
    print(name, 'ok')
