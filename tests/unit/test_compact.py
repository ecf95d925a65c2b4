"""Compact payloads: every bit comes back, and a damaged one says so."""

import bz2
import contextlib
import lzma
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from keras_compress.functional.compact import DTYPES, decode, encode, is_compressible
from keras_compress.functional.entropy import CODECS, squeeze, unsqueeze

RANDOM = np.random.default_rng(1)


def assert_same_bits(found, expected):
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)
ARRAYS = st.sampled_from(DTYPES).flatmap(lambda d: arrays.arrays(d, SHAPES))


@given(st.lists(ARRAYS, max_size=3))
def test_every_array_comes_back_bit_for_bit(given):
    found = decode(encode(given))
    assert len(found) == len(given)
    for one, expected in zip(found, given, strict=True):
        assert_same_bits(one, expected)


@pytest.mark.parametrize("gap", [0, 1, 253, 254, 255, 256, 509, 510, 511, 70_000])
@pytest.mark.parametrize("behind", [0, 1, 300])
def test_gaps_of_any_length(gap, behind):
    array = np.zeros(gap + 1 + behind, "float32")
    array[gap] = 1.5
    assert_same_bits(decode(encode([array]))[0], array)


@pytest.mark.parametrize("different", [1, 2, 255, 256, 257, 5000])
def test_values_shared_or_not(different):
    kernel = RANDOM.standard_normal(different).astype("float32")
    kernel = RANDOM.choice(kernel, (200, 100)) * (RANDOM.random((200, 100)) < 0.1)
    assert_same_bits(decode(encode([kernel]))[0], kernel)
    transposed = np.asfortranarray(kernel)
    assert_same_bits(decode(encode([transposed]))[0], kernel)


def test_what_equals_zero_but_is_not_and_what_equals_nothing():
    odd = np.array([0x80000000, 0x7FC00001, 0xFFC12345, 1, 0], "uint32")
    assert_same_bits(decode(encode([odd.view("float32")]))[0], odd.view("float32"))


def entropy_bits(symbols):
    shares = np.unique(symbols, return_counts=True)[1] / len(symbols)
    return -len(symbols) * float(np.sum(shares * np.log2(shares)))


def test_the_size_is_near_the_entropy_of_gaps_and_codes():
    """The sum that Deep Compression's tables are made of, 2 % of weights, 4 bits."""
    kernel = np.round(RANDOM.standard_normal((784, 300)) * 3).clip(-8, 7) + 0.5
    kernel = np.where(RANDOM.random(kernel.shape) < 0.02, kernel, 0).astype("float32")
    kept = np.flatnonzero(kernel)
    gaps = np.diff(kept, prepend=-1) - 1
    bound = (entropy_bits(gaps) + entropy_bits(kernel.ravel()[kept])) / 8
    assert bound < len(encode([kernel])) < 1.08 * bound + 100


def test_columns_alike_are_coded_by_columns():
    by_rows = np.zeros((400, 300), "float32")
    by_rows[:, ::30] = RANDOM.standard_normal((400, 10)) > 0
    by_columns = np.ascontiguousarray(by_rows.T)
    shorter = [len(encode([x])) for x in (by_rows, by_columns)]
    assert abs(shorter[0] - shorter[1]) <= 2
    assert_same_bits(decode(encode([by_columns]))[0], by_columns)


def test_any_cut_and_any_changed_byte_is_noticed():
    kernel = (RANDOM.random((40, 30)) < 0.1).astype("float32") * 0.25
    payload = encode([kernel, np.ones(30, "float32")])
    for position in range(len(payload)):
        changed = bytearray(payload)
        changed[position] ^= 1 << position % 8
        for damaged in (payload[:position], bytes(changed)):
            with pytest.raises(ValueError, match="`payload` must be whole"):
                decode(damaged)


def sealed(body):
    return body + zlib.crc32(body).to_bytes(4, "little")


def test_a_later_version_is_refused():
    with pytest.raises(ValueError, match=r"of version 1\. Received: .*version 2"):
        decode(sealed(bytes([2]) + encode([])[1:-4]))


def test_a_payload_that_lies_under_a_right_checksum_is_refused():
    """Whatever byte lies: an error or an array, and never another exception."""
    body = encode([(RANDOM.random((40, 30)) < 0.1) * np.float32(0.5)])[:-4]
    for position in range(1, len(body)):
        for bit in range(8):
            changed = bytearray(body)
            changed[position] ^= 1 << bit
            with contextlib.suppress(ValueError):
                decode(sealed(bytes(changed)))


def test_an_array_of_another_dtype_is_refused():
    with pytest.raises(ValueError, match="`arrays` must be of dtypes float16"):
        encode([np.zeros(3, "complex64")])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "stored"),
        (RANDOM.bytes(500), "stored"),
        (bytes(RANDOM.binomial(15, 0.5, 5000).astype("uint8")), "huffman"),
        (b"what comes again and again " * 9, "deflate"),
    ],
)
def test_the_shortest_codec_is_taken(data, expected):
    number, code = squeeze(data)
    assert CODECS[number] == expected
    assert unsqueeze(number, code, len(data)) == data
    for other in (
        data,
        zlib.compress(data, 9),
        lzma.compress(data),
        bz2.compress(data),
    ):
        assert len(code) <= len(other)


@pytest.mark.parametrize("number", range(len(CODECS) + 1))
def test_a_code_of_another_length_or_codec_is_refused(number):
    with pytest.raises(ValueError, match=r"should come out|cannot read it|no codec"):
        unsqueeze(number, RANDOM.bytes(40), 50)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (RANDOM.standard_normal((30, 30)), False),
        (RANDOM.standard_normal((30, 30)) * (RANDOM.random((30, 30)) < 0.8), True),
        (RANDOM.integers(0, 16, (30, 30)).astype("float32"), True),
        (RANDOM.integers(0, 300, (300, 30)).astype("float32"), False),
        (np.ones(5), False),
    ],
)
def test_what_is_worth_it(array, expected):
    assert is_compressible(array) is expected
