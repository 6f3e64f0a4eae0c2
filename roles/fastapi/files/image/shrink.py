"""Cut off the shared libraries of an environment what only debuggers and linkers read: shrink.py FOLDER.

What a process loads are the segments of an ELF file; symbols for debuggers and the table of sections come after them. Nothing is
moved, so that files that `strip` breaks, as those that auditwheel has patched, stay whole. What does not load afterwards is
put back.
"""

import struct
import subprocess
import sys
from pathlib import Path

LOAD = "import ctypes, sys; [ctypes.CDLL(path) for path in sys.argv[1:]]"
# ELF, 64 bits, little endian.
MAGIC = b"\x7fELF\x02\x01"


def cut(data):
    """Return the file without what follows its segments, None where there is nothing to gain or something unknown behind."""
    if data[:6] != MAGIC:
        return None
    segments, sections = struct.unpack_from("<QQ", data, 32)
    segment_size, segment_count, section_size, section_count = struct.unpack_from("<HHHH", data, 54)
    # Where each begins in the file, and how long it is there.
    found = [struct.unpack_from("<8xQ16xQ", data, segments + number * segment_size) for number in range(segment_count)]
    ends = [offset + length for offset, length in found]
    end = max(segments + segment_count * segment_size, *ends)
    if not end <= sections or sections + section_size * section_count != len(data):
        return None
    header = bytearray(data[:64])
    struct.pack_into("<Q", header, 40, 0)
    struct.pack_into("<HH", header, 60, 0, 0)
    return bytes(header) + data[64:end]


def loads(paths):
    return subprocess.run([sys.executable, "-c", LOAD, *map(str, paths)], capture_output=True, check=False).returncode == 0


def main(folder):
    originals = {}
    for path in sorted(folder.rglob("*.so*")):
        data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        less = cut(data)
        if less:
            originals[path] = data
            path.write_bytes(less)
    # Together in most cases; one by one only where that fails.
    failed = [] if loads(originals) else [path for path in originals if not loads([path])]
    for path in failed:
        path.write_bytes(originals.pop(path))
    saved = sum(len(data) - path.stat().st_size for path, data in originals.items())
    print(f"{len(originals)} libraries without {saved / 1e6:.1f} MB, {len(failed)} left as they were")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
