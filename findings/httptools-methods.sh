#!/usr/bin/env bash
# httptools 0.9.0 (with llhttp) rejects requests whose methods HTTP allows.
#
# A method is any token, and its case matters (RFC 9110, section 9.1). IANA's registry has about forty.
#
# Expected: the parser accepts any token, and the application may answer 501.
# Actual: a method outside llhttp's built-in list raises HttpParserInvalidMethodError before any callback. This affects
# 10 methods of IANA's registry, and every method in lower case. An application can neither serve nor refuse them.
#
# Requires python3 and PyPI. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check httptools==0.9.0 >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
"$folder/venv/bin/python" - <<'PYTHON'
import httptools

#: IANA's registry of methods, except its "*", which is no method
METHODS = """ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT CONNECT COPY DELETE GET HEAD LABEL LINK LOCK MERGE MKACTIVITY
MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE MOVE OPTIONS ORDERPATCH PATCH POST PRI PROPFIND PROPPATCH PUT QUERY REBIND
REPORT SEARCH TRACE UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL""".split()


def parses(method):
    try:
        httptools.HttpRequestParser(object()).feed_data(f"{method} / HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    except httptools.HttpParserInvalidMethodError:
        return False
    except httptools.HttpParserUpgrade:
        return True  # CONNECT
    except httptools.HttpParserError:
        return None
    return True


refused = [method for method in METHODS if parses(method) is False]
own = [method for method in ("get", "Get", "FOO", "X-MINE") if parses(method) is False]
print("refused of IANA's:", *refused)
print("refused of others:", *own)
assert len(refused) == 10, refused
assert own == ["get", "Get", "FOO", "X-MINE"]
PYTHON
