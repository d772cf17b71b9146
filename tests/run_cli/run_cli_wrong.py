#!/usr/bin/python3
"""run_cli_wrong.py - ztcp and ztcpd with arguments that are wrong or lack, and files that are empty, huge, endless, or not files

Each is answered at once by a line that says what is wrong, with exit status 2 for wrong usage and 1 for what failed; with -j what
is on standard output is JSON, or nothing. As root all is tried a second time as a user without rights.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

build = os.environ.get('ZTCP_BUILD') or os.path.join(os.path.dirname(__file__), '../../build/release')
PATIENCE = 60  # seconds; ends a hang
NOBODY = 65534
MANY = 'x' * 5000
NO_PID = '4194304'  # the kernel's are below

USAGE_POLICY = r'usage: ztcp policy check .*'
USAGE_RULE = r'usage: ztcp rule load .*'
USAGE_NIC = r'usage: ztcp nic .*'
EXPLAIN = r"'%s': expected role=listen\|connect, .*"
NO_SELECTOR = r'no selector is loaded: is ztcpd running\?'

# What is wrong whoever asks: arguments of ztcp, exit status, all that it says on standard error behind "ztcp: "
WRONG = [
    ([], 2, r'which command\? see ztcp --help'),
    (['frob'], 2, r"unknown command 'frob'; see ztcp --help"),
    (['--frob'], 2, r"unknown command '--frob'; see ztcp --help"),
    (['help', 'frob'], 2, r"unknown command 'frob'; see ztcp --help"),
    (['ss', '-z'], 2, r"ztcp ss: invalid option -- 'z'"),
    (['ss', '0'], 2, r"'0': expected the id of a process"),
    (['ss', '1x'], 2, r"'1x': expected the id of a process"),
    (['ss', ''], 2, r"'': expected the id of a process"),
    (['ss', '9' * 40], 2, r"'9{40}': expected the id of a process"),
    (['ss', MANY], 2, r"'x+': expected the id of a process"),
    (['ss', '-j'] + ['1'] * 257, 2, r'at most 256 processes'),
    (['ss', '-j', NO_PID], 1, r'process 4194304: there is none'),
    (['stat', '-j', NO_PID], 1, r'process 4194304: there is none'),
    (['stat', '-a'], 2, r"ztcp stat: invalid option -- 'a'"),
    (['why'], 2, r'usage: ztcp why \[-j\] PID:FD'),
    (['why', '-j', '1'], 2, r'usage: ztcp why \[-j\] PID:FD'),
    (['why', '1:'], 2, r'usage: ztcp why \[-j\] PID:FD'),
    (['why', ':1'], 2, r'usage: ztcp why \[-j\] PID:FD'),
    (['why', '1:-1'], 2, r'usage: ztcp why \[-j\] PID:FD'),
    (['why', '1:1', '1:2'], 2, r'usage: ztcp why \[-j\] PID:FD'),
    (['why', '-j', NO_PID + ':1'], 1, r'process 4194304: there is none'),
    (['why', '-j', '%d:99999' % os.getpid()], 1, r'process \d+ has no descriptor 99999|process \d+: it is not yours'),
    (['top', '-n'], 2, r"ztcp top: option requires an argument -- 'n'"),
    (['top', '-n', '-1'], 2, r"-n: expected a number of frames, found '-1'"),
    (['top', '-d', '1e9'], 2, r"-d: expected seconds from 0.1 to 3600, found '1e9'"),
    (['top', '-d', ''], 2, r"-d: expected seconds from 0.1 to 3600, found ''"),
    (['metrics', 'x'], 2, r"metrics: no argument belongs behind it, found 'x'"),
    (['tcpdump', '-c', '0'], 2, r'-c 0: expected a number of packets'),
    (['tcpdump', '-c', 'x'], 2, r'-c x: expected a number of packets'),
    (['tcpdump', '-w'], 2, r"ztcp tcpdump: option requires an argument -- 'w'"),
    (['tcpdump', '-p', 'x'], 2, r"'x': expected the id of a process"),
    (['tcpdump', '-p', NO_PID], 1, r'process 4194304: there is none'),
    (['tcpdump', '-w', '/none/x'], 1, r'/none/x: No such file or directory'),
    (['tcpdump', 'port', 'and'], 2, r'filter: .+'),
    (['tcpdump', MANY], 2, r'the filter is too long'),
    (['enable'], 2, r'ztcp enable: expected --netns NAME or --cgroup PATH'),
    (['enable', '--netns'], 2, r"ztcp enable: option '--netns' requires an argument"),
    (['enable', '--netns', ''], 2, r"--netns '': expected the name of a network namespace"),
    (['enable', '--netns', '../x'], 2, r"--netns '../x': expected the name of a network namespace"),
    (['enable', '--netns', MANY], 2, r"--netns 'x+': expected the name of a network namespace"),
    (['enable', '--netns', 'ztcp-none'], 1, r'--netns ztcp-none: /run/netns/ztcp-none: No such file or directory'),
    (['enable', '--cgroup', ''], 2, r"--cgroup '': expected a path of cgroup v2, from /"),
    (['enable', '--cgroup', 'x'], 2, r"--cgroup 'x': expected a path of cgroup v2, from /"),
    (['enable', '--cgroup', '/a/../b'], 2, r"--cgroup '/a/../b': expected a path of cgroup v2, from /"),
    (['enable', '--cgroup', '/' + MANY], 2, r"--cgroup '/x+': expected a path of cgroup v2, from /"),
    (['enable', '--cgroup', '/ztcp-none'], 1,
     r'--cgroup /ztcp-none: (there is no such cgroup: No such file or directory|no cgroup v2 is mounted here)'),
    (['disable', '--netns', 'x', '--cgroup', '/x'], 2, r'ztcp disable: expected --netns NAME or --cgroup PATH'),
    (['disable', 'x'], 2, r'ztcp disable: expected --netns NAME or --cgroup PATH'),
    (['policy'], 2, USAGE_POLICY),
    (['policy', 'frob'], 2, USAGE_POLICY),
    (['policy', 'check', 'a', 'b'], 2, USAGE_POLICY),
    (['policy', 'explain'], 2, USAGE_POLICY),
    (['policy', 'explain', 'good', 'x'], 2, EXPLAIN % 'x'),
    (['policy', 'explain', 'good', 'remote=1.2.3'], 2, EXPLAIN % r'remote=1\.2\.3'),
    (['policy', 'explain', 'good', 'pid=' + NO_PID], 2, EXPLAIN % ('pid=' + NO_PID)),
    (['policy', 'explain', 'good', 'program='], 2, EXPLAIN % 'program='),
    (['policy', 'load', '-n'], 2, r"ztcp policy: option requires an argument -- 'n'"),
    (['policy', 'load', 'none'], 1, r'none: expected a file that exists'),
    (['policy', 'load', '-p', '/none', 'good'], 1, NO_SELECTOR),
    (['policy', 'load', '-j', '-p', '/none', 'good'], 1, NO_SELECTOR),
    (['rules', '-j', '-p', '/none'], 1, NO_SELECTOR),
    (['rules', 'x'], 2, r'usage: ztcp rules .*'),
    (['rule'], 2, USAGE_RULE),
    (['rule', 'load'], 2, USAGE_RULE),
    (['rule', 'load', 'a', 'b', 'c'], 2, USAGE_RULE),
    (['rule', 'unload'], 2, USAGE_RULE),
    (['rule', 'load', '-j', '-p', '/none', 'good'], 1, NO_SELECTOR),
    (['rule', 'unload', '-j', '-p', '/none', 'x'], 1, NO_SELECTOR),
    (['nic', 'x'], 2, USAGE_NIC),
    (['nic', '-g'], 2, USAGE_NIC),
    (['nic', 'attach'], 2, USAGE_NIC),
    (['nic', 'attach', 'ztcp-none'], 1, r'ztcp-none: No such device'),
    (['nic', 'detach', 'ztcp-none'], 1, r'ztcp-none: No such device'),
]

# Of ztcpd, before it touches anything
WRONG_DAEMON = [
    (['x'], 2, r"'x' is not understood; see ztcpd --help"),
    (['--frob'], 2, r"unrecognized option '--frob'"),
    (['--pin'], 2, r"option '--pin' requires an argument"),
    (['--ready-fd', 'x'], 2, r'--ready-fd x: expected an open descriptor'),
    (['--ready-fd', '99'], 2, r'--ready-fd 99: expected an open descriptor'),
    (['--ready-fd', '-1'], 2, r'--ready-fd -1: expected an open descriptor'),
    (['--metrics', 'x'], 2, r'--metrics x: expected \[ADDRESS:\]PORT'),
    (['--metrics', '0'], 2, r'--metrics 0: expected \[ADDRESS:\]PORT'),
    (['--metrics', '1.2.3.4'], 2, r'--metrics 1.2.3.4: expected \[ADDRESS:\]PORT'),
    (['--metrics', '65536'], 2, r'--metrics 65536: expected \[ADDRESS:\]PORT'),
    (['--limit', 'frob=3'], 2, r'--limit frob=3: expected NAME=N, N from 2, NAME one of sessions, .*, user-queues'),
    (['--limit', 'claims'], 2, r'--limit claims: expected .*'),
    (['--limit', 'claims=1'], 2, r'--limit claims=1: expected .*'),
    (['--limit', 'claims=1048577'], 2, r'--limit claims=1048577: expected .*'),
    (['--limit', 'user-=3'], 2, r'--limit user-=3: expected .*'),
    (['--cgroup', '/none'], 1, r'--cgroup /none: No such file or directory'),
    (['--cgroup', '/tmp'], 1, r'--cgroup /tmp: not a folder of cgroup v2'),
    (['--cgroup', ''], 1, r'--cgroup : No such file or directory'),
]

# Files in the place of a policy: what is expected of them instead, or how many rules they have
FILES = {
    'empty': 0,
    'crlf': 1,
    'none': 'a file that exists',
    '': 'a file that exists',
    '.': r'a file \(it is a directory\)',
    'fifo': 'a regular file',
    '/dev/zero': 'a regular file',
    '/dev/null': 'a regular file',
    'big': 'a file of at most 4 MiB',
    'loop': r'a file \(too many symbolic links\)',
    'good/x': 'a folder that exists',
    MANY: 'a file name of at most 255 bytes',
    'unread': r'a file that may be read \(permission denied\)',
    'itself': 'at most 8 files that include one another',
    'circle': 'at most 8 files that include one another',
    'crowd': 'a pattern that at most 256 files match',
    'to_fifo': 'a regular file',
    'to_none': 'a file that exists',
    'long': 'a line of at most 1024 bytes',
    'nul': 'no control character',
    'random': '.+',
}


def files_make():
    def put(name, data):
        with open(name, 'wb') as f:
            f.write(data)
    put('good', b'lift\n')
    put('empty', b'')
    put('crlf', b'lift\r\n')
    put('long', b'x' * 100000)
    put('nul', b'lift\0\n')
    put('random', os.urandom(4096) + b'\n')
    put('itself', b'include itself\n')
    put('circle', b'include circle.d/*\n')
    os.mkdir('circle.d')
    put('circle.d/back', b'include ../circle\n')
    put('crowd', b'include crowd.d/*\n')
    os.mkdir('crowd.d')
    for i in range(257):
        put('crowd.d/%d' % i, b'lift\n')
    put('to_fifo', b'include fifo\n')
    put('to_none', b'# one\ninclude none\n')
    put('unread', b'lift\n')
    os.chmod('unread', 0)
    os.mkfifo('fifo')
    os.symlink('loop', 'loop')
    put('big', b'')
    os.truncate('big', 1 << 30)


failures = []


def fail(what):
    failures.append(what)
    print('FAIL:', what[:2000])


def is_json(text):
    try:
        json.loads(text)
        return True
    except ValueError:
        return False


def run(program, args, user, stdout=subprocess.PIPE):
    def become():
        if user is not None:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
    try:
        r = subprocess.run([program] + args, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE,
                           timeout=PATIENCE, preexec_fn=become)
    except subprocess.TimeoutExpired:
        fail('%s %s: does not end' % (os.path.basename(program), args))
        return None
    return r.returncode, (r.stdout or b'').decode(errors='replace'), r.stderr.decode(errors='replace')


def expect(program, args, status, words, user):
    got = run(program, args, user)
    if not got:
        return
    name = os.path.basename(program)
    if got[0] != status:
        fail('%s %s: status %d, want %d: %s' % (name, args, got[0], status, got[2]))
    if not re.fullmatch('(%s: )?(%s)\n' % (name, words), got[2]):
        fail('%s %s: says %r, want %r' % (name, args, got[2], words))
    if got[1] and not ('-j' in args and is_json(got[1])):
        fail('%s %s: standard output: %r' % (name, args, got[1]))


def files_try(user):
    for name, want in FILES.items():
        if name == 'unread' and user is None:
            want = 1  # root may
        rules = isinstance(want, int)
        got = run(ztcp, ['policy', 'check', name], user)
        if rules:
            ok = got == (0, '%s: %d rule%s\n' % (name, want, '' if want == 1 else 's'), '')
        else:
            ok = got and got[0] == 1 and not got[1] and re.fullmatch(r'ztcp: .*: expected %s(, found .*)?\n' % want, got[2], re.S)
        if not ok:
            fail('policy check %s: %r' % (name, got))
        for args in (['check', '-j', name], ['explain', '-j', name, 'user=1'], ['load', '-j', '-p', '/none', name]):
            got = run(ztcp, ['policy'] + args, user)
            if not got:
                continue
            if rules and args[0] == 'load':
                continue  # refused for another reason, above
            said = json.loads(got[1]) if is_json(got[1]) else {}
            if rules != (got[0] == 0) or got[2] or (not rules and not re.fullmatch(want, said.get('expected', ''))):
                fail('policy %s: %r' % (args, got))


# What succeeds with -j is JSON; onto a full device it fails, and says so.
def json_try(user):
    for args in (['ss', '-j'], ['ss', '-ja'], ['stat', '-j'], ['metrics', '-j'], ['top', '-j', '-n', '1', '-d', '0.1'],
                 ['policy', 'check', '-j', 'good'], ['policy', 'explain', '-j', '-v', 'good']):
        got = run(ztcp, args, user)
        if got and (got[0] or not is_json(got[1])):
            fail('%s: %r' % (args, got))
        with open('/dev/full', 'w') as full:
            got = run(ztcp, args, user, full)
        if got and (got[0] != 1 or got[2] != 'ztcp: standard output: No space left on device\n'):
            fail('%s onto a full device: %r' % (args, got))
    got = run(ztcp, ['policy', 'check', '-j'], user)  # of the machine's files
    if got and (got[0] not in (0, 1) or not is_json(got[1])):
        fail('policy check -j: %r' % (got,))


# What only root may
STRANGER = [
    (['ss', '-j', '1'], 1, r'process 1: it is not yours'),
    (['stat', '1'], 1, r'process 1: it is not yours'),
    (['why', '-j', '1:1'], 1, r'process 1: it is not yours'),
    (['tcpdump', '-p', '1'], 1, r'process 1: it is not yours'),
    (['nic', 'attach', 'lo'], 1, r'lo: (make /sys/fs/bpf/ztcp-nic: |load the program: )?(Permission denied|Operation not permitted)'),
]
STRANGER_DAEMON = [([], 1, r'cannot start: /run/ztcp/ztcpd.lock: (Permission denied|No such file or directory|Read-only file system)')]


def everything(user):
    for args, status, words in WRONG + (STRANGER if user else []):
        expect(ztcp, args, status, words, user)
    for args, status, words in WRONG_DAEMON + (STRANGER_DAEMON if user else []):
        expect(ztcpd, args, status, words, user)
    files_try(user)
    json_try(user)


with tempfile.TemporaryDirectory(prefix='run_cli_wrong.') as work:
    # where a user without rights finds them, with the library beside them
    os.chmod(work, 0o755)
    shutil.copytree(os.path.join(build, 'bin'), work + '/bin', ignore=lambda _, names: set(names) - {'ztcp', 'ztcpd'})
    os.mkdir(work + '/lib')
    shutil.copy(os.path.join(build, 'lib/libztcp_preload.so'), work + '/lib')
    ztcp, ztcpd = work + '/bin/ztcp', work + '/bin/ztcpd'
    os.mkdir(work + '/files')
    os.chdir(work + '/files')
    os.umask(0o022)
    files_make()
    os.environ.update(LC_ALL='C')
    everything(None)
    if os.getuid() == 0:
        everything(NOBODY)
    os.chdir('/')
sys.exit(bool(failures))
