"""Compile the Python files in folders, each once: compile.py CACHE FOLDER... [--without NAME...].

What bytecode depends on is a file's text, its path, and the Python that compiles it: by these three it is kept in CACHE, so that
a build compiles what is new to the builder, however much is installed anew. A file that is no valid Python, such as a template of
code, is passed over.
"""

import hashlib
import marshal
import os
import sys
import warnings
from contextlib import suppress
from importlib.util import MAGIC_NUMBER, cache_from_source, source_hash
from pathlib import Path

# Of PEP 552: the bytecode is known by a hash of the text, and never compared with it, as nothing in an image changes.
UNCHECKED_HASH = (0b01).to_bytes(4, "little")
CHECKSUM = hashlib.blake2b
# Files that are worth a process.
SHARE = 16


def sources(folder, without):
    for path, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in without]
        yield from (Path(path, name) for name in files if name.endswith(".py"))


def remember(entry, bytecode):
    # Builds side by side share the folder, and each counts its processes from one.
    new = entry.with_name(f"{entry.name}.{os.urandom(8).hex()}")
    new.write_bytes(CHECKSUM(bytecode).digest() + bytecode)
    new.replace(entry)


def recall(entry):
    """Return the bytecode that is kept there, None where there is none, or not all of it."""
    with suppress(OSError):
        kept = entry.read_bytes()
        checksum, bytecode = kept[: CHECKSUM().digest_size], kept[CHECKSUM().digest_size :]
        return bytecode if CHECKSUM(bytecode).digest() == checksum else None
    return None


def bring(source, bytecode):
    place = Path(cache_from_source(source))
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(bytecode)


def compile_files(files):
    """Compile each of these (path, where to keep the bytecode)."""
    warnings.simplefilter("ignore")
    for source, entry in files:
        text = source.read_bytes()
        with suppress(SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
            code = compile(text, source, "exec", dont_inherit=True)
            bytecode = MAGIC_NUMBER + UNCHECKED_HASH + source_hash(text) + marshal.dumps(code)
            bring(source, bytecode)
            remember(entry, bytecode)


def at_once(work, items):
    """Do the work on all items, in as many processes as there are processors; end where one of them fails."""
    count = min(len(os.sched_getaffinity(0)), 1 + len(items) // SHARE)
    processes = []
    for number in range(count):
        process = os.fork()
        if not process:
            work(items[number::count])
            os._exit(0)
        processes.append(process)
    codes = [os.waitpid(process, 0)[1] for process in processes]
    if any(codes):
        sys.exit("Some files could not be compiled.")


def main(cache, folders, without=()):
    cache.mkdir(parents=True, exist_ok=True)
    known, new = 0, []
    for source in (source for folder in folders for source in sources(folder, without)):
        try:
            parts = MAGIC_NUMBER, os.fsencode(source), source.read_bytes()
        except OSError:
            # A link to nothing is no file.
            continue
        entry = cache / hashlib.sha256(b"\0".join(parts)).hexdigest()
        bytecode = recall(entry)
        if bytecode is None:
            new.append((source, entry))
        else:
            bring(source, bytecode)
            known += 1
    at_once(compile_files, new)
    compiled = sum(entry.exists() for _, entry in new)
    print(f"{compiled} files compiled, {known} known, {len(new) - compiled} passed over")


if __name__ == "__main__":
    given = sys.argv[1:]
    split = given.index("--without") if "--without" in given else len(given)
    main(Path(given[0]), [Path(folder) for folder in given[1:split]], given[split + 1 :])
