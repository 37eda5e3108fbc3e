#!/usr/bin/env bash
# h2 4.4.1 ends a connection at GOAWAY, on both sides, instead of completing its streams.
#
# A server ends a connection gracefully by GOAWAY with NO_ERROR and the number of the last stream that it processes. Both
# sides then complete the streams up to that number (RFC 9113, section 6.8).
#
# Expected: the server can send the rest of a response after GOAWAY, and the client can read it.
# Actual: after close_connection, a server cannot send more of a response (ProtocolError in state CLOSED). A client that
# has read GOAWAY raises ProtocolError at the next frame of a response that the GOAWAY includes.
#
# Clients on h2 therefore lose requests at each graceful restart of such a server (httpx 0.28.1 does:
# LocalProtocolError). A server on h2 must delay GOAWAY until it has sent its last response.
#
# Requires python3 and PyPI. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check h2==4.4.1 >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
"$folder/venv/bin/python" - <<'PYTHON'
import h2.config
import h2.connection
import h2.events
import h2.exceptions
from hyperframe.frame import DataFrame, GoAwayFrame


def begun():
    """A client and a server, with a response half of which the client has read."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    client.initiate_connection()
    server.initiate_connection()
    client.send_headers(
        1, [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/")], end_stream=True
    )
    server.receive_data(client.data_to_send())
    server.send_headers(1, [(":status", "200")])
    server.send_data(1, b"half")
    client.receive_data(server.data_to_send())
    return client, server


def what(operation):
    try:
        operation()
    except h2.exceptions.ProtocolError as error:
        return f"ProtocolError: {error}"
    return "ok"


GOAWAY = GoAwayFrame(0, last_stream_id=1, error_code=0).serialize()
REST = DataFrame(1, b"half", flags=["END_STREAM"]).serialize()

client, server = begun()
read_plain = what(lambda: client.receive_data(REST))
client, server = begun()
client.receive_data(GOAWAY)
read_after = what(lambda: client.receive_data(REST))
client, server = begun()
server.close_connection(last_stream_id=1)
sent_after = what(lambda: server.send_data(1, b"half", end_stream=True))
print("the rest of a response, read without GOAWAY:", read_plain)
print("read after GOAWAY that names its stream:", read_after)
print("sent after GOAWAY that names its stream:", sent_after)
assert read_plain == "ok"
assert "RECV_DATA in state ConnectionState.CLOSED" in read_after
assert "SEND_DATA in state ConnectionState.CLOSED" in sent_after
PYTHON
