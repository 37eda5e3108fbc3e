"""The WIT of these bindings. Components are checked against it."""

# Written by wasi_trio bindgen, and overwritten when that is run again.

from __future__ import annotations

from wasi_trio.bindings import WitText

WIT = WitText("""\
package test:all@1.2.3 {
  interface types {
    record point {
      x: s32,
      y: s32,
    }

    record odd {
      count: u32,
      index: list<string>,
      %list: list<u8>,
      bytes: list<u8>,
      int: option<u32>,
      %from: string,
      %type: bool-ish,
    }

    type bool-ish = bool;

    enum color {
      red,
      dark-green,
    }

    flags permissions {
      read,
      write,
      to-URL,
    }

    variant shape {
      dot,
      circle(u32),
      line(tuple<point, point>),
      many(list<color>),
    }

    type points = list<point>;

    type blob = list<u8>;

    type maybe-maybe = option<option<u8>>;

    resource node {
      constructor(label: string);
      children: func() -> list<node>;
      adopt: func(child: own<node>) -> result<_, color>;
      is-same: func(other: borrow<node>) -> bool;
      make-tree: static func(labels: list<string>) -> node;
      rep: func() -> u32;
    }

    resource fallible {
      constructor(x: u32) -> result<fallible, string>;
    }

    resource bare;

    %list: func() -> list<string>;
    get-point: func(p: point, o: odd) -> point;
    shapes: func(s: list<shape>, by: color, how: permissions) -> result<list<shape>, shape>;
    both: func(a: points, b: blob, c: maybe-maybe, d: tuple<u8, f32, char>) -> option<result<points, blob>>;
    give-bare: func() -> bare;
    fixed: func(a: list<u8, 4>, b: list<point, 2>) -> list<u32, 3>;
    class: func(self: u32, %result: u32, %list: u8) -> list<u32>;
  }

  interface later {
    use test:all/types@1.2.3.{point};
    use test:all/types@1.2.3.{node};
    use test:all/types@1.2.3.{color as colour};

    type pipe-0 = stream<point>;

    type pipe-1 = future<result<u32, colour>>;

    type pipe-2 = stream<u32>;

    points: func() -> stream<point>;
    read-all: func(data: stream<u8>, what: stream, numbers: stream<u32>) -> future<result<u32, colour>>;
    wait: async func(how-long: u64) -> colour;
    nodes: async func() -> future<node>;
    error: func(e: option<error-context>) -> error-context;
    mapped: func(m: map<string, point>) -> map<u32, list<colour>>;
  }
}

package bindings:%world {
  interface imported-named {
    use test:all/types@1.2.3.{point};

    record setting {
      name: string,
      value: point,
    }

    all: func() -> list<setting>;
  }

  interface imported-primary {
    record point {
      x: s32,
      y: s32,
    }

    record odd {
      count: u32,
      index: list<string>,
      %list: list<u8>,
      bytes: list<u8>,
      int: option<u32>,
      %from: string,
      %type: bool-ish,
    }

    type bool-ish = bool;

    enum color {
      red,
      dark-green,
    }

    flags permissions {
      read,
      write,
      to-URL,
    }

    variant shape {
      dot,
      circle(u32),
      line(tuple<point, point>),
      many(list<color>),
    }

    type points = list<point>;

    type blob = list<u8>;

    type maybe-maybe = option<option<u8>>;

    resource node {
      constructor(label: string);
      children: func() -> list<node>;
      adopt: func(child: own<node>) -> result<_, color>;
      is-same: func(other: borrow<node>) -> bool;
      make-tree: static func(labels: list<string>) -> node;
      rep: func() -> u32;
    }

    resource fallible {
      constructor(x: u32) -> result<fallible, string>;
    }

    resource bare;

    %list: func() -> list<string>;
    get-point: func(p: point, o: odd) -> point;
    shapes: func(s: list<shape>, by: color, how: permissions) -> result<list<shape>, shape>;
    both: func(a: points, b: blob, c: maybe-maybe, d: tuple<u8, f32, char>) -> option<result<points, blob>>;
    give-bare: func() -> bare;
    fixed: func(a: list<u8, 4>, b: list<point, 2>) -> list<u32, 3>;
    class: func(self: u32, %result: u32, %list: u8) -> list<u32>;
  }

  interface world-itself {
    use test:all/types@1.2.3.{point};

    record pair {
      a: point,
      b: point,
    }

    resource thing {
      get: func() -> u32;
      constructor();
    }

    log: func(line: string);
  }

  interface exported-own {
    go: func();
  }

  interface world-exports {
    use bindings:%world/world-itself.{pair};
    use bindings:%world/world-itself.{thing};
    use test:all/types@1.2.3.{point};

    run: async func(what: pair) -> result<thing, string>;
  }
}
""")
