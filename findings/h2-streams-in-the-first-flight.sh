#!/usr/bin/env bash
# An h2 4.4.1 server ends the whole connection of a client that follows all rules.
#
# A client may send requests right after its preface, before it has read anything from the server (RFC 9113, section 3.4).
# Until it has read the server's SETTINGS, no limit applies to their number (section 6.5.2). A request beyond the server's
# limit is a stream error (section 5.1.2): the other requests continue, and the client may repeat the refused one.
#
# Expected: h2 announces 100 streams, so it accepts 100 requests and refuses only the 101st.
# Actual: receive_data raises TooManyStreamsError, reports no request, and queues GOAWAY, so all 101 requests are lost. If
# the 101st request arrives in a later call, the connection ends too, with the 100 under way.
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

HEAD = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/")]


def flights(count):
    """What a client sends before it has heard of the server: the preface, and each request."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    sent = [client.data_to_send()]
    for number in range(count):
        client.send_headers(2 * number + 1, HEAD, end_stream=True)
        sent.append(client.data_to_send())
    return sent


def outcome(pieces):
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    server.initiate_connection()
    server.clear_outbound_data_buffer()
    requests = 0
    try:
        for piece in pieces:
            events = server.receive_data(piece)
            requests += sum(isinstance(event, h2.events.RequestReceived) for event in events)
    except h2.exceptions.TooManyStreamsError:
        frame_types = []
        data = server.data_to_send()
        while data:
            frame_types.append(data[3])
            data = data[9 + int.from_bytes(data[:3], "big") :]
        return requests, 7 in frame_types
    return requests, False


hundred, one_more = outcome([b"".join(flights(100))]), outcome([b"".join(flights(101))])
apart = outcome(flights(101))
print("100 requests in one flight: (requests seen, GOAWAY)", hundred)
print("101 requests in one flight:", one_more)
print("101 requests one by one:", apart)
assert hundred == (100, False)
assert one_more == (0, True)
assert apart == (100, True)
PYTHON
