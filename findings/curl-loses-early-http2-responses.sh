#!/usr/bin/env bash
# curl 7.88.1 loses an HTTP/2 response that is complete before the upload, if the server then stops the upload.
#
# A server may send a complete response before it has the whole request, and then RST_STREAM with NO_ERROR, so that the
# client stops sending. Clients must not discard the response because of that (RFC 9113, section 8.1).
#
# Expected: curl prints the response (413 and its content) and ends with exit code 0, as libcurl 8.23.0 does.
# Actual: if the RST_STREAM arrives together with the response, most uploads end with exit code 92 (CURLE_HTTP2_STREAM),
# and others with 413 and no content, but exit code 0. If it arrives half a second later, all of them get the response.
#
# Debian 12 has this curl. A server that refuses an upload early must send the RST_STREAM later, or users of this curl
# see a protocol error instead of the reason.
#
# Requires python3 and PyPI, and curl 7.88.1 with HTTP/2, which Debian 12 has. Fails if this changes.
set -euo pipefail
curl --version | head -1 | grep -q "^curl 7.88.1 " || { echo "requires curl 7.88.1"; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check hpack==4.2.0 hyperframe==6.1.0 pycurl==7.49.0 >log 2>&1 || { cat log; exit 1; }
head -c 3000000 /dev/zero > upload
venv/bin/python - <<'PYTHON'
import contextlib
import io
import socket
import subprocess
import threading
import time

import hpack
import pycurl
from hyperframe.frame import DataFrame, Frame, HeadersFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

COUNT = 20


def serve(connection, delay):
    """Respond to the head of a request with 413, and then send RST_STREAM. Read everything else."""
    with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
        stream.read(24)
        connection.sendall(SettingsFrame(0).serialize())
        while head := stream.read(9):
            frame, length = Frame.parse_frame_header(memoryview(head))
            frame.parse_body(memoryview(stream.read(length)))
            if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
                connection.sendall(SettingsFrame(0, flags=["ACK"]).serialize())
            elif isinstance(frame, DataFrame) and frame.data:
                connection.sendall(WindowUpdateFrame(0, window_increment=frame.flow_controlled_length).serialize())
            elif isinstance(frame, HeadersFrame):
                number = frame.stream_id
                fields = hpack.Encoder().encode([(":status", "413"), ("content-length", "5")])
                response = HeadersFrame(number, fields, flags=["END_HEADERS"]).serialize()
                response += DataFrame(number, b"early", flags=["END_STREAM"]).serialize()
                reset = RstStreamFrame(number, 0).serialize()
                if delay:
                    connection.sendall(response)
                    time.sleep(delay)
                    connection.sendall(reset)
                else:
                    connection.sendall(response + reset)


def accept(listener, delay):
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0], delay), daemon=True).start()


def url(delay):
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=accept, args=(listener, delay), daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/"


def curl(address):
    """Return the exit code and the content."""
    command = ["curl", "--silent", "--noproxy", "*", "--max-time", "20", "--http2-prior-knowledge", "--header", "Expect:"]
    done = subprocess.run([*command, "--data-binary", "@upload", address], stdout=subprocess.PIPE)
    return done.returncode, done.stdout


def newer_curl(address):
    content, handle = io.BytesIO(), pycurl.Curl()
    handle.setopt(pycurl.URL, address)
    handle.setopt(pycurl.NOPROXY, "*")
    handle.setopt(pycurl.TIMEOUT, 20)
    handle.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE)
    handle.setopt(pycurl.HTTPHEADER, ["Expect:"])
    handle.setopt(pycurl.POSTFIELDS, bytes(3_000_000))
    handle.setopt(pycurl.WRITEDATA, content)
    try:
        handle.perform()
    except pycurl.error as error:
        return error.args[0], b""
    return 0, content.getvalue()


def intact(client, address):
    return sum(client(address) == (0, b"early") for _ in range(COUNT))


at_once, later = url(0), url(0.5)
found = intact(curl, at_once), intact(curl, later), intact(newer_curl, at_once)
print(f"of {COUNT} responses, curl 7.88.1 gets {found[0]} if RST_STREAM follows at once, {found[1]} if it follows later")
print(f"{pycurl.version.split()[1]} gets {found[2]} if RST_STREAM follows at once")
assert found[0] < COUNT // 2, "curl 7.88.1 gets the responses"
assert found[1:] == (COUNT, COUNT)
PYTHON
