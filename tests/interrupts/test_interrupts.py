"""Each SIGINT ends what runs, whatever guest and host function it strikes, and leaves the process able to run more."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time

import pytest

from tests.interrupts.rounds import CASES

ROUNDS = 5


@pytest.mark.parametrize("case", CASES)
def test_none_is_lost(case: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.interrupts.rounds", case, str(ROUNDS)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    outcomes = []
    generator = random.Random(case)
    try:
        for _ in range(ROUNDS):
            assert process.stdout.readline() == "ready\n", process.communicate()
            time.sleep(generator.uniform(0, 0.03))  # so that it strikes anywhere
            process.send_signal(signal.SIGINT)
            outcomes.append(process.stdout.readline())
        output, errors = process.communicate()
    finally:
        process.kill()
        process.wait()
    # It is alone, or in the groups of the nurseries that it has passed.
    assert set(outcomes) <= {"KeyboardInterrupt\n", "group with KeyboardInterrupt None\n"}
    assert not output
    assert "Exception ignored" not in errors
    assert process.returncode == 0
