"""Prints which cases failed in a report of h2spec, as `group/section/case`, on one line."""

import sys
import xml.etree.ElementTree as tree

failures = []
for suite in tree.parse(sys.argv[1]).getroot().iter("testsuite"):
    for number, case in enumerate(suite.iter("testcase"), 1):
        if case.find("failure") is not None or case.find("error") is not None:
            failures.append(f"{case.get('package')}/{number}")
print(" ".join(failures))
