"""Are signs packed as documented, and back?"""

import numpy as np
import pytest

from keras_compress.functional import signs


def test_pack_by_hand():
    values = np.array([[1.0, -1.0, 0.0, -0.0, -3.5], [-1.0, 2.0, -2.0, 4.0, np.inf]])
    assert signs.pack_signs(values).tolist() == [[0b10010], [0b00101]]
    assert signs.pack_signs(-np.ones(33)).tolist() == [0xFFFFFFFF, 1]
    assert signs.pack_signs(np.zeros((3, 0))).shape == (3, 0)


def test_panels_by_hand():
    rows = np.arange(17 * 3, dtype=np.uint32).reshape(17, 3)
    panels = signs.to_panels(rows)
    assert panels.shape == (2, 3, 16)
    assert panels[0, 1].tolist() == [3 * unit + 1 for unit in range(16)]
    assert panels[1, 2].tolist() == [50] + 15 * [0]


def test_a_kernel_without_zeros_has_no_masks():
    packed, masks, kept = signs.pack_kernel(np.array([[1.0, -1.0], [-2.0, -0.0]]))
    assert packed[0, 0, :3].tolist() == [0b10, 0b01, 0]
    assert masks.shape == (0, 1, 16)
    assert kept.tolist() == [2, 2]
    assert kept.dtype == np.int32


def test_a_masked_kernel():
    mask = np.array([[1, 0], [1, 1]])
    packed, masks, kept = signs.pack_kernel(-np.ones((2, 2)), mask)
    assert packed[0, 0, :2].tolist() == [0b11, 0b10]
    assert masks[0, 0, :3].tolist() == [0b11, 0b10, 0]
    assert kept.tolist() == [2, 1]


def test_products_by_hand():
    weights = signs.pack_kernel(np.array([[1.0], [-1.0], [-1.0]]), [[1], [1], [0]])
    rows = signs.pack_signs(np.array([[5.0, -5.0, 1.0], [-5.0, 0.0, 1.0]]))
    assert signs.sign_products(rows, *weights, inputs=3).tolist() == [[2], [-2]]


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("array", lambda: signs.pack_signs(np.array(1.0))),
        ("array", lambda: signs.pack_signs(np.array([1]))),
        ("array", lambda: signs.pack_signs(np.array([1.0, np.nan]))),
        ("words", lambda: signs.unpack_signs(np.zeros(2, np.uint32), 32)),
        ("words", lambda: signs.unpack_signs(np.zeros(1, np.int32), 32)),
        ("width", lambda: signs.unpack_signs(np.zeros(1, np.uint32), -1)),
        ("rows", lambda: signs.to_panels(np.zeros(3, np.uint32))),
        ("rows", lambda: signs.to_panels(np.zeros((3, 3)))),
        ("panels", lambda: signs.from_panels(np.zeros((1, 1, 16), np.uint32), 17)),
        ("panels", lambda: signs.from_panels(np.zeros((1, 1, 8), np.uint32), 8)),
        ("kernel", lambda: signs.pack_kernel(np.ones(3))),
        ("mask", lambda: signs.pack_kernel(np.ones((3, 2)), np.ones((2, 3)))),
    ],
)
def test_bad_arguments_are_refused(name, call):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        call()
