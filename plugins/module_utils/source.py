# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""The source of an application, read on the controller: which files a release takes along, and how they are installed."""

from __future__ import annotations

import configparser
import hashlib
import os
import posixpath
import re
import shutil
import stat
import subprocess
import tarfile
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ansible_collections.drydock.stack.plugins.module_utils.settings import PASSWORD_IN_URL

# Names of what holds secrets, in the notation of .dockerignore. Examples of .env go with them, so that the rule has no exception.
SECRETS = (
    "**/.env*",
    "**/*.pem",
    "**/*.key",
    "**/*.p12",
    "**/*.pfx",
    "**/.ssh",
    "**/id_rsa",
    "**/id_ecdsa",
    "**/id_ed25519",
    "**/.netrc",
    "**/.pgpass",
    "**/.pypirc",
    "**/.git-credentials",
    "**/.aws",
    "**/.vault_pass*",
)
# What no release and no image ever holds, whatever git tracks or a user adds, in the notation of .dockerignore.
# Each is a name that means one thing only: `logs` and `env` are packages of Python as often as they are litter.
NEVER = (
    # Version control: the history holds what was ever committed, and the remote's URL may hold a token.
    "**/.git",
    "**/.hg",
    "**/.svn",
    *SECRETS,
    # What Python and its tools make by themselves, for another machine or at each run. A virtual environment of
    # another name is known by its pyvenv.cfg.
    "**/__pycache__",
    "**/*.py[co]",
    "**/.venv",
    "**/venv",
    "**/site-packages",
    "**/.pytest_cache",
    "**/.mypy_cache",
    "**/.ruff_cache",
    "**/.hypothesis",
    "**/.tox",
    "**/.nox",
    # Logs, and their rotated kin.
    "**/*.log",
    "**/*.log.[0-9]*",
    "**/.DS_Store",
)
# Litter where no git says what belongs to the source; tracked, it is there on purpose.
UNTRACKED = ("**/node_modules",)

