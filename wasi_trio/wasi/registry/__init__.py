"""Components in OCI registries and layouts: references, and how to fetch the components."""
