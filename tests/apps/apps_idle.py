#!/usr/bin/python3
"""apps_idle.py - many connections to a Redis server that talk a little, then are silent, then talk again

    apps_idle.py PORT CONNECTIONS PIDFILE SECONDS

Prints "WHEN cpu_ticks memory_kb" of the server while they are silent: at the begin, the end, and before any of them
was made.  Memory is what the process has of its own: Pss of everything it maps, shared memory included.
"""
import resource
import socket
import sys
import time

port, count, pid, seconds = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
resource.setrlimit(resource.RLIMIT_NOFILE, (count + 200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def usage(when):
    fields = open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()
    pss = next(int(line.split()[1]) for line in open(f'/proc/{pid}/smaps_rollup') if line.startswith('Pss:'))
    print(when, int(fields[11]) + int(fields[12]), pss, flush=True)


def talk(sock, n):
    for i in range(n):
        sock.sendall(b'PING\r\n')
        got = b''
        while len(got) < 7:
            data = sock.recv(100)
            if not data:
                sys.exit('the server closed a connection')
            got += data
        if got != b'+PONG\r\n':
            sys.exit(f'wrong answer {got!r}')


usage('before')
socks = []
for _ in range(count):
    sock = socket.create_connection(('127.0.0.1', port), timeout=60)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    socks.append(sock)
for sock in socks:
    talk(sock, 30)
time.sleep(2)
usage('begin')
time.sleep(seconds)
usage('end')
for sock in socks:
    talk(sock, 5)
