"""Credentials for registries, in the format of Docker and others.

They are in ``config.json`` in the directory ``DOCKER_CONFIG``, or else in ``~/.docker``. ``DOCKER_AUTH_CONFIG`` holds
the content of such a file, and takes precedence. A file may name credential helpers (docker-credential-NAME).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from wasi_trio._files import read_file
from wasi_trio._texts import get_logger
from wasi_trio.wasi.registry._errors import RegistryError

logger = get_logger("wasi_trio")

VARIABLE = "DOCKER_AUTH_CONFIG"
#: the key of Docker's own registry in the file
_DOCKER_KEY = "index.docker.io"
#: maximum bytes of the file, and maximum seconds of a credential helper
_MAX_BYTES = 1 << 20
_HELPER_TIMEOUT = 30.0
#: the user name that marks an identity token
_TOKEN = "<token>"
_HELPER = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name and a password. A repr shows neither."""

    user: str = field(repr=False)
    password: str = field(repr=False)

    @property
    def basic(self) -> str:
        """The value of the field Authorization (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


async def find_credentials(host: str, environment: Mapping[str, str]) -> Credentials | None:
    """Return the credentials for a registry, or None. Raises RegistryError for an invalid configuration."""
    content, place = _configuration(environment)
    wanted = _DOCKER_KEY if host == "docker.io" else host
    helpers = _table(content, "credHelpers")
    for key, helper in helpers.items():
        if _host_of(key) in (host, wanted):
            return await _run_helper(helper, key, place, required=True)
    for key, entry in _table(content, "auths").items():
        if _host_of(key) in (host, wanted) and isinstance(entry, dict) and (found := _decode_entry(entry, key, place)):
            return found
    store = content.get("credsStore")
    if store:
        server = f"https://{_DOCKER_KEY}/v1/" if wanted == _DOCKER_KEY else host
        return await _run_helper(store, server, place, required=False)
    return None


def _configuration(environment: Mapping[str, str]) -> tuple[Mapping[str, Any], str]:
    text = environment.get(VARIABLE)
    place = VARIABLE
    if not text:
        folder = environment.get("DOCKER_CONFIG")
        try:
            path = Path(folder) / "config.json" if folder else Path.home() / ".docker" / "config.json"
            place = str(path)
            text = read_file(path, _MAX_BYTES).decode()
        except (FileNotFoundError, NotADirectoryError, RuntimeError):
            return {}, place
        except OSError as error:
            raise RegistryError(f"cannot read {place}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise RegistryError(f"{place} is not JSON") from None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        # Without the error's message, which may repeat a part of the content.
        raise RegistryError(f"{place} is not JSON") from None
    return (content if isinstance(content, dict) else {}), place


def _table(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = content.get(key)
    return found if isinstance(found, dict) else {}


def _host_of(key: str) -> str:
    """Return the host of an entry, which may be a URL."""
    return key.partition("://")[2].partition("/")[0].lower() if "://" in key else key.partition("/")[0].lower()


def _decode_entry(entry: Mapping[str, Any], key: str, place: str) -> Credentials | None:
    if entry.get("identitytoken"):
        raise _identity_token_error(key, place)
    encoded = entry.get("auth")
    if isinstance(encoded, str) and encoded:
        try:
            user, colon, password = base64.b64decode(encoded).decode().partition(":")
        except (binascii.Error, ValueError):
            colon = ""
        if not colon:
            raise RegistryError(f"the auth of the entry {key} in {place} must be USER:PASSWORD in Base64")
        return Credentials(user, password)
    name, secret = entry.get("username"), entry.get("password")
    return Credentials(name, secret) if isinstance(name, str) and isinstance(secret, str) and name else None


async def _run_helper(helper: Any, server: str, place: str, *, required: bool) -> Credentials | None:
    """Return the credentials of a helper for a server, or None. A helper that is not ``required`` may be missing."""
    if not isinstance(helper, str) or _HELPER.fullmatch(helper) is None:
        raise RegistryError(f"{place} has an invalid name of a credential helper")
    program = f"docker-credential-{helper}"
    try:
        with trio.fail_after(_HELPER_TIMEOUT):
            done = await trio.run_process(
                [program, "get"],
                stdin=server.encode(),
                capture_stdout=True,
                stderr=subprocess.DEVNULL,
                check=False,
            )
    except trio.TooSlowError:
        raise RegistryError(f"{program} from {place} has not answered for {_HELPER_TIMEOUT:g} s") from None
    except OSError as error:
        if required:
            raise RegistryError(f"cannot run {program} from {place}: {error.strerror}") from None
        logger.info("Cannot run %s from %s: %s", program, place, error.strerror)
        return None
    if done.returncode:
        return None
    try:
        found = json.loads(done.stdout)
        user, secret = found["Username"], found["Secret"]
    except (ValueError, TypeError, KeyError, RecursionError):
        user = secret = None
    if not isinstance(user, str) or not isinstance(secret, str):
        raise RegistryError(f"{program} from {place} returned no valid credentials")
    if user == _TOKEN:
        raise _identity_token_error(server, place)
    return Credentials(user, secret)


def _identity_token_error(key: str, place: str) -> RegistryError:
    return RegistryError(f"the credentials for {key} in {place} are an identity token, which is not supported")
