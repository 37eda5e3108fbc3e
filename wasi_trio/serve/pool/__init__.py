"""The pool: the requests for one component, and the instances that answer them. It knows nothing of HTTP framing."""
