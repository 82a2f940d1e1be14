"""Everything that would change an image is refused with EROFS, to root as well."""

import ctypes
import errno
import os
import stat

from common import errno_of, libc


def refused(_truth, mount, _seed, complain):
    file, directory, link = first_of_each(mount)
    new = os.path.join(mount, b"new")
    attempts = {
        "open for writing": lambda: os.open(file, os.O_WRONLY),
        "open for both": lambda: os.open(file, os.O_RDWR),
        "open to truncate": lambda: os.open(file, os.O_RDONLY | os.O_TRUNC),
        "open to append": lambda: os.open(file, os.O_WRONLY | os.O_APPEND),
        "create": lambda: os.open(new, os.O_WRONLY | os.O_CREAT, 0o644),
        "create exclusively": lambda: os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644),
        "unnamed file": lambda: os.open(mount, os.O_RDWR | os.O_TMPFILE),
        "truncate": lambda: os.truncate(file, 0),
        "unlink": lambda: os.unlink(file),
        "mkdir": lambda: os.mkdir(new),
        "rmdir": lambda: os.rmdir(directory),
        "rename": lambda: os.rename(file, new),
        "link": lambda: os.link(file, new),
        "symlink": lambda: os.symlink(b"x", new),
        "mknod": lambda: os.mknod(new, stat.S_IFIFO | 0o600),
        "chmod": lambda: os.chmod(file, 0o600),
        "chown": lambda: os.chown(file, 1, 1),
        "lchown": lambda: os.lchown(link, 1, 1),
        "utimes": lambda: os.utime(file, (0, 0)),
        "setxattr": lambda: os.setxattr(file, b"user.new", b"x"),
        "removexattr": lambda: os.removexattr(file, b"user.new"),
        "access for writing": lambda: denied(file),
    }
    if directory is None:  # No directory of the image is empty.
        del attempts["rmdir"]
    if link is None:
        del attempts["lchown"]
    before = os.lstat(file)
    for name, attempt in attempts.items():
        got = errno_of(attempt)
        # A file system may say first that it knows no unnamed files.
        allowed = (errno.EROFS, errno.EOPNOTSUPP) if name == "unnamed file" else (errno.EROFS,)
        if got not in allowed:
            complain(f"{name}: errno {got}, not EROFS")
    if os.lstat(file) != before or os.path.lexists(new):
        complain("something changed")


def denied(path):
    if libc.access(path, os.W_OK) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def first_of_each(mount):
    file = directory = link = None
    for at, subdirectories, names in os.walk(mount):
        for name in sorted(names):
            path = os.path.join(at, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISREG(mode):
                file = file or path
            if stat.S_ISLNK(mode):
                link = link or path
        if at != mount and not names and not subdirectories:
            directory = directory or at
    return file, directory, link


CHECKS = {"writes": refused}
