#!/usr/bin/env python3
"""Makes tests/vectors/time-stamps/: certificates, tokens that deviate in one thing each, and what each must come to.

Only openssl signs; the bytes around the signatures are put together here, so that anything can be wrong in them. Keys are
drawn anew at each run and not kept, so the files differ from run to run and what is expected of them does not.

    tests/time_stamps/make.py        writes the folder anew
"""

import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
FOLDER = VECTORS / "time-stamps"
# A checkpoint's text of the vectors' world: that under which the package is sealed, cosigned at 10:06.
STAMPED = "edb01fe425550e20"
TIME = "20261123100300Z"

SHA256, SHA384, SHA512 = "2.16.840.1.101.3.4.2.1", "2.16.840.1.101.3.4.2.2", "2.16.840.1.101.3.4.2.3"
SHA1, RSA, PSS = "1.3.14.3.2.26", "1.2.840.113549.1.1.1", "1.2.840.113549.1.1.10"
RSA_SHA256, RSA_SHA512 = "1.2.840.113549.1.1.11", "1.2.840.113549.1.1.13"
ECDSA = {"sha256": "1.2.840.10045.4.3.2", "sha384": "1.2.840.10045.4.3.3", "sha512": "1.2.840.10045.4.3.4"}
DIGESTS = {"sha1": SHA1, "sha256": SHA256, "sha384": SHA384, "sha512": SHA512}
SIGNED_DATA, DATA, TST_INFO = "1.2.840.113549.1.7.2", "1.2.840.113549.1.7.1", "1.2.840.113549.1.9.16.1.4"
CONTENT_TYPE, MESSAGE_DIGEST, SIGNING_TIME = (f"1.2.840.113549.1.9.{n}" for n in (3, 4, 5))
ESS_V1, ESS_V2 = "1.2.840.113549.1.9.16.2.12", "1.2.840.113549.1.9.16.2.47"
TIME_STAMPING, SERVER = "1.3.6.1.5.5.7.3.8", "1.3.6.1.5.5.7.3.1"

work = Path(tempfile.mkdtemp())
SERIALS = {}


def openssl(*arguments, given=b""):
    return subprocess.run(["openssl", *map(str, arguments)], input=given, capture_output=True, check=True).stdout


