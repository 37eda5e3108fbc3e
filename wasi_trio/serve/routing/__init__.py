"""Routing: the choice of the components for a request, and the replacement of components."""
