"""Reads and writes the files of cassettes: JSON that is easy to read in a diff."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from wasi_trio._files import read_file
from wasi_trio._texts import shown
from wasi_trio.testing._interactions import (
    CODINGS,
    PAYLOADS,
    CassetteError,
    Content,
    Fields,
    Interaction,
    RecordedRequest,
    RecordedResponse,
)
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.p3._http_types import ERROR_CODE

#: The member that marks a file as a cassette. Its value is the version of the format.
_MARK = "wasi_trio cassette"
_VERSION = 1
_CODES = dict(ERROR_CODE.cases)
#: Maximum number of base64 characters in a line.
_LINE = 76
#: The ways of writing JSON that the file can reproduce to the byte. Content in another one is written as text.
_SPELLINGS: dict[str, dict[str, Any]] = {
    "compact": {"separators": (",", ":"), "ensure_ascii": False},
    "spaced": {"ensure_ascii": False},
    "compact ascii": {"separators": (",", ":")},
    "spaced ascii": {},
}


# ---- write -----------------------------------------------------------------------------------------------


def dump(interactions: Iterable[Interaction]) -> str:
    """Return the text of a file."""
    document = {_MARK: _VERSION, "interactions": [_interaction(interaction) for interaction in interactions]}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def save(path: Path, text: str) -> bytes:
    """Replace a file, completely or not at all, and return its content. Raises CassetteError."""
    data = text.encode()
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            scratch.write_bytes(data)
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)
    except OSError as error:
        raise CassetteError(f"cannot write {path}: {error.strerror}") from None
    return data


def _interaction(interaction: Interaction) -> dict[str, Any]:
    request, response = interaction.request, interaction.response
    made: dict[str, Any] = {
        "request": {"method": request.method, "url": request.url}
        | _message(request.headers, request.content, request.trailers)
    }
    if response is not None:
        made["response"] = {"status": response.status} | _message(response.headers, response.content, response.trailers)
    if interaction.failure is not None:
        made["error"] = _failure(interaction.failure)
    if interaction.left:
        made["guest left"] = True
    return made


def _message(headers: Fields, content: Content, trailers: Fields) -> dict[str, Any]:
    made: dict[str, Any] = {"headers": [f"{name}: {value}" for name, value in headers]}
    if content.data or content.coding:
        made["content"] = _content(content)
    if trailers:
        made["trailers"] = [f"{name}: {value}" for name, value in trailers]
    return made


def _failure(failure: HttpError) -> dict[str, Any]:
    value = failure.code.value
    made: dict[str, Any] = {"code": failure.code.case}
    if value is not None:
        made["value"] = value._asdict() if hasattr(value, "_asdict") else value
    return made


def _content(content: Content) -> dict[str, Any]:
    made = _spelled(content.data)
    if content.coding:
        made["coding"] = content.coding
    return made


def _spelled(data: bytes) -> dict[str, Any]:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        encoded = base64.b64encode(data).decode()
        return {"base64": [encoded[at : at + _LINE] for at in range(0, len(encoded), _LINE)]}
    if text[:1] in ("{", "["):
        spelled = _as_json(text)
        if spelled is not None:
            return spelled
    lines = text.splitlines(keepends=True)
    return {"text": text if len(lines) < 2 else lines}


def _as_json(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
        # Half of a surrogate pair and NaN cannot be in a JSON file in UTF-8.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None
    for name, spelling in _SPELLINGS.items():
        if json.dumps(value, **spelling) == text:
            return {"json": value} if name == "compact" else {"json": value, "spelling": name}
    return None


# ---- read ------------------------------------------------------------------------------------------------


def read(path: Path) -> bytes | None:
    """Return the content of a file; None if it does not exist. Raises CassetteError."""
    try:
        return read_file(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CassetteError(f"cannot read {path}: {error.strerror}") from None


def parse(data: bytes, path: Path) -> list[Interaction]:
    """Return the interactions in a file's content. Raises CassetteError, which names the place of the fault."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise CassetteError(f"{path} is not UTF-8") from None
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise CassetteError(f"{path}, line {error.lineno}: this is not JSON: {error.msg}") from None
    except RecursionError:
        raise CassetteError(f"{path} is nested too deeply") from None
    if not isinstance(document, dict) or _MARK not in document:
        raise CassetteError(f"{path} is not a cassette: it has no member {_MARK!r}")
    if document[_MARK] != _VERSION:
        raise CassetteError(f"{path} is a cassette of version {document[_MARK]}; this release reads {_VERSION}")
    found = []
    for number, item in enumerate(_part(f"{path}", document, "interactions", list), 1):
        found.append(_read_interaction(f"{path}: interaction {number}", item))
    return found


