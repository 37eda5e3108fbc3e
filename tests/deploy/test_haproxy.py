"""The configuration of HAProxy, checked by HAProxy itself. ``tests/rolling`` runs it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.deploy.files import COMPONENT, DEPLOY, option, options, seconds, tool

FILE = DEPLOY / "haproxy.cfg"
TEXT = FILE.read_text()


def checked(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([tool("haproxy"), "-c", "-f", str(path)], capture_output=True, text=True, check=False)


def test_haproxy_accepts_it_without_a_warning() -> None:
    done = checked(FILE)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert "ALERT" not in done.stderr


def test_haproxy_would_refuse_it(tmp_path: Path) -> None:
    bad = tmp_path / "haproxy.cfg"
    bad.write_text(TEXT.replace("option redispatch", "option redispatched"))
    assert checked(bad).returncode == 1


def test_the_delay_of_the_replicas_is_longer_than_its_checks_take() -> None:
    (line,) = re.findall(r"wasi-trio serve .*", TEXT)
    words = line.split()
    assert words[-1] == COMPONENT
    assert options(words)
    checks = re.search(r"default-server check port (\d+) inter (\d+)s fall (\d+)", TEXT)
    assert checks
    assert option(words, "--admin-addr").endswith(f":{checks[1]}")
    # Each check may take as long as the interval between two.
    assert seconds(option(words, "--drain-delay")) > int(checks[2]) * (int(checks[3]) + 1)
