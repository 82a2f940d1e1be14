"""What a process can ask of a mounted image, checked against the truth: a directory that holds the same tree.

usage: probe.py TRUTH MOUNT SEED

Takes the names of checks, a line each, and answers each with a line of JSON: the differences as "complaints", none when it
holds, and what it has to tell as "said". Calls are the plain system calls, by Python's os module and, where it has none, by
libc itself. What is chosen at random follows from SEED and the name of the check alone.
"""

import contextlib
import io
import json
import sys
import traceback

import directories
import identity
import reading
import writing

CHECKS = {**reading.CHECKS, **directories.CHECKS, **identity.CHECKS, **writing.CHECKS}


def answer(name, truth, mount, seed):
    complaints = []
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            CHECKS[name](truth, mount, seed, complaints.append)
    except Exception:
        complaints.append(traceback.format_exc())
    if len(complaints) > 40:
        complaints[40:] = [f"and {len(complaints) - 40} more"]
    return {"complaints": complaints, "said": said.getvalue().strip()}


def main():
    truth, mount, seed = sys.argv[1:4]
    for line in sys.stdin:
        print(json.dumps(answer(line.strip(), truth.encode(), mount.encode(), int(seed))), flush=True)


main()
