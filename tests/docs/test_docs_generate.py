"""The templates for other languages pass the whole contract to a plugin, with the names that the page states."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.docs.recipes import ROOT

# Replaces a language's plugin and records its input.
PLUGIN = """\
#!{python}
import json, os, pathlib, sys
from google.protobuf.compiler import plugin_pb2
request = plugin_pb2.CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
options = {{file.name: file.options.go_package for file in request.proto_file}}
wanted = {{name: options[name] for name in request.file_to_generate}}
pathlib.Path(f"{folder}/{{os.getpid()}}.request").write_text(json.dumps([request.parameter, wanted]))
answer = plugin_pb2.CodeGeneratorResponse(supported_features=1)
sys.stdout.buffer.write(answer.SerializeToString())
"""
OWN = {"segue/composer/v1/composer.proto", "segue/audio/v1/audio.proto", "buf/validate/validate.proto"}


def plugin_input(template: str, plugins: tuple[str, ...], folder: Path) -> tuple[str, dict[str, str]]:
    buf = shutil.which("buf", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if buf is None:
        pytest.skip("needs buf: run `make setup-dev`")
    for plugin in plugins:
        (folder / plugin).write_text(PLUGIN.format(python=sys.executable, folder=folder))
        (folder / plugin).chmod(0o755)
    subprocess.run(
        [buf, "generate", "--template", f"docs/generate/{template}", "-o", str(folder / "out")],
        cwd=ROOT, env={**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}, check=True, timeout=60,
    )  # fmt: skip
    # buf calls a plugin once for each folder of the contract.
    calls = [json.loads(path.read_text()) for path in folder.glob("*.request")]
    return calls[0][0], {name: package for _, files in calls for name, package in files.items()}


def test_go(tmp_path: Path) -> None:
    parameter, files = plugin_input("go.yaml", ("protoc-gen-go", "protoc-gen-go-grpc"), tmp_path)
    assert parameter == "paths=source_relative"
    assert set(files) >= OWN
    assert not [name for name in files if name.startswith("google/")]
    package = files["segue/composer/v1/composer.proto"].partition(";")[0]
    assert package == "example.com/you/segue/segue/composer/v1"


def test_typescript(tmp_path: Path) -> None:
    parameter, files = plugin_input("typescript.yaml", ("protoc-gen-es",), tmp_path)
    assert "target=js+dts" in parameter
    assert set(files) >= {*OWN, "google/rpc/status.proto"}
