#!/usr/bin/python3
"""apps_http.py - HTTP/1.1 clients that ask for random files, check every byte and count what is lost

    apps_http.py PORT FOLDER keep|close CLIENTS UNTIL [SECONDS]

They run until the file UNTIL exists, SECONDS at most (120); once the first answer has come they make a file
UNTIL.keep or UNTIL.close.  A request counts as lost when it is refused,
cut off, or answered wrongly.  One that a kept connection did not answer with a single byte, because
the server had just closed it, is sent again on a new one, as RFC 9110 9.2.2 allows for GET; those are
counted apart.  Exit 0 when none is lost.
"""
import hashlib
import os
import random
import socket
import sys
import threading
import time

port, folder, mode, clients, until = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]
deadline = time.monotonic() + (float(sys.argv[6]) if len(sys.argv) > 6 else 120)
files = {}
for name in sorted(os.listdir(folder)):
    with open(os.path.join(folder, name), 'rb') as f:
        body = f.read()
    files[name] = (len(body), hashlib.sha256(body).digest())
lock = threading.Lock()
total = lost = again = 0


class Stale(Exception):
    """the server closed a kept connection before it saw this request"""


class Client:
    def __init__(self):
        self.sock = None
        self.used = 0

    def connect(self):
        self.sock = socket.create_connection(('127.0.0.1', port), timeout=60)
        self.used = 0

    def drop(self):
        if self.sock:
            self.sock.close()
        self.sock = None

    def fetch(self, name):
        if not self.sock:
            self.connect()
        self.used += 1
        buf = b''
        try:
            self.sock.sendall(b'GET /%s HTTP/1.1\r\nHost: localhost\r\nConnection: %s\r\n\r\n' %
                              (name.encode(), b'keep-alive' if mode == 'keep' else b'close'))
            while b'\r\n\r\n' not in buf:
                data = self.sock.recv(65536)
                if not data:
                    raise ConnectionResetError('end of file in the header')
                buf += data
        except (ConnectionResetError, BrokenPipeError):
            if self.used > 1 and not buf:
                raise Stale
            raise
        head, body = buf.split(b'\r\n\r\n', 1)
        lines = head.decode().lower().split('\r\n')
        if ' 200' not in lines[0]:
            raise ValueError(lines[0])
        headers = dict(line.split(': ', 1) for line in lines[1:])
        size, digest = files[name]
        if int(headers['content-length']) != size:
            raise ValueError('content-length ' + headers['content-length'])
        h, have = hashlib.sha256(body), len(body)
        while have < size:
            data = self.sock.recv(262144)
            if not data:
                raise ConnectionResetError(f'end of file after {have} of {size} bytes')
            h.update(data)
            have += len(data)
        if h.digest() != digest:
            raise ValueError(f'{name}: wrong bytes')
        if mode == 'close':
            if self.sock.recv(1):
                raise ValueError('bytes after the end')
            self.drop()
        elif headers.get('connection') == 'close':
            self.drop()


def work(seed):
    global total, lost, again
    rng = random.Random(seed)
    client = Client()
    names = list(files)
    while time.monotonic() < deadline and not os.path.exists(until):
        name = rng.choice(names)
        try:
            client.fetch(name)
        except Stale:
            client.drop()
            with lock:
                again += 1
            continue
        except Exception as e:
            client.drop()
            with lock:
                lost += 1
            print(f'lost: {name}: {type(e).__name__} {e} (request {client.used} of its connection)')
        with lock:
            total += 1
            if total == 1:
                open(f'{until}.{mode}', 'w').close()


threads = [threading.Thread(target=work, args=(i,)) for i in range(clients)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print(f'{mode}: {total} requests, {lost} lost, {again} sent again')
sys.exit(lost > 0 or total == 0)
