"""Several components behind one address: which request goes to which, and how one takes the place of another."""
