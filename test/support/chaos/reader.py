"""Reads at random below MOUNT until its input ends, comparing everything with the same tree at TRUTH.

usage: reader.py TRUTH MOUNT SEED

Prints one JSON object at the end: operations, bytes, wrong (descriptions), errors (count by errno name), longestMs.
"""

import errno
import json
import os
import random as randomness
import select
import sys
import time


def files_and_directories(root):
    files, directories = [], []
    for directory, subdirectories, names in os.walk(root):
        subdirectories.sort()
        directories.append(os.path.relpath(directory, root))
        files.extend(os.path.relpath(os.path.join(directory, name), root) for name in sorted(names))
    return files, directories


def read(truth, mount, path, random):
    """A range of a file, most often of one that the kernel is made to forget first."""
    with open(os.path.join(truth, path), "rb", buffering=0) as expected:
        size = os.fstat(expected.fileno()).st_size
        offset = random.randrange(size + 1)
        length = random.choice([1, 4096, 70_000, 1 << 20])
        wanted = os.pread(expected.fileno(), length, offset)
    actual = os.open(os.path.join(mount, path), os.O_RDONLY)
    try:
        if random.random() < 0.7:
            os.posix_fadvise(actual, 0, 0, os.POSIX_FADV_DONTNEED)
        got = whole(actual, len(wanted), offset)
    finally:
        os.close(actual)
    if got != wanted:
        at = next((index for index, (one, other) in enumerate(zip(wanted, got)) if one != other), len(got))
        raise AssertionError(f"{path}: {len(got)} of {len(wanted)} bytes at {offset}, the first wrong one is {offset + at}")
    return len(got)


def whole(file, length, offset):
    """A call may give fewer bytes than there are, as when the server dies half way; the next one gives the rest or an errno."""
    got = b""
    while len(got) < length:
        piece = os.pread(file, length - len(got), offset + len(got))
        if not piece:
            break
        got += piece
    return got


def look(truth, mount, path, _random):
    expected, actual = os.lstat(os.path.join(truth, path)), os.lstat(os.path.join(mount, path))
    if (expected.st_mode, expected.st_size) != (actual.st_mode, actual.st_size):
        raise AssertionError(f"{path}: mode {actual.st_mode:o}, size {actual.st_size}")
    return 0


def list_names(truth, mount, path, _random):
    directory = os.open(os.path.join(mount, path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        if os.fstat(directory).st_dev == os.lstat(os.path.dirname(mount)).st_dev:
            raise OSError(errno.ENOTCONN, "nothing is mounted")
        names = sorted(os.listdir(directory))
    finally:
        os.close(directory)
    if names != sorted(os.listdir(os.path.join(truth, path))):
        raise AssertionError(f"{path}: {len(names)} names, others than there are")
    return 0


def main():
    truth, mount, seed = sys.argv[1:4]
    random = randomness.Random(int(seed))
    files, directories = files_and_directories(truth)
    told = {"operations": 0, "bytes": 0, "wrong": [], "errors": {}, "longestMs": 0}
    while not select.select([sys.stdin], [], [], 0)[0]:
        operation, paths = random.choices(
            [(read, files), (look, files), (list_names, directories)], weights=[80, 12, 8]
        )[0]
        start = time.monotonic()
        try:
            told["bytes"] += operation(truth, mount, random.choice(paths), random)
        except OSError as error:
            name = errno.errorcode.get(error.errno, str(error.errno))
            told["errors"][name] = told["errors"].get(name, 0) + 1
            time.sleep(0.01)  # A dead mount answers at once.
        except AssertionError as wrong:
            told["wrong"].append(str(wrong))
        told["longestMs"] = max(told["longestMs"], round((time.monotonic() - start) * 1000))
        told["operations"] += 1
    print(json.dumps(told))


main()
