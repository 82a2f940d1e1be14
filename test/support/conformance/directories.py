"""Directories: all names once, wherever a reader seeks to; names that are not there; paths that are long."""

import ctypes
import errno
import functools
import os
import random as randomness
import stat

from common import errno_of, libc, sample, show


class Dirent(ctypes.Structure):
    _fields_ = [
        ("d_ino", ctypes.c_uint64),
        ("d_off", ctypes.c_int64),
        ("d_reclen", ctypes.c_ushort),
        ("d_type", ctypes.c_ubyte),
        ("d_name", ctypes.c_char * 256),
    ]


libc.fdopendir.restype = ctypes.c_void_p
libc.readdir64.restype = ctypes.POINTER(Dirent)
libc.telldir.restype = ctypes.c_long
for function in (libc.readdir64, libc.telldir, libc.rewinddir, libc.closedir):
    function.argtypes = [ctypes.c_void_p]
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]


class Directory:
    """A directory stream of libc."""

    def __init__(self, path):
        self.stream = libc.fdopendir(os.open(path, os.O_RDONLY | os.O_DIRECTORY))

    def next(self):
        entry = libc.readdir64(self.stream)
        return (entry.contents.d_name, entry.contents.d_type, entry.contents.d_ino) if entry else None

    def rest(self):
        entries = []
        while (entry := self.next()) is not None:
            entries.append(entry)
        return entries

    def tell(self):
        return libc.telldir(self.stream)

    def seek(self, place):
        libc.seekdir(self.stream, place)

    def rewind(self):
        libc.rewinddir(self.stream)

    def close(self):
        libc.closedir(self.stream)


@functools.cache
def directories_of(root):
    found = []
    for directory, subdirectories, names in os.walk(root):
        subdirectories.sort()
        found.append((len(subdirectories) + len(names), os.path.relpath(directory, root)))
    return found


def listed(truth, mount, seed, complain):
    """Every name once, with the type and inode number that lstat gives; after rewinding and from any place again."""
    random = randomness.Random(seed)
    found = directories_of(truth)
    largest = [path for _, path in sorted(found)[-2:]]
    for path in largest + sample(random, [path for _, path in found], 25):
        expected = sorted(os.listdir(os.path.join(truth, path)) + [b".", b".."])
        one = Directory(os.path.join(mount, path))
        entries, places = [], []
        while True:
            place = one.tell()
            entry = one.next()
            if entry is None:
                break
            entries.append(entry)
            places.append(place)
        names = [name for name, _, _ in entries]
        if sorted(names) != expected:
            missing, extra = set(expected) - set(names), set(names) - set(expected)
            complain(f"{show(path)}: {len(names)} names for {len(expected)}; missing {missing!r:.200}, extra {extra!r:.200}")
            continue
        check_entries(os.path.join(mount, path), sample(random, entries, 500), complain)
        one.rewind()
        if one.rest() != entries:
            complain(f"{show(path)}: another list after rewinddir")
        other = Directory(os.path.join(mount, path))
        for index in sample(random, range(len(entries)), 30):
            one.seek(places[index])
            other.next()
            if one.next() != entries[index]:
                complain(f"{show(path)}: seekdir to entry {index} of {len(entries)} leads elsewhere")
        one.seek(places[len(places) // 2])
        if one.rest() != entries[len(places) // 2 :]:
            complain(f"{show(path)}: another list from the middle on")
        one.close()
        other.close()


def check_entries(directory, entries, complain):
    for name, kind, number in entries:
        if name == b"..":
            continue
        status = os.lstat(os.path.join(directory, name))
        if kind != stat.S_IFMT(status.st_mode) >> 12:
            complain(f"{show(directory)}/{show(name)}: type {kind}, lstat says {stat.S_IFMT(status.st_mode) >> 12}")
        if number != status.st_ino:
            complain(f"{show(directory)}/{show(name)}: inode {number}, lstat says {status.st_ino}")


def names(truth, mount, seed, complain):
    """Names that are not there, too long, through files, around links; and every directory's way back up."""
    random = randomness.Random(seed)
    for _, path in sample(random, directories_of(truth), 40):
        directory = os.path.join(mount, path)
        for name, expected in (
            (b"no such name", errno.ENOENT),
            (b"x" * 255, errno.ENOENT),
            (b"x" * 256, errno.ENAMETOOLONG),
            (b"no such name/below", errno.ENOENT),
        ):
            # Twice: the kernel remembers that it is not there.
            for _ in range(2):
                got = errno_of(lambda: os.lstat(os.path.join(directory, name)))
                if got != expected:
                    complain(f"{show(path)}/{show(name[:20])}: errno {got}, not {expected}")
        up = os.stat(os.path.join(directory, b"..")).st_ino
        parent = os.stat(os.path.dirname(directory) if path != b"." else os.path.dirname(mount)).st_ino
        if up != parent:
            complain(f"{show(path)}/..: inode {up}, its parent is {parent}")
        for entry in sample(random, sorted(os.listdir(os.path.join(truth, path))), 5):
            status = os.lstat(os.path.join(truth, path, entry))
            full = os.path.join(directory, entry)
            if stat.S_ISREG(status.st_mode) and errno_of(lambda: os.lstat(full + b"/x")) != errno.ENOTDIR:
                complain(f"{show(path)}/{show(entry)}/x: a file is taken for a directory")
            if stat.S_ISLNK(status.st_mode):
                if os.readlink(full) != os.readlink(os.path.join(truth, path, entry)):
                    complain(f"{show(path)}/{show(entry)}: leads elsewhere")
                if errno_of(lambda: os.open(full, os.O_RDONLY | os.O_NOFOLLOW)) != errno.ELOOP:
                    complain(f"{show(path)}/{show(entry)}: O_NOFOLLOW followed it")


def deep(truth, mount, _seed, complain):
    """Down the deepest path one directory at a time, which is deeper than one path may be long, and up again."""
    depths = []
    for root in (truth, mount):
        at = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        seen = []
        while "deeper" in os.listdir(at):
            below = os.open(b"deeper", os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
            up = os.stat(b"..", dir_fd=below).st_ino
            if up != os.fstat(at).st_ino:
                complain(f"at depth {len(seen)}: .. is {up}")
            os.close(at)
            at = below
            with os.fdopen(os.open(b"name", os.O_RDONLY, dir_fd=at)) as file:
                seen.append(file.read())
        os.close(at)
        depths.append(seen)
    if depths[0] != depths[1]:
        complain(f"{len(depths[1])} levels of {len(depths[0])}")
    if len(depths[0]) < 100:
        complain("the truth is not deep")


CHECKS = {"readdir": listed, "names": names, "deep paths": deep}
