"""The parts of ``--help`` besides the options: the list of commands, and examples."""

from __future__ import annotations

GROUP = """\b
Examples:
  wasi_trio serve --addr 127.0.0.1:8080 app.wasm
  wasi_trio run command.wasm one two
  wasi_trio inspect app.wasm

'wasi_trio COMMAND --help' describes a command.
"""

EXAMPLES = {
    "serve": """\b
Examples:
  wasi_trio serve
      the built-in component, on port 8080 of all addresses
  wasi_trio serve --addr 127.0.0.1:0 app.wasm
      on a free port, which the first line of output names
  wasi_trio serve --env TOKEN=secret -H 'x-served-by: wasi_trio' app.wasm
  wasi_trio serve --request-timeout 10s --admin-addr 127.0.0.1:9090 app.wasm
  wasi_trio serve outer.wasm inner.wasm
      outer.wasm answers; its requests to wasi:http/handler go to inner.wasm
""",
    "run": """\b
Examples:
  wasi_trio run command.wasm one --two
      all arguments after the file are the component's
  wasi_trio run --env LANG=C command.wasm < input > output
""",
    "inspect": """\b
Examples:
  wasi_trio inspect app.wasm
  wasi_trio inspect app.wasm | grep -P '^import.*missing'
  wasi_trio inspect --wit app.wasm > app.wit
  wasi_trio inspect --json app.wasm | jq .worlds
""",
    "compile": """\b
Example, for building a container image:
  wasi_trio compile app.wasm
""",
    "bindgen": """\b
Examples:
  wasi_trio bindgen app.wasm -o app_bindings
  wasi_trio bindgen wit -o bindings --world plugin
""",
    "profile": """\b
Example:
  wasi_trio serve --profile guest app.wasm
  wasi_trio profile wasmtime-guest-profile-app-1.json -o flame.html
""",
    "completion": """\b
Examples:
  eval "$(wasi-trio completion bash)"
      in ~/.bashrc
  eval "$(wasi-trio completion zsh)"
      in ~/.zshrc
  wasi-trio completion fish > ~/.config/fish/completions/wasi-trio.fish
""",
}
