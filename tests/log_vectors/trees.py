"""The vectors of proofs, tiles, bundles and entries."""

import hashlib

from made import (
    LARGEST,
    b64,
    case,
    checkpoint_text,
    flip,
    hash_lines,
    leaf,
    made_up,
    node,
    note,
    path,
    proof,
    put,
    root,
    root_of,
    sha256,
)
from notes import LEDGER, ORIGIN, STRANGER

GROWN = 70_000


def closing(index, size, leaf_hash, hashes):
    """The root to which these hashes lead, by the places of the leaf and its ancestors."""
    last, at = size - 1, index
    for sibling in hashes:
        while at == last and at % 2 == 0 and last:
            at, last = at // 2, last // 2
        leaf_hash = node(sibling, leaf_hash) if at % 2 else node(leaf_hash, sibling)
        at, last = at // 2, last // 2
    return leaf_hash


def swapped(hashes, one=0, other=1):
    hashes = list(hashes)
    hashes[one], hashes[other] = hashes[other], hashes[one]
    return hashes


def flipped(hashes, at):
    return hashes[:at] + [flip(hashes[at], 31)] + hashes[at + 1 :]


def inclusions():
    def add(name, expect, why, index, size, hashes=None, leaf_hash=None, tree_root=None):
        inputs = {"leaf": leaf_hash or leaf(index), "root": tree_root or root(size)}
        hashes = path(index, size) if hashes is None else hashes
        case(
            f"inclusion-{name}",
            "inclusion",
            expect,
            why,
            hash_lines(hashes),
            index=index,
            size=size,
            **{key: value.hex() for key, value in inputs.items()},
        )

    add("one-entry", "ok", "The only entry: no hash, and the root is the leaf hash.", 0, 1)
    add("first-of-8", "ok", "The first of a full tree.", 0, 8)
    add("last-of-8", "ok", "The last of a full tree.", 7, 8)
    add("last-of-7", "ok", "The last of an uneven tree: every sibling stands at the left.", 6, 7)
    add("5-of-7", "ok", "Two hashes below, one at the right edge above.", 5, 7)
    add("last-of-255", "ok", "The last of a tree one short of a tile.", 254, 255)
    add("last-of-256", "ok", "The last of a full tile.", 255, 256)
    add("last-of-257", "ok", "The first after a full tile: one hash.", 256, 257)
    add("last-of-70000", "ok", "The last of a tree with three levels of tiles.", GROWN - 1, GROWN)
    for name, why, index, count in [
        ("first-of-largest", "The first of 2^63 - 1: 63 hashes.", 0, 63),
        ("last-of-largest", "The last of 2^63 - 1: 62 hashes, all at the left.", LARGEST - 1, 62),
    ]:
        hashes, start = made_up(count), sha256(b"leaf")
        add(name, "ok", why, index, LARGEST, hashes, start, closing(index, LARGEST, start, hashes))

    good = path(5, 8)
    add(
        "size-7-root-of-8",
        "ok",
        "It closes with the root of eight as well: size and root count only from one signed checkpoint.",
        5,
        7,
        good,
        tree_root=root(8),
    )
    add(
        "node-as-leaf-in-half-the-size",
        "ok",
        "It closes: only the signed size, and a leaf hash made from an entry, tell a node from a leaf.",
        2,
        4,
        good[1:],
        node(leaf(4), leaf(5)),
        root(8),
    )

    def bad(name, why, hashes=good, index=5, size=8, leaf_hash=leaf(5), tree_root=root(8)):
        add(name, "inconsistent", why, index, size, hashes, leaf_hash, tree_root)

    bad("hash-missing", "The last hash is missing.", good[:-1])
    bad("first-hash-missing", "The leaf's sibling is missing.", good[1:])
    bad("hash-too-many", "A hash follows.", good + made_up(1))
    bad("leaf-as-first-hash", "The leaf's own hash precedes the siblings.", [leaf(5)] + good)
    bad("root-as-last-hash", "The root follows the siblings.", good + [root(8)])
    bad("no-hashes", "There is no hash.", [])
    bad("64-hashes", "There are more hashes than any tree has levels.", made_up(64))
    for at in range(3):
        bad(f"hash-{at}-flipped-bit", f"One bit of hash {at} is turned over.", flipped(good, at))
    bad("hashes-swapped", "The first two hashes change places.", swapped(good))
    bad("hashes-from-the-root-down", "The hashes are in the order from the root down.", good[::-1])
    bad("index-of-neighbour", "The index is that of the sibling.", index=4)
    bad("index-of-another", "The index is that of an entry in the other half.", index=1)
    bad("index-is-size", "The index is the tree's size.", index=8)
    bad("index-above-size", "The index lies beyond the tree, by a multiple of its width.", index=13)
    bad("index-largest", "The index is 2^64 - 1.", index=2**64 - 1)
    bad("size-0", "The empty tree has no entry.", [], 0, 0, leaf(0), sha256(b""))
    bad("size-6", "The size is that of a tree in which the entry is the last.", size=6)
    bad("root-of-another-size", "The root is that of the tree one smaller.", tree_root=root(7))
    bad("root-flipped-bit", "One bit of the root is turned over.", tree_root=flip(root(8)))
    bad("proof-of-another-size", "The proof was made in the tree one larger.", path(5, 9))
    bad("proof-of-another-entry", "The proof is that of entry 4.", path(4, 8))
    bad("leaf-of-another-entry", "The leaf is that of entry 6.", leaf_hash=leaf(6))
    bad("leaf-hashed-as-node", "The leaf was hashed with the prefix 01.", leaf_hash=sha256(b"\1" + b"5"))
    bad("leaf-hashed-without-prefix", "The leaf was hashed without a prefix.", leaf_hash=sha256(b"5"))
    bad("node-as-leaf", "A node is given as a leaf, with the hashes above it.", good[1:], 2, 8, node(leaf(4), leaf(5)))
    bad("one-entry-with-hash", "The only entry of a tree has a hash.", made_up(1), 0, 1, leaf(0), root(1))
    bad(
        "uneven-hash-of-nothing",
        "The last of seven has a hash of nothing where no sibling stands.",
        [sha256(b"")] + path(6, 7),
        6,
        7,
        leaf(6),
        root(7),
    )
    hashes, start = made_up(63), sha256(b"leaf")
    bad("size-2-to-63", "The size is 2^63; else the proof closes.", hashes, 0, 2**63, start, closing(0, 2**63, start, hashes))