GIT = (
    "git",
    # The user names this folder and has its code built and run: whose it is does not matter, its own hooks do.
    *("-c", "safe.directory=*"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.quotePath=false"),
)
REQUIREMENTS = "requirements.txt"
PYPROJECT = "pyproject.toml"
LOCK = "uv.lock"
OPTION_OF_REQUIREMENTS = re.compile(r"(-r|--requirement|-c|--constraint|-e|--editable|-f|--find-links)(?:\s*=\s*|\s*)(\S+)")
CONSTRAINING = ("-c", "--constraint")
READ = ("-r", "--requirement", *CONSTRAINING)
FOUND = ("-f", "--find-links")
# A path below the source as a value of --mount in a Dockerfile, which knows no escapes.
MOUNTABLE = re.compile(r"[\w./+@-]+")
# How a requirements file names a file beside it: `./shop.whl`, `wheels/shop.whl`, `shop @ ./shop.whl`, `shop @ file:shop.whl`.
NAMED_PATH = re.compile(r"(?:[\w.-]+(?:\[[^]]*\])?\s*@\s*)(?:file:)?(\S+)")
PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
APPLICATION = re.compile(r"^(\w+)\s*(?::[^=\n]+)?=\s*(?:\w+\.)?FastAPI\(", re.MULTILINE)
CANDIDATES_SHOWN = 5
# A longer path below the source does not fit below a release; it is also what keeps folders from being nested without an end.
LONGEST_PATH = 1000
# A file with no secret in it, which shows what the one beside it is like.
EXAMPLE = re.compile(r"(^|/)\.env\.(dist|example|sample|template)$", re.IGNORECASE)
# What is shipped to every host, kept there for each release and copied into the image, is code and not data.
LARGEST_FILE = 500 * 10**6


class SourceError(ValueError):
    """The source cannot be deployed; the message says variable, found, expected and remedy."""


@dataclass(frozen=True)
class Source:
    """What a release takes from the source. All paths but `root` are posix, below `root`; "." is `root` itself."""

    root: Path
    workdir: str
    # Regular files and symlinks, sorted.
    files: tuple[str, ...]
    # What holds secrets by its name and stays behind though no git ignores it, sorted, as it can be printed.
    secrets: tuple[str, ...]
    # "uv.lock", "requirements.txt" or "pyproject.toml".
    installer: str
    # Folder of the requirements.txt or pyproject.toml that is installed.
    project: str
    # Folder of uv.lock, "" where none is used.
    lock: str
    # All that the installation of the dependencies reads: the files of `installer`, what they include, the
    # pyproject.toml of each package of a workspace, and the packages of the source outside of it.
    members: tuple[str, ...]
    # Whether a requirements file has hashes, so that all that is installed has to match one.
    hashed: bool
    # Package of the workspace to install, "" where there is no workspace.
    package: str
    # Whether the source holds packages of its own to install, beside the modules in `module_root`.
    packaged: bool
    # Folder from which the module of fastapi_app is imported: `workdir`, or `src` in it.
    module_root: str
    # SHA-256 over the migrations of Alembic in `workdir`, in hexadecimal digits, or "" where it has no alembic.ini.
    migrations: str
    # Commit, 40 hexadecimal digits, or "".
    revision: str
    # Whether there are changes that are not committed.
    dirty: bool
    # URL that the source was cloned from, without credentials, or "".
    remote: str
    # SHA-256 over path, kind, executable bit and content of `files`, in hexadecimal digits.
    content_hash: str


def read_source(root: Path, workdir: str, app: str) -> Source:
    """Read the application's source; raises SourceError where something is missing or cannot be taken along.

    In a git checkout, or a folder of one, the files are those that git tracks or does not ignore, its submodules' too;
    elsewhere all that the folder holds; in both without NEVER. `app` is `module:attribute`, seen from `workdir`.
    """
    try:
        return _read(root, workdir, app)
    except OSError as error:
        raise SourceError(
            f"fastapi_source is {root}, and {error.filename} in it cannot be read: {error.strerror}; "
            "give read access to it, and leave it as it is meanwhile."
        ) from None


def _read(root: Path, workdir: str, app: str) -> Source:
    if not root.is_dir():
        found = "is no folder" if root.exists() else "does not exist"
        raise SourceError(f"fastapi_source is {root}, which {found}; give the folder of the application, or a git URL.")
    root = root.resolve()
    workdir = _inner(workdir)
    listed, revision, dirty, remote = _git(root) or (_walk(root), "", False, "")
    names: dict[bool, list[str]] = {True: [], False: []}
    for name in listed:
        names[_secret(name)].append(name)
    files = _Files(root, _sure(root, names[False]))
    if not files.names:
        raise SourceError(f"fastapi_source is {root}, which holds no file to deploy; give the folder of the application.")
    if not (root / workdir).is_dir():
        known = sorted({posixpath.dirname(name) for name in files.names if name.endswith(".py")} - {""})
        raise SourceError(
            f"fastapi_workdir is {workdir}, and {root} has no such folder; "
            f"use a folder of the source{': ' + ', '.join(known[:CANDIDATES_SHOWN]) if known else ''}, or . for all of it."
        )
    try:
        installation = _installation(files, workdir)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(
            f"pyproject.toml or uv.lock of fastapi_source is not built as such a file is ({type(error).__name__}: {error}); "
            "have uv write it."
        ) from None
    odd = [name for name in installation["members"] if not MOUNTABLE.fullmatch(name)]
    if odd:
        raise SourceError(
            f"{odd[0]!r} of fastapi_source is read while the dependencies are installed, and its name holds a character that a "
            "mount of the build does not take; rename it with letters, digits and . _ + @ - alone."
        )
    _check_passwords(files, installation["members"])
    return Source(
        root=root,
        workdir=workdir,
        files=tuple(files.names),
        secrets=tuple(_lying(names[True], names[False])),
        **installation,
        module_root=_module_root(files, workdir, app),
        migrations=_migrations(files, workdir),
        revision=revision,
        dirty=dirty,
        remote=remote,
        content_hash=_content_hash(files, files.names),
    )


class _Files:
    """The files of the source by name, with what symlinks among them lead to."""

    def __init__(self, root: Path, status: Mapping[str, os.stat_result]) -> None:
        self.root = root
        self.status = status
        self.names = sorted(status)

    @cached_property
    def linked(self) -> bool:
        return any(stat.S_ISLNK(status.st_mode) for status in self.status.values())

    def has(self, name: str) -> bool:
        """Tell whether the source has this file, by itself or through a symlink."""
        if name in self.status:
            return not stat.S_ISLNK(self.status[name].st_mode) or (self.root / name).is_file()
        return self.linked and os.path.relpath(os.path.realpath(self.root / name), self.root) in self.status

    def read(self, name: str) -> str:
        try:
            text = (self.root / name).read_text("utf-8-sig")
        except UnicodeDecodeError:
            raise SourceError(f"{name} of fastapi_source is not UTF-8; save it as UTF-8.") from None
        if "\0" in text:
            raise SourceError(f"{name} of fastapi_source holds a NUL character; save it as text.")
        return text

    def toml(self, name: str) -> dict[str, Any]:
        try:
            return tomllib.loads(self.read(name))
        except tomllib.TOMLDecodeError as error:
            raise SourceError(f"{name} of fastapi_source is no valid TOML: {error}; mend it.") from None
        except RecursionError:
            raise SourceError(f"{name} of fastapi_source holds lists within lists without an end; mend it.") from None


# --- Which files ---


def _matcher(patterns: tuple[str, ...]) -> Callable[[str], object]:
    """Tell of a path whether one of its parts has a denied name, in whatever case."""
    names = "|".join(translate(pattern.removeprefix("**/")) for pattern in patterns)
    one = re.compile(names, re.IGNORECASE)
    known: dict[str, bool] = {}

    def denied(path: str) -> bool:
        for part in path.split("/"):
            if part not in known:
                known[part] = one.match(part) is not None
            if known[part]:
                return True
        return False

    return denied


_secret = _matcher(SECRETS)
_litter = _matcher(tuple(pattern for pattern in NEVER + UNTRACKED if pattern not in SECRETS))
_never = _matcher(NEVER)
_untracked = _matcher(NEVER + UNTRACKED)


def _walk(root: Path, below: str = "") -> Iterator[str]:
    """Yield the files of a folder that is no checkout."""
    try:
        with os.scandir(root / below) as entries:
            found = list(entries)
    except OSError as error:
        raise SourceError(f"{below or '.'} of fastapi_source cannot be read: {error.strerror}; give read access to it.") from None
    for entry in found:
        name = f"{below}/{entry.name}" if below else entry.name
        if _secret(entry.name):
            # Virtual environments have been called .env, too.
            if not (root / name / "pyvenv.cfg").exists():
                yield name
        elif _untracked(entry.name):
            continue
        elif entry.is_dir(follow_symlinks=False):
            _check_length(name)
            yield from _walk(root, name)
        else:
            yield name


def _run(folder: Path, *arguments: str, config: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    # A hook of git that runs this has variables set that name its own repository.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name.startswith("GIT_CONFIG")
    }
    # A checkout that lacks objects would have git fetch them, by a command of the checkout's own if it names one.
    environment |= {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none"}
    if config:
        given = int(environment.get("GIT_CONFIG_COUNT") or 0)
        for number, (name, value) in enumerate(config.items(), start=given):
            environment |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
        environment["GIT_CONFIG_COUNT"] = str(given + len(config))
    return subprocess.run([*GIT, *arguments], cwd=folder, env=environment, capture_output=True, check=False)


def _asked(folder: Path, *arguments: str, config: Mapping[str, str] | None = None) -> bytes:
    done = _run(folder, *arguments, config=config)
    complaint = os.fsdecode(done.stderr).strip()
    if done.returncode or "could not open directory" in complaint:
        raise SourceError(f"git cannot read fastapi_source ({folder}): {complaint}; mend the checkout, or give a copy of it.")
    return done.stdout


def _git(root: Path) -> tuple[Iterator[str], str, bool, str] | None:
    """Return the checkout's files, commit, whether there are changes, and remote; None where it is no checkout."""
    if not shutil.which("git"):
        return None
    inside = _run(root, "rev-parse", "--is-inside-work-tree")
    if inside.returncode and b"not a git repository" not in inside.stderr:
        complaint = os.fsdecode(inside.stderr).strip()
        raise SourceError(f"git cannot read fastapi_source ({root}): {complaint}; mend the checkout, or give a copy of it.")
    if inside.stdout.strip() != b"true":
        return None
    submodules: list[Path] = []
    names = list(_listed(root, "", submodules))
    # A folder that the checkout around it ignores is no part of that checkout.
    if not names and not _run(root, "check-ignore", "--quiet", ".").returncode:
        return None
    revision = _run(root, "rev-parse", "--verify", "--quiet", "HEAD").stdout.decode().strip()
    changed = any(map(_changed, [root, *submodules]))
    url = _run(root, "config", "--get", "remote.origin.url").stdout
    dirty = changed or any(new and not _untracked(name) for new, name in names)
    files = (name for new, name in names if _secret(name) or not (_untracked if new else _never)(name))
    return files, revision, dirty, _public_url(os.fsdecode(url).strip())


def _changed(folder: Path) -> bool:
    """Tell whether the folder differs from its commit, but for what lies in submodules and what is new to git."""
    # A checkout may have commands that its files pass through to be compared; those of the user's own are as they should be.
    told = os.fsdecode(_run(folder, "config", "--show-scope", "--name-only", "-z", "--get-regexp", r"^filter\.").stdout).split(
        "\0"
    )
    own = {name.rpartition(".")[0] for scope, name in zip(told[::2], told[1::2], strict=False) if scope in ("local", "worktree")}
    off = {f"{name}.{key}": value for name in own for key, value in (("clean", ""), ("process", ""), ("required", "false"))}
    return bool(
        _asked(folder, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty", "--", ".", config=off)
    )


def _listed(folder: Path, prefix: str, submodules: list[Path]) -> Iterator[tuple[bool, str]]:
    """Yield whether it is new to git, and the path, for each file of a checkout and of the checkouts in it.

    Those of them that the checkout knows are added to `submodules`: git would ask them with what they are set to run.
    """
    listed = _asked(folder, "ls-files", "-z", "-t", "--stage", "--cached", "--others", "--exclude-standard")
    for record in os.fsdecode(listed).split("\0")[:-1]:
        new = record.startswith("? ")
        details, _, name = ("", "", record[2:]) if new else record.partition("\t")
        repository = name.endswith("/") or details.split(" ")[1:2] == ["160000"]
        path = name.rstrip("/")
        if not repository:
            yield new, prefix + path
        # Without a .git of its own it is a submodule that was not checked out, and git would answer for the outer one.
        elif (folder / path / ".git").exists() and not _never(path):
            submodules += [] if new else [folder / path]
            inside = _listed(folder / path, f"{prefix}{path}/", submodules)
            yield from ((new or inner, found) for inner, found in inside)


def _public_url(url: str) -> str:
    if re.match(r"[\w.-]+@[\w.-]+:", url):
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https", "ssh", "git") or not parts.netloc:
        return ""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _sure(root: Path, names: Iterable[str]) -> dict[str, os.stat_result]:
    """Return those of the names that are there and can be taken along, with their status."""
    found: dict[str, os.stat_result] = {}
    folders: dict[str, bool] = {"": True}
    base = os.fspath(root)

    def real(folder: str) -> bool:
        """Tell whether a folder is there and no symlink: git lists what was below a folder until the change is committed."""
        if folder not in folders:
            try:
                mode = os.lstat(f"{base}/{folder}").st_mode
            except OSError:
                mode = 0
            folders[folder] = stat.S_ISDIR(mode) and real(folder.rpartition("/")[0])
        return folders[folder]

    for name in names:
        _check_length(name)
        try:
            status = os.lstat(f"{base}/{name}")
        except (FileNotFoundError, NotADirectoryError):
            continue
        # Sockets, pipes and devices are no source.
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISLNK(status.st_mode):
            continue
        if not real(name.rpartition("/")[0]):
            continue
        found[name] = status
    environments = _environments(found)
    if environments:
        found = {name: status for name, status in found.items() if not any(map(name.startswith, environments))}
    for name, status in found.items():
        _check_name(name)
        if stat.S_ISLNK(status.st_mode):
            _check_link(root, name)
        elif status.st_size > LARGEST_FILE:
            raise SourceError(
                f"fastapi_source holds {name} with {status.st_size / 10**6:.0f} MB, and a release takes files of up to "
                f"{LARGEST_FILE // 10**6} MB along; have git ignore it, and let the application fetch it."
            )
    return found


def _environments(names: Iterable[str]) -> set[str]:
    return {name.rpartition("/")[0] + "/" for name in names if name.endswith("/pyvenv.cfg")}


def _lying(secrets: Iterable[str], others: Iterable[str]) -> list[str]:
    """Return those of the names that a person has put there, as they can be printed."""
    environments = _environments([*secrets, *others])
    own = [
        name for name in secrets if not _litter(name) and not EXAMPLE.search(name) and not any(map(name.startswith, environments))
    ]
    return sorted(name if name.isprintable() else ascii(name)[1:-1] for name in own)


def _check_length(name: str) -> None:
    if len(os.fsencode(name)) > LONGEST_PATH:
        raise SourceError(
            f"fastapi_source holds {name[:40]!a}…, whose path has {len(os.fsencode(name))} bytes, and a release takes paths of "
            f"up to {LONGEST_PATH} bytes along; move it up, or have git ignore it."
        )


def _check_name(name: str) -> None:
    if not name.isprintable():
        raise SourceError(
            f"fastapi_source holds {name!a}, whose name has a line break, a control character or is not UTF-8; "
            "rename it, or have git ignore it."
        )


def _check_link(root: Path, name: str) -> None:
    target = str((root / name).readlink())
    lexical = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    actual = os.path.relpath(os.path.realpath(root / name), root)
    if posixpath.isabs(target) or not target.isprintable() or any(path.split("/")[0] == ".." for path in (lexical, actual)):
        raise SourceError(
            f"fastapi_source holds the symlink {name} to {ascii(target)[1:-1]}, which leaves the source; "
            "use a relative one within it, a copy in its place, or have git ignore it."
        )


def _check_passwords(files: _Files, members: Iterable[str]) -> None:
    """Raise SourceError where what is installed from holds a password in a URL: it goes into the image as part of the source."""
    # What is no text is a wheel, or the code of a package.
    for name in (name for name in members if name.endswith((".txt", ".in", ".toml", ".lock"))):
        with_password = PASSWORD_IN_URL.search(files.read(name))
        if with_password:
            raise SourceError(
                f"{name} of fastapi_source holds a password in the URL of {with_password[1]}, which ends in the image and "
                "on every host; take it out, and give it as netrc in fastapi_build_secrets."
            )


def _content_hash(files: _Files, names: Iterable[str]) -> str:
    whole = hashlib.sha256()
    for name in names:
        mode = files.status[name].st_mode
        path = files.root / name
        try:
            if stat.S_ISLNK(mode):
                digest = hashlib.sha256(os.fsencode(path.readlink()))
            else:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256")
        except OSError as error:
            raise SourceError(f"{name} of fastapi_source cannot be read: {error.strerror}; give read access to it.") from None
        kind = "l" if stat.S_ISLNK(mode) else "x" if mode & stat.S_IXUSR else "f"
        whole.update(f"{kind}{name}\0".encode() + digest.digest())
    return whole.hexdigest()


def bundled_hash(archive: Path, folder: str) -> str:
    """Return what `content_hash` of a source is whose files are those below a folder of a bundle."""
    whole = hashlib.sha256()
    with tarfile.open(archive) as bundle:
        for member in bundle:
            if member.isdir() or not member.name.startswith(f"{folder}/"):
                continue
            link = member.issym()
            digest = (
                hashlib.sha256(member.linkname.encode()) if link else hashlib.file_digest(bundle.extractfile(member), "sha256")
            )
            kind = "l" if link else "x" if member.mode & stat.S_IXUSR else "f"
            whole.update(f"{kind}{member.name.removeprefix(f'{folder}/')}\0".encode() + digest.digest())
    return whole.hexdigest()


def _migrations(files: _Files, workdir: str) -> str:
    """Return the hash of alembic.ini and the folder that it names; of all the source where it names others."""
    name = _join(workdir, "alembic.ini")
    if not files.has(name):
        return ""
    settings = configparser.RawConfigParser()
    try:
        settings.read_string(files.read(name))
        location = settings.get("alembic", "script_location").strip()
        elsewhere = settings.has_option("alembic", "version_locations")
    except configparser.Error:
        location, elsewhere = "", True
    folder = posixpath.normpath(_join(workdir, location.removeprefix("%(here)s/")))
    below = [path for path in files.names if path.startswith(f"{folder}/")]
    return _content_hash(files, files.names if elsewhere or not below else [name, *below])


# --- How it is installed ---


def _inner(workdir: str) -> str:
    path = posixpath.normpath(workdir)
    if path.startswith(("/", "..")) or not workdir:
        raise SourceError(f"fastapi_workdir is {workdir!r}; use a folder below fastapi_source, or . for all of it.")
    return path


def _join(*parts: str) -> str:
    return posixpath.normpath(posixpath.join(*parts))


def _upwards(folder: str) -> Iterator[str]:
    """Yield a folder and those above it, down to "."."""
    while folder != ".":
        yield folder
        folder = posixpath.dirname(folder) or "."
    yield "."


def _installation(files: _Files, workdir: str) -> dict[str, Any]:
    """Find what the dependencies come from, in the nearest folder that has anything, going up from `workdir`.

    In one folder a lock that covers it comes first, as it pins what was tested; then requirements.txt, as it is often
    the pinned export of the pyproject.toml beside it; then that. A pyproject.toml without a table `project` only
    configures tools.
    """
    for folder in _upwards(workdir):
        pyproject = _join(folder, PYPROJECT)
        table = files.toml(pyproject) if files.has(pyproject) else {}
        locked = _locked(files, folder, table)
        if locked:
            return locked
        settings = [name for name in (_join(folder, "uv.toml"),) if files.has(name)]
        if "uv" in table.get("tool", {}):
            settings.append(pyproject)
        if files.has(_join(folder, REQUIREMENTS)):
            required, hashed = _required(files, _join(folder, REQUIREMENTS))
            return _plain(folder, REQUIREMENTS, [*required, *settings], hashed=hashed)
        if "project" in table:
            return _plain(folder, PYPROJECT, [pyproject, *settings], packaged="build-system" in table)
    places = [_join(folder, name) for folder in _upwards(workdir) for name in (REQUIREMENTS, PYPROJECT)]
    looked = ", ".join("its top" if folder == "." else folder for folder in _upwards(workdir))
    similar = [
        name
        for name in files.names
        if re.search(r"(^|/)(requirements[^/]*\.(txt|in)|requirements/[^/]+\.txt|pyproject\.toml|Pipfile|setup\.py)$", name)
    ]
    raise SourceError(
        f"fastapi_source has no requirements.txt and no pyproject.toml with a table [project]; looked in: {looked}. "
        f"{_left_out(files, places)}"
        f"Add one{f', or set fastapi_workdir; similar are: {_some(similar)}' if similar else ''}."
    )


def _plain(folder: str, installer: str, members: list[str], packaged: bool = False, hashed: bool = False) -> dict[str, Any]:
    return {
        "installer": installer,
        "project": folder,
        "lock": "",
        "members": tuple(sorted(set(members))),
        "hashed": hashed,
        "package": "",
        "packaged": packaged,
    }


def _some(names: list[str]) -> str:
    return ", ".join(names[:CANDIDATES_SHOWN]) + (", …" if len(names) > CANDIDATES_SHOWN else "")


def _required(files: _Files, name: str) -> tuple[list[str], bool]:
    """Return a requirements file, all that it includes, and the wheels of the source that they name; and whether it has hashes.

    Hashes of constraints alone are compared where they are given, and ask for none.
    """
    texts, wheels, constraints, hashed = [name], [], set(), False
    for text in texts:
        lines = re.sub(r"\\\r?\n", "", files.read(text)).splitlines()
        for line in (re.sub(r"(^|\s)#.*", "", line).strip() for line in lines):
            hashed = hashed or (text not in constraints and re.search(r"\s--hash\b", line) is not None)
            option = OPTION_OF_REQUIREMENTS.match(line)
            flag, value = option.groups() if option else ("", line.split(";")[0].strip())
            named = NAMED_PATH.fullmatch(value)
            value = named[1] if named else value
            path = _join(posixpath.dirname(text), value if flag in READ or flag in FOUND else value.split("[")[0])
            if "://" in value or not (flag or named or value.startswith((".", "/")) or files.has(path)):
                continue
            if flag in READ and files.has(path):
                constraints |= {path} if flag in CONSTRAINING and path not in texts else set()
                texts += [path] if path not in texts else []
            elif flag in FOUND:
                wheels += [wheel for wheel in files.names if wheel.startswith(f"{path}/")]
            elif not flag and files.has(path):
                wheels.append(path)
            elif (files.root / path).is_dir():
                raise SourceError(
                    f"{text} of fastapi_source installs the folder {value}, whose code is not there yet when the "
                    "dependencies are installed; name its dependencies instead, or use a pyproject.toml alone."
                )
            else:
                raise SourceError(f"{text} of fastapi_source names {value}, which is not in the source; add it.")
    return texts + wheels, hashed


def _locked(files: _Files, folder: str, table: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return how the project in `folder` is installed from the uv.lock that covers it, None where none does."""
    for above in _upwards(folder) if table else ():
        if not files.has(_join(above, LOCK)) or not files.has(_join(above, PYPROJECT)):
            continue
        own = posixpath.relpath(folder, above)
        workspace = files.toml(_join(above, PYPROJECT)).get("tool", {}).get("uv", {}).get("workspace")
        lock = files.toml(_join(above, LOCK))
        packages = _local_packages(lock)
        if own in packages:
            return {
                "installer": LOCK,
                "project": folder,
                "lock": above,
                "members": _members(files, above, own, packages, lock),
                "hashed": False,
                "package": packages[own] if workspace is not None else "",
                "packaged": _packaged(lock, packages[own]),
            }
        if own == "." and workspace is not None:
            inside = sorted(_join(above, path) for path, name in packages.items() if name in _workspace_names(lock))
            raise SourceError(
                f"{_join(above, PYPROJECT)} of fastapi_source is a workspace without a project of its own; "
                f"set fastapi_workdir to one of its members: {', '.join(inside)}."
            )
        if "project" in table and (own == "." or _is_member(own, workspace or {})):
            raise SourceError(f"{_join(above, LOCK)} of fastapi_source does not know {folder}; run `uv lock` there.")
    return None


def _local_packages(lock: Mapping[str, Any]) -> dict[str, str]:
    """Return the names of the packages that lie in the source, by their folder seen from the lock."""
    found = {
        posixpath.normpath(path): package["name"]
        for package in lock.get("package", ())
        for kind, path in package.get("source", {}).items()
        if kind in ("editable", "virtual", "directory")
    }
    odd = [name for name in found.values() if not PACKAGE.fullmatch(name)]
    if odd:
        raise SourceError(
            f"uv.lock of fastapi_source has the package {odd[0][:40]!a}, which is no name of one; "
            "use letters, digits and . _ - alone, and run `uv lock`."
        )
    return found


def _is_member(folder: str, workspace: Mapping[str, Any]) -> bool:
    def listed(key: str) -> bool:
        # `*` stays within a part of the path, `**` does not.
        return any(
            re.fullmatch(re.escape(glob.strip("/")).replace(r"\*\*", ".*").replace(r"\*", "[^/]*"), folder)
            for glob in workspace.get(key, ())
        )

    return listed("members") and not listed("exclude")


def _workspace_names(lock: Mapping[str, Any]) -> list[str]:
    return lock.get("manifest", {}).get("members", [])


def _members(files: _Files, above: str, own: str, packages: Mapping[str, str], lock: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what `uv sync --locked --no-install-workspace` reads."""
    found = {_join(above, LOCK), _join(above, PYPROJECT)}
    found |= {_join(above, name) for name in ("uv.toml",) if files.has(_join(above, name))}
    for path, name in packages.items():
        described = [_join(above, path, name) for name in (PYPROJECT, "setup.py", "setup.cfg")]
        there = [one for one in described if files.has(one)]
        if not there:
            raise SourceError(
                f"{_join(above, LOCK)} of fastapi_source needs the folder {_join(above, path)}, which is not in the "
                "source or has no pyproject.toml; add it, or run `uv lock`."
            )
        found |= set(there[:1] if there[0].endswith(PYPROJECT) else there)
        if path != own and name not in _workspace_names(lock):
            # A dependency like any other, but for its place: it is built with the others.
            found |= {one for one in files.names if one.startswith(f"{_join(above, path)}/")}
    wheels = [package["source"]["path"] for package in lock.get("package", ()) if "path" in package.get("source", {})]
    missing = [wheel for wheel in wheels if not files.has(_join(above, wheel))]
    if missing:
        raise SourceError(f"{_join(above, LOCK)} of fastapi_source names {_some(missing)}, which is not in the source; add it.")
    return tuple(sorted(found | {_join(above, wheel) for wheel in wheels}))


def _packaged(lock: Mapping[str, Any], name: str) -> bool:
    """Tell whether the package, or one of the source that it depends on, is to be built and installed."""
    known = {package["name"]: package for package in lock.get("package", ())}
    pending, seen = [name], set()
    while pending:
        package = known.get(pending.pop(), {})
        if package.get("source", {}).keys() & {"editable", "directory"}:
            return True
        following = {dependency["name"] for dependency in package.get("dependencies", ())} - seen
        seen |= following
        pending += following
    return False


def _module_root(files: _Files, workdir: str, app: str) -> str:
    module = app.partition(":")[0]
    path = module.replace(".", "/")
    roots = [workdir, _join(workdir, "src")]
    places = [(root, _join(root, name)) for root in roots for name in (f"{path}.py", f"{path}/__init__.py")]
    for root, place in places:
        if files.has(place):
            return root
    raise SourceError(
        f"fastapi_app is {app}, and the source has no module {module}; looked for: "
        f"{', '.join(place for _, place in places)}. "
        f"{_left_out(files, [place for _, place in places])}{_suggestion(files, workdir)}"
    )


def _left_out(files: _Files, places: list[str]) -> str:
    """Say which of the places is a file that is not taken along, as nothing else would tell why it is not found."""
    there = [place for place in places if not files.has(place) and (files.root / place).is_file()]
    return f"{', '.join(there)} is there, but git ignores it or no release holds such a file. " if there else ""


def _suggestion(files: _Files, workdir: str) -> str:
    """Name the modules that make an application, those below `workdir` first."""
    found = []
    for name in (name for name in files.names if name.endswith(".py")):
        made = APPLICATION.search((files.root / name).read_text("utf-8", "replace"))
        if made:
            found.append((not f"{name}/".startswith("" if workdir == "." else f"{workdir}/"), name, made[1]))
    if not found:
        return "Give the module that makes the application, as module:attribute."
    shown = [_settings_for(files, name, attribute, elsewhere, workdir) for elsewhere, name, attribute in sorted(found)]
    return f"Use the one that is meant: {_some(shown)}."


def _settings_for(files: _Files, name: str, attribute: str, elsewhere: bool, workdir: str) -> str:
    folder = workdir
    if elsewhere:
        folder = posixpath.dirname(name) or "."
        while folder != "." and files.has(_join(folder, "__init__.py")):
            folder = posixpath.dirname(folder) or "."
    path = posixpath.relpath(name, folder).removeprefix("src/").removesuffix(".py").removesuffix("/__init__")
    app = f"fastapi_app: {path.replace('/', '.')}:{attribute}"
    return f"fastapi_workdir: {folder} with {app}" if elsewhere else app
