"""The vectors of keys, notes, checkpoints and cosignatures."""

from made import (
    FIELD_PRIME,
    LARGEST,
    NOTE_BYTES,
    Key,
    b64,
    case,
    checkpoint_text,
    cosigned,
    flip,
    key_id,
    line,
    made_up,
    malleable,
    note,
    put,
    root,
    sha256,
    vkey,
)

ORIGIN = "forensics.example/lab-1/1"
LEDGER = Key("ledger", ORIGIN, 1)
WITNESS = Key("witness", "court.example", 4)
SECOND = Key("second witness", "archive.example", 4)
STRANGER = Key("stranger", "stranger.example", 1)
TEXT = checkpoint_text(ORIGIN, 8, root(8))
TIME = 1_795_449_600
DASH = "\u2014 ".encode()


def vkeys():
    good = LEDGER.vkey()
    name, short, body = good.split("+", 2)

    def ok(name, why, text):
        case(f"vkey-{name}", "vkey", "ok", why, text)

    def malformed(name, why, text):
        case(f"vkey-{name}", "vkey", "malformed", why, text)

    def refused(name, why, raw):
        case(f"vkey-{name}", "vkey", "untrusted", why, vkey(ORIGIN, 1, raw))

    ok("ledger", "A ledger's key, type 01.", good)
    ok("witness", "A witness's key, type 04.", WITNESS.vkey())
    ok(
        "of-c2sp",
        "The key of the example in C2SP signed-note.",
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
    )
    ok("name-1-byte", "The shortest name.", vkey("a", 1, LEDGER.raw))
    ok("name-255-bytes", "The longest name.", vkey("n" * 255, 1, LEDGER.raw))
    ok(
        "name-all-characters",
        "Every character that a name may have.",
        vkey("".join(map(chr, range(0x21, 0x7F))).replace("+", ""), 1, LEDGER.raw),
    )
    plus = next(key for key in (Key(f"plus {n}", ORIGIN, 1) for n in range(99)) if "+" in b64(b"\1" + key.raw))
    ok("base64-with-plus", "The base64 of the key holds a plus sign: only the first two part the fields.", plus.vkey())

    malformed("empty", "There is no key.", "")
    malformed("one-field", "Only the name.", name)
    malformed("two-fields", "The key itself is missing.", f"{name}+{short}")
    malformed(
        "key-id-of-another-key", "The key id belongs to another key.", f"{name}+{key_id(ORIGIN, 1, WITNESS.raw).hex()}+{body}"
    )
    malformed(
        "key-id-without-line-feed",
        "The key id is a hash without the LF after the name.",
        f"{name}+{sha256(ORIGIN.encode() + bytes([1]) + LEDGER.raw)[:4].hex()}+{body}",
    )
    malformed("key-id-uppercase", "The key id is in uppercase hex.", f"{name}+{short.upper()}+{body}")
    malformed("key-id-7-digits", "The key id lacks its last digit.", f"{name}+{short[:7]}+{body}")
    malformed("key-id-9-digits", "The key id has a digit too many.", f"{name}+{short}0+{body}")
    malformed(
        "type-changed", "The type byte says 04; the key id was made with 01.", f"{name}+{short}+{b64(bytes([4]) + LEDGER.raw)}"
    )
    malformed("type-02", "A type that we do not read (ECDSA), with the key id of its bytes.", vkey(ORIGIN, 2, LEDGER.raw))
    malformed(
        "type-06", "A type that we do not read yet (ML-DSA-44), with a key of its length.", vkey(ORIGIN, 6, b"".join(made_up(41)))
    )
    malformed("key-31-bytes", "The key lacks a byte.", vkey(ORIGIN, 1, LEDGER.raw[:31]))
    malformed("key-33-bytes", "The key has a byte too many.", vkey(ORIGIN, 1, LEDGER.raw + b"\0"))
    malformed("key-empty", "The last field is empty.", f"{name}+{short}+")
    malformed(
        "base64-url-alphabet",
        "The base64 is of RFC 4648 §5.",
        plus.vkey()[:-44] + plus.vkey()[-44:].replace("+", "-").replace("/", "_"),
    )
    malformed("base64-one-character-short", "The base64 lacks its last character.", good[:-1])
    malformed("base64-with-line-break", "A line feed stands within the base64.", good[:-8] + "\n" + good[-8:])
    malformed("line-feed-at-the-end", "A line feed follows.", good + "\n")
    malformed("space-at-the-start", "A space precedes.", vkey(f" {ORIGIN}", 1, LEDGER.raw))
    malformed("name-empty", "The name is empty.", vkey("", 1, LEDGER.raw))
    malformed("name-with-space", "The name holds a space.", vkey("a b", 1, LEDGER.raw))
    malformed("name-with-plus", "The name holds a plus sign.", vkey("a+b", 1, LEDGER.raw))
    malformed("name-not-ascii", "The name holds a letter that is not ASCII.", vkey("é.example", 1, LEDGER.raw))
    malformed("name-256-bytes", "The name is a byte too long.", vkey("n" * 256, 1, LEDGER.raw))

    refused("key-small-order", "The key is the neutral element: anybody can sign under it.", (1).to_bytes(32, "little"))
    refused("key-not-canonical", "The key's y is written as y + p.", (FIELD_PRIME + 3).to_bytes(32, "little"))
    refused("key-no-point", "No point has this y.", (2).to_bytes(32, "little"))


