#!/usr/bin/env python3
"""Checks every statement and note of homes and proofs with securesystemslib (DSSE) and cryptography (Ed25519).

    keys.py [--home DIR]... [--proof FILE]... [--dump DIR]

Shares nothing with Custodia but the published formats. Prints "ok NAME" or "FAILED NAME: WHY" for every check and exits 1
if one failed or none ran. With --dump it also writes, for openssl, each signature as DIGEST-KEYID.pae, .sig and .der.
"""

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey


def require(holds, why):
    if not holds:
        raise ValueError(why)


def unbase64(text):
    raw = base64.b64decode(text, validate=True)
    require(base64.b64encode(raw).decode() == text, "base64 that is not canonical")
    return raw


class Key:
    """A public key as cards and delegations write it: base64 of SubjectPublicKeyInfo DER."""

    def __init__(self, spki):
        self.der = unbase64(spki)
        self.public = load_der_public_key(self.der)
        require(isinstance(self.public, Ed25519PublicKey), "a key that is not Ed25519")
        require(self.public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == self.der, "a key in another encoding")
        self.keyid = hashlib.sha256(self.der).hexdigest()
        raw = self.public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.sslib = SSlibKey(self.keyid, "ed25519", "ed25519", {"public": raw.hex()})


class Statement:
    """An envelope, parsed by securesystemslib; it must print to the bytes it came from."""

    def __init__(self, content):
        self.digest = hashlib.sha256(content).hexdigest()
        self.envelope = Envelope.from_dict(json.loads(content))
        again = json.dumps(self.envelope.to_dict(), separators=(",", ":"), ensure_ascii=False).encode()
        # securesystemslib puts keyid and sig in this order too, so the whole envelope compares.
        require(again == content, f"{self.digest}: the envelope prints to other bytes")
        self.payload = json.loads(self.envelope.payload)
        exact = (json.dumps(self.payload, indent=2, ensure_ascii=False) + "\n").encode()
        require(exact == self.envelope.payload, f"{self.digest}: the payload is not in exact print")
        kind, version = self.payload["type"].split("/")[1:]
        require(
            self.envelope.payload_type == f"application/vnd.custodia.{kind}.{version}+json",
            f"{self.digest}: payloadType {self.envelope.payload_type} over {self.payload['type']}",
        )
        self.kind = kind
        self.issuer = self.payload["issuer"]["name"]
        self.signers = list(self.envelope.signatures)
        require(self.signers == self.payload["signers"] == sorted(self.signers), f"{self.digest}: signatures are not the signers")

    def verify(self, keys):
        """All signatures, once by securesystemslib and once by cryptography over a PAE computed here."""
        missing = [keyid for keyid in self.signers if keyid not in keys]
        require(not missing, f"{self.kind} {self.digest}: no card or delegation of {self.issuer} gives {missing}")
        chosen = [keys[keyid] for keyid in self.signers]
        self.envelope.verify([key.sslib for key in chosen], len(chosen))
        for key in chosen:
            key.public.verify(bytes.fromhex(self.envelope.signatures[key.keyid].signature), self.pae())
        require(self.pae() == self.envelope.pae(), f"{self.digest}: two PAEs")

    def pae(self):
        kind, body = self.envelope.payload_type.encode(), self.envelope.payload
        return b"DSSEv1 " + str(len(kind)).encode() + b" " + kind + b" " + str(len(body)).encode() + b" " + body


class Directory:
    """The keys of all authorities, each vouched for by a root key's signature."""

    def __init__(self):
        self.by_issuer = {}
        self.notes = {}

    def of(self, issuer):
        return self.by_issuer.setdefault(issuer, {})

    def add_card(self, card):
        roots = {key.keyid: key for key in (Key(k["key"]) for k in card.payload["body"]["keys"]["root"])}
        require(next(iter(roots)) in card.signers, f"card {card.digest}: not signed by its root")
        known = self.of(card.issuer)
        card.verify({**known, **roots})
        known.update(roots)
        for entry in card.payload["body"]["keys"]["statement"]:
            key = Key(entry["key"])
            known[key.keyid] = key
        for entry in card.payload["body"]["keys"]["witness"]:
            self.add_vkey(entry["key"], 4)
        for ledger in card.payload["body"]["ledgers"]:
            require(ledger["vkey"].startswith(ledger["origin"] + "+"), f"{ledger['vkey']} is not of {ledger['origin']}")
            self.add_vkey(ledger["vkey"], 1)

    def add_vkey(self, vkey, kind):
        name, short, blob = vkey.split("+", 2)
        raw = unbase64(blob)
        require(len(raw) == 33 and raw[0] == kind, f"{vkey}: not a key of type {kind}")
        require(hashlib.sha256(name.encode() + b"\n" + raw).hexdigest()[:8] == short, f"{vkey}: wrong key id")
        self.notes[name, short] = (kind, Ed25519PublicKey.from_public_bytes(raw[1:]))

    def check_note(self, note):
        """Verifies the lines by known keys; returns how many were a ledger's and how many a witness's."""
        head, separator, tail = note.rpartition("\n\n")
        require(separator and tail.endswith("\n"), "no signed note")
        text, counts = head + "\n", {1: 0, 4: 0}
        for line in tail[:-1].split("\n"):
            dash, name, blob = line.split(" ")
            require(dash == "\u2014", "a signature line without its dash")
            raw = unbase64(blob)
            if (name, raw[:4].hex()) not in self.notes:
                continue
            kind, public = self.notes[name, raw[:4].hex()]
            if kind == 4:
                time = int.from_bytes(raw[4:12], "big")
                public.verify(raw[12:], f"cosignature/v1\ntime {time}\n{text}".encode())
            else:
                public.verify(raw[4:], text.encode())
            counts[kind] += 1
        require(counts[1] == 1, f"{counts[1]} lines by the ledger {text.splitlines()[0]}")
        return counts[1], counts[4]


