"""The pool: requests and the instances of one component that answer them, with nothing of HTTP's framing in it."""
