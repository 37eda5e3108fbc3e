#!/usr/bin/env bash
# h2 4.4.1 as a server ends the whole connection of a client that keeps all rules.
#
# A client may send requests right behind its preface, before it has read anything of the server (RFC 9113, section 3.4),
# and until it has read the server's SETTINGS there is no limit on how many (section 6.5.2). Of those beyond the server's
# limit section 5.1.2 makes a stream error, so that the others go on and the client may repeat what was refused. Expected
# of h2, which announces 100: 100 requests, and something about the 101st alone. Seen: TooManyStreamsError out of
# receive_data, no event of any request, and GOAWAY queued, so that all 101 are lost. It makes no difference whether the
# 101st comes in the same call: the connection is over then as well, with the 100 under way.
#
# Needs python3 and PyPI. Fails if this changes.
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
