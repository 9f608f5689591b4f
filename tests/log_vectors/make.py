"""Writes the vectors of the log formats to tests/vectors/log, or checks those that lie there.

    make.py            writes every file; the same bytes at every run
    make.py --check    runs each through check.py and compares it with what would be written

docs/spec/log-formats.md, "Vectors", says what a file holds. Needs the package `cryptography`.
"""

import argparse
import sys
from pathlib import Path

# The imports below leave no folder behind.
sys.dont_write_bytecode = True

import check
import made
import notes
import trees

FOLDER = Path(__file__).resolve().parent.parent / "vectors" / "log"


def write():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.iterdir():
        if old.name not in made.FILES:
            old.unlink()
    for name, content in made.FILES.items():
        (FOLDER / name).write_bytes(content)
    print(f"{len(made.FILES)} files in {FOLDER}")


def fault(name, content):
    """What is wrong with a file; none when it is the one that would be written and ends as it says."""
    if content is None:
        return "is missing"
    if made.FILES.get(name) != content:
        return "is not what make.py writes"
    given, body = check.read_vector(content)
    got, why = check.outcome(given, body)
    if got != given["expect"]:
        return f"expected {given['expect']}, got {got} {why}"
    if not name.startswith(given["kind"] + "-"):
        return f"is of kind {given['kind']}"
    return None


def check_all():
    found = {file.name: file.read_bytes() for file in FOLDER.iterdir()} if FOLDER.is_dir() else {}
    failed = 0
    for name in sorted(found.keys() | made.FILES.keys()):
        what = fault(name, found.get(name))
        if what:
            failed += 1
            print(f"FAILED {name}: {what}")
    passed = len(found.keys() | made.FILES.keys()) - failed
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed == 0 and passed > 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    notes.make()
    trees.make()
    if given.check:
        sys.exit(0 if check_all() else 1)
    write()


if __name__ == "__main__":
    main()
