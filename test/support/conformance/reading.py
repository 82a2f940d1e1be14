"""Bytes of files, by every way there is to ask for them."""

import ctypes
import errno
import mmap
import os
import random as randomness
import signal
import stat
import subprocess
import tempfile
import threading

from common import PAGE, difference, errno_of, libc, random_range, regular_files, sample, show


def both(truth, mount, path):
    return os.open(os.path.join(truth, path), os.O_RDONLY), os.open(os.path.join(mount, path), os.O_RDONLY)


def random_reads(truth, mount, seed, complain):
    """pread at random places of random files: what a cold mount is asked first."""
    random = randomness.Random(seed)
    for path in sample(random, regular_files(truth), 60):
        expected, actual = both(truth, mount, path)
        size = os.fstat(expected).st_size
        for _ in range(8):
            offset, length = random_range(random, size)
            told = difference(os.pread(expected, length, offset), os.pread(actual, length, offset))
            if told:
                complain(f"{show(path)}: pread {length} at {offset}: {told}")
        os.close(expected)
        os.close(actual)


def randomized(truth, mount, seed, complain):
    """As fsx does, for a file system that is only read: one file, one descriptor, any call in any order."""
    random = randomness.Random(seed)
    files = sorted(regular_files(truth), key=lambda path: os.lstat(os.path.join(truth, path)).st_size)
    for path in sample(random, files[-40:], 6):
        expected, actual = both(truth, mount, path)
        size = os.fstat(expected).st_size
        for step in range(60):
            name = random.choice(list(WAYS))
            offset, length = random_range(random, size)
            wanted = os.pread(expected, length, offset)
            got = WAYS[name](actual, offset, length, size, random)
            told = difference(wanted, got) if got is not None else None
            if told:
                complain(f"{show(path)}: step {step}, {name} of {length} at {offset}: {told}")
            if random.random() < 0.1:
                os.posix_fadvise(actual, 0, 0, random.choice([os.POSIX_FADV_DONTNEED, os.POSIX_FADV_WILLNEED]))
            if random.random() < 0.05:
                os.close(actual)
                actual = os.open(os.path.join(mount, path), os.O_RDONLY)
        os.close(expected)
        os.close(actual)


def by_pread(file, offset, length, _size, _random):
    return os.pread(file, length, offset)


def by_read(file, offset, length, _size, random):
    os.lseek(file, offset, os.SEEK_SET)
    pieces = []
    while length > 0:
        piece = os.read(file, min(length, random.choice([100, PAGE, 1 << 17, 1 << 21])))
        if not piece:
            break
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)


def by_preadv(file, offset, length, _size, random):
    cut = random.randint(0, length)
    buffers = [bytearray(cut), bytearray(length - cut)]
    count = os.preadv(file, buffers, offset)
    return bytes(b"".join(buffers)[:count])


def by_mmap(file, offset, length, size, random):
    if offset >= size:
        return None
    start = offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
    end = min(offset + length, size)
    flags = random.choice([mmap.MAP_SHARED, mmap.MAP_PRIVATE])
    with mmap.mmap(file, end - start, flags=flags, prot=mmap.PROT_READ, offset=start) as mapped:
        if random.random() < 0.3:
            mapped.madvise(random.choice([mmap.MADV_RANDOM, mmap.MADV_WILLNEED, mmap.MADV_SEQUENTIAL]))
        return mapped[offset - start :]


def by_sendfile(file, offset, length, size, _random):
    with tempfile.TemporaryFile() as target:
        position = offset
        while position < min(offset + length, size):
            count = os.sendfile(target.fileno(), file, position, offset + length - position)
            if count == 0:
                break
            position += count
        return os.pread(target.fileno(), length, 0)


def by_splice(file, offset, length, size, _random):
    reader, writer = os.pipe()
    pieces = []
    position = offset
    while position < min(offset + length, size):
        count = os.splice(file, writer, min(1 << 16, offset + length - position), offset_src=position)
        if count == 0:
            break
        pieces.append(os.read(reader, count))
        position += count
    os.close(reader)
    os.close(writer)
    return b"".join(pieces)


WAYS = {
    "pread": by_pread,
    "lseek and read": by_read,
    "preadv": by_preadv,
    "mmap": by_mmap,
    "sendfile": by_sendfile,
    "splice": by_splice,
}


