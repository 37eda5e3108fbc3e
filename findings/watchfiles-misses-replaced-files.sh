#!/usr/bin/env bash
# watchfiles 1.3.0 reports only the first of several replacements of a watched file, and none behind a symbolic link.
#
# A program watches a file by its name: watch("app.wasm"). Three times, another program replaces the file as deployments do,
# by a rename of a new file over it. In a second folder, the file is a link to ..data/app.wasm, and ..data is a link that a
# rename replaces. This is how Kubernetes updates the files of a ConfigMap or a Secret.
#
# Expected: three reports in both cases. The program names a path, not an inode.
# Actual: the first replacement is reported as a deletion, although the file is there. After that watchfiles waits on,
# but it watches a file without a name: it reports neither further replacements nor writes. Behind links it reports
# nothing at all. If the program watches the folder instead, watchfiles reports every replacement, but those behind links
# under the names ..data and ..v1, not under the name app.wasm.
#
# A server that reloads on such reports reloads once or never, and continues with old code or an old certificate. It must
# watch the file's folder, and compare the file itself after each report, whatever path the report names.
#
# Requires python3 and PyPI, on Linux. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check watchfiles==1.3.0 >log 2>&1 || { cat log; exit 1; }
venv/bin/python - <<'PYTHON'
import os
import threading
import time

from watchfiles import watch


def reports(path, base, changes):
    """The reports for a path, one list of names for each change, made by a thread that watches for a second after it."""
    stop, found = threading.Event(), []

    def collect():
        for report in watch(path, stop_event=stop, debounce=100, step=50, rust_timeout=200):
            found.extend((change.name, os.path.relpath(name, base)) for change, name in report)

    watcher = threading.Thread(target=collect)
    watcher.start()
    try:
        time.sleep(1)
        seen = []
        for change in changes:
            found.clear()
            change()
            time.sleep(1)
            seen.append(sorted(found))
        return seen
    finally:
        stop.set()
        watcher.join()


def replace(base, number):
    with open(f"{base}/new", "w") as file:
        file.write(f"version {number}")
    os.rename(f"{base}/new", f"{base}/app.wasm")


def append(base):
    with open(f"{base}/app.wasm", "a") as file:
        file.write("more")


def swap(base, number):
    os.mkdir(f"{base}/..v{number}")
    with open(f"{base}/..v{number}/app.wasm", "w") as file:
        file.write(f"version {number}")
    os.symlink(f"..v{number}", f"{base}/..next")
    os.rename(f"{base}/..next", f"{base}/..data")


os.mkdir("plain")
os.mkdir("linked")
replace("plain", 0)
swap("linked", 0)
os.symlink("..data/app.wasm", "linked/app.wasm")
replacements = [lambda number=number: replace("plain", number) for number in (1, 2, 3)]
swaps = [lambda number=number: swap("linked", number) for number in (1, 2, 3)]

of_file = reports("plain/app.wasm", "plain", [*replacements, lambda: append("plain")])
print("the file, at three replacements and a write:", *of_file)
of_folder = reports("plain", "plain", replacements)
print("its folder, at three replacements:", *of_folder)
of_linked = reports("linked/app.wasm", "linked", swaps)
print("the linked file, at three replacements:", *of_linked)
swaps = [lambda number=number: swap("linked", number) for number in (4, 5)]
of_linked_folder = reports("linked", "linked", swaps)
print("its folder, at two replacements:", *of_linked_folder)
assert ("deleted", "app.wasm") in of_file[0]
assert of_file[1:] == [[], [], []]
assert all(("added", "app.wasm") in report or ("modified", "app.wasm") in report for report in of_folder)
assert of_linked == [[], [], []]
assert all(report for report in of_linked_folder)
assert "app.wasm" not in {name for report in of_linked_folder for _, name in report}
PYTHON