def consistencies():
    def add(name, expect, why, old, new, hashes=None, old_root=None, new_root=None):
        hashes = proof(old, new) if hashes is None else hashes
        case(
            f"consistency-{name}",
            "consistency",
            expect,
            why,
            hash_lines(hashes),
            old_size=old,
            new_size=new,
            old_root=(old_root or root(old)).hex(),
            new_root=(new_root or root(new)).hex(),
        )

    for old, new, why in [
        (1, 2, "From one entry to two."),
        (1, 8, "From one entry: the walk starts at the old root."),
        (4, 8, "From a power of two: one hash."),
        (3, 7, "From an uneven tree to an uneven tree."),
        (6, 8, "The walk starts at a subtree of two."),
        (7, 8, "The walk starts at the last leaf."),
        (8, 9, "From a full tree to one more."),
        (255, 256, "A tile becomes full."),
        (256, 257, "A second tile begins."),
        (65_536, GROWN, "From a full tile of level 1."),
        (65_535, GROWN, "From one short of it."),
    ]:
        add(f"{old}-to-{new}", "ok", why, old, new)
    add("equal", "ok", "The same tree: no hash.", 8, 8)
    add("equal-largest", "ok", "The same tree of 2^63 - 1.", LARGEST, LARGEST, [], root(8), root(8))
    hashes = made_up(63)
    add(
        "1-to-largest",
        "ok",
        "From one entry to 2^63 - 1: 63 hashes.",
        1,
        LARGEST,
        hashes,
        leaf(0),
        closing(0, LARGEST, leaf(0), hashes),
    )
    add(
        "one-more-to-largest",
        "ok",
        "From 2^63 - 2 to 2^63 - 1: the smallest subtree, its new sibling, and 61 at the left.",
        LARGEST - 1,
        LARGEST,
        largest_step(),
        *largest_roots(),
    )

    good = proof(6, 8)

    def bad(name, why, hashes=good, old=6, new=8, old_root=None, new_root=None):
        add(name, "inconsistent", why, old, new, hashes, old_root, new_root)

    bad("from-0", "Nothing follows from the empty tree, and no hash shows it.", [], 0)
    bad("from-0-to-0", "Not even the empty tree.", [], 0, 0)
    bad("from-0-with-proof", "The root as the only hash from the empty tree.", [root(8)], 0)
    bad("old-above-new", "The old tree is the larger.", proof(7, 8), 8, 7)
    bad("equal-with-proof", "The same tree, and yet a hash.", made_up(1), 8)
    bad("equal-sizes-other-roots", "One size, two roots.", [], 8, 8, flip(root(8)))
    bad("hash-missing", "The last hash is missing.", good[:-1])
    bad("hash-too-many", "A hash follows.", good + made_up(1))
    bad("no-hashes", "There is no hash.", [])
    bad("64-hashes", "There are more hashes than any tree has levels.", made_up(64))
    for at in range(3):
        bad(f"hash-{at}-flipped-bit", f"One bit of hash {at} is turned over.", flipped(good, at))
    bad("hashes-swapped", "The first two hashes change places.", swapped(good))
    bad("hashes-from-the-root-down", "The hashes are in the order from the root down.", good[::-1])
    bad("start-missing", "The subtree that the walk starts at is missing.", good[1:])
    bad("power-of-two-with-start", "From a power of two, the old root is sent too.", [root(4)] + proof(4, 8), 4)
    bad("proof-from-another-size", "The proof is from five.", proof(5, 8))
    bad("proof-to-another-size", "The proof is to seven.", proof(6, 7))
    bad("to-half-of-the-new-size", "The new size is 16; hashes and root are of eight.", proof(4, 8), 4, 16, new_root=root(8))
    bad("old-root-of-another-size", "The old root is that of five.", old_root=root(5))
    bad("new-root-of-another-size", "The new root is that of nine.", new_root=root(9))
    bad("old-root-flipped-bit", "One bit of the old root is turned over.", old_root=flip(root(6)))
    bad("new-root-flipped-bit", "One bit of the new root is turned over.", new_root=flip(root(8)))
    bad("roots-exchanged", "The roots change places.", old_root=root(8), new_root=root(6))
    bad("roots-equal", "The new root is the old one.", new_root=root(6))
    forked = [leaf(index) for index in range(8)]
    forked[3] = leaf(99)
    bad(
        "fork",
        "The new tree holds another entry 3; the proof is the new tree's.",
        [root_of(forked[4:6]), root_of(forked[6:8]), root_of(forked[:4])],
        new_root=root_of(forked),
    )
    bad(
        "fork-power-of-two",
        "The new tree holds another entry 3; its right half is true.",
        proof(4, 8),
        4,
        new_root=root_of(forked),
    )
    bad(
        "new-size-2-to-63",
        "The new size is 2^63; else the proof closes.",
        made_up(63),
        1,
        2**63,
        leaf(0),
        closing(0, 2**63, leaf(0), made_up(63)),
    )
    bad("equal-2-to-63", "Both sizes are 2^63.", [], 2**63, 2**63, root(8), root(8))


