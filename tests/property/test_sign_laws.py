"""What is true of all packed signs."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from keras_compress.functional import signs

floats = st.floats(-2, 2, width=32)
matrices = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=70), elements=floats
)


@given(hnp.arrays(np.float32, hnp.array_shapes(max_side=70), elements=floats))
def test_unpacking_gives_the_signs(array):
    words = signs.pack_signs(array)
    width = array.shape[-1]
    np.testing.assert_array_equal(
        signs.unpack_signs(words, width), np.where(array < 0, -1, 1)
    )
    np.testing.assert_array_equal(
        signs.pack_signs(signs.unpack_signs(words, width)), words
    )
    if width % 32:
        assert not (words[..., -1] >> np.uint32(width % 32)).any()


@given(hnp.arrays(np.uint32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_panels_go_there_and_back(rows):
    panels = signs.to_panels(rows)
    np.testing.assert_array_equal(signs.from_panels(panels, len(rows)), rows)
    np.testing.assert_array_equal(
        signs.to_panels(signs.from_panels(panels, len(rows))), panels
    )
    assert int(panels.sum(dtype=np.uint64)) == int(rows.sum(dtype=np.uint64))


@given(matrices, st.data())
def test_products_are_those_of_the_popcount(kernel, data):
    inputs, units = kernel.shape
    mask = data.draw(hnp.arrays(bool, kernel.shape))
    values = data.draw(hnp.arrays(np.float32, (3, inputs), elements=floats))
    rows = signs.pack_signs(values)
    packed, masks, kept = signs.pack_kernel(kernel, mask)
    found = signs.sign_products(rows, packed, masks, kept, inputs)
    keep = signs.from_panels(masks, units) if len(masks) else ~np.uint32(0)
    differ = (rows[:, None] ^ signs.from_panels(packed, units)[None]) & keep
    counts = np.bitwise_count(differ).sum(-1).astype(int)
    np.testing.assert_array_equal(found, kept - 2 * counts)
    # A unit kept in one and dropped in the other half adds up.
    assert (np.abs(found) <= kept).all()
    assert ((found - kept) % 2 == 0).all()
