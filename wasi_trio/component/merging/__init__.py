"""Several core modules of a component as one, so that an instance needs one core instantiation instead of a dozen.

A toolchain builds a component from several core modules: the program, its libraries, and modules that only hold tables.
The component wires them together, item by item. The wiring is the same for every instance. But wasmtime sees one module
at a time. So it resolves thousands of imports for each instance of a Python guest, and fills tables one function at a
time. In a merged module the imports are gone, tables and memories are filled from images that are prepared
with the code, and calls between the modules are direct.

Two passes over the steps of a plan find the groups of modules (``groups``) and make the merged modules (``merge``). A
group consists of consecutive steps of one part. A module joins a group if

* nothing else instantiates it, so no code is compiled twice;
* it has no start function. A start function could see later modules of its group initialized already, and could call
  a host function whose options name an export of the group, of which the host has no instance yet;
* it uses the plain part of WebAssembly: no objects, exceptions or type groups, and one memory in the whole group;
* it has no debugging information, which names positions in the code.

Every module must be valid by itself: an index out of range could be in range in a merged module.

https://webassembly.github.io/spec/core/binary/modules.html
"""

from wasi_trio.component.merging._groups import groups, locations
from wasi_trio.component.merging._merge import merge

__all__ = ["groups", "locations", "merge"]
