"""Components in registries and layouts of OCI: what a reference to one says, and the way to what it stands for."""
