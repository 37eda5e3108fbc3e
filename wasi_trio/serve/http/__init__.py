"""HTTP as a server speaks it, over sockets; ``stream.HttpStream`` is all that the rest of the server sees of it."""