class Source:
    """A home or a proof: its statements and its notes."""

    def __init__(self, name):
        self.name, self.envelopes, self.cards, self.notes = name, [], [], []


def read_home(path):
    source = Source(path.name)
    source.envelopes = [file.read_bytes() for file in sorted(path.glob("statements/*/*.json"))]
    source.cards = [file.read_bytes() for file in sorted(path.glob("peers/*/*.json"))]
    source.notes = [(path / "ledger/checkpoint").read_text("utf-8")]
    for file in sorted(path.glob("anchors/*/*")):
        content = file.read_bytes()
        if b"\n\n\xe2\x80\x94 " in content:
            source.notes.append(content.decode("utf-8"))
    return source


def read_proof(path):
    source = Source(path.name)
    proof = json.loads(path.read_bytes())
    require(proof["type"] == "custodia/proof/v1", f"{path} is no proof")
    for statement in proof["statements"]:
        if statement["envelope"] is not None:
            envelope = statement["envelope"].encode()
            require(hashlib.sha256(envelope).hexdigest() == statement["digest"], f"{path}: a digest that is not its envelope's")
            source.envelopes.append(envelope)
        if statement["tlog_proof"] is not None:
            source.notes.append(statement["tlog_proof"].partition("\n\n")[2])
    source.notes += proof["anchors"]
    return source


class Report:
    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, run):
        try:
            said = run()
        except Exception as error:  # every fault of the material is a failed check with its reason
            self.failed += 1
            print(f"FAILED {name}: {type(error).__name__}: {error}")
            return None
        self.passed += 1
        print(f"ok {name} ({said})")
        return said


def collect(sources, directory):
    """Reads every card, then every delegation, from all sources; cards in the order of their numbers."""
    statements = {}
    for source in sources:
        source.statements = [Statement(content) for content in source.envelopes]
        for statement in source.statements + [Statement(content) for content in source.cards]:
            statements[statement.digest] = statement
    cards = [s for s in statements.values() if s.kind == "card"]
    for card in sorted(cards, key=lambda card: (card.issuer, int(card.payload["body"]["number"]))):
        directory.add_card(card)
    delegations = [s for s in statements.values() if s.kind == "delegation"]
    for delegation in delegations:
        delegation.verify(directory.of(delegation.issuer))
        key = Key(delegation.payload["body"]["key"])
        directory.of(delegation.issuer)[key.keyid] = key
    return f"{len(cards)} cards, {len(delegations)} delegations"


def check_statements(source, directory, dump):
    require(source.statements, "no statement")
    signatures = 0
    for statement in source.statements:
        keys = directory.of(statement.issuer)
        statement.verify(keys)
        signatures += len(statement.signers)
        for keyid in statement.signers if dump else []:
            base = dump / f"{statement.digest[:16]}-{keyid}"
            base.with_suffix(".pae").write_bytes(statement.envelope.pae())
            base.with_suffix(".sig").write_bytes(bytes.fromhex(statement.envelope.signatures[keyid].signature))
            base.with_suffix(".der").write_bytes(keys[keyid].der)
    return f"{len(source.statements)} statements, {signatures} signatures"


def check_notes(source, directory, totals):
    cosigned = 0
    for note in source.notes:
        cosigned += directory.check_note(note)[1]
    totals.append(cosigned)
    return f"{len(source.notes)} notes, {cosigned} cosignatures"


def some_cosignature(totals):
    require(sum(totals) > 0, "no cosignature of another authority in all that was given")
    return f"{sum(totals)} in all"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", action="append", type=Path, default=[])
    parser.add_argument("--proof", action="append", type=Path, default=[])
    parser.add_argument("--dump", type=Path)
    given = parser.parse_args()
    report, directory, sources, totals = Report(), Directory(), [], []

    def read():
        sources.extend([read_home(path) for path in given.home] + [read_proof(path) for path in given.proof])
        return collect(sources, directory)

    if report.check("cards and delegations", read) is not None:
        for source in sources:
            report.check(f"{source.name}: statements", lambda: check_statements(source, directory, given.dump))
            report.check(f"{source.name}: notes", lambda: check_notes(source, directory, totals))
        report.check("cosignatures by other authorities", lambda: some_cosignature(totals))
    sys.exit(1 if report.failed or not sources else 0)


if __name__ == "__main__":
    main()
