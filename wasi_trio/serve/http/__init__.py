"""HTTP as a server speaks it, over sockets; ``_stream.HttpStream`` is all that the rest of the server sees of it."""
