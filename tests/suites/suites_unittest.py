#!/usr/bin/python3
"""suites_unittest.py - run Tornado's tests and append one result line a test to a file

    suites_unittest.py RESULTS MODULE...

Text output cannot be parsed reliably: log lines of the code under test come in between.
"""
import runpy
import sys
import unittest

results = open(sys.argv[1], 'a', buffering=1)
sys.argv = ['tornado.test'] + sys.argv[2:]


class Recorder(unittest.TextTestResult):
    def record(self, result, test):
        results.write(f'{result}\t{test.id()}\n')

    def addSuccess(self, test):
        super().addSuccess(test)
        self.record('PASS', test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.record('FAIL', test)

    def addError(self, test, err):
        super().addError(test, err)
        self.record('FAIL', test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.record('SKIP', test)

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self.record('PASS', test)

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.record('FAIL', test)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.record('FAIL', test)


unittest.TextTestRunner.resultclass = Recorder
runpy.run_module('tornado.test', run_name='__main__', alter_sys=True)