def largest_step():
    """From 2^63 - 2 to 2^63 - 1. The old tree ends in a subtree of two, so the walk starts there, one level up: its hash, the
    new leaf at its right, and 61 subtrees at the left, smallest first."""
    return made_up(63)


def largest_roots():
    start, new_leaf, *lefts = largest_step()
    old_root, new_root = start, node(start, new_leaf)
    for each in lefts:
        old_root, new_root = node(each, old_root), node(each, new_root)
    return old_root, new_root


def tlog_proofs():
    def make_text(index, size, hashes=None, extra="", tree_root=None, key=LEDGER):
        text = checkpoint_text(ORIGIN, size, tree_root or root(size))
        hashes = path(index, size) if hashes is None else hashes
        head = f"c2sp.org/tlog-proof@v1\n{extra}index {index}\n{hash_lines(hashes)}\n"
        return head.encode() + note(text, key.signed(text))

    def add(name, expect, why, body, leaf_hash=leaf(5)):
        case(f"tlog-proof-{name}", "tlog-proof", expect, why, body, vkey=LEDGER.vkey(), leaf=leaf_hash.hex())

    def extra(content):
        return f"extra {b64(content)}\n"

    good = make_text(5, 8)
    add("5-of-8", "ok", "Entry 5 of eight.", good)
    add("one-entry", "ok", "The only entry: no hash.", make_text(0, 1), leaf(0))
    add("last-of-255", "ok", "The last of a tree one short of a tile.", make_text(254, 255), leaf(254))
    add("last-of-256", "ok", "The last of a full tile.", make_text(255, 256), leaf(255))
    add("extra", "ok", "Bytes that nobody signed.", make_text(5, 8, extra=extra(b"5")))
    add("extra-48000-bytes", "ok", "As many of them as there may be.", make_text(5, 8, extra=extra(bytes(48_000))))
    hashes = made_up(63)
    largest = make_text(0, LARGEST, hashes, tree_root=closing(0, LARGEST, leaf(0), hashes))
    add("63-hashes", "ok", "The first of the largest tree: as many hashes as there may be.", largest, leaf(0))

    def malformed(name, why, old, new):
        add(name, "malformed", why, put(good, old, new))

    malformed("header-missing", "The first line is missing.", b"c2sp.org/tlog-proof@v1\n", b"")
    malformed("header-v2", "The first line says v2.", b"@v1", b"@v2")
    malformed("header-carriage-return", "The first line ends in CR.", b"@v1\n", b"@v1\r\n")
    malformed("byte-order-mark", "A byte order mark stands at the start.", b"c2sp.org", b"\xef\xbb\xbfc2sp.org")
    malformed("index-missing", "The index's line is missing.", b"index 5\n", b"")
    malformed("index-leading-zero", "The index has a leading zero.", b"index 5", b"index 05")
    malformed("index-plus", "The index has a plus sign.", b"index 5", b"index +5")
    malformed("index-minus", "The index has a minus sign.", b"index 5", b"index -5")
    malformed("index-empty", "The index is empty.", b"index 5", b"index ")
    malformed("index-two-spaces", "Two spaces precede the index.", b"index 5", b"index  5")
    malformed("index-uppercase", "The word is in uppercase.", b"index 5", b"Index 5")
    malformed("index-carriage-return", "The index ends in CR.", b"index 5\n", b"index 5\r\n")
    malformed("index-twice", "The index's line stands twice.", b"index 5\n", b"index 5\nindex 5\n")
    malformed("index-2-to-63", "The index is 2^63.", b"index 5", b"index 9223372036854775808")
    malformed("unknown-line", "A line of an unknown name.", b"index 5\n", b"note YQ==\nindex 5\n")
    malformed("extra-after-index", "The extra line follows the index.", b"index 5\n", b"index 5\nextra NQ==\n")
    malformed("extra-twice", "There are two extra lines.", b"index 5\n", b"extra NQ==\nextra NQ==\nindex 5\n")
    malformed(
        "extra-trailing-bits", "The bits after the last byte of extra are not zero.", b"index 5\n", b"extra NR==\nindex 5\n"
    )
    malformed("extra-without-padding", "The padding of extra is missing.", b"index 5\n", b"extra NQ\nindex 5\n")
    malformed("extra-48001-bytes", "Extra is a byte too long.", b"index 5\n", extra(bytes(48_001)).encode() + b"index 5\n")
    sibling = b64(path(5, 8)[0]).encode()
    malformed("hash-31-bytes", "A hash lacks a byte.", sibling, b64(path(5, 8)[0][:31]).encode())
    malformed("hash-33-bytes", "A hash has a byte too many.", sibling, b64(path(5, 8)[0] + b"\0").encode())
    malformed("hash-hex", "A hash is in hex.", sibling, path(5, 8)[0].hex().encode())
    malformed("hash-without-padding", "A hash's padding is missing.", sibling, sibling[:-1])
    malformed(
        "hash-trailing-bits",
        "The bits after a hash's last byte are not zero.",
        sibling,
        sibling[:-2] + bytes([sibling[-2] + 1]) + b"=",
    )
    malformed("hash-carriage-return", "A hash ends in CR.", sibling + b"\n", sibling + b"\r\n")
    malformed("hash-space", "A space precedes a hash.", sibling, b" " + sibling)
    malformed("hashes-on-one-line", "Two hashes stand on one line.", sibling + b"\n", sibling)
    malformed(
        "blank-line-missing", "The checkpoint follows the hashes at once.", b"\n\n" + ORIGIN.encode(), b"\n" + ORIGIN.encode()
    )
    malformed(
        "two-blank-lines", "Two blank lines precede the checkpoint.", b"\n\n" + ORIGIN.encode(), b"\n\n\n" + ORIGIN.encode()
    )
    malformed("size-leading-zero", "The checkpoint's size has a leading zero.", b"\n8\n", b"\n08\n")
    add(
        "64-hashes",
        "malformed",
        "One hash more than there may be.",
        make_text(0, LARGEST, made_up(64), tree_root=root(8)),
        leaf(0),
    )
    add("checkpoint-missing", "malformed", "Nothing follows the hashes and the blank line.", good[: good.index(ORIGIN.encode())])
    add("signature-missing", "malformed", "The checkpoint has no signature line.", good[: good.index(b"\n\xe2\x80\x94")] + b"\n")
    add("last-line-feed-missing", "malformed", "The last line feed is missing.", good[:-1])
    add("blank-line-at-the-end", "malformed", "A blank line follows.", good + b"\n")

    hashes = path(5, 8)

    def inconsistent(name, why, body, leaf_hash=leaf(5)):
        add(name, "inconsistent", why, body, leaf_hash)

    inconsistent("hash-missing", "The last hash is missing.", make_text(5, 8, hashes[:-1]))
    inconsistent("hash-too-many", "A hash follows.", make_text(5, 8, hashes + made_up(1)))
    inconsistent("hash-flipped-bit", "One bit of a hash is turned over.", make_text(5, 8, flipped(hashes, 1)))
    inconsistent("hashes-swapped", "Two hashes change places.", make_text(5, 8, swapped(hashes)))
    inconsistent("hashes-from-the-root-down", "The hashes are in the order from the root down.", make_text(5, 8, hashes[::-1]))
    inconsistent("index-of-neighbour", "The index is that of the sibling.", make_text(4, 8, hashes))
    inconsistent("index-is-size", "The index is the checkpoint's size.", make_text(8, 8, hashes))
    inconsistent("index-in-empty-tree", "The checkpoint is of the empty tree.", make_text(0, 0, []), leaf(0))
    inconsistent("leaf-of-another-entry", "The leaf is that of entry 6.", good, leaf(6))
    inconsistent("leaf-hashed-as-node", "The leaf was hashed with the prefix 01.", good, sha256(b"\1" + b"5"))
    inconsistent("proof-of-another-size", "The proof was made in the tree one smaller.", make_text(5, 8, path(5, 7)))
    inconsistent("root-of-another-size", "The checkpoint states the root of seven for eight.", make_text(5, 8, tree_root=root(7)))
    add("signed-by-another", "untrusted", "A key that nobody gave signed the checkpoint.", make_text(5, 8, key=STRANGER))
    add(
        "signature-fails",
        "untrusted",
        "The ledger's line is of another checkpoint.",
        put(good, LEDGER.signed(checkpoint_text(ORIGIN, 8, root(8))), LEDGER.signed(checkpoint_text(ORIGIN, 7, root(7)))),
    )


