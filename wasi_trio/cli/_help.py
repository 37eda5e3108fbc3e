"""The parts of ``--help`` besides the options: the list of commands, and examples.

They call the program ``wasi-trio``. The help shows the name under which the user called it.
"""

from __future__ import annotations

import re

import click

#: The name of the installed program.
PROGRAM = "wasi-trio"
#: The environment variable by which a shell asks for completions.
COMPLETE = "_WASI_TRIO_COMPLETE"


#: The grammar of values, by the names that options have for them. docs/command-line.md has the rest.
VALUES = {
    "DURATION": "Seconds, or numbers with h, m, s, ms, us or ns: 2.5, 500ms, 1h30m. 'none' lifts a limit.",
    "SIZE": "Bytes, or a number with K, M or G: 1048576, 512M, 2GiB. 'none' lifts a limit.",
}


class Examples(click.Command):
    """A command whose epilog has examples. They begin with the name of the program as the user called it."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        metavars = {parameter.metavar for parameter in self.params if isinstance(parameter, click.Option)}
        values = [(metavar, text) for metavar, text in VALUES.items() if metavar in metavars]
        if values:
            with formatter.section("Values"):
                formatter.write_dl(values)
        program = ctx.find_root().info_name or PROGRAM
        examples = re.sub(rf"^( *'?){PROGRAM} ", rf"\g<1>{program} ", self.epilog or "", flags=re.MULTILINE)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(examples.rstrip())


GROUP = """\b
Examples:
  wasi-trio serve --addr 127.0.0.1:8080 app.wasm
  wasi-trio run command.wasm one two
  wasi-trio inspect app.wasm

'wasi-trio COMMAND --help' describes a command.
"""

EXAMPLES = {
    "serve": """\b
Examples:
  wasi-trio serve
      the built-in component, on port 8080 of all addresses
  wasi-trio serve --addr 127.0.0.1:0 app.wasm
      on a free port, which the first line of output names
  wasi-trio serve --env TOKEN=secret -H 'x-stage: test' app.wasm
  wasi-trio serve --request-timeout 10s --workers 2 app.wasm
  wasi-trio serve outer.wasm inner.wasm
      outer.wasm answers; its requests to wasi:http/handler go to inner.wasm
""",
    "run": """\b
Examples:
  wasi-trio run command.wasm one --two
      all arguments after the file are the component's
  wasi-trio run --env LANG=C command.wasm < input > output
""",
    "inspect": """\b
Examples:
  wasi-trio inspect app.wasm
  wasi-trio inspect app.wasm | grep -P '^import.*missing'
  wasi-trio inspect --wit app.wasm > app.wit
  wasi-trio inspect --json app.wasm | jq .worlds
""",
    "compile": """\b
Example, for building a container image:
  wasi-trio compile app.wasm
""",
    "bindgen": """\b
Examples:
  wasi-trio bindgen app.wasm -o app_bindings
  wasi-trio bindgen wit -o bindings --world plugin
""",
    "wit": """\b
Examples:
  wasi-trio wit -o wit/deps
      for a guest of WASI 0.2, whose own world is in wit/world.wit
  wasi-trio wit --version 0.3 -o wit/deps
  wasi-trio wit > wasi.wit
""",
    "profile": """\b
Example:
  wasi-trio serve --profile guest app.wasm
  wasi-trio profile wasmtime-guest-profile-app-1.json -o flame.html
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
