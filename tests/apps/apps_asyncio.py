#!/usr/bin/python3
"""apps_asyncio.py - Python servers and their clients: asyncio streams, threads, forks

    apps_asyncio.py server KIND PORT       KIND: asyncio threads fork
    apps_asyncio.py client PORT            asyncio clients and threads; exit 0 when every byte was right

The protocol: 4 bytes of length, the data; the answer is the same with the data reversed.
"""
import asyncio
import os
import random
import signal
import socket
import socketserver
import struct
import sys
import threading

SIZES = (0, 1, 64, 1000, 16384, 65536, 200000, 1000000)


async def serve_stream(reader, writer):
    try:
        while True:
            size, = struct.unpack('!I', await reader.readexactly(4))
            data = await reader.readexactly(size)
            writer.write(struct.pack('!I', size) + data[::-1])
            await writer.drain()
    except asyncio.IncompleteReadError:
        pass
    finally:
        writer.close()


async def server_asyncio(port):
    server = await asyncio.start_server(serve_stream, '127.0.0.1', port, backlog=200)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    server.close()


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while head := self.rfile.read(4):
            size, = struct.unpack('!I', head)
            data = self.rfile.read(size)
            self.wfile.write(head + data[::-1])


def server(kind, port):
    if kind == 'asyncio':
        asyncio.run(server_asyncio(port))
        return
    base = socketserver.ThreadingTCPServer if kind == 'threads' else socketserver.ForkingTCPServer
    base.allow_reuse_address = True
    base.daemon_threads = True
    base.request_queue_size = 200
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    base(('127.0.0.1', port), Handler).serve_forever()


async def client_stream(port, seed):
    rng = random.Random(seed)
    reader, writer = await asyncio.open_connection('127.0.0.1', port)
    for _ in range(30):
        datas = [rng.randbytes(rng.choice(SIZES)) for _ in range(rng.randint(1, 3))]
        for data in datas:
            writer.write(struct.pack('!I', len(data)) + data)
        for data in datas:
            size, = struct.unpack('!I', await reader.readexactly(4))
            if await reader.readexactly(size) != data[::-1]:
                raise AssertionError(f'asyncio client {seed}: wrong bytes')
        await writer.drain()
    writer.write_eof()
    if await reader.read():
        raise AssertionError('bytes after the end')
    writer.close()


def client_thread(port, seed, errors):
    rng = random.Random(seed)
    try:
        with socket.create_connection(('127.0.0.1', port), timeout=100) as sock:
            file = sock.makefile('rwb')
            for _ in range(60):
                data = rng.randbytes(rng.choice(SIZES))
                file.write(struct.pack('!I', len(data)) + data)
                file.flush()
                size, = struct.unpack('!I', file.read(4))
                if file.read(size) != data[::-1]:
                    raise AssertionError('wrong bytes')
    except Exception as e:
        errors.append(f'thread {seed}: {type(e).__name__} {e}')


async def client(port):
    errors = []
    threads = [threading.Thread(target=client_thread, args=(port, 100 + i, errors)) for i in range(6)]
    for t in threads:
        t.start()
    await asyncio.gather(*(client_stream(port, i) for i in range(20)))
    for t in threads:
        await asyncio.to_thread(t.join)
    if errors:
        sys.exit('\n'.join(errors))
    print('ok')


if sys.argv[1] == 'server':
    server(sys.argv[2], int(sys.argv[3]))
else:
    asyncio.run(asyncio.wait_for(client(int(sys.argv[2])), 110))
