"""The same suite with the other client library, py-consul: same module name, so in a virtual environment of its own."""

from __future__ import annotations

import os
import site
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest
from kit import ROOT, require
from servers import shared

CLIENT = "py-consul==1.8.0"
SUITES = ("election", "locks", "members", "broadcast", "consul")

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(os.environ.get("CALLBOARD_FAULTS") != "full", reason="makes a virtual environment: 1 min"),
]


@pytest.fixture
def python(tmp_path: Path) -> str:
    """An interpreter that sees what this one does, and before it the other client."""
    folder = tmp_path / "venv"
    venv.create(folder, with_pip=True, symlinks=True)
    program = str(folder / "bin" / "python")
    own = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    seen = [path for path in [*site.getsitepackages(), sysconfig.get_path("purelib")] if Path(path).is_dir()]
    done = subprocess.run([program, "-m", "pip", "install", "-q", "--no-deps", CLIENT], capture_output=True, text=True,
                          check=False, timeout=120)
    require(done.returncode == 0, f"{CLIENT} can't be had: {done.stderr[-500:]}")
    (own / "seen.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in seen))
    return program


def test_the_suite_passes_with_py_consul(python: str, tmp_path: Path):
    where = subprocess.run([python, "-c", "import consul; print(consul.__file__)"], capture_output=True, text=True,
                           check=True, timeout=60).stdout
    assert str(tmp_path) in where
    files = [f"tests/conformance/test_cluster_{name}.py" for name in SUITES]
    environment = {**os.environ, "CALLBOARD_TEST_CONSUL_URL": shared.url("consul"), "CALLBOARD_FAULTS": ""}
    done = subprocess.run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "consul", *files], cwd=ROOT,
                          env=environment, capture_output=True, text=True, check=False, timeout=360)
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-2_000:]
    assert " passed" in done.stdout
