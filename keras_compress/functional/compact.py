"""Arrays in as few bytes as can be, bit for bit: gaps, shared values, entropy codes.

The file format of `storage="compact"`. A payload is a version, the number of arrays,
the arrays, and a checksum. Numbers are in base 128, the lowest digits first. An array
is its dtype, its shape, how many elements are not zero, then four parts:

1. the *gaps*: how many zeros stand before each of these, in the order of rows or of
   columns, whichever is shorter; a byte each, 255 saying "255 zeros, and no number";
2. the *codebook*: the different values, where there are 256 at most and that is
   shorter;
3. the *codes*: a byte each, which value of the codebook; or the values themselves,
   byte plane by byte plane, so that what varies little stands together.

Each part is entropy-coded by whichever codec of the standard library does it best.

[Han et al., 2016](https://arxiv.org/abs/1510.00149), figure 2 and section 4.
"""

import zlib

import numpy as np

from keras_compress._validation import invalid
from keras_compress.functional.entropy import squeeze, unsqueeze

VERSION = 1
# By number, which stands in files: new ones go to the end.
DTYPES = (
    *("float16", "float32", "float64", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)
_FILLER = 255
_CHECKSUM_BYTES = 4
_MOST_ELEMENTS = 2**40


def encode(arrays):
    """Arrays as a payload.

    Args:
        arrays: Sequence of arrays of any shape, of dtypes in `DTYPES`.

    Returns:
        Bytes.

    Raises:
        ValueError: If an array is of another dtype.

    Example:

    >>> kernel = np.zeros((784, 300), "float32")
    >>> kernel[::28, ::10] = 0.25
    >>> payload = encode([kernel])
    >>> len(payload) < 200
    True
    >>> bool((decode(payload)[0] == kernel).all())
    True

    Reference:
        - [Han et al., 2016](https://arxiv.org/abs/1510.00149), sections 2 to 4
    """
    body = bytes([VERSION]) + _number(len(arrays))
    body += b"".join(_encoded(np.asarray(array)) for array in arrays)
    return body + _checksum(body)


def decode(payload):
    """Undoes `encode`, bit for bit.

    Args:
        payload: Bytes, or anything that `bytes` takes.

    Returns:
        List of arrays.

    Raises:
        ValueError: If the payload is cut off, damaged, or of a later version.
    """
    payload = bytes(payload)
    body, end = payload[:-_CHECKSUM_BYTES], payload[-_CHECKSUM_BYTES:]
    if len(body) < 2 or _checksum(body) != end:
        raise invalid(
            "payload", "whole: its checksum is wrong", f"{len(payload)} bytes"
        )
    if body[0] != VERSION:
        raise invalid("payload", f"of version {VERSION}", f"version {body[0]}")
    reader = _Reader(body, position=1)
    try:
        arrays = [_decoded(reader) for _ in range(reader.number())]
    except (ValueError, IndexError) as error:
        raise ValueError(f"`payload` must be whole, but: {error}") from error
    if reader.position != len(body):
        raise invalid("payload", "whole: bytes are left over", f"{len(payload)} bytes")
    return arrays


def is_compressible(array):
    """Whether an array is worth encoding: full of zeros, or of few different values.

    An eighth of zeros or more, or at most 256 different values, each eight times on
    average. Other arrays of floats have no bytes to spare.

    Args:
        array: Numeric array.

    Example:

    >>> is_compressible(np.eye(10)), is_compressible(np.arange(10.0))
    (True, False)
    """
    array = np.ravel(array)
    if np.count_nonzero(array) <= 0.875 * array.size:
        return True
    if len(np.unique(array[:4096])) > 256:
        return False
    return len(np.unique(array)) <= min(256, array.size // 8)


def _encoded(array):
    if array.dtype.name not in DTYPES:
        raise invalid("arrays", f"of dtypes {', '.join(DTYPES)}", array.dtype.name)
    head = bytes([DTYPES.index(array.dtype.name)]) + _number(array.ndim)
    head += b"".join(map(_number, array.shape))
    elements, units = _bits(array), array.shape[-1] if array.ndim else 1
    ways = [_in_order(elements)]
    if 1 < units < array.size:
        ways.append(_in_order(np.ravel(elements.reshape(-1, units).T)))
    shortest = min(ways, key=len)
    return head + bytes([ways.index(shortest)]) + shortest


def _in_order(elements):
    positions = np.flatnonzero(elements)
    gaps = np.diff(positions, prepend=-1) - 1
    fillers = gaps // _FILLER
    ends = np.cumsum(fillers + 1)
    stream = np.full(ends[-1] if len(ends) else 0, _FILLER, "uint8")
    stream[ends - 1] = gaps % _FILLER
    return _number(len(positions)) + _part(stream) + _values(elements[positions])


def _values(values):
    """The shorter of a codebook with codes, and the values themselves."""
    planes = b"\0" + b"".join(map(_part, _planes(values)))
    codebook, codes = np.unique(values, return_inverse=True)
    if len(codebook) > 256:
        return planes
    shared = b"\1" + _number(len(codebook)) + b"".join(map(_part, _planes(codebook)))
    shared += _part(codes.astype("uint8"))
    return min(planes, shared, key=len)


def _decoded(reader):
    dtype = np.dtype(DTYPES[reader.byte()])
    shape = tuple(reader.number() for _ in range(reader.number()))
    size = int(np.prod(shape, dtype=object))
    if size > _MOST_ELEMENTS:
        raise ValueError(f"it speaks of {size} elements")
    by_columns, count = reader.byte(), reader.number()
    if by_columns > 1 or count > size:
        raise ValueError("its parts do not fit together")
    positions = _positions(reader.part(), count)
    if count and positions[-1] >= size:
        raise ValueError("it has numbers outside of the array")
    elements = np.zeros(size, _words(dtype))
    elements[positions] = _read_values(reader, count, dtype.itemsize)
    units = shape[-1] if shape else 1
    if by_columns:
        elements = np.ascontiguousarray(elements.reshape(units, -1).T)
    return elements.view(dtype).reshape(shape)


def _positions(stream, count):
    steps = np.frombuffer(stream, "uint8").astype("int64")
    ends = np.flatnonzero(steps != _FILLER)
    if len(ends) != count:
        raise ValueError("its parts do not fit together")
    # A filler stands for zeros alone, every other byte for a number behind them.
    return (np.cumsum(steps + (steps != _FILLER)) - 1)[ends]


def _read_values(reader, count, width):
    if not reader.byte():
        return _joined([reader.part() for _ in range(width)], count)
    length = reader.number()
    codebook = _joined([reader.part() for _ in range(width)], length)
    codes = np.frombuffer(reader.part(), "uint8")
    if len(codes) != count or codes.max(initial=0) >= max(length, 1):
        raise ValueError("its parts do not fit together")
    return codebook[codes]


def _planes(words):
    """The lowest bytes of all words, then the next, and so on."""
    width = words.dtype.itemsize
    columns = words.astype(f"<u{width}").view("uint8").reshape(-1, width)
    return [np.ascontiguousarray(columns[:, i]) for i in range(width)]


def _joined(planes, count):
    columns = [np.frombuffer(plane, "uint8") for plane in planes]
    if any(len(column) != count for column in columns):
        raise ValueError("its parts do not fit together")
    words = np.ascontiguousarray(np.stack(columns, axis=-1))
    return words.view(f"<u{len(planes)}").reshape(-1)


def _words(dtype):
    return np.dtype(f"u{dtype.itemsize}")


def _bits(array):
    """The array's bits as unsigned integers: only +0 is zero, and no NaN is lost."""
    return np.ravel(array).view(_words(array.dtype))


def _part(stream):
    number, code = squeeze(stream.tobytes())
    return bytes([number]) + _number(len(stream)) + _number(len(code)) + code


def _checksum(body):
    return zlib.crc32(body).to_bytes(_CHECKSUM_BYTES, "little")


def _number(value):
    digits = bytearray()
    while value >= 128:
        digits.append(value % 128 + 128)
        value //= 128
    return bytes([*digits, value])


class _Reader:
    """Reads a payload from its beginning to its end."""

    def __init__(self, data, position):
        self.data = data
        self.position = position

    def byte(self):
        self.position += 1
        return self.data[self.position - 1]

    def number(self):
        value = shift = 0
        while True:
            digit = self.byte()
            value += digit % 128 << shift
            shift += 7
            if digit < 128:
                return value

    def part(self):
        number, size, length = self.byte(), self.number(), self.number()
        if size > _MOST_ELEMENTS:
            raise ValueError(f"it speaks of {size} bytes")
        code = self.data[self.position : self.position + length]
        self.position += length
        return unsqueeze(number, code, size)