def tile_paths():
    for name, why, text in [
        ("full", "A full tile.", "tile/0/000"),
        ("width-1", "The narrowest tile.", "tile/0/000.p/1"),
        ("width-255", "The widest tile that is not full.", "tile/0/000.p/255"),
        ("index-999", "The last index of one group.", "tile/1/999"),
        ("index-1000", "The first index of two groups.", "tile/0/x001/000"),
        ("index-1234067", "Three groups, the example of C2SP.", "tile/0/x001/x234/067"),
        ("index-largest", "The largest index, 2^63 - 1.", "tile/0/x009/x223/x372/x036/x854/x775/807"),
        ("level-63", "The highest level.", "tile/63/000"),
        ("entries", "A bundle of entries.", "tile/entries/x001/234.p/17"),
    ]:
        case(f"tile-path-{name}", "tile-path", "ok", why, text)
    for name, why, text in [
        ("empty", "There is no path.", ""),
        ("slash-first", "A slash precedes.", "/tile/0/000"),
        ("slash-last", "A slash follows.", "tile/0/000/"),
        ("line-feed", "A line feed follows.", "tile/0/000\n"),
        ("without-index", "There is no index.", "tile/0"),
        ("level-64", "The level is above 63.", "tile/64/000"),
        ("level-leading-zero", "The level has a leading zero.", "tile/00/000"),
        ("level-negative", "The level is negative.", "tile/-1/000"),
        ("level-name", "The row has a name that is not known.", "tile/data/000"),
        ("group-2-digits", "A group has two digits.", "tile/0/00"),
        ("group-4-digits", "A group has four digits.", "tile/0/0000"),
        ("group-plus", "A group has a sign.", "tile/0/+01"),
        ("group-minus", "A group is negative.", "tile/0/-01"),
        ("group-hex", "A group is in hex.", "tile/0/00a"),
        ("first-group-2-digits", "The first of two groups has two digits.", "tile/0/x01/234"),
        ("first-group-zero", "The first of two groups is zero.", "tile/0/x000/001"),
        ("first-group-without-x", "The first of two groups lacks its x.", "tile/0/001/234"),
        ("last-group-with-x", "The last group has an x.", "tile/0/x001/x234"),
        ("group-uppercase-x", "The x is in uppercase.", "tile/0/X001/234"),
        ("dots", "A component leads up.", "tile/0/../000"),
        ("empty-component", "A component is empty.", "tile/0//000"),
        ("index-2-to-63", "The index is 2^63.", "tile/0/x009/x223/x372/x036/x854/x775/808"),
        ("index-2-to-64", "The index is 2^64.", "tile/0/x018/x446/x744/x073/x709/x551/616"),
        ("width-0", "The width is 0.", "tile/0/000.p/0"),
        ("width-256", "A full tile has no width in its path.", "tile/0/000.p/256"),
        ("width-leading-zero", "The width has a leading zero.", "tile/0/000.p/01"),
        ("width-empty", "The width is empty.", "tile/0/000.p/"),
        ("width-twice", "There are two widths.", "tile/0/000.p/1.p/1"),
        ("backslash", "The parts are joined by backslashes.", "tile\\0\\000"),
    ]:
        case(f"tile-path-{name}", "tile-path", "malformed", why, text)