def notes():
    text = b"This is an example message.\n"
    first = STRANGER.signed(text)
    good = note(text, first)
    base = first.split(b" ")[2].strip()

    def ok(name, why, body):
        case(f"note-{name}", "note", "ok", why, body)

    def malformed(name, why, body):
        case(f"note-{name}", "note", "malformed", why, body)

    def of(old, new):
        return put(good, old, new)

    def many(count):
        return note(text, *(line(f"n{n}", bytes(4), b"s") for n in range(count)))

    ok("one-line", "One line of text and one signature.", good)
    ok(
        "of-c2sp",
        "The example of C2SP signed-note.",
        text + b"\n\xe2\x80\x94 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2"
        b"ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n",
    )
    ok("text-with-blank-line", "The text holds a blank line; the last one parts.", note(b"one\n\ntwo\n", first))
    ok("two-blank-lines", "Two blank lines before the signatures: the first belongs to the text.", note(text + b"\n", first))
    ok("text-like-a-signature", "A line of the text looks like a signature.", note(text + first, first))
    ok(
        "blank-line-between-signatures",
        "A blank line after the first signature makes it part of the text.",
        note(good, SECOND.signed(text)),
    )
    ok("text-not-ascii", "The text holds letters that are not ASCII.", note("Ermittlungsakte \u00e9 \u8a3c\n".encode(), first))
    ok("delete-character", "0x7F is no control character in the sense of C2SP.", note(b"a\x7fb\n", first))
    ok(
        "zero-width-no-break-space-inside",
        "U+FEFF elsewhere than at the start is no byte order mark.",
        note("a\ufeffb\n".encode(), first),
    )
    ok("same-name-other-key-id", "Two keys of one name.", note(text, first, line(STRANGER.name, b"abcd", b"s")))
    ok("same-key-id-other-name", "Two names with one key id.", note(text, first, line("other.example", STRANGER.key_id(), b"s")))
    ok("signature-1-byte", "A signature of a type that we do not know may have any length.", note(text, line("a", b"abcd", b"s")))
    ok("name-255-bytes", "The longest name.", note(text, line("n" * 255, b"abcd", b"s")))
    ok("64-signatures", "As many signatures as a note may have.", many(64))
    ok("262144-bytes", "The longest note.", note(b"x" * (NOTE_BYTES - len(first) - 2) + b"\n", first))

    malformed("262145-bytes", "A byte more than the longest note.", note(b"x" * (NOTE_BYTES - len(first) - 1) + b"\n", first))
    malformed("65-signatures", "One signature too many.", many(65))
    malformed("empty", "There is nothing.", b"")
    malformed("without-text", "Only a blank line precedes the signature.", b"\n" + first)
    malformed("without-signature", "Nothing follows the blank line.", text + b"\n")
    malformed("without-blank-line", "The signature follows the text at once.", text + first)
    malformed("without-last-line-feed", "The last line feed is missing.", good[:-1])
    malformed("blank-line-at-the-end", "A blank line follows the signatures.", good + b"\n")
    malformed("text-after-signatures", "A line follows that is no signature.", good + b"more\n")
    malformed("carriage-returns", "Lines end in CR LF.", good.replace(b"\n", b"\r\n"))
    malformed("carriage-return-in-text", "The text holds a CR.", of(b"message.", b"message.\r"))
    malformed("tab", "The text holds a TAB.", of(b"an example", b"an\texample"))
    malformed("nul", "The text holds a NUL.", of(b"an example", b"an\0example"))
    malformed("escape", "The text holds an ESC.", of(b"an example", b"\x1b[1man example"))
    malformed("byte-order-mark", "A byte order mark stands at the start.", b"\xef\xbb\xbf" + good)
    malformed("not-utf-8", "A byte is not UTF-8.", of(b"an example", b"an \xff example"))
    malformed("overlong-utf-8", "A slash is written in two bytes.", of(b"an example", b"an \xc0\xaf example"))
    malformed("surrogate", "Half of a surrogate pair is written as UTF-8.", of(b"an example", b"an \xed\xa0\x80 example"))
    malformed("utf-16", "The note is in UTF-16.", good.decode().encode("utf-16-le"))
    malformed("hyphen-for-dash", "A hyphen stands for the em dash.", of(DASH, b"- "))
    malformed("two-hyphens-for-dash", "Two hyphens stand for the em dash.", of(DASH, b"-- "))
    malformed("en-dash-for-em-dash", "An en dash stands for the em dash.", of(DASH, "\u2013 ".encode()))
    malformed("dash-without-space", "No space follows the dash.", of(DASH, DASH[:-1]))
    malformed("two-spaces-after-dash", "Two spaces follow the dash.", of(DASH, DASH + b" "))
    malformed("two-spaces-after-name", "Two spaces follow the name.", of(b" " + base, b"  " + base))
    malformed("space-before-dash", "A space precedes the dash.", of(DASH, b" " + DASH))
    malformed("space-at-the-end", "A space follows the base64.", of(base, base + b" "))
    malformed("name-empty", "The name is empty.", note(text, line("", b"abcd", b"s")))
    malformed("name-with-plus", "The name holds a plus sign.", note(text, line("a+b", b"abcd", b"s")))
    malformed("name-with-space", "The name holds a space.", note(text, line("a b", b"abcd", b"s")))
    malformed("name-with-no-break-space", "The name holds U+00A0.", note(text, line("a\u00a0b", b"abcd", b"s")))
    malformed("name-not-ascii", "The name holds a letter that is not ASCII.", note(text, line("\u00e9", b"abcd", b"s")))
    malformed("name-with-delete-character", "The name holds 0x7F.", note(text, line("a\x7fb", b"abcd", b"s")))
    malformed("name-256-bytes", "The name is a byte too long.", note(text, line("n" * 256, b"abcd", b"s")))
    malformed(
        "base64-trailing-bits", "The bits after the last byte are not zero.", of(base, base[:-2] + bytes([base[-2] + 1]) + b"=")
    )
    malformed("base64-without-padding", "The padding is missing.", of(base, base[:-1]))
    malformed("base64-padding-twice", "There is a padding character too many.", of(base, base + b"="))
    malformed("base64-line-break", "A line feed stands within the base64.", of(base, base[:40] + b"\n" + base[40:]))
    malformed("base64-url-alphabet", "The base64 is of RFC 4648 §5.", note(text, b"\xe2\x80\x94 a YWJjZP-_\n"))
    malformed("base64-missing", "The line ends after the name.", note(text, DASH + b"a\n"))
    malformed("key-id-alone", "No signature follows the key id.", note(text, line("a", b"abcd", b"")))
    malformed("key-id-3-bytes", "Not even the key id is whole.", note(text, line("a", b"abc", b"")))
    malformed("same-line-twice", "One line stands there twice.", good + first)
    malformed("same-key-twice", "One key signs twice, with two signatures.", good + STRANGER.line(bytes(64)))


