"""Generate the Python stubs in gen/ from protos/; `--check` compares only.

The generator runs in its own isolated environment. Its version sets the oldest protobuf runtime that the stubs support,
and as a dependency of the project it would force an old protobuf on every environment.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GENERATOR = ("grpcio-tools==1.72.2", "protobuf==6.30.2", "mypy-protobuf==3.6.0", "setuptools<81")
HEADER = '"""Generated from protos/ by scripts/generate.py; do not edit."""\n'


def find_uv() -> str:
    """Return the project's own uv, or the one on PATH."""
    own = ROOT / ".tools" / "bin" / "uv"
    found = str(own) if own.exists() else shutil.which("uv")
    if not found:
        sys.exit("error: uv is missing\nhint: run `make setup`")
    return found


def generate(target: Path) -> None:
    """Write all stubs below target."""
    protos = sorted(str(path.relative_to(ROOT / "protos")) for path in (ROOT / "protos").rglob("*.proto"))
    command = [find_uv(), "run", "--no-project", "--isolated", "--python", "3.11"]
    for package in GENERATOR:
        command += ["--with", package]
    outputs = [f"--{kind}_out={target}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    command += [
        "python",
        "-m",
        "grpc_tools.protoc",
        f"-I{ROOT / 'protos'}",
        f"-I{ROOT / 'third_party/protos'}",
    ]
    command += [*outputs, *protos, "buf/validate/validate.proto"]
    subprocess.run(command, check=True, cwd=ROOT)
    for folder in [path for path in target.rglob("*") if path.is_dir()]:
        (folder / "__init__.py").write_text(HEADER)
        if folder.parent == target:
            (folder / "py.typed").touch()
    for stub in [*target.rglob("*_pb2_grpc.py"), *target.rglob("*_pb2_grpc.pyi")]:
        # The generator writes a gRPC stub for every file. Files without a service would only cost import time.
        if "Stub" not in stub.read_text():
            stub.unlink()


def differences(left: Path, right: Path) -> list[str]:
    """Return the relative paths of files that differ between the folders, or exist in one of them only."""
    names = {
        str(path.relative_to(side))
        for side in (left, right)
        for path in side.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return sorted(
        name
        for name in names
        if not ((left / name).is_file() and (right / name).is_file())
        or not filecmp.cmp(left / name, right / name, shallow=False)
    )


def main() -> int:
    """Write the stubs, or compare them with gen/."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="change nothing; fail when gen/ is not fresh")
    arguments = parser.parse_args()
    gen = ROOT / "gen"
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / "gen"
        fresh.mkdir()
        generate(fresh)
        if arguments.check:
            stale = differences(gen, fresh)
            for name in stale:
                print(f"not fresh: gen/{name}")
            if stale:
                print("hint: run `make generate` and commit gen/")
            return 1 if stale else 0
        shutil.rmtree(gen, ignore_errors=True)
        shutil.copytree(fresh, gen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