def hashes_of(level, index, width):
    """The hashes of a tile: each is the root over 256^level entries."""
    span = 256**level
    first = index * 256
    return [root_of([leaf(n) for n in range(at * span, (at + 1) * span)]) for at in range(first, first + width)]


def tiles():
    def add(name, expect, why, tile, size, hashes, content=None, tile_root=None):
        content = b"".join(hashes) if content is None else content
        case(f"tile-{name}", "tile", expect, why, content, path=tile, size=size, root=(tile_root or root_of(hashes)).hex())

    for name, why, tile, size, place in [
        ("width-1", "The tile of a tree with one entry.", "tile/0/000.p/1", 1, (0, 0, 1)),
        ("width-255", "The widest tile that is not full.", "tile/0/000.p/255", 255, (0, 0, 255)),
        ("full", "A full tile of 8192 bytes; its root is the tree's.", "tile/0/000", 256, (0, 0, 256)),
        ("level-1-width-1", "The tile above a full one.", "tile/1/000.p/1", 256, (1, 0, 1)),
        ("last-of-level-0", "The last tile of level 0.", "tile/0/273.p/112", GROWN, (0, 273, 112)),
        ("last-of-level-1", "The last tile of level 1.", "tile/1/001.p/17", GROWN, (1, 1, 17)),
        ("level-2", "The only tile of level 2.", "tile/2/000.p/1", GROWN, (2, 0, 1)),
    ]:
        add(name, "ok", why, tile, size, hashes_of(*place))

    eight = hashes_of(0, 0, 8)
    full = hashes_of(0, 0, 256)
    for name, why, tile, size, hashes, content in [
        ("byte-missing", "The last byte is missing.", "tile/0/000.p/8", 8, eight, b"".join(eight)[:-1]),
        ("byte-too-many", "A byte follows.", "tile/0/000.p/8", 8, eight, b"".join(eight) + b"\0"),
        ("hash-missing", "The last hash is missing.", "tile/0/000.p/8", 8, eight, b"".join(eight[:-1])),
        ("hash-too-many", "A hash follows.", "tile/0/000.p/8", 8, eight, b"".join(eight) + leaf(8)),
        ("empty", "There is no byte.", "tile/0/000.p/8", 8, eight, b""),
        ("full-byte-missing", "A full tile lacks its last byte.", "tile/0/000", 256, full, b"".join(full)[:-1]),
        ("partial-for-full", "Eight hashes stand under the path of a full tile.", "tile/0/000", 256, full, b"".join(eight)),
        ("full-for-partial", "256 hashes stand under the path of eight.", "tile/0/000.p/8", 8, eight, b"".join(full)),
    ]:
        add(name, "malformed", why, tile, size, hashes, content)
    for name, why, tile, size, hashes, tile_root in [
        ("wider-than-tree", "The tile has a hash more than the tree has entries.", "tile/0/000.p/9", 8, hashes_of(0, 0, 9), None),
        (
            "narrower-than-tree",
            "The tile has a hash less than the tree has entries.",
            "tile/0/000.p/7",
            8,
            hashes_of(0, 0, 7),
            None,
        ),
        (
            "partial-where-full",
            "The tree has the full tile, not the partial one.",
            "tile/0/000.p/255",
            256,
            hashes_of(0, 0, 255),
            None,
        ),
        ("full-where-partial", "The tree has a partial tile there, not a full one.", "tile/0/000", 255, full, None),
        ("behind-the-tree", "The tree has no second tile.", "tile/0/001.p/1", 256, hashes_of(0, 1, 1), None),
        ("level-1-too-early", "No tile of level 0 is full, so level 1 has none.", "tile/1/000.p/1", 255, [root(255)], None),
        (
            "level-1-counts-partial",
            "Level 1 counts only full tiles.",
            "tile/1/000.p/2",
            300,
            [root(256), root_of([leaf(n) for n in range(256, 300)])],
            None,
        ),
        ("flipped-bit", "One bit of a hash is turned over.", "tile/0/000.p/8", 8, flipped(eight, 3), root(8)),
        ("hashes-swapped", "Two hashes change places.", "tile/0/000.p/8", 8, swapped(eight), root(8)),
        ("of-another-place", "It is the next tile.", "tile/0/000", 512, hashes_of(0, 1, 256), root_of(full)),
        (
            "leaves-without-prefix",
            "The entries were hashed without the prefix 00.",
            "tile/0/000.p/8",
            8,
            [sha256(str(n).encode()) for n in range(8)],
            root(8),
        ),
    ]:
        add(name, "inconsistent", why, tile, size, hashes, None, tile_root)


