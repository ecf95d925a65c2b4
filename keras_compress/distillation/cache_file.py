"""The file that teachers' outputs are kept in: written bit by bit, whole or not at all.

    magic, length of the header, header (JSON, filled up with spaces), records

A record is the outputs for one example, of a fixed number of bytes. While it is being
written the file ends in `.partial`; beside it, `.partial.journal` has a line for every
batch that is written: how many examples so far, and a digest of their inputs.
"""

import hashlib
import json
import os
import zlib
from pathlib import Path

import numpy as np

MAGIC = b"KCLOGITS"
PAD = 4096  # the header is filled up to a multiple, so that digests can be put in
DIGEST = 16  # bytes


class Digest:
    """A running digest of inputs, the same for any division into batches."""

    def __init__(self):
        self._hashes = {}

    def update(self, arrays):
        """Takes in a batch: a list of NumPy arrays, one an input."""
        for index, array in enumerate(arrays):
            kind = f"{array.dtype.str}{array.shape[1:]}"
            if (index, kind) not in self._hashes:
                self._hashes[index, kind] = hashlib.blake2b(digest_size=DIGEST)
            self._hashes[index, kind].update(_bytes(array))

    def text(self):
        """What was taken in so far, as 32 letters."""
        whole = hashlib.blake2b(digest_size=DIGEST)
        for key in sorted(self._hashes):
            whole.update(repr(key).encode() + self._hashes[key].digest())
        return whole.hexdigest()


def _bytes(array):
    """The same for equal arrays, one example after the other."""
    if array.dtype.kind != "O":
        return np.ascontiguousarray(array).reshape(-1).view("uint8").data
    # Strings, of which the array has the addresses.
    lines = [bytes(one) for one in array.reshape(-1)]
    return b"".join(len(line).to_bytes(8, "little") + line for line in lines)


class CacheFile:
    """A whole file, checked.

    Args:
        path: Where it is.

    Raises:
        ValueError: If it is another kind of file, cut short, or damaged.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.header, self.offset = _read_header(self.path)
        record, examples = self.header["record_bytes"], self.header["examples"]
        size = self.path.stat().st_size
        expected = self.offset + record * examples
        if size != expected:
            raise _refused(
                self.path, f"{expected:,} bytes", f"{size:,} bytes: it was cut short"
            )
        if _checksum(self.path, self.offset) != self.header["checksum"]:
            raise _refused(self.path, "as it was written", "other bytes: it is damaged")

    def read(self, start, count):
        """Records as bytes, one a row of a NumPy array."""
        with open(self.path, "rb") as file:
            file.seek(self.offset + start * self.header["record_bytes"])
            block = file.read(count * self.header["record_bytes"])
        return np.frombuffer(block, "uint8").reshape(-1, self.header["record_bytes"])


class PartialFile:
    """A file being written, from the start or from where an earlier run stopped.

    Args:
        path: Where the whole file shall be.
        header: What it shall say of itself: a mapping for JSON. An earlier run's must
            say the same.

    Raises:
        ValueError: If an earlier run was one of other teachers or settings.
    """

    def __init__(self, path, header):
        self.path = Path(path)
        self.partial = Path(f"{path}.partial")
        self.journal = Path(f"{path}.partial.journal")
        self.header = header
        self.done, self.digest = 0, None
        if self.partial.exists() and self.journal.exists():
            self._resume()
        else:
            empty = {"examples": 0, "inputs": "0" * 2 * DIGEST, "checksum": 0}
            with open(self.partial, "wb") as file:
                file.write(_packed({**header, **empty}))
            self.journal.write_text("")
            self.offset = self.partial.stat().st_size

    def _resume(self):
        earlier, self.offset = _read_header(self.partial)
        for name, value in self.header.items():
            if earlier.get(name) != value:
                raise _refused(
                    self.partial,
                    f"of {name}={value!r}, or deleted, to begin anew",
                    f"{name}={earlier.get(name)!r}",
                )
        record = self.header["record_bytes"]
        written = (self.partial.stat().st_size - self.offset) // record
        for line in self.journal.read_text().splitlines():
            words = line.split()
            if len(words) == 3 and int(words[0]) <= written and words[2] == "end":
                self.done, self.digest = int(words[0]), words[1]
        os.truncate(self.partial, self.offset + self.done * record)

    def append(self, records, done, digest):
        """Writes the records of a batch.

        Args:
            records: Bytes.
            done: How many examples are written with them.
            digest: Digest of the inputs of all of these, as text.
        """
        with open(self.partial, "ab") as file:
            file.write(records)
        with open(self.journal, "a") as file:
            file.write(f"{done} {digest} end\n")
        self.done = done

    def finish(self, digest):
        """Gives the file its header and its name."""
        facts = {
            "examples": self.done,
            "inputs": digest,
            "checksum": _checksum(self.partial, self.offset),
        }
        with open(self.partial, "r+b") as file:
            file.write(_packed({**self.header, **facts}, self.offset))
            file.flush()
            os.fsync(file.fileno())
        os.replace(self.partial, self.path)
        self.journal.unlink()


def _packed(header, size=None):
    text = json.dumps(header).encode()
    start = len(MAGIC) + 8
    if size is None:
        # Room for the numbers that `finish` puts in.
        size = -(-(start + len(text) + 64) // PAD) * PAD
    return MAGIC + (size - start).to_bytes(8, "little") + text.ljust(size - start)


def _read_header(path):
    with open(path, "rb") as file:
        start = file.read(len(MAGIC) + 8)
        if start[: len(MAGIC)] != MAGIC or len(start) < len(MAGIC) + 8:
            raise _refused(path, "a file of cache_logits", "another kind of file")
        length = int.from_bytes(start[len(MAGIC) :], "little")
        text = file.read(length)
    if len(text) != length:
        raise _refused(path, "a whole header", "a file that was cut short")
    return json.loads(text), len(start) + length


def _checksum(path, offset):
    checksum = 0
    with open(path, "rb") as file:
        file.seek(offset)
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return checksum


def _refused(path, expected, received):
    return ValueError(f"`path` must be {expected}. Received: {str(path)!r}, {received}")