def mapped_whole(truth, mount, seed, complain):
    """mmap of whole files; the page that the file ends in is zero behind its end; beyond it is SIGBUS."""
    random = randomness.Random(seed)
    for path in sample(random, regular_files(truth), 60):
        expected, actual = both(truth, mount, path)
        size = os.fstat(expected).st_size
        mapped = size if size < 8 << 20 else 1 << 20
        pages = (mapped + PAGE - 1) // PAGE * PAGE
        address = libc.mmap(None, pages, mmap.PROT_READ, mmap.MAP_SHARED, actual, 0)
        told = difference(os.pread(expected, mapped, 0), ctypes.string_at(address, mapped))
        if told:
            complain(f"{show(path)}: mapped: {told}")
        if mapped == size and size % PAGE != 0 and any(ctypes.string_at(address + size, PAGE - size % PAGE)):
            complain(f"{show(path)}: not zero behind its end")
        libc.munmap(address, pages)
        # What is private may be written, and nobody else sees it.
        with mmap.mmap(actual, min(size, PAGE), flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as own:
            own[0] = own[0] ^ 0xFF
        if os.pread(actual, 1, 0) != os.pread(expected, 1, 0):
            complain(f"{show(path)}: a private mapping was written through")
        shared = errno_of(lambda: mmap.mmap(actual, 1, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE))
        if shared != errno.EACCES:
            complain(f"{show(path)}: a shared writable mapping gave {shared}, not EACCES")
        os.close(expected)
        os.close(actual)
    beyond_the_end(truth, mount, complain)


def beyond_the_end(truth, mount, complain):
    path = min(regular_files(truth), key=lambda each: os.lstat(os.path.join(truth, each)).st_size)
    child = os.fork()
    if child == 0:
        try:
            file = os.open(os.path.join(mount, path), os.O_RDONLY)
            size = os.fstat(file).st_size
            ends = (size + PAGE - 1) // PAGE * PAGE
            address = libc.mmap(None, ends + PAGE, mmap.PROT_READ, mmap.MAP_SHARED, file, 0)
            ctypes.string_at(address + ends, 1)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGBUS:
        complain(f"{show(path)}: a page behind its end could be read (status {status})")


def direct(truth, mount, seed, complain):
    """O_DIRECT: the same bytes, or refused when the file is opened, as file systems do that have none."""
    random = randomness.Random(seed)
    for path in sample(random, regular_files(truth), 40):
        try:
            actual = os.open(os.path.join(mount, path), os.O_RDONLY | os.O_DIRECT)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            print(f"O_DIRECT is refused: {error.strerror}")
            return
        expected = os.open(os.path.join(truth, path), os.O_RDONLY)
        size = os.fstat(expected).st_size
        for _ in range(6):
            offset = random.randrange(size + PAGE) // PAGE * PAGE
            buffer = mmap.mmap(-1, random.choice([1, 2, 32, 300]) * PAGE)  # Aligned, as direct reads need it.
            count = os.preadv(actual, [buffer], offset)
            told = difference(os.pread(expected, len(buffer), offset), buffer[:count])
            if told:
                complain(f"{show(path)}: direct read of {len(buffer)} at {offset}: {told}")
        os.close(expected)
        os.close(actual)


def copied(truth, mount, seed, complain):
    """copy_file_range to another file system and cp(1): the same bytes, or refused as between any two file systems."""
    random = randomness.Random(seed)
    for path in sample(random, regular_files(truth), 20):
        expected, actual = both(truth, mount, path)
        with tempfile.TemporaryFile() as target:
            offset, length = random_range(random, os.fstat(expected).st_size)
            try:
                count = os.copy_file_range(actual, target.fileno(), length, offset)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL):
                    complain(f"{show(path)}: copy_file_range: {error}")
            else:
                told = difference(os.pread(expected, count, offset), os.pread(target.fileno(), length, 0))
                if told:
                    complain(f"{show(path)}: copy_file_range of {length} at {offset}: {told}")
                if count == 0 and offset < os.fstat(expected).st_size:
                    complain(f"{show(path)}: copy_file_range of {length} at {offset} copied nothing")
        os.close(expected)
        os.close(actual)
        if os.lstat(os.path.join(truth, path)).st_size > 64 << 20:
            continue
        with tempfile.NamedTemporaryFile() as target:
            subprocess.run([b"cp", b"--sparse=always", os.path.join(mount, path), target.name], check=True)
            if subprocess.run([b"cmp", b"-s", os.path.join(truth, path), target.name]).returncode != 0:
                complain(f"{show(path)}: cp made something else")


