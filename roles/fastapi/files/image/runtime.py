"""Gather in a folder what an application in Python needs to run, and nothing else: runtime.py FOLDER ENVIRONMENT BEFORE.

That is the interpreter, its standard library, the files of Debian packages that are not in the list BEFORE, the libraries that
all of it and the ENVIRONMENT are linked to, certificates and time zones. No shell, no package manager, no documentation but
the licences. Scanners find the packages that files are from in var/lib/dpkg/status.d.
"""

import os
import re
import shutil
import ssl
import subprocess
import sys
import sysconfig
from pathlib import Path

# Python asks ldconfig where a library is that is not linked to, such as a database's that a driver loads by its name.
FILES = [
    "/sbin/ldconfig",
    "/etc/debian_version", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime", "/etc/mime.types", "/etc/nsswitch.conf",
    "/etc/os-release", "/etc/protocols", "/etc/services", "/usr/lib/ssl/openssl.cnf", "/etc/timezone", "/usr/share/zoneinfo",
]  # fmt: skip
# Of the standard library: what makes, tests, or draws windows, and packages beside it.
LEFT_OUT = re.compile(
    r"/(site-packages|dist-packages|config-[^/]*|ensurepip|idlelib|lib2to3|pydoc_data|test|tests|tkinter|turtledemo|turtle\.py)(/|$)"
)
UNREAD = re.compile(
    r"^/usr/(share/(doc/[^/]*/(?!copyright$)|man/|info/|locale/|lintian/|bash-completion/)|include/)|^/var/lib/dpkg/"
)
DPKG = Path("/var/lib/dpkg")
PASSWD = "root:x:0:0:root:/root:/usr/sbin/nologin\napp:x:10001:10001:app:/tmp:/usr/sbin/nologin\n"
MADE = ("group", "ld.so.cache", "passwd")
GROUP = "root:x:0:\napp:x:10001:\n"


class Gathering:
    """Copies paths below a folder, the links on the way to them and what they point to included."""

    def __init__(self, folder):
        self.folder = folder
        self.taken = set()

    def take(self, path):
        place = Path("/")
        for part in Path(path).parts[1:]:
            place = place / part
            if place.is_symlink():
                target = place.parent / place.readlink()
                if self.new(place):
                    self.inside(place).symlink_to(place.readlink())
                return self.take(os.path.normpath(target / Path(path).relative_to(place)))
        if place.is_dir():
            for entry in sorted(place.iterdir()):
                if not LEFT_OUT.search(str(entry)):
                    self.take(entry)
        elif place.is_file() and self.new(place):
            shutil.copy2(place, self.inside(place))
            # What gives its user the rights of another has no business there.
            self.inside(place).chmod(place.stat().st_mode & 0o777)
        return None

    def inside(self, path):
        return self.folder / path.relative_to("/")

    def new(self, path):
        if path in self.taken:
            return False
        self.taken.add(path)
        self.inside(path).parent.mkdir(parents=True, exist_ok=True)
        return True


def linked(paths):
    """Return the libraries that programs and libraries are linked to."""
    said = subprocess.run(["ldd", *map(str, paths)], capture_output=True, text=True, check=False).stdout
    missing = {line.split()[0] for line in said.splitlines() if "=> not found" in line}
    if missing:
        print("not found, as in the image that it is gathered from:", *sorted(missing))
    return set(re.findall(r"(?:=> |^\t)(/\S+) \(0x", said, re.MULTILINE))


def compiled(paths):
    """Return those of the paths that the dynamic loader has to do with."""
    for path in paths:
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    yield path


def packages():
    """Return the paths of each installed package by its name."""
    return {path.stem.partition(":")[0]: path.read_text().splitlines() for path in (DPKG / "info").glob("*.list")}


def added(before):
    """Return the files of the packages that are not in the list, without those that nobody reads at run time."""
    known = set(before.read_text().split())
    found = [path for name, paths in packages().items() if name not in known for path in paths]
    return [Path(path) for path in found if Path(path).is_file() and not UNREAD.search(path)]


def describe(gathering):
    """Put what dpkg says of the packages that files are from, and their licences, beside them."""
    stanzas = {}
    for stanza in (DPKG / "status").read_text().split("\n\n"):
        name = re.search(r"^Package: (\S+)", stanza, re.MULTILINE)
        if name:
            stanzas[name[1]] = stanza
    files = {os.path.realpath(path) for path in gathering.taken if not path.is_symlink()}
    folder = gathering.folder / "var/lib/dpkg/status.d"
    folder.mkdir(parents=True)
    for name, paths in packages().items():
        if any(os.path.realpath(path) in files for path in paths):
            (folder / name).write_text(f"{stanzas[name]}\n")
            gathering.take(f"/usr/share/doc/{name}/copyright")


def main(folder, environment, before):
    gathering = Gathering(folder)
    interpreter = Path(os.path.realpath(sys.executable))
    library = Path(sysconfig.get_path("stdlib"))
    more = added(before)
    certificates = ssl.get_default_verify_paths()
    trusted = [certificates.openssl_cafile, certificates.openssl_capath]
    for path in [*FILES, *trusted, library, interpreter, *map(shutil.which, ("python", "python3")), *more]:
        gathering.take(path)
    modules = [path for path in library.rglob("*.so") if not LEFT_OUT.search(str(path))]
    for path in sorted(linked(compiled([interpreter, *modules, *environment.rglob("*.so*"), *more]))):
        gathering.take(path)
    describe(gathering)
    (folder / "etc/passwd").write_text(PASSWD)
    (folder / "etc/group").write_text(GROUP)
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o1777)
    subprocess.run(["ldconfig", "-r", folder], check=True)
    # The same content is the same layer, whenever it was gathered.
    made = [*(folder / "var/lib/dpkg/status.d").iterdir(), *(folder / "etc" / name for name in MADE)]
    for path in [folder, *(path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink()), *made]:
        os.utime(path, (0, 0))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
