"""``python -m tests.debian VERSION``: run the test suite on a CPython of Debian's unstable suite.

Debian packages a new CPython early. debootstrap unpacks it into a folder of its own. The last commit of this repository
is cloned into it, and pip installs its dependencies. Mounts and processes live in namespaces, which the kernel removes
with their first process: nothing remains of them, however a run ends.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.guests.build import ROOT, cache_folder

#: packages beside those of Python: the suite starts ``ps``, pip requires certificates
PACKAGES = ("ca-certificates", "procps")
#: variables that reach the chroot, for pip and for downloads
PASSED_ON = (
    "CI",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_EXTRA_INDEX_URL",
    "PIP_INDEX_URL",
)
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
#: paths inside the chroot
CHECKOUT, VENV = "/srv/wasi_trio", "/srv/venv"
#: runs its arguments after "-" in namespaces of their own, all processes of which end with it
ISOLATED = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--")
ENTER = f"""
set -e
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount -t tmpfs tmpfs "$1/tmp"
mount --bind "$2" "$1{CHECKOUT}/.guests"
root=$1
shift 2
exec chroot "$root" "$@"
"""


class Unusable(Exception):
    """This machine cannot run the tests; ``str(error)`` says what to do."""


def check_machine() -> None:
    if os.geteuid() != 0:
        raise Unusable("A chroot requires root: run this as root, in a container for example.")
    for program, package in (("debootstrap", "debootstrap"), ("unshare", "util-linux"), ("git", "git")):
        if shutil.which(program) is None:
            raise Unusable(f"{program} is missing: install the package {package}.")


def find_mirror() -> str:
    """Return the URL of the Debian mirror that apt is configured for."""
    command = ["apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI)", "Created-By: Packages"]
    try:
        listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unusable(f"apt names no Debian mirror ({error}): name one with --mirror URL.") from error
    for url in listed:
        if re.fullmatch(r"(https?|file)://\S+/debian/?", url):
            return url
    raise Unusable("apt's configuration has no Debian mirror: name one with --mirror URL.")


@contextmanager
def chroot_folder(version: str, keep: bool) -> Iterator[Path]:
    """Yield a folder for the chroot. With ``keep``, all runs share it; otherwise this run removes it at the end."""
    if keep:
        folder = ROOT / ".nox" / f"debian-chroot-{version}"
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    else:
        with tempfile.TemporaryDirectory(prefix="wasi_trio-debian-") as name:
            yield Path(name)


def bootstrap(root: Path, version: str, suite: str, mirror: str | None) -> None:
    complete = root / "srv" / "complete"
    if complete.exists():
        return
    packages = ",".join((f"python{version}", f"python{version}-dev", f"python{version}-venv", *PACKAGES))
    debootstrap = ("debootstrap", "--variant=minbase", f"--include={packages}", suite, str(root))
    # Its own mounts of /proc and /sys end with the namespace, even if it fails half-way.
    subprocess.run([*ISOLATED, *debootstrap, mirror or find_mirror()], check=True)
    complete.touch()


def copy_in(root: Path) -> None:
    """Copy the last commit, and how this machine reaches the network."""
    checkout = root / CHECKOUT[1:]
    shutil.rmtree(checkout, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(checkout)], check=True)
    (checkout / ".guests").mkdir()
    for name in ("/etc/resolv.conf", "/etc/hosts"):
        shutil.copy(name, root / name[1:])
    certificates = os.environ.get("PIP_CERT") or ssl.get_default_verify_paths().cafile
    if certificates is not None:
        shutil.copy(certificates, root / CERTIFICATES[1:])


def run_inside(root: Path, *command: str) -> int:
    guests = cache_folder()
    guests.mkdir(parents=True, exist_ok=True)
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PIP_CERT": CERTIFICATES,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    enter = (*ISOLATED, "sh", "-c", ENTER, "enter", str(root), str(guests.resolve()))
    return subprocess.run([*enter, *command], env=environment).returncode


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.debian",
        description="Run the test suite on a CPython of Debian's unstable suite. Other arguments go to pytest.",
    )
    parser.add_argument("version", help='the Python, "3.15" for example')
    parser.add_argument("--suite", default="unstable", help="Debian's suite that has it (default: unstable)")
    parser.add_argument("--mirror", help="URL of a Debian mirror (default: the one that apt is configured for)")
    parser.add_argument("--keep", action="store_true", help="keep the chroot, below .nox, for the next run with --keep")
    options, pytest_arguments = parser.parse_known_args(arguments)
    try:
        check_machine()
        with chroot_folder(options.version, options.keep) as root:
            bootstrap(root, options.version, options.suite, options.mirror)
            copy_in(root)
            python = f"{VENV}/bin/python"
            script = (
                f"cd {CHECKOUT} && python{options.version} -m venv --clear {VENV}"
                f" && {python} -m pip install --quiet --editable '.[test]'"
                # The shell stays the first process, which reaps those that tests leave.
                f" && {python} -m pytest {shlex.join(pytest_arguments)}; exit $?"
            )
            return run_inside(root, "sh", "-c", script)
    except (Unusable, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
