# run_cli_live.py - one end of a connection, for run_cli_live.sh: "listen" prints its port, "connect PORT [CALLS]"
# exchanges 100 bytes that often, says "ready" with pid and descriptor, and waits for its standard input to end.
import os, select, socket, sys

def listen():
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen()
    print(s.getsockname()[1], flush=True)
    c, _ = s.accept()
    print(os.getpid(), c.fileno(), flush=True)
    while d := c.recv(65536):
        c.sendall(d)

def connect(port, calls):
    c = socket.create_connection(("127.0.0.1", port))
    for _ in range(calls):
        c.sendall(b"x" * 100)
        got = 0
        while got < 100:
            got += len(c.recv(100))
    print(os.getpid(), c.fileno(), flush=True)
    if len(sys.argv) > 4:  # spin
        while not select.select([sys.stdin], [], [], 0)[0]:
            pass
    sys.stdin.read()

if sys.argv[1] == "listen":
    listen()
else:
    connect(int(sys.argv[2]), int(sys.argv[3]))
