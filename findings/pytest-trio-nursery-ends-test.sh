#!/usr/bin/env bash
# With pytest-trio 0.8.0, a test that cancels its fixture `nursery` passes without its remaining lines.
#
# The fixture `nursery` holds a test's background tasks, such as a server. A test stops them by
# nursery.cancel_scope.cancel(), and then checks the effects.
#
# Expected: this cancels the background tasks. The test itself continues, and its failing assertion fails it.
# Actual: the test itself also runs in that cancel scope. Its next checkpoint raises Cancelled, pytest-trio swallows
# that, and reports PASSED. No assertion after it runs. The same test with its own nursery fails, as it must.
#
# Tests must stop a server by its own means or by their own cancel scope. A suite can hold such a test for years, because
# it always passes.
#
# Requires python3 and PyPI. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pytest-trio==0.8.0 pytest==9.2.0 trio==0.35.0 >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cd "$folder"
cat > test_subject.py <<'PYTHON'
import pytest
import trio


@pytest.mark.trio
async def test_with_the_fixture(nursery):
    nursery.start_soon(trio.sleep_forever)
    nursery.cancel_scope.cancel()
    await trio.lowlevel.checkpoint()
    print("this line runs")
    assert 1 == 2


@pytest.mark.trio
async def test_with_its_own_nursery():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        nursery.cancel_scope.cancel()
    await trio.lowlevel.checkpoint()
    print("this line runs")
    assert 1 == 2
PYTHON
venv/bin/python -m pytest -q -rA -p no:cacheprovider test_subject.py >"$folder/output" || true
grep -E "^(PASSED|FAILED|this line)" "$folder/output"
grep -q "^PASSED test_subject.py::test_with_the_fixture" "$folder/output" || { echo "pytest-trio has changed"; exit 1; }
grep -q "^FAILED test_subject.py::test_with_its_own_nursery" "$folder/output"
[ "$(grep -c "^this line runs" "$folder/output")" = 1 ]
