#!/usr/bin/env python3
"""A time-stamping service for trying things out: `openssl ts` behind a port of this machine.

    tests/time_stamps/serve.py FOLDER     makes keys and certificates in FOLDER unless they are there, prints its address

`FOLDER/tsa.pem` is the certificate that signs, for `custodia trust tsa`. The clock is this machine's. Ends with its standard
input, or when it is killed.
"""

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

QUERY_BYTES = 64 * 1024
CONFIG = """[tsa]
default_tsa = t
[t]
serial = serial
signer_cert = tsa.pem
certs = ca.pem
signer_key = tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ordering = no
tsa_name = no
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""

folder = Path(sys.argv[1])
one_at_a_time = threading.Lock()


def openssl(*arguments):
    return subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, check=True).stdout


def make():
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tsa.ext").write_text("extendedKeyUsage=critical,timeStamping\n")
    (folder / "tsa.cnf").write_text(CONFIG)
    (folder / "serial").write_text("01\n")
    rsa = ("-newkey", "rsa:2048", "-nodes")
    openssl("req", "-x509", *rsa, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/O=Trial/CN=Trial CA", "-days", "365")
    openssl("req", *rsa, "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/O=Trial/CN=Trial time-stamps")
    openssl("x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "365",
            "-extfile", "tsa.ext", "-out", "tsa.pem")


class Service(BaseHTTPRequestHandler):
    def do_POST(self):
        query = self.rfile.read(min(int(self.headers.get("content-length", 0)), QUERY_BYTES))
        with one_at_a_time:
            (folder / "query").write_bytes(query)
            reply = openssl("ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query")
        self.send_response(200)
        self.send_header("content-type", "application/timestamp-reply")
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_):
        pass


if not (folder / "tsa.pem").exists():
    make()
server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(f"http://127.0.0.1:{server.server_port}/tsr", flush=True)
sys.stdin.read()
