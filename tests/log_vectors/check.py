"""Reads the log formats by the numbered steps of docs/spec and says how each vector ends.

Takes nothing from made.py, notes.py and trees.py, nor from the program. Proofs are verified by the algorithms of RFC 9162
§2.1.3.2 and §2.1.4.2, roots by that of §2.1.2.
"""

import base64
import hashlib
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
LARGEST = 2**63 - 1


class Malformed(Exception):
    pass


class Untrusted(Exception):
    pass


class Inconsistent(Exception):
    pass


def need(holds, refusal, why):
    if not holds:
        raise refusal(why)


# Small texts


def unbase64(text, length=None):
    need(re.fullmatch(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", text), Malformed, "no padded base64")
    raw = base64.b64decode(text)
    need(base64.b64encode(raw).decode() == text, Malformed, "trailing bits")
    need(length in (None, len(raw)), Malformed, f"not {length} bytes")
    return raw


def decimal(text):
    need(re.fullmatch(r"0|[1-9][0-9]{0,18}", text) and int(text) <= LARGEST, Malformed, "no decimal up to 2^63 - 1")
    return int(text)


def check_name(name):
    need(re.fullmatch(r"[!-*,-~]{1,255}", name), Malformed, "no name")


def utf8(content):
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("no UTF-8") from error


def sha256(content):
    return hashlib.sha256(content).digest()


# Keys and signatures


def strict_point(raw):
    """Whether 32 bytes are the one encoding of a point that is not of small order."""
    y = int.from_bytes(raw, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if y >= P:
        return False
    x2 = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if x * x % P != x2:
        x = x * pow(2, (P - 1) // 4, P) % P
    if x * x % P != x2 or (x == 0 and sign):
        return False
    x = P - x if x & 1 != sign else x
    for _ in range(3):
        common = D * x * x * y * y
        x, y = 2 * x * y * pow(1 + common, -1, P) % P, (y * y + x * x) * pow(1 - common, -1, P) % P
    return (x, y) != (0, 1)


class Vkey:
    def __init__(self, text):
        fields = text.split("+", 2)
        need(len(fields) == 3, Malformed, "not three fields")
        self.name, short, body = fields
        check_name(self.name)
        need(re.fullmatch(r"[0-9a-f]{8}", short), Malformed, "no key id")
        body = unbase64(body, 33)
        need(body[0] in (1, 4), Malformed, "an unknown type")
        self.kind, self.raw, self.short = body[0], body[1:], bytes.fromhex(short)
        need(sha256(self.name.encode() + b"\n" + body)[:4] == self.short, Malformed, "another key id")
        need(strict_point(self.raw), Untrusted, "a key that is refused")

    def verify(self, message, signature):
        need(len(signature) == 64 and strict_point(signature[:32]), Untrusted, "no signature")
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except InvalidSignature as error:
            raise Untrusted("the signature does not verify") from error


# Notes


class Note:
    def __init__(self, content):
        need(len(content) <= 256 * 1024, Malformed, "too long")
        whole = utf8(content)
        need(not re.search(r"[\0-\x09\x0b-\x1f]", whole) and not whole.startswith("\ufeff"), Malformed, "a control character")
        head, blank, tail = whole.rpartition("\n\n")
        need(blank and tail.endswith("\n"), Malformed, "no blank line, or no line feed at the end")
        self.text = (head + "\n").encode()
        lines = tail[:-1].split("\n")
        need(len(lines) <= 64, Malformed, "too many signatures")
        self.lines = [self.read(line) for line in lines]
        need(len({line[:2] for line in self.lines}) == len(self.lines), Malformed, "one key twice")

    @staticmethod
    def read(line):
        fields = line.split(" ")
        need(len(fields) == 3 and fields[0] == "\u2014", Malformed, "no signature line")
        check_name(fields[1])
        raw = unbase64(fields[2])
        need(len(raw) > 4, Malformed, "no signature after the key id")
        return fields[1], raw[:4], raw[4:]

    def signature_of(self, key):
        found = [blob for name, short, blob in self.lines if (name, short) == (key.name, key.short)]
        need(found, Untrusted, f"{key.name} did not sign")
        return found[0]


def read_checkpoint(note):
    lines = note.text.decode().split("\n")
    need(len(lines) == 4 and lines[3] == "", Malformed, "not three lines")
    origin, size, root = lines[0], decimal(lines[1]), unbase64(lines[2], 32)
    check_name(origin)
    need(size or root == sha256(b""), Malformed, "another root of the empty tree")
    return origin, size, root


def check_ledger(note, key):
    origin, size, root = read_checkpoint(note)
    need(key.kind == 1 and origin == key.name, Untrusted, "another origin")
    key.verify(note.text, note.signature_of(key))
    return size, root


def check_cosignature(note, witness, time):
    blob = note.signature_of(witness)
    need(witness.kind == 4 and len(blob) == 72, Untrusted, "no cosignature")
    stated = int.from_bytes(blob[:8], "big")
    need(0 < stated <= LARGEST, Untrusted, "no time")
    witness.verify(f"cosignature/v1\ntime {stated}\n".encode() + note.text, blob[8:])
    need(stated == time, Untrusted, "another time")


# Trees


def node(left, right):
    return sha256(b"\1" + left + right)


def root_over(hashes):
    stack = []
    for index, value in enumerate(hashes):
        while index & 1:
            value = node(stack.pop(), value)
            index >>= 1
        stack.append(value)
    while len(stack) > 1:
        right = stack.pop()
        stack.append(node(stack.pop(), right))
    return stack[0] if stack else sha256(b"")


def check_inclusion(index, size, leaf, hashes, root):
    need(index < size <= LARGEST, Inconsistent, "out of range")
    at, last, value = index, size - 1, leaf
    for each in hashes:
        need(last, Inconsistent, "too many hashes")
        if at & 1 or at == last:
            value = node(each, value)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            value = node(value, each)
        at, last = at >> 1, last >> 1
    need(last == 0 and value == root, Inconsistent, "another root")


def check_consistency(old, new, old_root, new_root, hashes):
    need(0 < old <= new <= LARGEST, Inconsistent, "out of range")
    if old == new:
        need(not hashes and old_root == new_root, Inconsistent, "one size, two roots")
        return
    need(hashes, Inconsistent, "no hash")
    if old & (old - 1) == 0:
        hashes = [old_root] + hashes
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    one = two = hashes[0]
    for each in hashes[1:]:
        need(last, Inconsistent, "too many hashes")
        if at & 1 or at == last:
            one, two = node(each, one), node(each, two)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            two = node(two, each)
        at, last = at >> 1, last >> 1
    need(last == 0 and one == old_root and two == new_root, Inconsistent, "another root")


def read_tile_path(text):
    found = re.fullmatch(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*)([0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", text)
    need(found, Malformed, "no path")
    row, groups, last, width = found.groups()
    need(not groups.startswith("x000"), Malformed, "a group too many")
    level = 0 if row == "entries" else int(row)
    index = int(groups.replace("x", "").replace("/", "") + last)
    width = int(width) if width else 256
    need(level < 64 and index <= LARGEST and (width < 256 or ".p/" not in text), Malformed, "out of range")
    return level, index, width


def check_place(level, index, width, size):
    count = size // 256**level
    need(index * 256 < count and width == min(256, count - index * 256), Inconsistent, "the tree has no such tile")


def read_bundle(content, width):
    entries = []
    while content:
        need(len(content) >= 2, Malformed, "half a length")
        length = int.from_bytes(content[:2], "big")
        entry, content = content[2 : 2 + length], content[2 + length :]
        need(length and len(entry) == length, Malformed, "an empty entry, or one that overruns")
        entries.append(entry)
    need(len(entries) == width, Malformed, "more or fewer entries")
    return entries


# Vectors


def read_hashes(body):
    return [unbase64(line, 32) for line in body.decode().splitlines()]


def run_tlog_proof(given, body):
    whole = utf8(body)
    head, blank, checkpoint = whole.partition("\n\n")
    need(blank, Malformed, "no blank line")
    first, *lines = head.split("\n")
    need(first == "c2sp.org/tlog-proof@v1", Malformed, "another first line")
    if lines and lines[0].startswith("extra "):
        need(len(unbase64(lines.pop(0)[6:])) <= 48_000, Malformed, "too much extra")
    need(lines and lines[0].startswith("index "), Malformed, "no index")
    index = decimal(lines[0][6:])
    need(len(lines) <= 64, Malformed, "too many hashes")
    hashes = [unbase64(line, 32) for line in lines[1:]]
    size, root = check_ledger(Note(checkpoint.encode()), Vkey(given["vkey"]))
    check_inclusion(index, size, bytes.fromhex(given["leaf"]), hashes, root)


def run_checkpoint(given, body):
    note, key = Note(body), Vkey(given["vkey"])
    check_ledger(note, key)
    if "order" in given:
        need(given["order"] == "stored", ValueError, "an order that we do not know")
        first, *others = note.lines
        need(first[:2] == (key.name, key.short) and others == sorted(others), Malformed, "another order")


def run_cosignature(given, body):
    note = Note(body)
    check_ledger(note, Vkey(given["vkey"]))
    check_cosignature(note, Vkey(given["witness"]), int(given["time"]))


def run_inclusion(given, body):
    leaf, root = bytes.fromhex(given["leaf"]), bytes.fromhex(given["root"])
    check_inclusion(int(given["index"]), int(given["size"]), leaf, read_hashes(body), root)


def run_consistency(given, body):
    roots = bytes.fromhex(given["old-root"]), bytes.fromhex(given["new-root"])
    check_consistency(int(given["old-size"]), int(given["new-size"]), *roots, read_hashes(body))


def run_tile(given, body):
    place = read_tile_path(given["path"])
    content = unbase64(body.decode().replace("\n", ""))
    need(len(content) == 32 * place[2], Malformed, "another length")
    check_place(*place, int(given["size"]))
    hashes = [content[at : at + 32] for at in range(0, len(content), 32)]
    need(root_over(hashes) == bytes.fromhex(given["root"]), Inconsistent, "another root")


def run_bundle(given, body):
    place = read_tile_path(given["path"])
    entries = read_bundle(unbase64(body.decode().replace("\n", "")), place[2])
    check_place(*place, int(given["size"]))
    leaves = [sha256(b"\0" + entry) for entry in entries]
    need(root_over(leaves) == bytes.fromhex(given["root"]), Inconsistent, "another root")


def run_entry(given, body):
    need(re.fullmatch(rb"custodia/entry/v1\nsha256 [0-9a-f]{64}\nsha512 [0-9a-f]{128}\n", body), Malformed, "no entry")
    need(len(body) == 226 and sha256(b"\0" + body) == bytes.fromhex(given["leaf"]), Inconsistent, "another leaf")


KINDS = {
    "vkey": (lambda given, body: Vkey(utf8(body)), ""),
    "note": (lambda given, body: Note(body), ""),
    "checkpoint": (run_checkpoint, "vkey order?"),
    "cosignature": (run_cosignature, "vkey witness time"),
    "tlog-proof": (run_tlog_proof, "vkey leaf"),
    "inclusion": (run_inclusion, "index size leaf root"),
    "consistency": (run_consistency, "old-size new-size old-root new-root"),
    "tile-path": (lambda given, body: read_tile_path(utf8(body)), ""),
    "tile": (run_tile, "path size root"),
    "bundle": (run_bundle, "path size root"),
    "entry": (run_entry, "leaf"),
}


def read_vector(content):
    """The header of a file as a dictionary, and its body."""
    header, blank, body = content.partition(b"\n\n")
    need(blank, ValueError, "no empty line after the header")
    lines = [line.split(": ", 1) for line in header.decode().split("\n")]
    given = dict(lines)
    need(len(given) == len(lines) and list(given)[:3] == ["kind", "expect", "why"], ValueError, "another header")
    words = KINDS[given["kind"]][1].split()
    names = set(list(given)[3:])
    needed = {word for word in words if not word.endswith("?")}
    need(needed <= names <= {word.rstrip("?") for word in words}, ValueError, f"other inputs than {words}")
    return given, body


def outcome(given, body):
    """How the body ends: the class, and the reason."""
    try:
        KINDS[given["kind"]][0](given, body)
    except (Malformed, Untrusted, Inconsistent) as refusal:
        return type(refusal).__name__.lower(), str(refusal)
    return "ok", ""
