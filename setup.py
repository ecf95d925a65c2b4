"""Builds the package and its one native library, `keras_compress/ops/_native.so`.

The library needs a C++17 compiler and nothing else: it declares the part of
TensorFlow's C API that it uses, and names TensorFlow's library without having it.
Without a compiler the package installs in pure Python.

Environment:
    KERAS_COMPRESS_REQUIRE_OPS=1: A build that fails is an error.
    KERAS_COMPRESS_WERROR=1: Compiler warnings are errors.
"""

import os
import platform
import runpy
import shlex
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # setuptools before 70.1
    from wheel.bdist_wheel import bdist_wheel

ROOT = Path(__file__).resolve().parent
CSRC = Path("keras_compress/csrc")
LIBRARY = "keras_compress.ops._native"

FLAGS = ["-O3", "-g0", "-std=c++17", "-ffp-contract=off", "-fvisibility=hidden"]
# The last word of a file's name is its level; these flags are for that file alone.
SIMD_LEVELS = {
    "x86_64": {
        "avx2": ["-mavx2", "-mfma", "-mpopcnt"],
        "avx512": [
            *("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq"),
            *("-mavx2", "-mfma", "-mpopcnt"),
        ],
        # Kernels that are about one further instruction set.
        "avx512vnni": [
            *("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq"),
            *("-mavx512vnni", "-mavx2", "-mfma", "-mpopcnt"),
        ],
        "avx512popcnt": [
            *("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq"),
            *("-mavx512vpopcntdq", "-mavx2", "-mfma", "-mpopcnt"),
        ],
        "amx": [
            *("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq"),
            *("-mavx512vnni", "-mamx-tile", "-mamx-int8"),
            *("-mavx2", "-mfma", "-mpopcnt"),
        ],
    },
    "aarch64": {"neon": []},
}
EVERY_LEVEL = {level for levels in SIMD_LEVELS.values() for level in levels}


def flag(name):
    """Whether an environment variable is set to something but 0."""
    return os.environ.get(name, "0") not in ("", "0")


def machine():
    """The machine to build for, as Linux and macOS call it, in one spelling."""
    target = sysconfig.get_platform().rsplit("-", 1)[-1]
    if target == "universal2":
        target = platform.machine()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(target.lower(), target.lower())


def level_of(source):
    """The SIMD level in a file's name, or `None`."""
    level = Path(source).stem.rsplit("_", 1)[-1]
    return level if level in EVERY_LEVEL else None


def sources():
    """Every C++ file that this machine can use."""
    here = SIMD_LEVELS.get(machine(), {})
    files = sorted(path.as_posix() for path in CSRC.rglob("*.cc"))
    return [file for file in files if level_of(file) in (None, *here)]


def headers():
    """Every file that a change of makes everything be built again."""
    files = [path.as_posix() for path in sorted(CSRC.rglob("*.h"))]
    return [*files, (CSRC / "exports.map").as_posix(), "setup.py"]


