"""Do threads share a product without harm: concurrent calls, fork, rest?"""

import os
import resource
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from tests.kernels import native, native_xnor
from tests.kernels.test_xnor_kernels import Case

pytestmark = native.requires_library

TABLES = native_xnor.tables()


@pytest.fixture(scope="module")
def large():
    """A product that is worth sharing, and its result."""
    case = Case(64, 800, 1000, dropped=0.3)
    return case, case.expected()


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_threads_gives_the_same(name, count, large):
    case, expected = large
    with native_xnor.threads(count):
        for output, layer in case.layers().items():
            found = native_xnor.chain(name, case.inputs, [layer])
            np.testing.assert_array_equal(found, expected[output])


@pytest.mark.parametrize(("batch", "units"), [(2000, 10), (3000, 64), (1, 40_000)])
def test_few_units_share_rows_and_few_rows_share_units(batch, units):
    case = Case(batch, 1000, units)
    with native_xnor.threads(3):
        found = native_xnor.chain(TABLES[-2], case.inputs, [case.layers()["bits"]])
    np.testing.assert_array_equal(found, case.expected()["bits"])


def test_a_nan_is_found_by_any_thread():
    case = Case(1000, 1000, 3)
    case.inputs[900, 7] = np.nan
    with native_xnor.threads(3), pytest.raises(native.Refused, match="result 1"):
        native_xnor.pack(TABLES[-2], case.inputs)


def test_concurrent_calls(large):
    case, expected = large
    name = TABLES[-2]
    wrong = []

    def call():
        for _ in range(20):
            found = native_xnor.chain(name, case.inputs, [case.layers()["int32"]])
            if not (found == expected["int32"]).all():
                wrong.append(found)

    with native_xnor.threads(4):
        callers = [threading.Thread(target=call) for _ in range(5)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_child_has_threads_of_its_own():
    # Not in this process: TensorFlow's threads do not survive a fork.
    code = """
import os, sys
from tests.kernels import native_xnor
from tests.kernels.test_xnor_kernels import Case
case = Case(64, 800, 1000)
layer, name = case.layers()["int32"], native_xnor.tables()[-2]
def good():
    found = native_xnor.chain(name, case.inputs, [layer])
    return (found == case.expected()["int32"]).all()
def threads():
    return len(os.listdir("/proc/self/task"))
with native_xnor.threads(3):
    assert good()
    child = os.fork()
    if child == 0:
        alone = threads()
        done = good()
        os._exit(0 if done and alone == 1 and threads() == 3 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert good()
"""
    path = os.pathsep.join(sys.path)
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr


def test_workers_sleep_when_there_is_nothing_to_do(large):
    case, _ = large
    with native_xnor.threads(4):
        native_xnor.chain(TABLES[-2], case.inputs, [case.layers()["int32"]])
        time.sleep(0.1)
        before = resource.getrusage(resource.RUSAGE_SELF)
        time.sleep(1.0)
        after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert used < 0.2, "seconds of processor time in a second of rest"


def test_the_number_of_threads_is_settable():
    with native_xnor.threads(3) as lib:
        assert lib.kc_threads() == 3
        lib.kc_set_threads(0)
        assert lib.kc_threads() == 1
        lib.kc_set_threads(10_000)
        assert lib.kc_threads() == 256


@pytest.mark.parametrize(("wanted", "found"), [("2", 2), ("1", 1)])
def test_the_environment_says_how_many(wanted, found):
    code = "from tests.kernels import native; print(native.library().kc_threads())"
    environment = {
        **os.environ,
        "KERAS_COMPRESS_THREADS": wanted,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.stdout.split()[-1] == str(found), done.stderr