def checkpoints():
    line_of_ledger = LEDGER.signed(TEXT)
    signature = LEDGER.sign(TEXT)
    unknown = line("other.example", b"abcd", bytes(64))

    def add(name, expect, why, body, **inputs):
        case(f"checkpoint-{name}", "checkpoint", expect, why, body, **{"vkey": LEDGER.vkey(), **inputs})

    def text(name, expect, why, changed, key=LEDGER):
        """A changed text that the ledger signed nevertheless."""
        add(name, expect, why, note(changed, key.signed(changed)), vkey=key.vkey())

    def malformed(name, why, changed):
        text(name, "malformed", why, changed)

    def lines(name, expect, why, *lines, **inputs):
        add(name, expect, why, note(TEXT, *lines), **inputs)

    text("size-8", "ok", "A checkpoint of eight entries.", TEXT)
    text("empty-tree", "ok", "No entry: the root is SHA-256 of nothing.", checkpoint_text(ORIGIN, 0, sha256(b"")))
    text("one-entry", "ok", "One entry: the root is its leaf hash.", checkpoint_text(ORIGIN, 1, root(1)))
    text("largest-size", "ok", "2^63 - 1 entries.", checkpoint_text(ORIGIN, LARGEST, made_up(1)[0]))
    long = Key("long", "n" * 255, 1)
    text("origin-255-bytes", "ok", "The longest origin.", checkpoint_text(long.name, 8, root(8)), long)
    lines("unknown-line-first", "ok", "A line of an unknown key precedes the ledger's.", unknown, line_of_ledger)
    lines(
        "unknown-key-of-same-name",
        "ok",
        "An unknown key has the ledger's name.",
        line_of_ledger,
        line(ORIGIN, b"abcd", bytes(64)),
    )
    lines(
        "unknown-name-with-same-key-id",
        "ok",
        "An unknown name has the ledger's key id.",
        line_of_ledger,
        line("other.example", LEDGER.key_id(), bytes(64)),
    )
    lines(
        "post-quantum-line",
        "ok",
        "A line of the length of an ML-DSA-44 cosignature is an unknown line.",
        line_of_ledger,
        line(ORIGIN, b"\x4a\xb7\xe7\x96", bytes(8) + b"".join(made_up(76))[:2420]),
    )
    lines(
        "63-unknown-lines",
        "ok",
        "The ledger's line stands among 63 unknown ones.",
        line_of_ledger,
        *(line(f"n{n}", bytes(4), b"s") for n in range(63)),
    )

    lines("unsigned", "untrusted", "Only an unknown key signed.", unknown)
    lines(
        "other-key-of-same-name",
        "untrusted",
        "Another key of the ledger's name signed, and well.",
        Key("other", ORIGIN, 1).signed(TEXT),
    )
    lines(
        "other-name-of-same-key",
        "untrusted",
        "The ledger's key signed under another name.",
        line("other.example", key_id("other.example", 1, LEDGER.raw), signature),
    )
    lines("signature-flipped-bit", "untrusted", "One bit of the signature is turned over.", LEDGER.line(flip(signature, 40)))
    lines(
        "signature-fails-beside-good-unknown",
        "untrusted",
        "The ledger's signature fails; the good one beside it is of a key that nobody gave.",
        LEDGER.line(flip(signature, 7)),
        STRANGER.signed(TEXT),
    )
    lines("signature-zero", "untrusted", "The signature is 64 zero bytes.", LEDGER.line(bytes(64)))
    lines("signature-63-bytes", "untrusted", "The signature lacks its last byte.", LEDGER.line(signature[:63]))
    lines("signature-65-bytes", "untrusted", "A byte follows the signature.", LEDGER.line(signature + b"\0"))
    lines("signature-malleable", "untrusted", "S is written as S plus the group's order.", LEDGER.line(malleable(signature)))
    lines(
        "signature-small-order-r",
        "untrusted",
        "R is of small order, though the equation holds.",
        LEDGER.line(LEDGER.sign_with_small_r(TEXT)),
    )
    lines(
        "signature-of-cosignature",
        "untrusted",
        "The ledger's key signed the text as a witness would.",
        LEDGER.line(LEDGER.sign(cosigned(TEXT, TIME))),
    )
    lines("signature-over-blank-line", "untrusted", "The blank line was signed with the text.", LEDGER.signed(TEXT + b"\n"))
    lines(
        "signature-without-last-line-feed",
        "untrusted",
        "The text was signed without its last line feed.",
        LEDGER.signed(TEXT[:-1]),
    )
    as_witness = Key("ledger", ORIGIN, 4)
    lines(
        "key-of-type-04",
        "untrusted",
        "The given key is a witness's, and so is its line.",
        as_witness.cosigned(TEXT, TIME),
        vkey=as_witness.vkey(),
    )
    lines(
        "key-of-type-04-without-time",
        "untrusted",
        "The given key is a witness's, its line a ledger's.",
        as_witness.signed(TEXT),
        vkey=as_witness.vkey(),
    )
    add(
        "size-changed",
        "untrusted",
        "The size was changed after it was signed.",
        note(put(TEXT, b"\n8\n", b"\n9\n"), line_of_ledger),
    )
    add(
        "root-changed",
        "untrusted",
        "The root was changed after it was signed.",
        note(checkpoint_text(ORIGIN, 8, flip(root(8))), line_of_ledger),
    )
    text(
        "origin-of-another",
        "untrusted",
        "The ledger's key signed a checkpoint of another origin.",
        checkpoint_text("court.example/node-1/1", 8, root(8)),
    )
    text("origin-of-next-generation", "untrusted", "The origin differs in its last character.", put(TEXT, b"lab-1/1", b"lab-1/2"))

    def size(name, why, written):
        malformed(name, why, put(TEXT, b"\n8\n", f"\n{written}\n".encode()))

    size("size-leading-zero", "The size has a leading zero.", "08")
    size("size-plus", "The size has a plus sign.", "+8")
    size("size-minus", "The size has a minus sign.", "-8")
    size("size-empty", "The size is empty.", "")
    size("size-space", "A space follows the size.", "8 ")
    size("size-hex", "The size is in hex.", "0x8")
    size("size-fraction", "The size has a fraction.", "8.0")
    size("size-digits-not-ascii", "The size is in Arabic-Indic digits.", "\u0668")
    size("size-2-to-63", "The size is 2^63.", str(2**63))
    size("size-2-to-64", "The size is 2^64.", str(2**64))
    malformed(
        "empty-tree-double-zero",
        "The size of the empty tree is written 00.",
        put(checkpoint_text(ORIGIN, 0, sha256(b"")), b"\n0\n", b"\n00\n"),
    )
    malformed("empty-tree-other-root", "No entry, and yet another root.", checkpoint_text(ORIGIN, 0, root(8)))
    encoded = b64(root(8)).encode()

    def root_line(name, why, written):
        malformed(name, why, put(TEXT, encoded, written))

    root_line("root-31-bytes", "The root lacks a byte.", b64(root(8)[:31]).encode())
    root_line("root-33-bytes", "The root has a byte too many.", b64(root(8) + b"\0").encode())
    root_line("root-empty", "The root is empty.", b"")
    root_line("root-hex", "The root is in hex.", root(8).hex().encode())
    root_line("root-without-padding", "The root's padding is missing.", encoded[:-1])
    root_line(
        "root-trailing-bits", "The bits after the root's last byte are not zero.", encoded[:-2] + bytes([encoded[-2] + 1]) + b"="
    )
    malformed("without-root", "The root's line is missing.", put(TEXT, encoded + b"\n", b""))
    malformed("size-after-root", "Size and root change places.", put(TEXT, b"8\n" + encoded, encoded + b"\n8"))
    malformed(
        "size-before-origin", "Origin and size change places.", put(TEXT, ORIGIN.encode() + b"\n8", b"8\n" + ORIGIN.encode())
    )
    malformed("extension-line", "A line follows the root.", TEXT + b"extension\n")
    malformed("two-blank-lines", "A blank line follows the root, before the one that parts.", TEXT + b"\n")
    malformed("blank-line-first", "A blank line precedes the origin.", b"\n" + TEXT)
    malformed("text-of-two", "Two checkpoints stand in one text.", TEXT + TEXT)
    malformed("carriage-return", "The origin ends in CR.", put(TEXT, b"lab-1/1", b"lab-1/1\r"))
    malformed("byte-order-mark", "A byte order mark stands at the start.", b"\xef\xbb\xbf" + TEXT)
    for name, why, origin in [
        ("origin-empty", "The origin is empty.", ""),
        ("origin-with-space", "The origin holds a space.", "forensics example"),
        ("origin-with-plus", "The origin holds a plus sign.", "forensics+example"),
        ("origin-not-ascii", "The origin holds a letter that is not ASCII.", "f\u00f6rensics.example"),
        ("origin-256-bytes", "The origin is a byte too long.", "n" * 256),
    ]:
        malformed(name, why, checkpoint_text(origin, 8, root(8)))
    add("cut-in-text", "malformed", "The note ends in the middle of the text.", note(TEXT, line_of_ledger)[:30])

    one, two = sorted([WITNESS.cosigned(TEXT, TIME), SECOND.cosigned(TEXT, TIME)])
    lines("stored-order", "ok", "The ledger's line first, then the others ascending.", line_of_ledger, one, two, order="stored")
    lines(
        "stored-order-by-key-id",
        "ok",
        "Of one name, the smaller key id stands first.",
        line_of_ledger,
        line("a", b"aaaa", b"z"),
        line("a", b"aaab", b"a"),
        order="stored",
    )
    lines("stored-ledger-second", "malformed", "The ledger's line stands second.", one, line_of_ledger, order="stored")
    lines("stored-names-descend", "malformed", "The other lines descend by name.", line_of_ledger, two, one, order="stored")
    lines(
        "stored-key-ids-descend",
        "malformed",
        "Of one name, the larger key id stands first.",
        line_of_ledger,
        line("a", b"aaab", b"a"),
        line("a", b"aaaa", b"z"),
        order="stored",
    )


