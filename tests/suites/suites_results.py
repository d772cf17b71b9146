#!/usr/bin/python3
"""suites_results.py - result lines out of what test runners write, and the comparison of two runs

    junit FILE                      JUnit XML (CPython's regrtest)
    tap FILE PREFIX EXIT            TAP of one program, with its exit code
    lost BASE WRAPPED               tests that pass in BASE and not in WRAPPED, one "<what> <tab> test" a line

A result line is "PASS|FAIL|SKIP <tab> test".
"""
import re
import sys
import xml.etree.ElementTree as ET


def junit(path):
    seen = {}
    for case in ET.parse(path).iter('testcase'):
        name = '.'.join(n for n in (case.get('classname'), case.get('name')) if n)
        tags = {child.tag for child in case}
        if tags & {'failure', 'error'}:
            result = 'FAIL'
        elif 'skipped' in tags or case.get('status') == 'notrun':
            result = 'SKIP'
        else:
            result = 'PASS'
        # subtests share a name: one that failed decides
        if result == 'FAIL' or name not in seen:
            seen[name] = result
    for name, result in seen.items():
        print(f'{result}\t{name}')


def tap(path, prefix, code):
    plan, count, bad, used = None, 0, 0, {}
    for line in open(path, errors='replace'):
        m = re.match(r'1\.\.(\d+)', line)
        if m:
            plan = int(m[1])
            continue
        m = re.match(r'(not )?ok\b\s*(\d+)?\s*-?\s*([^#]*)(#\s*(skip|todo))?', line, re.I)
        if not m:
            continue
        count += 1
        what = m[3].strip() or str(count)
        used[what] = used.get(what, 0) + 1
        if used[what] > 1:
            what += f' ({used[what]})'
        result = 'SKIP' if m[5] else 'FAIL' if m[1] else 'PASS'
        bad += result == 'FAIL'
        print(f'{result}\t{prefix}:{what}')
    whole = 'SKIP' if code == 77 else 'PASS'
    if (code not in (0, 77) and not bad) or (plan is not None and count < plan):
        whole = 'FAIL'
    print(f'{whole}\t{prefix} (whole program)')


def read(path):
    out = {}
    for line in open(path, errors='replace'):
        result, _, name = line.rstrip('\n').partition('\t')
        if out.get(name) != 'FAIL':
            out[name] = result
    return out


def lost(base_path, other_path):
    base, other = read(base_path), read(other_path)
    for name, result in base.items():
        if result == 'PASS' and other.get(name) != 'PASS':
            print(f'{other.get(name, "MISSING")}\t{name}')
    # a program that dies half-way adds a line of its own, which the base does not have
    for name, result in other.items():
        if result == 'FAIL' and name not in base:
            print(f'NEW\t{name}')


def main():
    verb, args = sys.argv[1], sys.argv[2:]
    if verb == 'junit':
        junit(args[0])
    elif verb == 'tap':
        tap(args[0], args[1], int(args[2]))
    elif verb == 'lost':
        lost(args[0], args[1])
    else:
        sys.exit(__doc__)


main()
