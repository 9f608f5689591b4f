"""What the vectors of the log formats are made of: fixed keys, signature lines, trees, and the files themselves.

Trees are made by the recursion of RFC 6962 §2.1, as it stands there; check.py uses another algorithm.
"""

import base64
import hashlib
from functools import cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ORDER = 2**252 + 27742317777372353535851937790883648493
FIELD_PRIME = 2**255 - 19
LARGEST = 2**63 - 1
NOTE_BYTES = 256 * 1024

FILES = {}
# Kind, inputs and body of each: no two files say the same.
TOLD = set()


def case(name, kind, expect, why, body, **inputs):
    """Adds one file. Inputs stand in the header in the order given, `old_size` as `old-size`."""
    kind_and_inputs = {"kind": kind, "expect": expect, "why": why, **inputs}
    if kind in ("tile", "bundle"):
        encoded = b64(body)
        body = "".join(encoded[at : at + 76] + "\n" for at in range(0, len(encoded), 76)).encode()
    header = "".join(f"{key.replace('_', '-')}: {value}\n" for key, value in kind_and_inputs.items())
    assert "\n\n" not in header and why.endswith("."), name
    content = header.encode() + b"\n" + (body.encode() if isinstance(body, str) else body)
    told = kind, inputs_and_body(content)
    assert name not in FILES and told not in TOLD, f"{name} stands there twice"
    FILES[name] = content
    TOLD.add(told)


def inputs_and_body(content):
    return content.partition(b"\nwhy: ")[2].partition(b"\n")[2]


def put(text, old, new, count=1):
    """Puts one text in place of another that stands there exactly `count` times."""
    assert text.count(old) == count, f"{old!r} stands {text.count(old)} times"
    return text.replace(old, new)


def sha256(content):
    return hashlib.sha256(content).digest()


def b64(content):
    return base64.b64encode(content).decode()


def flip(content, at=0):
    """One bit of one byte turned over."""
    changed = bytearray(content)
    changed[at] ^= 1
    return bytes(changed)


# Keys and signatures


class Key:
    """An Ed25519 key whose seed is the hash of its label, and its vkey under a name and a type."""

    def __init__(self, label, name, kind):
        self.seed = sha256(f"custodia log vectors: {label}".encode())
        self.secret = Ed25519PrivateKey.from_private_bytes(self.seed)
        self.raw = self.secret.public_key().public_bytes_raw()
        self.name, self.kind = name, kind

    def vkey(self):
        return vkey(self.name, self.kind, self.raw)

    def key_id(self):
        return key_id(self.name, self.kind, self.raw)

    def sign(self, message):
        return self.secret.sign(message)

    def sign_with_small_r(self, message):
        """A signature whose R is the neutral element: the equation holds, but R is of small order."""
        digest = bytearray(hashlib.sha512(self.seed).digest()[:32])
        digest[0] &= 248
        digest[31] = digest[31] & 63 | 64
        r = (1).to_bytes(32, "little")
        k = int.from_bytes(hashlib.sha512(r + self.raw + message).digest(), "little")
        return r + (k * int.from_bytes(digest, "little") % ORDER).to_bytes(32, "little")

    def line(self, blob):
        return line(self.name, self.key_id(), blob)

    def signed(self, text):
        """This key's line under a text, for a ledger's key."""
        return self.line(self.sign(text))

    def cosigned(self, text, time, sign=None):
        """This key's line under a text, for a witness's key."""
        signature = (sign or self.sign)(cosigned(text, time))
        return self.line(time.to_bytes(8, "big") + signature)


def malleable(signature):
    """The same signature with the group's order added to S."""
    s = int.from_bytes(signature[32:], "little") + ORDER
    return signature[:32] + s.to_bytes(32, "little")


def key_id(name, kind, raw):
    return sha256(name.encode() + b"\n" + bytes([kind]) + raw)[:4]


def vkey(name, kind, raw):
    return f"{name}+{key_id(name, kind, raw).hex()}+{b64(bytes([kind]) + raw)}"


def cosigned(text, time):
    return f"cosignature/v1\ntime {time}\n".encode() + text


def line(name, short, blob):
    return f"\u2014 {name} {b64(short + blob)}\n".encode()


def note(text, *lines):
    return text + b"\n" + b"".join(lines)


def checkpoint_text(origin, size, root):
    return f"{origin}\n{size}\n{b64(root)}\n".encode()


# Trees: entry i is the decimal i in ASCII


@cache
def leaf(index):
    return sha256(b"\0" + str(index).encode())


def node(left, right):
    return sha256(b"\1" + left + right)


def split(width):
    """The largest power of two below a width of two or more."""
    return 1 << (width - 1).bit_length() - 1


def root_of(hashes):
    """MTH over leaf hashes."""
    if not hashes:
        return sha256(b"")
    if len(hashes) == 1:
        return hashes[0]
    half = split(len(hashes))
    return node(root_of(hashes[:half]), root_of(hashes[half:]))


@cache
def mth(first, end):
    if end - first < 2:
        return leaf(first) if end > first else sha256(b"")
    half = first + split(end - first)
    return node(mth(first, half), mth(half, end))


def root(size):
    return mth(0, size)


def path(index, size, first=0):
    """PATH(m, D[n]), from the leaf's sibling up."""
    if size - first < 2:
        return []
    half = first + split(size - first)
    if index < half:
        return path(index, half, first) + [mth(half, size)]
    return path(index, size, half) + [mth(first, half)]


def proof(old, new):
    """PROOF(m, D[n])."""

    def subproof(old, first, end, whole):
        if old == end:
            return [] if whole else [mth(first, end)]
        half = first + split(end - first)
        if old <= half:
            return subproof(old, first, half, whole) + [mth(half, end)]
        return subproof(old, half, end, False) + [mth(first, half)]

    return subproof(old, 0, new, True)


def made_up(count):
    """Hashes of nothing in particular, for trees that nobody could build."""
    return [sha256(f"made up {index}".encode()) for index in range(count)]


def hash_lines(hashes):
    return "".join(b64(each) + "\n" for each in hashes)
