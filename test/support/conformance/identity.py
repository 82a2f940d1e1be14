"""Who may do what, and what is one and the same: other users, inode numbers, xattrs, statfs."""

import ctypes
import errno
import os
import random as randomness
import stat
import subprocess

from common import everything, libc, regular_files, sample, show

NOBODY = 65534


def as_nobody(call):
    """Calls in a child that is nobody; returns what it wrote, a line each, as a dict by key."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            with os.fdopen(writer, "w") as out:
                for line in call():
                    out.write(f"{line}\n")
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as lines:
        result = lines.read().splitlines()
    os.waitpid(child, 0)
    return result


def other_user(truth, mount, seed, complain):
    """An ordinary user may read, list, search and run exactly what the modes allow, as on any file system."""
    random = randomness.Random(seed)
    paths = sample(random, everything(truth), 400)

    def attempts(root):
        for path in paths:
            full = os.path.join(root, path)
            answers = []
            for mode in (os.R_OK, os.X_OK):
                try:
                    answers.append(os.access(full, mode))
                except OSError as error:
                    answers.append(error.errno)
            try:
                if stat.S_ISREG(os.lstat(full).st_mode):
                    os.close(os.open(full, os.O_RDONLY | os.O_NOFOLLOW))
            except OSError as error:
                answers.append(error.errno)
            yield f"{ascii(path)} {answers}"

    # The way to both roots must be open to everybody; below them, modes decide.
    expected, actual = (as_nobody(lambda: attempts(root)) for root in (truth, mount))
    for one, other in zip(expected, actual):
        if one != other:
            complain(f"nobody: expected {one}, got {other}")
    if len(expected) != len(paths) or len(actual) != len(paths):
        complain(f"the child died: {len(expected)} and {len(actual)} of {len(paths)} answers")


def hard_links(truth, mount, _seed, complain):
    """Names of one file have one inode number, names of different files never do."""
    first = {}
    seen = {}
    for path in everything(truth):
        expected, actual = os.lstat(os.path.join(truth, path)), os.lstat(os.path.join(mount, path))
        if stat.S_ISDIR(expected.st_mode):
            continue
        if first.setdefault(expected.st_ino, actual.st_ino) != actual.st_ino:
            complain(f"{show(path)}: inode {actual.st_ino}, its other names have {first[expected.st_ino]}")
        if seen.setdefault(actual.st_ino, expected.st_ino) != expected.st_ino:
            complain(f"{show(path)}: shares inode {actual.st_ino} with another file")
        if actual.st_nlink != expected.st_nlink:
            complain(f"{show(path)}: {actual.st_nlink} links, expected {expected.st_nlink}")


def xattrs(truth, mount, seed, complain):
    """Values whole, sizes told to who asks with no buffer, ERANGE to who brings one too small, ENODATA for none."""
    random = randomness.Random(seed)
    having = [path for path in everything(truth) if os.listxattr(os.path.join(truth, path), follow_symlinks=False)]
    for path in sample(random, having, 60) + sample(random, regular_files(truth), 5):
        expected, actual = os.path.join(truth, path), os.path.join(mount, path)
        names = os.listxattr(expected, follow_symlinks=False)
        if sorted(names) != sorted(os.listxattr(actual, follow_symlinks=False)):
            complain(f"{show(path)}: lists {os.listxattr(actual, follow_symlinks=False)}, expected {names}")
            continue
        for name in names:
            value = os.getxattr(expected, name, follow_symlinks=False)
            if os.getxattr(actual, name, follow_symlinks=False) != value:
                complain(f"{show(path)}: another value of {name}")
            if ask(libc.lgetxattr, actual, os.fsencode(name), 0) != len(value):
                complain(f"{show(path)}: another size of {name} than {len(value)}")
            if len(value) > 1 and ask(libc.lgetxattr, actual, os.fsencode(name), len(value) - 1) != -errno.ERANGE:
                complain(f"{show(path)}: {name} fits into too small a buffer")
        total = sum(len(os.fsencode(name)) + 1 for name in names)
        if ask(libc.llistxattr, actual, None, 0) != total:
            complain(f"{show(path)}: the list of names is not of {total} bytes")
        if total > 1 and ask(libc.llistxattr, actual, None, total - 1) != -errno.ERANGE:
            complain(f"{show(path)}: the list of names fits into too small a buffer")
        missing = ask(libc.lgetxattr, actual, b"user.no-such-name", 0)
        if missing != -errno.ENODATA:
            complain(f"{show(path)}: an xattr that it has not: {missing}")


def ask(function, path, name, size):
    """What the call returns, an errno negated."""
    buffer = ctypes.create_string_buffer(max(size, 1))
    arguments = [path] + ([name] if name is not None else []) + [buffer, ctypes.c_size_t(size)]
    result = function(*arguments)
    return result if result >= 0 else -ctypes.get_errno()


def file_system(truth, mount, _seed, complain):
    """statfs: read-only, names of 255 bytes, no room, a size that the tree can have."""
    told = os.statvfs(mount)
    if not told.f_flag & os.ST_RDONLY:
        complain("not read-only")
    if told.f_namemax != 255:
        complain(f"names of {told.f_namemax} bytes")
    if told.f_bsize < 512 or told.f_bfree != 0 or told.f_bavail != 0:
        complain(f"blocks of {told.f_bsize}, {told.f_bfree} free")
    if os.lstat(mount).st_dev == os.lstat(os.path.dirname(mount)).st_dev:
        complain("nothing is mounted")
    devices = {os.lstat(os.path.join(mount, path)).st_dev for path in sorted(os.listdir(mount))}
    if devices - {os.lstat(mount).st_dev}:
        complain(f"several devices: {devices}")


def set_user(truth, mount, _seed, complain):
    """A set-user-ID program of the image runs as its owner, as the same file elsewhere does."""
    expected, actual = (as_nobody(lambda: [run(os.path.join(root, b"bin/id"))]) for root in (truth, mount))
    if expected != actual:
        complain(f"bin/id with set-user-ID: expected {expected}, got {actual}")


def run(program):
    return subprocess.run([program, b"-u"], capture_output=True).stdout.decode().strip()


CHECKS = {"set-user-ID": set_user, "other users": other_user, "hard links": hard_links, "xattrs": xattrs, "statfs": file_system}