def tlv(tag, *parts):
    value = b"".join(parts)
    if len(value) < 128:
        return bytes([tag, len(value)]) + value
    length = len(value).to_bytes((len(value).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + value


def seq(*parts):
    return tlv(0x30, *parts)


def in_order(*parts):
    return tlv(0x31, *sorted(parts))


def number(n):
    return tlv(2, n.to_bytes(n.bit_length() // 8 + 1, "big"))


def oid(text):
    first, second, *rest = map(int, text.split("."))
    body = b""
    for n in [40 * first + second, *rest]:
        digits = [n & 0x7F]
        while n := n >> 7:
            digits.insert(0, n & 0x7F | 0x80)
        body += bytes(digits)
    return tlv(6, body)


def octets(value):
    return tlv(4, value)


def algorithm(text, *parameters):
    return seq(oid(text), *parameters)


NULL, TRUE = tlv(5), tlv(1, b"\xff")


def name(common):
    part = lambda kind, text: tlv(0x31, seq(oid(kind), tlv(0x0C, text.encode())))
    return seq(part("2.5.4.6", "XX"), part("2.5.4.10", "Vectors"), part("2.5.4.3", common))


def issued(serial):
    return seq(name("Vector CA"), number(serial))


class Key:
    def __init__(self, label, *kind):
        self.path = work / f"{label}.pem"
        openssl("genpkey", "-out", self.path, *kind)
        self.spki = openssl("pkey", "-in", self.path, "-pubout", "-outform", "DER")

    def sign(self, digest, message, *options):
        return openssl("dgst", f"-{digest}", "-sign", self.path, *options, given=message)


def extension(kind, value, *critical):
    return seq(oid(kind), *critical, octets(value))


def certificate(common, key, usage=(TIME_STAMPING,), critical=(TRUE,), until="20360101000000Z", more=()):
    serial = len(SERIALS) + 2
    extensions = [extension("2.5.29.14", octets(hashlib.sha1(key.spki).digest()))]
    if usage is not None:
        extensions.append(extension("2.5.29.37", seq(*map(oid, usage)), *critical))
    extensions += more
    when = seq(tlv(0x17, b"260101000000Z"), tlv(0x18 if until > "2050" else 0x17, (until if until > "2050" else until[2:]).encode()))
    signed = seq(tlv(0xA0, number(2)), number(serial), algorithm(RSA_SHA256, NULL), name("Vector CA"), when, name(common),
                 key.spki, tlv(0xA3, seq(*extensions)))
    made = seq(signed, algorithm(RSA_SHA256, NULL), tlv(3, b"\0" + CA.sign("sha256", signed)))
    SERIALS[made] = serial
    return made


def info(imprint, version=1, by=SHA256, parameters=(NULL,), time=TIME, more=(number(0x1234567890),)):
    return seq(number(version), oid("1.2.3.4.1"), seq(algorithm(by, *parameters), octets(imprint)), number(77),
               tlv(0x18, time.encode()), *more)


def attribute(kind, value):
    return seq(oid(kind), tlv(0x31, value))


def token(key, cert, content, digest="sha256", sig_alg=None, ess=None, content_type=TST_INFO, encapsulated=TST_INFO,
          message_digest=None, more=(), order=in_order, sid=None, version=1, spoil=lambda signature: signature,
          sign=(), unsigned=b"", certs=True, signers=1, data_version=3, digest_alg=None, outer=SIGNED_DATA):
    if ess is None:
        ess = attribute(ESS_V2, seq(seq(seq(octets(hashlib.sha256(cert).digest())))))
    attributes = [attribute(CONTENT_TYPE, oid(content_type)),
                  attribute(MESSAGE_DIGEST, octets(message_digest or hashlib.new(digest, content).digest())), ess, *more]
    signed = order(*[part for part in attributes if part])
    signature = spoil(key.sign(digest, signed, *sign))
    sid = sid or issued(SERIALS[cert])
    digest_alg = digest_alg or algorithm(DIGESTS[digest], NULL)
    signer = seq(number(version), sid, digest_alg, b"\xa0" + signed[1:], sig_alg or algorithm(RSA, NULL), octets(signature), unsigned)
    data = seq(number(data_version), tlv(0x31, digest_alg), seq(oid(encapsulated), tlv(0xA0, octets(content))),
               tlv(0xA0, cert) if certs else b"", tlv(0x31, signer * signers))
    return seq(oid(outer), tlv(0xA0, data))


def indefinite(der):
    """The same value with the outermost length left open, as BER allows."""
    head = 2 + (der[1] & 0x7F if der[1] & 0x80 else 0)
    return b"\x30\x80" + der[head:] + b"\0\0"


def flip(at):
    return lambda signature: bytes(byte ^ (i == at % len(signature)) for i, byte in enumerate(signature))


def imprint():
    proof = json.loads((VECTORS / "world/full.proof.json").read_text())
    for statement in proof["statements"]:
        text = statement["tlog_proof"].split("\n\n")[1] + "\n"
        if (found := hashlib.sha256(text.encode())).hexdigest().startswith(STAMPED):
            return found.digest()
    raise SystemExit("the vectors' world has no such checkpoint")


def from_openssl(label, key, cert, digest):
    """A token as `openssl ts` makes it, at the time of the clock."""
    (work / "tsa.crt").write_bytes(openssl("x509", "-inform", "DER", given=cert))
    (work / "serial").write_text("01\n")
    (work / "tsa.cnf").write_text(f"""[tsa]\ndefault_tsa=t\n[t]\nserial={work}/serial\ncrypto_device=builtin\nsigner_cert={work}/tsa.crt
signer_key={key.path}\ncerts={work}/tsa.crt\nsigner_digest={digest}\ndefault_policy=1.2.3.4.1\ndigests=sha256\naccuracy=secs:1
clock_precision_digits=0\nordering=yes\ntsa_name=yes\ness_cert_id_chain=no\ness_cert_id_alg=sha256\n""")
    query = openssl("ts", "-query", "-digest", imprint().hex(), "-sha256", "-cert")
    (work / "query").write_bytes(query)
    return openssl("ts", "-reply", "-config", work / "tsa.cnf", "-queryfile", work / "query", "-token_out")


CA = Key("ca", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
rsa = Key("rsa", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
weak = Key("weak", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024")
p256 = Key("p256", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
p384 = Key("p384", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384")
p521 = Key("p521", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521")

certificates = {
    "rsa": certificate("TSA by RSA", rsa), "p256": certificate("TSA by P-256", p256), "p384": certificate("TSA by P-384", p384),
    "other": certificate("Another TSA", rsa),
    "short": certificate("TSA of one day", rsa, until="20261122235959Z"),
    "far": certificate("TSA until 2060", rsa, until="20600101000000Z"),
    "alternative": certificate("TSA with a name more", rsa, more=(extension("2.5.29.17", seq(tlv(0x82, b"tsa.example"))),)),
    "no-usage": certificate("No usage", rsa, usage=None),
    "other-usage": certificate("A server", rsa, usage=(SERVER,)),
    "more-usages": certificate("A server too", rsa, usage=(TIME_STAMPING, SERVER)),
    "usage-not-critical": certificate("Not critical", rsa, critical=()),
    "weak": certificate("TSA with a short key", weak), "p521": certificate("TSA by P-521", p521),
}
cert = certificates["rsa"]
stamped = imprint()
good = info(stamped)
ess_of = lambda digest, *by: attribute(ESS_V2, seq(seq(seq(*by, octets(digest)))))
key_id = lambda value: tlv(0x80, value)

vectors = [
    # (name, certificate, what it comes to, bytes)
    ("openssl-rsa", "rsa", "valid", from_openssl("rsa", rsa, cert, "sha256")),
    ("openssl-rsa-sha512", "rsa", "valid", from_openssl("rsa", rsa, cert, "sha512")),
    ("openssl-p256", "p256", "valid", from_openssl("p256", p256, certificates["p256"], "sha256")),
    ("openssl-p384", "p384", "valid", from_openssl("p384", p384, certificates["p384"], "sha384")),
    ("good", "rsa", "valid", token(rsa, cert, good)),
    ("rsa-sha384", "rsa", "valid", token(rsa, cert, good, "sha384")),
    ("rsa-named-with-digest", "rsa", "valid", token(rsa, cert, good, sig_alg=algorithm(RSA_SHA256, NULL))),
    ("p256", "p256", "valid", token(p256, certificates["p256"], good, sig_alg=algorithm(ECDSA["sha256"]))),
    ("p256-sha512", "p256", "valid", token(p256, certificates["p256"], good, "sha512", sig_alg=algorithm(ECDSA["sha512"]))),
    ("p384-sha256", "p384", "valid", token(p384, certificates["p384"], good, sig_alg=algorithm(ECDSA["sha256"]))),
    ("valid-until-2060", "far", "valid", token(rsa, certificates["far"], good)),
    ("without-certificates", "rsa", "valid", token(rsa, cert, good, certs=False)),
    ("signer-by-key-id", "rsa", "valid", token(rsa, cert, good, sid=key_id(hashlib.sha1(rsa.spki).digest()), version=3)),
    ("more-attributes", "rsa", "valid", token(rsa, cert, good, more=[attribute(SIGNING_TIME, tlv(0x17, b"300101000000Z"))])),
    ("named-otherwise", "alternative", "valid", token(rsa, certificates["alternative"], info(stamped, more=(
        number(0x1234567890), tlv(0xA0, tlv(0x82, b"tsa.example")))))),
    ("no-nonce", "rsa", "valid", token(rsa, cert, info(stamped, more=()))),
    ("all-fields", "rsa", "valid", token(rsa, cert, info(stamped, more=(
        seq(number(1), tlv(0x80, b"\x05")), TRUE, number(9), tlv(0xA0, tlv(0xA4, name("TSA by RSA"))),
        tlv(0xA1, extension("1.2.3.4.5", b"x")))))),
    ("stamped-too-early", "rsa", "valid-earlier", token(rsa, cert, info(stamped, time="20261123000000Z"))),
    ("fraction", "rsa", "valid-next-second", token(rsa, cert, info(stamped, time="20261123100300.25Z"))),
    ("ess-digest-said", "rsa", "valid", token(rsa, cert, good, ess=ess_of(hashlib.sha256(cert).digest(), algorithm(SHA256)))),

    ("empty", "rsa", "malformed", b""),
    ("html", "rsa", "malformed", b"<!DOCTYPE html><title>Sign in</title>"),
    ("cut", "rsa", "malformed", token(rsa, cert, good)[:-1]),
    ("trailing-byte", "rsa", "malformed", token(rsa, cert, good) + b"\0"),
    ("indefinite-length", "rsa", "malformed", indefinite(token(rsa, cert, good))),
    ("response-instead-of-token", "rsa", "malformed", seq(seq(number(0)), token(rsa, cert, good))),
    ("outer-type", "rsa", "malformed", token(rsa, cert, good, outer=DATA)),
    ("data-version", "rsa", "malformed", token(rsa, cert, good, data_version=1)),
    ("encapsulated-type", "rsa", "malformed", token(rsa, cert, good, encapsulated=DATA)),
    ("content-type", "rsa", "malformed", token(rsa, cert, good, content_type=DATA)),
    ("two-signers", "rsa", "malformed", token(rsa, cert, good, signers=2)),
    ("no-signer", "rsa", "malformed", token(rsa, cert, good, signers=0)),
    ("unsigned-attribute", "rsa", "malformed", token(rsa, cert, good, unsigned=tlv(0xA1, attribute(SIGNING_TIME, tlv(0x17, b"300101000000Z"))))),
    ("attributes-out-of-order", "rsa", "malformed", token(rsa, cert, good, order=lambda *parts: tlv(0x31, *sorted(parts, reverse=True)))),
    ("attribute-twice", "rsa", "malformed", token(rsa, cert, good, more=[ess_of(hashlib.sha256(certificates["other"]).digest())])),
    ("signer-of-another-certificate", "rsa", "malformed", token(rsa, cert, good, sid=issued(SERIALS[certificates["other"]]))),
    ("signer-by-another-key-id", "rsa", "malformed", token(rsa, cert, good, sid=key_id(b"x" * 20), version=3)),
    ("info-version", "rsa", "malformed", token(rsa, cert, info(stamped, version=2))),
    ("info-trailing", "rsa", "malformed", token(rsa, cert, good + b"\0")),
    ("imprint-of-31-bytes", "rsa", "malformed", token(rsa, cert, info(stamped[:31]))),
    ("time-without-zone", "rsa", "malformed", token(rsa, cert, info(stamped, time="20261123100300"))),
    ("time-in-another-zone", "rsa", "malformed", token(rsa, cert, info(stamped, time="20261123100300+0100"))),
    ("time-without-seconds", "rsa", "malformed", token(rsa, cert, info(stamped, time="202611231003Z"))),
    ("time-of-no-day", "rsa", "malformed", token(rsa, cert, info(stamped, time="20260230100300Z"))),
    ("fraction-with-a-zero", "rsa", "malformed", token(rsa, cert, info(stamped, time="20261123100300.250Z"))),
    ("ordering-false", "rsa", "malformed", token(rsa, cert, info(stamped, more=(tlv(1, b"\0"),)))),
    ("ordering-of-another-truth", "rsa", "malformed", token(rsa, cert, info(stamped, more=(tlv(1, b"\1"),)))),

    ("certificate-named-by-sha1", "rsa", "other-certificate", token(rsa, cert, good, ess=attribute(
        ESS_V1, seq(seq(seq(octets(hashlib.sha1(cert).digest()))))))),
    ("certificate-named-by-sha512", "rsa", "other-certificate", token(rsa, cert, good, ess=ess_of(hashlib.sha512(cert).digest(), algorithm(SHA512)))),
    ("certificate-not-named", "rsa", "other-certificate", token(rsa, cert, good, ess=b"")),
    ("another-certificate-of-the-key", "rsa", "other-certificate", token(rsa, certificates["other"], good)),
    ("another-authority-named", "rsa", "other-certificate", token(rsa, cert, info(stamped, more=(tlv(0xA0, tlv(0xA4, name("TSA by P-256"))),)))),
    ("another-authority", "rsa", "other-certificate", token(p256, certificates["p256"], good, sig_alg=algorithm(ECDSA["sha256"]))),

    ("imprint-by-sha512", "rsa", "unknown-algorithm", token(rsa, cert, info(hashlib.sha512(b"").digest(), by=SHA512))),
    ("imprint-by-sha1", "rsa", "unknown-algorithm", token(rsa, cert, info(hashlib.sha1(b"").digest(), by=SHA1))),
    ("imprint-with-parameters", "rsa", "unknown-algorithm", token(rsa, cert, info(stamped, parameters=(number(1),)))),
    ("signed-by-sha1", "rsa", "unknown-algorithm", token(rsa, cert, good, "sha1")),
    ("signed-by-pss", "rsa", "unknown-algorithm", token(rsa, cert, good, sig_alg=algorithm(PSS), sign=["-sigopt", "rsa_padding_mode:pss"])),
    ("two-digests", "rsa", "unknown-algorithm", token(rsa, cert, good, sig_alg=algorithm(RSA_SHA512, NULL))),
    ("algorithm-of-another-key", "rsa", "unknown-algorithm", token(rsa, cert, good, sig_alg=algorithm(ECDSA["sha256"]))),
    ("critical-extension", "rsa", "unknown-algorithm", token(rsa, cert, info(stamped, more=(tlv(0xA1, extension("1.2.3.4.5", b"x", TRUE)),)))),

    ("another-text", "rsa", "other-text", token(rsa, cert, info(hashlib.sha256(b"another").digest()))),
    ("signature-changed", "rsa", "bad-signature", token(rsa, cert, good, spoil=flip(100))),
    ("signature-cut", "rsa", "bad-signature", token(rsa, cert, good, spoil=lambda signature: signature[:-1])),
    ("signature-empty", "rsa", "bad-signature", token(rsa, cert, good, spoil=lambda signature: b"")),
    ("signature-of-zeros", "p256", "bad-signature", token(p256, certificates["p256"], good, sig_alg=algorithm(ECDSA["sha256"]),
                                                         spoil=lambda signature: seq(number(0), number(0)))),
    ("signature-changed-p384", "p384", "bad-signature", token(p384, certificates["p384"], good, sig_alg=algorithm(ECDSA["sha256"]), spoil=flip(-1))),
    ("signed-by-another-key", "rsa", "bad-signature", token(weak, cert, good)),
    ("digest-of-other-content", "rsa", "bad-signature", token(rsa, cert, good, message_digest=hashlib.sha256(info(stamped, time="20200101000000Z")).digest())),
    ("signed-without-attributes", "rsa", "bad-signature", token(rsa, cert, good, spoil=lambda _: rsa.sign("sha256", good))),
    ("before-validity", "rsa", "outside-validity", token(rsa, cert, info(stamped, time="20251231235959Z"))),
    ("after-validity", "short", "outside-validity", token(rsa, certificates["short"], good)),
]

shutil.rmtree(FOLDER, ignore_errors=True)
FOLDER.mkdir(parents=True)
for label, der in certificates.items():
    (FOLDER / f"{label}.crt").write_bytes(der)
index = []
for label, by, expected, der in vectors:
    (FOLDER / f"{label}.token").write_bytes(der)
    index.append({"name": label, "certificate": by, "expected": expected})
assert len({vector["name"] for vector in index}) == len(index)
(FOLDER / "index.json").write_text(json.dumps({"stamped": stamped.hex(), "time": "2026-11-23T10:03:00Z", "tokens": index}, indent=1) + "\n")
shutil.rmtree(work)
print(f"{len(index)} tokens, {sum(not v['expected'].startswith('valid') for v in index)} of them to be refused")
