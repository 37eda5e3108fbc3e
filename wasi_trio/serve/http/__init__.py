"""The server's side of HTTP over sockets. The rest of the server only sees ``_stream.HttpStream``."""
