"""What is true of every teacher and student."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from keras_compress.distillation.cache_file import Digest
from keras_compress.functional import class_bias, feature_matching, top_logits
from keras_compress.functional import distillation as formulas

logits = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(2, 7)),
    elements=st.floats(-9, 9),
)
temperatures = st.floats(0.5, 30)


def softmax(values):
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@given(logits, temperatures)
def test_the_teacher_itself_is_the_best_student(teacher, temperature):
    target = formulas.soften(teacher, temperature)
    best = np.asarray(formulas.soft_cross_entropy(target, teacher, temperature))
    other = formulas.soft_cross_entropy(target, teacher[:, ::-1].copy(), temperature)
    assert (np.asarray(other) >= best - 1e-9).all()


@given(logits, temperatures, st.floats(-50, 50))
def test_no_softmax_sees_a_constant(teacher, temperature, constant):
    one = formulas.soften(teacher, temperature)
    other = formulas.soften(teacher + constant, temperature)
    np.testing.assert_allclose(one, other, atol=1e-12)
    shifted = formulas.centred(teacher + constant)
    np.testing.assert_allclose(shifted, formulas.centred(teacher), atol=1e-12)


@given(logits, temperatures, st.integers(1, 4))
def test_ensembles_of_equals_are_their_member(teacher, temperature, count):
    members = [teacher] * count
    alone = formulas.soften(teacher, temperature)
    found = formulas.mean_probabilities(members, temperature)
    np.testing.assert_allclose(found, alone, atol=1e-12)
    np.testing.assert_allclose(formulas.mean_logits(members), teacher, atol=1e-12)


@given(logits, st.data())
def test_the_largest_logits_keep_their_probabilities(teacher, data):
    size = teacher.shape[-1]
    count = data.draw(st.integers(1, size - 1))
    values, classes, rest = top_logits.largest_logits(teacher, count)
    back = np.asarray(top_logits.from_largest_logits(values, classes, rest, size))
    one, other = softmax(teacher), softmax(back)
    kept = np.take_along_axis(one, classes, -1)
    np.testing.assert_allclose(np.take_along_axis(other, classes, -1), kept, atol=1e-9)
    assert (values.min(axis=-1) >= rest - 1e-12).all()


@given(
    hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=3, max_dims=4, max_side=4),
        elements=st.floats(-9, 9),
    )
)
def test_attention_is_a_direction(features):
    norm = np.linalg.norm(feature_matching.attention_map(features), axis=-1)
    assert (np.isclose(norm, 1.0) | (norm < 1.0)).all()
    loss = np.asarray(feature_matching.attention_transfer(features, features[::-1]))
    assert (loss >= 0.0).all()
    assert (loss <= 1.0 + 1e-9).all()


@given(
    st.lists(
        st.tuples(st.integers(-12, 12), st.sampled_from([-1, 0, 1])),
        min_size=1,
        max_size=12,
    )
)
def test_no_shift_makes_fewer_errors(pairs):
    margins, gain = (np.array(side, float) for side in zip(*pairs, strict=True))
    shift = class_bias.best_shift(margins, gain)

    def right(value):
        return gain[margins < value].sum()

    tries = np.concatenate([margins - 0.5, margins + 0.5, [0.0]])
    assert right(shift) >= max(right(value) for value in tries if value not in margins)


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 3))),
    st.data(),
)
def test_a_digest_does_not_depend_on_the_batches(array, data):
    cut = data.draw(st.integers(0, len(array)))
    whole, parts = Digest(), Digest()
    whole.update([array, array[:, :1]])
    parts.update([array[:cut], array[:cut, :1]])
    parts.update([array[cut:], array[cut:, :1]])
    assert whole.text() == parts.text()
    changed = array.copy()
    changed[-1, -1] ^= 1
    other = Digest()
    other.update([changed, array[:, :1]])
    assert other.text() != whole.text()
