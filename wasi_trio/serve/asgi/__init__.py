"""The ASGI application for other servers, and fixes for hypercorn."""
