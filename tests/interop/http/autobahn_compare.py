"""Compares the verdicts of Autobahn|Testsuite about a server behind the proxy with those about the server itself.

autobahn_compare.py REPORT DIFFERENT      the names of the cases that differ are written into DIFFERENT, one on each line
"""

import collections
import json
import sys

with open(sys.argv[1]) as report:
    verdicts = json.load(report)
direct, proxied = verdicts["direct"], verdicts["proxied"]


def verdict(case):
    return case["behavior"], case["behaviorClose"]


different = [name for name in direct if name not in proxied or verdict(direct[name]) != verdict(proxied[name])]
for name in different:
    seen = verdict(proxied[name]) if name in proxied else "nothing"
    print(f"{name}: {verdict(direct[name])} without the proxy, {seen} with it")
with open(sys.argv[2], "w") as names:
    names.writelines(f"{name}\n" for name in different)
counts = collections.Counter(behavior for behavior, _ in map(verdict, proxied.values()))
told = ", ".join(f"{count} {behavior}" for behavior, count in sorted(counts.items()))
print(f"{len(proxied)} cases through the proxy, each with the verdict that it has without: {told}" if not different else told)
sys.exit(bool(different) or not proxied)
