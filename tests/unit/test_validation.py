"""One message shape for every bad argument."""

import numpy as np
import pytest

from keras_compress._validation import check_choice, check_int, check_real


def test_the_message_names_argument_expectation_and_value():
    with pytest.raises(ValueError, match=r"^`rank` must be an integer in \[1, 8\]\. "):
        check_int("rank", 9, minimum=1, maximum=8)
    with pytest.raises(ValueError, match=r"Received: sparsity=1\.2$"):
        check_real("sparsity", 1.2, minimum=0.0, maximum=1.0)
    with pytest.raises(ValueError, match=r"`mode` must be one of 'a', None\. .*='b'"):
        check_choice("mode", "b", ("a", None))


@pytest.mark.parametrize("value", [True, 1.0, "1", None, 0, np.float32(2.0)])
def test_what_is_not_a_positive_integer(value):
    with pytest.raises(ValueError, match="`n` must be an integer >= 1"):
        check_int("n", value, minimum=1)


@pytest.mark.parametrize("value", [True, "0.5", None, float("nan"), float("inf"), -0.1])
def test_what_is_not_a_number_in_range(value):
    with pytest.raises(ValueError, match="`x` must be a finite number >= 0"):
        check_real("x", value, minimum=0.0)


def test_numpy_numbers_pass_and_come_back_as_python_numbers():
    assert type(check_int("n", np.int64(3))) is int
    assert type(check_real("x", np.float32(0.5))) is float


def test_above_is_exclusive():
    with pytest.raises(ValueError, match="> 0"):
        check_real("temperature", 0.0, above=0.0)
