"""The settings of a server of components: their declarations, their sources and their values."""
