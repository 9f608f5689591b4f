"""Takes the time-stamp tokens out of proofs, for openssl: FOLDER/<n>.token, the text that each must stamp as <n>.text, and the
certificates of trust files as tsas.pem. Prints how many tokens there are.

    tokens.py FOLDER (PROOF | TRUSTFILE)...
"""

import base64
import hashlib
import json
import sys
import textwrap
from pathlib import Path

folder, count, pem = Path(sys.argv[1]), 0, []
for argument in sys.argv[2:]:
    content = Path(argument).read_text()
    if content.startswith("custodia/trust/v1\n"):
        lines = (line.split(" ")[1] for line in content.splitlines() if line.startswith("tsa "))
        pem += ["-----BEGIN CERTIFICATE-----", *(part for line in lines for part in [*textwrap.wrap(line, 64),
                "-----END CERTIFICATE-----", "-----BEGIN CERTIFICATE-----"])][:-1]
        continue
    proof = json.loads(content)
    notes = [one["tlog_proof"].split("\n\n", 1)[1] for one in proof["statements"] if one["tlog_proof"]] + proof["anchors"]
    texts = {hashlib.sha256(text).hexdigest(): text for text in ((note.rsplit("\n\n", 1)[0] + "\n").encode() for note in notes)}
    for token in proof["tokens"]:
        (folder / f"{count}.token").write_bytes(base64.b64decode(token["token"], validate=True))
        (folder / f"{count}.text").write_bytes(texts[token["note"]])
        count += 1
(folder / "tsas.pem").write_text("\n".join(pem) + "\n")
print(count)