class BuildLibrary(build_ext):
    """Compiles each file with the flags of its SIMD level, then links one library."""

    def get_ext_filename(self, fullname):
        """No tag of a Python version: the library does not use Python."""
        if fullname.endswith("_native"):
            return str(Path(*fullname.split("."))) + ".so"
        return super().get_ext_filename(fullname)

    def get_export_symbols(self, ext):
        """There is no `PyInit` function."""
        return []

    def build_extension(self, ext):
        """Builds what is older than its source or than any header."""
        target = Path(self.get_ext_fullpath(ext.name))
        newest_header = max(Path(name).stat().st_mtime for name in ext.depends)
        levels = dict(SIMD_LEVELS.get(machine(), {}))
        common = ["-fPIC", *FLAGS]
        if "amx" in levels and not self._knows(levels["amx"]):
            del levels["amx"]  # GCC before 11, Clang before 12
            common.append("-DKERAS_COMPRESS_NO_AMX")
        if flag("KERAS_COMPRESS_WERROR"):
            common += ["-Wall", "-Wextra", "-Werror"]
        objects = []
        for source in ext.sources:
            if level_of(source) not in (None, *levels):
                continue
            extra = list(levels.get(level_of(source), []))
            if extra and flag("KERAS_COMPRESS_WERROR"):
                # GCC 12 finds this in its own <immintrin.h>.
                extra += ["-Wno-uninitialized", "-Wno-maybe-uninitialized"]
            made = Path(self.build_temp, source).with_suffix(".o")
            newest = max(newest_header, Path(source).stat().st_mtime)
            if self.force or not made.exists() or made.stat().st_mtime <= newest:
                self.compiler.compile(
                    [source], output_dir=self.build_temp, extra_postargs=common + extra
                )
            objects.append(made)
        newest = max(made.stat().st_mtime for made in objects)
        if not self.force and target.exists() and target.stat().st_mtime > newest:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        self.compiler.link_shared_object(
            [str(made) for made in objects],
            str(target),
            extra_postargs=self._link_flags(),
            target_lang="c++",
        )

    def _knows(self, flags):
        """Whether the compiler has these flags."""
        source = Path(self.build_temp, "flags.cc")
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text("")
        try:
            self.compiler.compile([str(source)], extra_postargs=flags)
        except CompileError:
            return False
        return True

    def _link_flags(self):
        if sys.platform == "darwin":
            return ["-undefined", "dynamic_lookup"]
        script = shlex.quote(str(ROOT / CSRC / "exports.map"))
        return [
            f"-Wl,--version-script={script}",
            *("-Wl,--no-as-needed", self._stand_in("libtensorflow_framework.so.2")),
        ]

    def _stand_in(self, name):
        """An empty library of this name, so that ours can say that it needs it.

        TensorFlow has it loaded by then, but up to 2.20 not for everybody to see: only
        who names it finds its symbols.
        """
        source = Path(self.build_temp, "stand_in.cc")
        source.write_text("")
        made = self.compiler.object_filenames([str(source)], output_dir="")
        self.compiler.compile([str(source)], extra_postargs=["-fPIC"])
        library = Path(self.build_temp, name)
        self.compiler.link_shared_object(
            made, str(library), extra_postargs=[f"-Wl,-soname,{name}"]
        )
        return str(library)


class Wheel(bdist_wheel):
    """Tags the wheel by the platform alone: one serves every Python."""

    def get_tag(self):
        """`py3-none-<platform>`, or `py3-none-any` where no library was built."""
        build = self.get_finalized_command("build_ext")
        if not Path(build.get_ext_fullpath(LIBRARY)).exists():
            return "py3", "none", "any"
        return "py3", "none", super().get_tag()[2]


TESTS = [
    *("pytest", "pytest-xdist", "hypothesis", "scikit-learn", "scipy", "build"),
    "tensorly",  # referee of the tensor decompositions
]
EXTRAS = {
    # tensorflow-datasets prepares nothing without importlib_resources, but asks for it
    # on old Pythons only.
    "demo": [
        *("tensorflow-datasets", "importlib_resources", "matplotlib", "scikit-learn")
    ],
    "plots": ["matplotlib"],
    # mir_eval's own word: what judges separation leaves with 0.9.
    "speech": ["scipy", "mir_eval<0.9", "pystoi"],
    "tensorboard": ["tensorboard"],
    "tests": TESTS,
    "lint": ["ruff", "pyright", "clang-format"],
}
EXTRAS["all"] = sorted({name for names in EXTRAS.values() for name in names})

readme = ROOT / "README.md"

setup(
    name="keras_compress",
    version=runpy.run_path(str(ROOT / "keras_compress/version.py"))["__version__"],
    description="Makes trained Keras networks small and fast.",
    long_description=readme.read_text() if readme.exists() else "",
    long_description_content_type="text/markdown",
    packages=find_packages(include=["keras_compress", "keras_compress.*"]),
    python_requires=">=3.11",
    install_requires=["tensorflow>=2.18", "keras>=3.8", "numpy", "click", "tabulate"],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["keras-compress=keras_compress.cli:main"]},
    ext_modules=[
        Extension(
            LIBRARY,
            sources=sources(),
            depends=headers(),
            language="c++",
            optional=not flag("KERAS_COMPRESS_REQUIRE_OPS"),
        )
    ],
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": Wheel},
    zip_safe=False,
)
