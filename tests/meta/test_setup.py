"""What `setup.py` compiles, with a compiler that compiles nothing."""

import runpy
from pathlib import Path

import pytest
import setuptools
from setuptools.errors import CompileError

ROOT = Path(__file__).parents[2]


class Compiler:
    """Writes empty objects, and knows all flags but these."""

    def __init__(self, unknown=()):
        self.unknown, self.compiled = unknown, {}

    def compile(self, sources, output_dir="", extra_postargs=()):
        if set(self.unknown) & set(extra_postargs):
            raise CompileError("unrecognized option")
        for source in sources:
            self.compiled[Path(source).name] = list(extra_postargs)
            made = Path(output_dir, source).with_suffix(".o")
            made.parent.mkdir(parents=True, exist_ok=True)
            made.touch()

    def object_filenames(self, sources, output_dir=""):
        return [str(Path(output_dir, x).with_suffix(".o")) for x in sources]

    def link_shared_object(self, objects, output, **_):
        self.linked = [Path(name).name for name in objects]


@pytest.mark.skipif(
    not (ROOT / "setup.py").exists(), reason="setup.py is not beside the tests"
)
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("unknown", [[], ["-mamx-tile"]])
def test_a_compiler_without_tiles_builds_the_rest(
    machine, unknown, tmp_path, monkeypatch
):
    made = []
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(setuptools, "setup", lambda **given: made.append(given))
    monkeypatch.setattr("sysconfig.get_platform", lambda: f"linux-{machine}")
    runpy.run_path("setup.py")
    (given,) = made
    (extension,) = given["ext_modules"]
    command = given["cmdclass"]["build_ext"](setuptools.Distribution())
    command.compiler = compiler = Compiler(unknown)
    command.build_temp, command.build_lib = str(tmp_path), str(tmp_path / "lib")
    command.force, command.inplace = True, False
    command.build_extension(extension)
    files = set(compiler.compiled)
    has_tiles = machine == "x86_64" and not unknown
    assert ("integer_matmul_amx.cc" in files) == has_tiles
    assert ("integer_matmul_avx512vnni.cc" in files) == (machine == "x86_64")
    assert ("integer_matmul_neon.cc" in files) == (machine == "aarch64")
    says_so = "-DKERAS_COMPRESS_NO_AMX" in compiler.compiled["dispatch.cc"]
    assert says_so == (machine == "x86_64" and bool(unknown))
    assert "dispatch.o" in compiler.linked