def cosignatures():
    line_of_ledger = LEDGER.signed(TEXT)
    signature = WITNESS.sign(cosigned(TEXT, TIME))
    stamp = TIME.to_bytes(8, "big")

    def add(name, expect, why, *lines, **inputs):
        inputs = {"vkey": LEDGER.vkey(), "witness": WITNESS.vkey(), "time": TIME, **inputs}
        case(f"cosignature-{name}", "cosignature", expect, why, note(TEXT, *lines), **inputs)

    def untrusted(name, why, blob):
        add(name, "untrusted", why, line_of_ledger, WITNESS.line(blob))

    good = WITNESS.line(stamp + signature)
    add("good", "ok", "A witness cosigned.", line_of_ledger, good)
    add("before-the-ledgers", "ok", "The cosignature precedes the ledger's line.", good, line_of_ledger)
    add("of-two", "ok", "Two witnesses cosigned; one is asked about.", line_of_ledger, SECOND.cosigned(TEXT, TIME + 1), good)
    add(
        "beside-unknown",
        "ok",
        "A line of an unknown key stands beside it.",
        line_of_ledger,
        line("other.example", b"abcd", b"s"),
        good,
    )
    add("time-1", "ok", "The smallest time.", line_of_ledger, WITNESS.cosigned(TEXT, 1), time=1)
    add("time-largest", "ok", "The largest time, 2^63 - 1.", line_of_ledger, WITNESS.cosigned(TEXT, LARGEST), time=LARGEST)

    add("missing", "untrusted", "The witness did not cosign.", line_of_ledger)
    add("ledger-missing", "untrusted", "The ledger itself did not sign.", good)
    add(
        "ledger-fails",
        "untrusted",
        "The ledger's own signature fails beside a good cosignature.",
        LEDGER.line(flip(LEDGER.sign(TEXT))),
        good,
    )
    other = Key("other witness", WITNESS.name, 4)
    add("by-another-key", "untrusted", "Another key of the witness's name cosigned.", line_of_ledger, other.cosigned(TEXT, TIME))
    add(
        "under-another-name",
        "untrusted",
        "The witness's key cosigned under another name.",
        line_of_ledger,
        line("other.example", key_id("other.example", 4, WITNESS.raw), stamp + signature),
    )
    add("zero-time", "untrusted", "The time is 0, and so it was signed.", line_of_ledger, WITNESS.cosigned(TEXT, 0), time=0)
    add(
        "time-2-to-63",
        "untrusted",
        "The time is 2^63, and so it was signed.",
        line_of_ledger,
        WITNESS.cosigned(TEXT, 2**63),
        time=2**63,
    )
    untrusted("time-changed", "The time is another than the signed one.", (TIME - 1).to_bytes(8, "big") + signature)
    untrusted("time-little-endian", "The time stands with its last byte first.", TIME.to_bytes(8, "little") + signature)
    untrusted("time-missing", "The signature stands alone.", signature)
    untrusted("signature-missing", "The time stands alone.", stamp)
    untrusted("signature-flipped-bit", "One bit of the signature is turned over.", stamp + flip(signature, 63))
    untrusted("signature-63-bytes", "The signature lacks its last byte.", stamp + signature[:63])
    untrusted("signature-65-bytes", "A byte follows the signature.", stamp + signature + b"\0")
    untrusted("signature-malleable", "S is written as S plus the group's order.", stamp + malleable(signature))
    untrusted(
        "signature-small-order-r",
        "R is of small order, though the equation holds.",
        stamp + WITNESS.sign_with_small_r(cosigned(TEXT, TIME)),
    )

    def signed(name, why, message):
        untrusted(name, why, stamp + WITNESS.sign(message))

    message = cosigned(TEXT, TIME)
    signed("over-another-text", "The witness cosigned another size.", cosigned(checkpoint_text(ORIGIN, 7, root(7)), TIME))
    signed("over-text-alone", "The witness signed the text as a ledger would.", TEXT)
    signed("over-whole-note", "The ledger's line was signed too.", cosigned(note(TEXT, line_of_ledger), TIME))
    signed("over-text-without-last-line-feed", "The text was signed without its last line feed.", message[:-1])
    signed("header-v2", "The signed header says v2.", put(message, b"cosignature/v1", b"cosignature/v2"))
    signed("header-time-padded", "The signed time has a leading zero.", put(message, b"time ", b"time 0"))
    signed("header-missing", "The signed bytes begin with the time.", message.partition(b"\n")[2])
    plain = Key("witness", WITNESS.name, 1)
    add(
        "key-of-type-01",
        "untrusted",
        "The given witness key is of a ledger's type, and so is its line.",
        line_of_ledger,
        plain.signed(TEXT),
        witness=plain.vkey(),
    )
    add(
        "key-of-type-01-with-time",
        "untrusted",
        "The given witness key is of a ledger's type, its line a cosignature.",
        line_of_ledger,
        plain.cosigned(TEXT, TIME),
        witness=plain.vkey(),
    )


def make():
    vkeys()
    notes()
    checkpoints()
    cosignatures()
