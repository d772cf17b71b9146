#!/usr/bin/python3
"""direct_taken.py INTERFACE FILE - another program's AF_XDP socket on queue 0, until it is killed; makes FILE when it has it"""
import ctypes
import mmap
import socket
import struct
import sys
import time

AF_XDP, SOL_XDP, RX_RING, TX_RING, UMEM_REG, FILL_RING, COMPLETION_RING = 44, 283, 2, 3, 4, 5, 6
BYTES, CHUNK, NEED_WAKEUP = 256 * 4096, 4096, 8

memory = mmap.mmap(-1, BYTES)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
xsk = socket.socket(AF_XDP, socket.SOCK_RAW)
xsk.setsockopt(SOL_XDP, UMEM_REG, struct.pack('=QQIII4x', start, BYTES, CHUNK, 0, 0))
for ring in (FILL_RING, COMPLETION_RING, RX_RING, TX_RING):
    xsk.setsockopt(SOL_XDP, ring, 64)
to = struct.pack('=HHIII', AF_XDP, NEED_WAKEUP, socket.if_nametoindex(sys.argv[1]), 0, 0)
libc = ctypes.CDLL(None, use_errno=True)
end = time.monotonic() + 30  # the kernel lets a queue go some time after its socket's end
while libc.bind(xsk.fileno(), to, len(to)):
    if time.monotonic() > end:
        sys.exit('bind: errno %d' % ctypes.get_errno())
    time.sleep(0.01)
open(sys.argv[2], 'w').close()
time.sleep(300)
