#!/usr/bin/python3
"""daemon_few.py SESSIONS - opens so many sessions to a ztcpd that has fewer descriptors: each is answered or ended

Exit status 0 when some were answered, some ended, and none waits.
"""
import os
import select
import socket
import struct
import sys

LEVEL, ANSWER, CLAIMED = 0x7a74, 1, 1
PATIENCE_MS = 60000  # ends a hang
tcp = socket.socket()
agent = struct.unpack('=IBBHiIQQQQIIQ', tcp.getsockopt(LEVEL, ANSWER, 64))[9]
waiting, answered, ended = {}, 0, 0
poll = select.poll()
for i in range(int(sys.argv[1])):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect('\0ztcpd/%s/%016x' % (os.environ['DAEMON_VERSIONS'], agent))
    waiting[s.fileno()] = s
    poll.register(s, select.POLLIN)
    try:
        s.send(struct.pack('=IIQQQQIIII', CLAIMED, 1, 1, 1, 0, 0, 1, 0, 0, 0))
    except OSError:
        pass  # ended already
open_ones = []
while waiting:
    events = poll.poll(PATIENCE_MS)
    if not events:
        break
    for fd, _ in events:
        s = waiting.pop(fd)
        poll.unregister(fd)
        try:
            got = s.recv(256)
        except OSError:
            got = b''
        answered += bool(got)
        ended += not got
        open_ones.append(s)
print('%d sessions answered, %d ended, %d wait' % (answered, ended, len(waiting)))
sys.exit(bool(waiting or not answered or not ended))
