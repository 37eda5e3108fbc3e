"""The commands of many-machines.md: run those for one machine under load, and check the files that others name."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

from tests.balancer.haproxy import program
from tests.balancer.load import Load
from tests.docs.blocks import ROOT, fenced
from tests.guests import wat
from tests.wasi.state.valkey import server_program

PAGE = ROOT / "docs" / "many-machines.md"
BLOCKS = [block.text for block in fenced(PAGE)]
#: commands that require a daemon, a cluster or root
ELSEWHERE = re.compile(r"docker |kubectl |systemctl |install ")
HERE = [text for text in BLOCKS if not ELSEWHERE.match(text)]
#: the ports in the page and in its files
PORTS = (6379, 8000, 8080, 9090)


def free_ports() -> dict[str, str]:
    """Return a free port on all addresses for each port of the page."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("", 0))) for _ in PORTS]
        return {str(port): str(sock.getsockname()[1]) for port, sock in zip(PORTS, sockets, strict=True)}


def test_every_block_is_for_a_shell() -> None:
    assert {block.language for block in fenced(PAGE)} == {"sh"}
    assert len(HERE) == 4


@pytest.mark.parametrize("text", [text for text in BLOCKS if text not in HERE])
def test_files_of_other_commands_exist(text: str) -> None:
    lines = text.splitlines()
    assert [line for line in lines if not ELSEWHERE.match(line)] == []
    assert [path for path in re.findall(r"deploy/[\w.-]+", text) if not (ROOT / path).is_file()] == []
    for name in re.findall(r"(?<=deployment/)\w+", text):
        assert f"\nkind: Deployment\nmetadata:\n  name: {name}\n" in (ROOT / "deploy" / "kubernetes.yaml").read_text()
    for argument in re.findall(r"--build-arg (\w+)=", text):
        assert f"ARG {argument}=" in (ROOT / "deploy" / "Dockerfile").read_text()


def started(script: str, folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with open(folder / "output", "wb") as output:
        return subprocess.Popen(
            ["bash", "-c", script],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have one address of the loopback interface")
async def test_replicas_of_one_machine_are_replaced_without_a_loss(tmp_path: Path) -> None:
    haproxy, curl = program(), shutil.which("curl")
    if haproxy is None or curl is None:
        pytest.skip("haproxy or curl is not installed")
    (tools := tmp_path / "bin").mkdir()
    for name, path in (("haproxy", haproxy), ("valkey-server", server_program()), ("python", sys.executable)):
        # Not a link, from which Python would not find its environment.
        (tools / name).write_text(f'#!/bin/sh\nexec "{path}" "$@"\n')
        (tools / name).chmod(0o755)
    (tmp_path / "app.wasm").write_bytes(wat.load("state"))
    ports = free_ports()
    any_port = re.compile(r"\b(?:" + "|".join(ports) + r")\b")

    def at_free_ports(text: str) -> str:
        return any_port.sub(lambda found: ports[found[0]], text)

    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "haproxy.cfg").write_text(at_free_ports((ROOT / "deploy" / "haproxy.cfg").read_text()))
    script = at_free_ports("echo BLOCK\n".join(["set -eu\n", *HERE, "echo DONE\n"]))
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "NO_PROXY": "*"}
    shell = started(script, tmp_path, environment)

    def said() -> str:
        return (tmp_path / "output").read_text()

    load = Load(lambda: int(ports["8000"]), paths={"GET": "/", "POST": "/1"})
    try:
        with trio.fail_after(240):
            # Run the last block under load.
            while said().count("BLOCK\n") < len(HERE):
                assert shell.poll() is None, said()
                await trio.sleep(0.05)
            while shell.poll() is None:
                await load.run(100)
    finally:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
    assert shell.returncode == 0, said()
    assert said().endswith("DONE\n")
    assert load.lost == []
    assert min(load.answered.values()) >= 100
