"""A command of WASI 0.3 that uses files by wasi:filesystem 0.3 itself, and prints what it finds.

It does so in the first directory that it is given.
"""

import asyncio

import wit_world
import wit_world.exports
from componentize_py_types import Err, Ok
from wit_world.imports import preopens
from wit_world.imports import wasi_filesystem_types as files
from wit_world.imports.wasi_filesystem_types import DescriptorFlags, OpenFlags, PathFlags

FOLLOW = PathFlags.SYMLINK_FOLLOW
READ_WRITE = DescriptorFlags.READ | DescriptorFlags.WRITE


async def contents(file: files.Descriptor, offset: int = 0) -> bytes:
    stream, outcome = file.read_via_stream(offset)
    data = b""
    with stream:
        while not stream.writer_dropped:
            data += await stream.read(65536)
    assert await outcome.read() == Ok(None)
    return data


async def write(file: files.Descriptor, data: bytes, offset: int | None = None) -> None:
    writer, reader = wit_world.byte_stream()
    outcome = file.append_via_stream(reader) if offset is None else file.write_via_stream(reader, offset)

    async def feed() -> None:
        with writer:
            await writer.write_all(data)

    feeding = asyncio.create_task(feed())
    assert await outcome.read() == Ok(None)
    await feeding


async def names(folder: files.Descriptor) -> list[str]:
    stream, outcome = folder.read_directory()
    found = []
    with stream:
        while not stream.writer_dropped:
            found += [entry.name for entry in await stream.read(10)]
    assert await outcome.read() == Ok(None)
    return sorted(found)


class Run(wit_world.exports.Run):
    async def run(self) -> None:
        (root, name), *_ = preopens.get_directories()
        print(name, await names(root))
        await root.create_directory_at("a")
        folder = await root.open_at(FOLLOW, "a", OpenFlags.DIRECTORY, DescriptorFlags.READ)
        file = await folder.open_at(FOLLOW, "one.txt", OpenFlags.CREATE | OpenFlags.EXCLUSIVE, READ_WRITE)
        await write(file, b"first" * 40_000, 0)
        await write(file, b"last")
        data = await contents(file, 199_990)
        print(data, (await file.stat()).size)
        await file.set_size(3)
        await file.sync()
        print(await contents(file))
        for number in range(25):
            await folder.symlink_at("one.txt", f"link{number}")
        print(len(await names(folder)), await folder.readlink_at("link3"))
        await folder.rename_at("one.txt", root, "two.txt")
        # Several calls at once.
        found = await asyncio.gather(*(root.stat_at(FOLLOW, "two.txt") for _ in range(10)))
        print({stat.size for stat in found})
        for path in ("nope", "../outside", "/etc", "a/link3"):
            try:
                await root.open_at(FOLLOW, path, OpenFlags(0), DescriptorFlags.READ)
            except Err as error:
                print(path, type(error.value).__name__)
