"""Uses files like a real program, in CPython in the guest, and prints the results. Its directory is /data."""

import os
import shutil
import sqlite3
import stat
import sys

os.chdir("/data")


def refused(act, *arguments):
    try:
        act(*arguments)
    except OSError as error:
        print(act.__name__, arguments, type(error).__name__, error.errno)
    else:
        print(act.__name__, arguments, "was let do it")


print(sys.version.split()[0], sorted(os.listdir(".")))

os.makedirs("tree/a/b")
for number in range(20):
    with open(f"tree/a/f{number:02}.txt", "w") as file:
        file.write(f"file {number}\n" * number)
with open("tree/a/b/binary", "wb") as file:
    file.write(bytes(range(256)) * 1000)
for base, folders, files in os.walk("tree"):
    folders.sort()
    print(base, folders, sorted(files))

os.rename("tree/a/f01.txt", "tree/renamed.txt")
os.replace("tree/a/f02.txt", "tree/renamed.txt")
with open("tree/renamed.txt") as file:
    print(file.read())
with open("tree/a/b/binary", "r+b") as file:
    file.seek(1000)
    file.write(b"HELLO")
    file.seek(998)
    print(file.read(10))
    file.truncate(2000)
print(os.path.getsize("tree/a/b/binary"), stat.filemode(os.stat("tree").st_mode)[0])
for line in ("one\n", "two\n"):
    with open("tree/log", "a") as file:
        file.write(line)
os.utime("tree/log", (1000, 2000))
with open("tree/log") as file:
    print(file.read().split(), os.stat("tree/log").st_mtime)
os.symlink("log", "tree/link")
with open("tree/link") as file:
    print(os.readlink("tree/link"), file.read().split())
os.link("tree/log", "tree/hard")
print(os.path.samefile("tree/log", "tree/hard"), os.stat("tree/log").st_nlink)

refused(open, "../outside")
refused(open, "/etc/passwd")
refused(open, "tree")
refused(open, "nope")
refused(os.rmdir, "tree")
refused(os.mkdir, "tree")
refused(os.symlink, "/etc", "tree/out")

db = sqlite3.connect("data.sqlite")
db.execute("create table things (id integer primary key, name text)")
with db:
    db.executemany("insert into things (name) values (?)", [(f"name {number}",) for number in range(5000)])
db.close()
db = sqlite3.connect("data.sqlite")
print(db.execute("select count(*), min(name), max(name), sum(id) from things").fetchall())
with db:
    db.execute("delete from things where id % 2")
try:
    with db:
        db.execute("delete from things")
        raise ValueError("never mind")
except ValueError:
    pass
print(db.execute("select count(*), sum(length(name)) from things").fetchall())
print(db.execute("pragma integrity_check").fetchall())
db.close()

shutil.rmtree("tree")
print(sorted(os.listdir(".")))