def bundles():
    def framed(entries):
        return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)

    def add(name, expect, why, bundle, size, entries, content=None, tree_root=None):
        content = framed(entries) if content is None else content
        tree_root = tree_root or root_of([sha256(b"\0" + entry) for entry in entries])
        case(f"bundle-{name}", "bundle", expect, why, content, path=bundle, size=size, root=tree_root.hex())

    def decimals(first, end):
        return [str(n).encode() for n in range(first, end)]

    add("one-entry", "ok", "One entry.", "tile/entries/000.p/1", 1, [b"0"])
    add("width-255", "ok", "One short of full.", "tile/entries/000.p/255", 255, decimals(0, 255))
    add("full", "ok", "256 entries; the root over them is the tree's.", "tile/entries/000", 256, decimals(0, 256))
    add("last-of-70000", "ok", "The last bundle of a larger tree.", "tile/entries/273.p/112", GROWN, decimals(273 * 256, GROWN))
    add(
        "of-our-entries",
        "ok",
        "Two entries of Custodia, 226 bytes each.",
        "tile/entries/000.p/2",
        2,
        [entry(b"one"), entry(b"two")],
    )
    add("entry-65535-bytes", "ok", "The longest entry.", "tile/entries/000.p/1", 1, [bytes(65_535)])
    add("entries-equal", "ok", "Two equal entries: a bundle does not care.", "tile/entries/000.p/2", 2, [b"same", b"same"])

    three = decimals(0, 3)
    good = framed(three)

    def malformed(name, why, content, bundle="tile/entries/000.p/3", size=3, entries=three):
        add(name, "malformed", why, bundle, size, entries, content)

    malformed("empty", "There is no byte.", b"")
    malformed("entry-empty", "The second entry is empty.", framed([b"0", b"", b"2"]))
    malformed("last-entry-empty", "The last entry is empty.", framed([b"0", b"1", b""]))
    malformed("entry-too-many", "An entry follows.", good + framed([b"3"]))
    malformed("entry-missing", "The last entry is missing.", framed(three[:2]))
    malformed("length-overruns", "The last length is one more than what follows.", good[:-3] + b"\0\2" + good[-1:])
    malformed("length-largest", "The last length is 65,535.", good[:-3] + b"\xff\xff" + good[-1:])
    malformed(
        "length-little-endian",
        "The lengths stand with their last byte first.",
        b"".join(len(e).to_bytes(2, "little") + e for e in three),
    )
    malformed("length-cut", "The last length has one byte.", good[:-2])
    malformed("byte-missing", "The last byte is missing.", good[:-1])
    malformed("byte-too-many", "A byte follows.", good + b"\0")
    malformed("length-of-4-bytes", "The lengths have four bytes.", b"".join(len(e).to_bytes(4, "big") + e for e in three))
    full = decimals(0, 256)
    malformed("257-entries", "A full bundle has an entry too many.", framed(full + [b"256"]), "tile/entries/000", 256, full)
    for name, why, bundle, size, entries, tree_root in [
        ("wider-than-tree", "The bundle has an entry more than the tree.", "tile/entries/000.p/4", 3, decimals(0, 4), None),
        ("partial-where-full", "The tree has the full bundle there.", "tile/entries/000.p/3", 256, three, None),
        ("flipped-bit", "One bit of an entry is turned over.", "tile/entries/000.p/3", 3, [b"0", flip(b"1"), b"2"], root(3)),
        ("entries-swapped", "Two entries change places.", "tile/entries/000.p/3", 3, swapped(three), root(3)),
        (
            "bytes-moved",
            "A byte of one entry stands in the next.",
            "tile/entries/000.p/2",
            2,
            [b"on", b"etwo"],
            root_of([sha256(b"\0one"), sha256(b"\0two")]),
        ),
    ]:
        add(name, "inconsistent", why, bundle, size, entries, None, tree_root)


