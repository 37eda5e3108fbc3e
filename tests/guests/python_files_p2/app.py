"""A command of WASI 0.2 that uses files as Python programs do, by ``open`` and ``os``.

``use DIRECTORY`` makes, reads, lists and removes what there is to use there, and prints what it finds. ``look DIRECTORY
COUNT`` opens, stats, reads and closes as many files, named by numbers of five digits, and prints how many nanoseconds
that took.
"""

import os
import shutil
import sys
import time


def use(folder: str) -> None:
    print(sorted(os.listdir(folder)))
    os.makedirs(f"{folder}/a/b")
    with open(f"{folder}/a/one.txt", "w") as file:
        file.write("first\n" * 3)
    with open(f"{folder}/a/one.txt", "a") as file:
        file.write("last\n")
    with open(f"{folder}/a/one.txt") as file:
        print(file.readlines())
    with open(f"{folder}/a/b/binary", "w+b") as binary:
        binary.write(bytes(200_000))
        binary.seek(-3, os.SEEK_END)
        binary.write(b"end")
        binary.seek(199_990)
        print(binary.read(), os.fstat(binary.fileno()).st_size)
        binary.truncate(10)
    os.rename(f"{folder}/a/one.txt", f"{folder}/a/two.txt")
    print([(base, sorted(folders), sorted(files)) for base, folders, files in os.walk(f"{folder}/a")])
    for path in ("/nope", "/a/nope/x", "/../outside", "/a"):
        try:
            open(folder + path).close()
        except OSError as error:
            print(path, type(error).__name__)
    shutil.rmtree(f"{folder}/a/b")
    print(sorted(os.listdir(f"{folder}/a")), os.path.getsize(f"{folder}/a/two.txt"))


def look(folder: str, count: int) -> None:
    began = time.perf_counter_ns()
    for number in range(count):
        with open(f"{folder}/{number:05}", "rb") as file:
            os.fstat(file.fileno())
            file.read()
    print(time.perf_counter_ns() - began)


class Run:
    def run(self) -> None:
        if sys.argv[1] == "use":
            use(sys.argv[2])
        else:
            look(sys.argv[2], int(sys.argv[3]))
