"""The WIT of these bindings. Components are checked against it."""

# Written by wasi_trio bindgen, and overwritten when that is run again.

from __future__ import annotations

from wasi_trio.bindings import WitText

WIT = WitText("""\
package test:older@0.2.0 {
  interface store {
    record entry {
      value: string,
    }

    get: func(key: string) -> option<entry>;
  }
}

package test:older@0.1.0 {
  interface store {
    get: func(key: string) -> option<string>;
  }
}

package bindings:%world {
  interface world-itself {
    new-name: func();
    other: func();
  }
}
""")
