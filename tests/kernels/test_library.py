"""Is the library what it says: its levels, its symbols, TensorFlow's C API?"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from keras_compress.ops import _library, native_status
from tests.kernels import native

HERE = Path(__file__).parent
CSRC = HERE.parents[1] / "keras_compress" / "csrc"


def run(*command, **kwargs):
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, **kwargs
    )


def needs(*tools):
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if not CSRC.exists():  # tests of an installed wheel
        missing.append(str(CSRC))
    return pytest.mark.skipif(bool(missing), reason=f"no {', '.join(missing)}")


@native.requires_library
def test_status_names_level_and_file():
    names = native.level_names()
    assert names[0] == "scalar"
    assert f"(available: {', '.join(names)})" in native_status()
    assert str(_library.FILE) in native_status()


@native.requires_library
@pytest.mark.parametrize("name", native.level_names()[:-1])  # the last comes anyway
def test_environment_forces_a_level(name):
    assert f"native ops: {name} (" in status_under(name).stdout


@native.requires_library
def test_environment_with_an_unknown_level_complains():
    done = status_under("sse9")
    assert "KERAS_COMPRESS_SIMD=sse9 is not one of: scalar" in done.stderr
    assert f"native ops: {native.level_names()[-1]} (" in done.stdout


def status_under(name):
    root = str(_library.FILE.parents[2])
    code = "from keras_compress import ops; print(ops.native_status())"
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "KERAS_COMPRESS_SIMD": name, "PYTHONPATH": path}
    done = run(sys.executable, "-c", code, env=environment)
    assert done.returncode == 0, done.stderr
    return done


@native.requires_library
def test_a_level_that_is_not_there_is_refused():
    lib = native.library()
    assert lib.kc_set_level(-1) == -1
    assert lib.kc_set_level(lib.kc_num_levels()) == -1
    assert lib.kc_level_name(lib.kc_num_levels()) is None


@native.requires_library
@needs("nm", "c++filt")
def test_symbols():
    exported = run("nm", "-D", "--defined-only", _library.FILE).stdout.split("\n")
    names = [line.split()[-1] for line in exported if line]
    assert names
    assert all(name.startswith("kc_") for name in names), names
    wanted = run("nm", "-D", "--undefined-only", _library.FILE).stdout
    plain = run("c++filt", input=wanted).stdout
    assert "tensorflow::" not in plain
    assert "TF_NewKernelBuilder" in plain


@needs("g++")
def test_our_declarations_are_those_of_tensorflow(tmp_path):
    source = tmp_path / "check.cc"
    source.write_text('#include "c_api.h"\n')
    command = ["g++", "-std=c++17", "-fsyntax-only", "-I", CSRC / "tf", source]
    assert run(*command).returncode == 0
    include = tf.sysconfig.get_include()
    done = run(*command, "-DKC_CHECK_C_API", "-I", include)
    assert done.returncode == 0, done.stderr


def test_a_missing_library_says_so_and_warns_once(tmp_path):
    found = _library._Library(tmp_path / "_native.so")
    assert found.status().startswith("native ops: not built, ")
    with pytest.warns(RuntimeWarning, match="not built"):
        found.warn()
    found.warn()  # an error if it warned again


def test_a_broken_library_says_so_and_warns_at_once(tmp_path):
    file = tmp_path / "_native.so"
    file.write_bytes(b"no library")
    with pytest.warns(RuntimeWarning, match="not loaded"):
        found = _library._Library(file)
    assert found.status().startswith(f"native ops: not loaded, {file}: ")


@needs("aarch64-linux-gnu-g++", "qemu-aarch64-static")
def test_neon_under_emulation(tmp_path):
    done = run("bash", HERE / "neon.sh", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "levels: scalar neon" in done.stdout
