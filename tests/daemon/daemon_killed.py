#!/usr/bin/python3
"""daemon_killed.py PID PORT ADDRESS... - kill a redis-server and say what its clients hear of it

Half of the connections to each ADDRESS ask all the time, the others have asked once and say nothing more. Prints, for each,
the milliseconds from the kill to its reset. Exit status 1 when one heard nothing, or something else.
"""
import os
import selectors
import signal
import socket
import sys
import time

EACH, ROUNDS, PATIENCE = 10, 2000, 30
QUESTION, ANSWER = b"PING\r\n", b"+PONG\r\n"

pid, port, addresses = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
poller = selectors.DefaultSelector()
open_ones = 0
for address in addresses:
    for i in range(EACH):
        s = socket.create_connection((address, port), timeout=PATIENCE)
        s.sendall(QUESTION)
        assert s.recv(100) == ANSWER
        s.setblocking(False)
        poller.register(s, selectors.EVENT_READ, i % 2)
        open_ones += 1
        if i % 2:
            s.sendall(QUESTION)

killed, answers, times, wrong = None, 0, [], []
while open_ones:
    events = poller.select(PATIENCE)
    if not events:
        wrong.append(f"{open_ones} connections heard nothing")
        break
    for key, _ in events:
        s = key.fileobj
        try:
            got = s.recv(100)
            assert got, "the end of the stream"
            answers += 1
            if key.data:
                s.sendall(QUESTION)
        except BlockingIOError:
            continue
        except (ConnectionResetError, BrokenPipeError):
            times.append(time.monotonic() - (killed or 0))
            if not killed:
                wrong.append("a reset before the kill")
        except AssertionError as e:
            wrong.append(str(e))
        else:
            continue
        poller.unregister(s)
        s.close()
        open_ones -= 1
    if not killed and answers >= ROUNDS:
        killed = time.monotonic()
        os.kill(pid, signal.SIGKILL)
for t in times:
    print(f"{t * 1000:.2f}")
for w in wrong:
    print(w, file=sys.stderr)
sys.exit(1 if wrong else 0)