def entry(document):
    return f"custodia/entry/v1\nsha256 {sha256(document).hex()}\nsha512 {hashlib.sha512(document).hexdigest()}\n".encode()


def entries():
    good = entry(b"an envelope")
    first, second, third = good.decode().splitlines(keepends=True)

    def add(name, expect, why, body, of=good):
        case(f"entry-{name}", "entry", expect, why, body, leaf=sha256(b"\0" + of).hex())

    add("good", "ok", "An entry of 226 bytes.", good)
    add("of-nothing", "ok", "The entry of an empty file.", entry(b""), entry(b""))
    zeros = put(put(good.decode(), second, f"sha256 {'0' * 64}\n"), third, f"sha512 {'0' * 128}\n").encode()
    add("zeros", "ok", "Digests are not judged by their looks.", zeros, zeros)

    def malformed(name, why, *lines):
        add(name, "malformed", why, "".join(lines))

    upper_256, upper_512 = second[:7] + second[7:].upper(), third[:7] + third[7:].upper()
    malformed("empty", "There is nothing.")
    malformed("sha256-uppercase", "The first digest is in uppercase.", first, upper_256, third)
    malformed("sha512-uppercase", "The second digest is in uppercase.", first, second, upper_512)
    malformed("digests-exchanged", "The digests change places.", first, third, second)
    malformed("header-last", "The header stands last.", second, third, first)
    malformed("header-missing", "The header is missing.", second, third)
    malformed("header-v2", "The header says v2.", first.replace("v1", "v2"), second, third)
    malformed("header-uppercase", "The header begins with a capital.", first.capitalize(), second, third)
    malformed("sha256-missing", "The first digest is missing.", first, third)
    malformed("sha512-missing", "The second digest is missing.", first, second)
    malformed("sha256-twice", "The first digest stands twice.", first, second, second, third)
    malformed("sha256-63-digits", "The first digest lacks a digit.", first, second[:-2] + "\n", third)
    malformed("sha256-65-digits", "The first digest has a digit too many.", first, second[:-1] + "0\n", third)
    malformed("sha512-127-digits", "The second digest lacks a digit.", first, second, third[:-2] + "\n")
    malformed("sha512-129-digits", "The second digest has a digit too many.", first, second, third[:-1] + "0\n")
    malformed("sha512-as-sha-512", "The second name is written with a hyphen.", first, second, third.replace("sha512", "sha-512"))
    malformed("sha384", "The second digest is SHA-384.", first, second, f"sha384 {hashlib.sha384(b'an envelope').hexdigest()}\n")
    malformed("base64", "The first digest is in base64.", first, f"sha256 {b64(sha256(b'an envelope'))}\n", third)
    malformed("two-spaces", "Two spaces precede the second digest.", first, second, third.replace(" ", "  "))
    malformed("tab", "A TAB precedes the second digest.", first, second, third.replace(" ", "\t"))
    malformed("space-at-the-end", "A space follows the first digest.", first, second[:-1] + " \n", third)
    malformed("carriage-returns", "Lines end in CR LF.", good.decode().replace("\n", "\r\n"))
    malformed("byte-order-mark", "A byte order mark stands at the start.", "\ufeff", good.decode())
    malformed("nul-at-the-end", "A NUL follows.", good.decode(), "\0")
    malformed("last-line-feed-missing", "The last line feed is missing.", good.decode()[:-1])
    malformed("blank-line-at-the-end", "A blank line follows.", good.decode(), "\n")
    malformed("extra-line", "A line follows.", good.decode(), "kind seal\n")
    malformed("blank-line-first", "A blank line precedes.", "\n", good.decode())
    add("digits-not-ascii", "malformed", "A digit of the first digest is full-width.", good[:25] + "\uff10".encode() + good[26:])
    add("not-utf-8", "malformed", "A byte is not UTF-8.", good[:30] + b"\xff" + good[31:])

    case(
        "entry-other-leaf",
        "entry",
        "inconsistent",
        "The leaf is that of another entry.",
        good,
        leaf=sha256(b"\0" + entry(b"another")).hex(),
    )
    case(
        "entry-leaf-without-prefix",
        "entry",
        "inconsistent",
        "The leaf is the hash without the prefix 00.",
        good,
        leaf=sha256(good).hex(),
    )
    case(
        "entry-leaf-hashed-as-node",
        "entry",
        "inconsistent",
        "The leaf was hashed with the prefix 01.",
        good,
        leaf=sha256(b"\1" + good).hex(),
    )
    flipped_digit = good[:40] + (b"1" if good[40:41] == b"0" else b"0") + good[41:]
    add("digit-changed", "inconsistent", "A digit of the first digest is another.", flipped_digit)


def make():
    inclusions()
    consistencies()
    tlog_proofs()
    tile_paths()
    tiles()
    bundles()
    entries()
