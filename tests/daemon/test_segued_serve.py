"""`segued serve`: its addresses, its end, and its errors at the start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.daemon.segued_command import segued, start
from tests.mesh.harness import Segued, free_port, hear, spec, stub

from segue.composer.v1 import composition_pb2, stream_pb2
from segue_client import Access, Client
from segue_client.errors import from_rpc_error
from segue_runtime.store.schema import open_writer

if TYPE_CHECKING:
    from pathlib import Path

    from segue.composer.v1 import composer_pb2_grpc


def test_a_port_in_use_is_reported_with_its_owner(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = segued(tmp_path, "serve", "--role", "planner", "--listen", f"127.0.0.1:{port}")
    assert answer.returncode == 1
    assert f"port {port} is in use by pid {os.getpid()}" in answer.stderr
    assert "hint: stop it, or name another port with --listen" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_metrics_port_in_use_is_reported(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = segued(tmp_path, "serve", "--role", "planner", "--metrics-listen", f"127.0.0.1:{port}")
    assert answer.returncode == 1
    assert "name another port with --metrics-listen" in answer.stderr
    assert "Traceback" not in answer.stderr


def damage(path: Path, kind: str) -> None:
    """Make a database that a disk has damaged."""
    open_writer(path).close()
    content = path.read_bytes()
    if kind == "pages":
        path.write_bytes(content[: 3 * 4096] + os.urandom(5 * 4096) + content[8 * 4096 :])
    elif kind == "half":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(b"" if kind == "empty" else os.urandom(8192))


@pytest.mark.parametrize("kind", ["pages", "half", "garbage", "empty"])
def test_a_damaged_database_is_one_line_and_exit_code_1(tmp_path: Path, kind: str) -> None:
    damage(tmp_path / "segue.db", kind)
    (tmp_path / "artifacts" / "compositions").mkdir(parents=True)
    answer = segued(tmp_path, "serve", "--home", str(tmp_path), "--role", "gateway", "--log-level", "error")
    assert answer.returncode == 1
    (line,) = answer.stderr.splitlines()
    assert line.startswith(f"error: the store {tmp_path}/segue.db {'has 0 bytes' if kind == 'empty' else 'is damaged'}")
    assert "restore a backup" in line
    assert not answer.stdout


@pytest.mark.parametrize("command", [("serve",), ("replay", "piece.segue")])
def test_servers_have_no_token_flag(tmp_path: Path, command: tuple[str, ...]) -> None:
    """A flag --token of a server would suggest that callers must send this token."""
    answer = segued(tmp_path, *command, "--token", "sesame")
    assert answer.returncode == 2
    assert "there is no --token" in answer.stderr
    assert "did you mean --server-token?" in answer.stderr


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:7300"])
def test_a_public_address_requires_tls_and_a_token(tmp_path: Path, address: str) -> None:
    answer = segued(tmp_path, "serve", "--role", "planner", "--listen", address)
    assert answer.returncode == 2
    assert "--insecure" in answer.stderr
    assert "server.tls_cert" in answer.stderr


@pytest.mark.reference("openssl")
def test_tls_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    for name in ("one", "two"):
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-days", "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "damaged").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    faults = {
        ("missing.pem", "one.key"): "server.tls_cert: missing.pem: No such file",
        ("damaged", "one.key"): "server.tls_cert: damaged has no certificate",
        ("one.pem", "damaged"): "server.tls_key: damaged has no private key",
        ("one.pem", "two.key"): "server.tls_key: two.key is not the key of the certificate one.pem",
    }
    for (certificate, key), message in faults.items():
        flags = ("--server-tls-cert", certificate, "--server-tls-key", key, "--listen", "127.0.0.1:0")
        answer = segued(tmp_path, "serve", "--role", "planner", *flags)
        assert answer.returncode == 2
        assert message in answer.stderr
        assert "Traceback" not in answer.stderr


def test_a_tokens_file_with_an_error_stops_the_start_and_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(f"# tokens\nann {'0' * 64}\nbob {'0' * 63}\n")
    flags = ("--server-tokens-file", "tokens", "--listen", "127.0.0.1:0")
    answer = segued(tmp_path, "serve", "--role", "planner", *flags)
    assert answer.returncode == 2
    assert "tokens: line 3" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_an_unknown_role_is_a_usage_error(tmp_path: Path) -> None:
    answer = segued(tmp_path, "serve", "--role", "drummer")
    assert answer.returncode == 2
    assert "conductor" in answer.stderr


@pytest.mark.parametrize("role", ["planner", "conductor"])
def test_health_without_an_address_asks_the_role_of_the_same_settings(tmp_path: Path, role: str) -> None:
    # As an image does it: role and address are in the environment, and neither command has a flag.
    container = {"SEGUE_SERVER_ROLE": role, f"SEGUE_{role.upper()}_LISTEN": f"127.0.0.1:{free_port()}"}
    container |= {"SEGUE_HOME": str(tmp_path / "home")}
    assert segued(tmp_path, "health", **container).returncode == 3
    server = start(tmp_path, "serve", **container)
    try:
        assert server.stdout is not None
        assert "ready on" in server.stdout.readline()
        answer = segued(tmp_path, "health", **container)
        assert (answer.returncode, answer.stderr) == (0, "")
        assert "process: SERVING" in answer.stdout
    finally:
        server.kill()
        server.communicate(timeout=30)


@pytest.mark.timeout(120)
async def test_the_first_signal_drains_and_a_restart_continues_the_composition(tmp_path: Path) -> None:
    one = Segued(tmp_path, "--conductor-lease", "2s", "--server-drain", "1s")
    one.start(failpoints="conductor.after_take=sleep(300ms)")
    try:
        async with Client(Access(one.address), patience_s=30) as client:
            heard = composition_pb2.Composition()
            heard.CopyFrom(await client.create(spec(seconds=12)))
            async for update in client.watch(heard.name):
                if update.kind == "section_mixed":
                    break
        assert one.terminate() == 0
        one.start()
        async with Client(Access(one.address), patience_s=30) as client:
            whole = await hear(client.watch(heard.name, audio=stream_pb2.AUDIO_SELECTION_DRAFT))
        assert whole.composition.state == composition_pb2.STATE_SUCCEEDED
        assert len(whole.draft) == whole.composition.plan.frames * 8
    finally:
        one.stop()


@pytest.mark.timeout(120)
async def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    one = Segued(tmp_path, "--server-drain", "600s").start(failpoints="conductor.after_take=sleep(60s)")
    try:
        async with Client(Access(one.address), patience_s=30) as client:
            name = (await client.create(spec())).name
            async for update in client.watch(name):
                if update.kind == "planned":
                    break
            assert one.process is not None
            one.process.terminate()
            async with stub(one.address) as calls:
                # New calls are refused long before the end of the drain.
                while await _refusal(calls) != "SHUTTING_DOWN":
                    pass
            one.process.send_signal(signal.SIGTERM)
            await one.ended()
    finally:
        one.stop()


async def _refusal(calls: composer_pb2_grpc.ComposerServiceAsyncStub) -> str:
    """Return the reason why a composition is refused; for a moment it is still accepted, then the queue is full."""
    try:
        await calls.CreateComposition(composition_pb2.CreateCompositionRequest(spec=spec()))
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error).reason
    return ""
