"""Shared by the checks: libc, the files of a tree, and how bytes are compared."""

import ctypes
import functools
import os
import stat

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

PAGE = 4096


# Of the truth, which nobody changes, so that it is gone through once.
@functools.cache
def regular_files(root):
    """Paths below root of every file that is not empty, in byte order."""
    found = []
    for directory, subdirectories, names in os.walk(root):
        subdirectories.sort()
        for name in sorted(names):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode) and status.st_size > 0:
                found.append(path[len(root) + 1 :])
    return tuple(found)


@functools.cache
def everything(root):
    """Paths below root of all that is there."""
    found = []
    for directory, subdirectories, names in os.walk(root):
        subdirectories.sort()
        found.extend(os.path.join(directory, name)[len(root) + 1 :] for name in sorted(names + subdirectories))
    return tuple(found)


def sample(random, items, count):
    return list(items) if len(items) <= count else random.sample(items, count)


def show(path):
    text = ascii(path)[1:]
    return text if len(text) < 200 else f"{text[:100]}…{text[-90:]}"


def difference(expected, actual):
    """In words, where two byte strings part; None when they are equal."""
    if expected == actual:
        return None
    for index, (one, other) in enumerate(zip(expected, actual)):
        if one != other:
            return f"byte {index} of {len(expected)}: expected {one}, got {other}"
    return f"{len(expected)} bytes expected, got {len(actual)}"


def errno_of(call):
    """The errno call fails with, or None."""
    try:
        call()
    except OSError as error:
        return error.errno
    return None


def random_range(random, size):
    """Offset and length, mostly small, sometimes across or past the end, often near a page or a chunk."""
    offset = random.randrange(size + PAGE)
    if random.random() < 0.4:
        grain = random.choice([PAGE, 1 << 16, 1 << 20])
        offset = max(0, offset // grain * grain + random.randint(-2, 2))
    length = random.choice([1, 511, PAGE - 1, PAGE, PAGE + 1, 1 << 16, 200_003, 1 << 20, (3 << 20) + 17])
    return offset, random.randint(1, length) if random.random() < 0.5 else length