def _part(where: str, data: object, name: str, kind: type[Any], default: Any = None) -> Any:
    """Return a member of a JSON object. Raises CassetteError if its type is not ``kind``."""
    if not isinstance(data, Mapping):
        raise CassetteError(f"{where} must be an object")
    value = data.get(name, default)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        names = {str: "a string", int: "a number", list: "a list", dict: "an object", bool: "true or false"}
        raise CassetteError(f"{where}: {name!r} must be {names[kind]}")
    return value


def _read_interaction(where: str, item: object) -> Interaction:
    request = _part(where, item, "request", dict)
    assert isinstance(item, dict)
    response, failure = None, None
    if "response" in item:
        data = _part(where, item, "response", dict)
        inside = f"{where}, response"
        status = _part(inside, data, "status", int)
        if not 200 <= status <= 999:
            raise CassetteError(f"{inside}: {status} is not the status of a response")
        response = RecordedResponse(status, *_read_message(inside, data))
    if "error" in item:
        failure = _read_failure(f"{where}, error", item["error"])
    left = _part(where, item, "guest left", bool, False)
    if response is None and failure is None and not left:
        raise CassetteError(f"{where} has neither a response nor an error")
    inside = f"{where}, request"
    return Interaction(
        RecordedRequest(
            _part(inside, request, "method", str), _part(inside, request, "url", str), *_read_message(inside, request)
        ),
        response,
        failure,
        left,
    )


def _read_message(where: str, data: Mapping[str, Any]) -> tuple[Fields, Content, Fields]:
    content = Content()
    if "content" in data:
        content = _read_content(f"{where}, content", data["content"])
    return _read_fields(where, data, "headers"), content, _read_fields(where, data, "trailers")


def _read_fields(where: str, data: Mapping[str, Any], name: str) -> Fields:
    fields = []
    for line in _part(where, data, name, list, []):
        field, colon, value = line.partition(":") if isinstance(line, str) else ("", "", "")
        if not colon:
            raise CassetteError(f'{where}: each of {name!r} must be a string such as "name: value"')
        try:
            value.encode("latin-1")
        except UnicodeEncodeError:
            raise CassetteError(f"{where}: the field {field} has characters that are not Latin-1") from None
        fields.append((field, value.removeprefix(" ")))
    return fields


def _read_failure(where: str, data: object) -> HttpError:
    code = _part(where, data, "code", str)
    assert isinstance(data, dict)
    value = data.get("value")
    if code not in _CODES:
        raise CassetteError(f"{where}: {shown(code)} is not an error-code of wasi:http")
    payload = PAYLOADS.get(code)
    if payload is not None and value is not None:
        if not isinstance(value, dict) or not value.keys() <= set(payload._fields):
            raise CassetteError(f"{where}: 'value' must be an object with {', '.join(payload._fields)}")
        value = payload(**value)
    return HttpError(code, value)


def _read_content(where: str, data: object) -> Content:
    if not isinstance(data, Mapping):
        raise CassetteError(f"{where} must be an object")
    coding = _part(where, data, "coding", str, "")
    if coding and coding not in CODINGS:
        raise CassetteError(f"{where}: {shown(coding)} is not one of {', '.join(CODINGS)}")
    if "json" in data:
        spelling = _SPELLINGS.get(_part(where, data, "spelling", str, "compact"))
        if spelling is None:
            raise CassetteError(f"{where}: 'spelling' must be one of {', '.join(_SPELLINGS)}")
        return Content(json.dumps(data["json"], **spelling).encode(errors="surrogatepass"), coding)
    for name in ("text", "base64"):
        if name not in data:
            continue
        value = data[name]
        lines = [value] if isinstance(value, str) else value
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            raise CassetteError(f"{where}: {name!r} must be a string or a list of lines")
        joined = "".join(lines)
        if name == "text":
            return Content(joined.encode(errors="surrogatepass"), coding)
        try:
            return Content(base64.b64decode(joined, validate=True), coding)
        except binascii.Error as error:
            raise CassetteError(f"{where}: this is not base64: {error}") from None
    raise CassetteError(f"{where} must have one of 'json', 'text' and 'base64'")
