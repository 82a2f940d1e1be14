"""What a process can ask of a mounted image, checked against the truth: a directory that holds the same tree.

usage: probe.py CHECK TRUTH MOUNT SEED

Exit code 0 when CHECK holds, 1 with one line a difference on stdout. Calls are the plain system calls, by Python's os
module and, where it has none, by libc itself. What is chosen at random follows from SEED alone.
"""

import sys

import directories
import identity
import reading
import writing

CHECKS = {**reading.CHECKS, **directories.CHECKS, **identity.CHECKS, **writing.CHECKS}


def main():
    name, truth, mount, seed = sys.argv[1:5]
    complaints = []
    CHECKS[name](truth.encode(), mount.encode(), int(seed), complaints.append)
    for line in complaints[:40]:
        print(line)
    if len(complaints) > 40:
        print(f"and {len(complaints) - 40} more")
    sys.exit(1 if complaints else 0)


main()