def holes(truth, mount, seed, complain):
    """SEEK_DATA and SEEK_HOLE: what is called a hole is zero in truth, the file ends in a hole, behind it is ENXIO."""
    random = randomness.Random(seed)
    for path in sample(random, regular_files(truth), 80):
        expected, actual = both(truth, mount, path)
        size = os.fstat(expected).st_size
        position = 0
        while position < size:
            try:
                data = os.lseek(actual, position, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                data = size
            if not position <= data <= size:
                complain(f"{show(path)}: data after {position} is said to be at {data} of {size}")
                break
            if not zero_between(expected, position, data):
                complain(f"{show(path)}: {position} to {data} is called a hole and is none")
            if data == size:
                break
            position = os.lseek(actual, data, os.SEEK_HOLE)
            if not data < position <= size:
                complain(f"{show(path)}: the hole after {data} is said to be at {position} of {size}")
                break
        for whence in (os.SEEK_DATA, os.SEEK_HOLE):
            if errno_of(lambda: os.lseek(actual, size, whence)) != errno.ENXIO:
                complain(f"{show(path)}: lseek {whence} at its end is no ENXIO")
        os.close(expected)
        os.close(actual)


def zero_between(file, start, end):
    """Looks where the truth has data: gigabytes of holes are not read."""
    while start < end:
        try:
            start = os.lseek(file, start, os.SEEK_DATA)
        except OSError:
            return True
        if start < end and any(os.pread(file, min(1 << 20, end - start), start)):
            return False
        start += 1 << 20
    return True


def concurrent(truth, mount, seed, complain):
    """Twelve threads, some on the same files, with a descriptor each or one for all."""
    random = randomness.Random(seed)
    files = sample(random, regular_files(truth), 8)
    shared = [os.open(os.path.join(mount, path), os.O_RDONLY) for path in files]

    def read(number):
        own = randomness.Random(seed * 1000 + number)
        for _ in range(40):
            index = own.randrange(len(files))
            expected, actual = both(truth, mount, files[index])
            offset, length = random_range(own, os.fstat(expected).st_size)
            wanted = os.pread(expected, length, offset)
            for file in (actual, shared[index]):
                told = difference(wanted, os.pread(file, length, offset))
                if told:
                    complain(f"{show(files[index])}: thread {number}, {length} at {offset}: {told}")
            os.close(expected)
            os.close(actual)

    def guarded(number):
        try:
            read(number)
        except OSError as error:
            complain(f"thread {number}: {error}")

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for file in shared:
        os.close(file)


def execute(truth, mount, _seed, complain):
    """Programs of the image run: by itself, and in the image as root directory where it holds what they need."""
    ran = 0
    for path in (b"bin/true", b"usr/bin/true", b"bin/echo"):
        program = os.path.join(mount, path)
        status = os.lstat(program) if os.path.lexists(os.path.join(truth, path)) else None
        if status is None or not stat.S_ISREG(status.st_mode):
            continue
        ran += 1
        result = subprocess.run([program, b"x"], capture_output=True)
        if result.returncode != 0:
            complain(f"{show(path)} ended with {result.returncode}: {result.stderr!r}")
    python = os.path.join(truth, b"usr/bin/python3")
    if os.path.lexists(python) and os.geteuid() == 0:
        ran += 1
        # Over a hundred modules and a dozen shared libraries, mapped and executed.
        lines = b"import ssl, json, decimal, ctypes, sqlite3, hashlib; print(hashlib.sha256(b'x').hexdigest())"
        result = subprocess.run([b"chroot", mount, b"/usr/bin/python3", b"-c", lines], capture_output=True)
        if not result.stdout.startswith(b"2d711642b726b044"):
            complain(f"python3 in the image: {result.returncode} {result.stdout!r} {result.stderr!r}")
    if ran == 0:
        complain("the image holds no program that this check knows")


CHECKS = {
    "random reads": random_reads,
    "randomized": randomized,
    "mmap": mapped_whole,
    "O_DIRECT": direct,
    "copy_file_range": copied,
    "holes": holes,
    "concurrent readers": concurrent,
    "execve": execute,
}
