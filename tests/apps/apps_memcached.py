#!/usr/bin/python3
"""apps_memcached.py - memcached clients in threads, text protocol, every reply checked

    apps_memcached.py PORT CONNECTIONS ROUNDS
"""
import random
import socket
import sys
import threading

port, connections, rounds = (int(a) for a in sys.argv[1:])
errors = []


def expect(got, want, what):
    if got != want:
        raise AssertionError(f'{what}: got {got[:100]!r}, expected {want[:100]!r}')


def work(ident):
    rng = random.Random(ident)
    sock = socket.create_connection(('127.0.0.1', port), timeout=60)
    f = sock.makefile('rb', buffering=65536)
    known = {}
    try:
        for i in range(rounds):
            # several sets in one write, some of them without a reply, then one get of many keys
            out, stored = [], 0
            for _ in range(rng.randint(1, 6)):
                key = b'k%d-%d' % (ident, rng.randint(0, 30))
                value = rng.randbytes(rng.choice((0, 1, 50, 1000, 9000, 100000)))
                quiet = rng.random() < 0.3
                out.append(b'set %s 0 0 %d%s\r\n%s\r\n' % (key, len(value), b' noreply' if quiet else b'', value))
                stored += not quiet
                known[key] = value
            sock.sendall(b''.join(out))
            for _ in range(stored):
                expect(f.readline(), b'STORED\r\n', 'set')
            keys = rng.sample(sorted(known), min(len(known), 8))
            sock.sendall(b'get ' + b' '.join(keys) + b'\r\n')
            got = {}
            while (line := f.readline()) != b'END\r\n':
                _, key, _, size = line.split()
                got[key] = f.read(int(size))
                expect(f.read(2), b'\r\n', 'end of value')
            for key in keys:
                expect(got.get(key, b'missing'), known[key], f'value of {key}')
            sock.sendall(b'incr nothing 1\r\nversion\r\n')
            expect(f.readline(), b'NOT_FOUND\r\n', 'incr')
            expect(f.readline()[:8], b'VERSION ', 'version')
        sock.sendall(b'quit\r\n')
        expect(f.read(), b'', 'after quit')
    except BaseException as e:
        errors.append(f'connection {ident}: {type(e).__name__} {e}')


threads = [threading.Thread(target=work, args=(i,)) for i in range(connections)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print('\n'.join(errors) or f'{connections} connections ok')
sys.exit(bool(errors))
