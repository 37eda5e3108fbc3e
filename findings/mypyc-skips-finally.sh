#!/usr/bin/env bash
# mypyc 2.4.1 compiles generators and coroutines that skip finally, and coroutines whose second await returns None.
#
# The same module runs interpreted and compiled. A for loop over a generator ends with break. A suspended coroutine is
# dropped. A finished coroutine is awaited again, and a coroutine is never awaited.
#
# Expected: Python's guarantees. A collected generator or coroutine is closed, so its finally and with blocks run (PEP
# 342). A second await raises RuntimeError. A coroutine that was never awaited causes a RuntimeWarning.
# Actual: in the compiled module neither finally nor with blocks run. Files, locks and counts that they release stay.
# The second await returns None instead of raising, also after close(). No warning appears.
#
# Compiled modules must close their generators (contextlib.closing), and must not rely on an error for a coroutine that
# two places await. Only tests of the interpreted module show such mistakes.
#
# Requires python3 with its headers, a C compiler, and PyPI. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "mypy[mypyc]==2.4.1" setuptools >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cd "$folder"
cat > subject.py <<'PYTHON'
from collections.abc import Awaitable, Iterator
from contextlib import closing

done: list[str] = []


class Resource:
    def close(self) -> None:
        done.append("with block")


def numbers() -> Iterator[int]:
    try:
        with closing(Resource()):
            yield 1
            yield 2
    finally:
        done.append("finally of the generator")


def leave_loop() -> None:
    for _ in numbers():
        break


async def wait(event: Awaitable[None]) -> int:
    try:
        await event
    finally:
        done.append("finally of the coroutine")
    return 1


async def one() -> int:
    return 1
PYTHON
cat > use.py <<'PYTHON'
import asyncio
import gc
import warnings

import subject


class Event:
    def __await__(self):
        yield


async def twice():
    coroutine, closed = subject.one(), subject.one()
    closed.close()
    found = [await coroutine]
    for again in (coroutine, closed):
        try:
            found.append(await again)
        except RuntimeError:
            found.append("RuntimeError")
    return found


subject.leave_loop()
coroutine = subject.wait(Event())
coroutine.send(None)
del coroutine
gc.collect()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    subject.one()
    gc.collect()
print(subject.done, asyncio.run(twice()), len(caught))
PYTHON
interpreted=$(venv/bin/python use.py)
PATH="$folder/venv/bin:$PATH" venv/bin/mypyc subject.py >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
compiled=$(venv/bin/python use.py)
echo "interpreted: (blocks that ran) (first, second await, await after close) (warnings)"
echo "  $interpreted"
echo "compiled:"
echo "  $compiled"
[ "$interpreted" = "['with block', 'finally of the generator', 'finally of the coroutine'] [1, 'RuntimeError', 'RuntimeError'] 1" ]
[ "$compiled" = "[] [1, None, None] 0" ] || { echo "compiled code has changed"; exit 1; }
