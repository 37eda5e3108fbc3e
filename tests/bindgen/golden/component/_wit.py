"""The WIT of these bindings. Components are checked against it."""

# Written by wasi_trio bindgen, and overwritten when that is run again.

from __future__ import annotations

from wasi_trio.bindings import WitText

WIT = WitText("""\
package acme:math@1.0.0 {
  interface math {
    resource counter {
      constructor(start: u32);
      next: func() -> u32;
      live: static func() -> u32;
    }

    record point {
      x: s32,
      y: s32,
    }

    enum sign {
      negative,
      zero,
      positive,
    }

    flags axes {
      x,
      y,
    }

    variant figure {
      nothing,
      circle(u32),
      segment(tuple<point, point>),
    }

    add: func(a: u32, b: u32) -> u32;
    mirror: func(p: point) -> point;
    points: func(count: u32) -> list<point>;
    same: func(f: figure, s: sign, a: axes) -> tuple<figure, sign, axes>;
    halve: func(n: u32) -> result<u32, sign>;
    twice: func(n: u32) -> u32;
  }
}

package bindings:%world {
  interface world-exports {
    twice: func(n: u32) -> u32;
  }
}
""")
