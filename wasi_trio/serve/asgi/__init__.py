"""Serving through an ASGI server of the user's own, and what hypercorn needs for that beside the protocol."""
