"""The dossier: describing, redacting and drawing chains of many records, for tests/bench/run."""

import csv
import http.client
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path


class Socket(http.client.HTTPConnection):
    """HTTP over the socket of a running node."""

    def __init__(self, path):
        super().__init__("node")
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.path)

    def ask(self, name, **request):
        self.request("POST", f"/v1/{name}", json.dumps(request), {"content-type": "application/json"})
        lines = [json.loads(line) for line in self.getresponse().read().splitlines()]
        if lines[-1]["line"] != "answer":
            raise SystemExit(f"{name}: {lines[-1]}")
        return lines[-1]["answer"]


def once(command):
    """Runs a command; gives seconds, its JSON answer, and MiB of the most resident memory that it ever had."""
    with tempfile.TemporaryFile("w+") as out:
        began = time.perf_counter()
        child = subprocess.Popen([str(part) for part in command], stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
        took, child.returncode = time.perf_counter() - began, os.waitstatus_to_exitcode(status)
        out.seek(0)
        said = out.read()
    if child.returncode != 0:
        raise SystemExit(f"{command} ended with {child.returncode}:\n{said}")
    return took, json.loads(said.splitlines()[-1])["answer"], usage.ru_maxrss / 1024


def home(programs, place, name):
    """A node whose keys lie under no passphrase."""
    path = place / name
    once([programs / "custodia", "--home", path, "--json", "--progress", "none", "init", "--name", f"{name}.example", "--display", name,
          "--state", "XX", "--role", "lab", "--no-passphrase"])
    return [programs / "custodia", "--home", path, "--json", "--progress", "none"]


def described(place, files, size):
    """A folder of photographs and its sheets: twelve described fields for each file."""
    folder, sheets = place / "photos", place / "sheets"
    sheets.mkdir()
    with open(sheets / "pseudonym.csv", "w") as out:
        out.write("code,role\nO-4,worker\n")
    noise = os.urandom(size)
    with open(sheets / "file.csv", "w", newline="") as out:
        table = csv.writer(out)
        table.writerow(["path", "code", "media_type", "captured", "captured_zone", "captured_source", "device_make", "device_model",
                        "device_serial", "operator", "place_latitude", "place_longitude", "place_datum", "place_source", "aliases",
                        "foreign_digests", "notes"])
        for number in range(files):
            day = folder / f"day {number // 1000:03}"
            if number % 1000 == 0:
                day.mkdir(parents=True)
            name = f"IMG_{number:06}.jpg"
            (day / name).write_bytes(number.to_bytes(8, "big") + noise)
            table.writerow([f"{day.name}/{name}", f"P-{number:06}", "image/jpeg", f"2026-05-{4 + number % 20:02} 09:30:{number % 60:02}", "+02:00",
                            "EXIF", "Example", "D-1", "0815-4711", "O-4", "43.900100", "18.400200", "WGS84", "GNSS", f"KV-P{number}",
                            f"md5:{number:032x}", f"frame {number}, seen from the north"])
    return folder, sheets


def dossier(bench, args):
    """Sealing described files beside sealing them alone; redacting 10 of them and leaving with one; the chain of 10,000 events."""
    place, programs = bench.dir / "dossier", bench.custodia.parent
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    files = args.described
    folder, sheets = described(place, files, 8 << 10)
    alone, with_sheets = [], []
    for number in range(args.rounds):
        for kind, times in (("alone", alone), ("described", with_sheets)):
            node = home(programs, place, f"{kind}-{number}")
            # What the last round wrote is not this round's to sync.
            os.sync()
            more = ["--records", sheets] if kind == "described" else []
            took, answer, memory = once([*node, "seal", folder, "--case", "KV", *more])
            times.append(took)
            if number + 1 < args.rounds or kind == "alone":
                shutil.rmtree(place / f"{kind}-{number}")
    described_s, alone_s = statistics.median(with_sheets), statistics.median(alone)
    print(f"  seal {files} files: {alone_s:.2f} s; with 12 described fields each: {described_s:.2f} s, {described_s / alone_s:.2f} times; "
          f"at most {memory:.0f} MiB", flush=True)

    package = answer["package"]
    rules = [word for number in range(10) for word in ("--withhold", f"B.5=P-{number * 1000:06}")]
    took = statistics.median(once([*node, "disclose", package, "--to", "A", *rules, "--proof", place / "none"])[0] for _ in range(args.rounds))
    print(f"  disclose: review of a copy without 10 of {files} records: {took:.2f} s", flush=True)
    only = ["--only", "P-000042", "--rest", "B.5"]
    times = []
    for number in range(args.rounds):
        seconds, review, _ = once([*node, "disclose", package, "--to", "A", *only])
        proof = place / f"one-{number}.json"
        _, signed, _ = once([*node, "disclose", package, "--to", "A", *only, "--reviewed", review["disclosure"], "--proof", proof])
        times.append(seconds)
    print(f"  disclose: review of one record of {files}: {statistics.median(times):.2f} s; its whole proof: {proof.stat().st_size} bytes", flush=True)

    small = place / "small"
    small.mkdir()
    (small / "a").write_bytes(b"a")
    node = home(programs, place, "chain")
    _, sealed, _ = once([*node, "seal", small, "--case", "KV"])
    serving = subprocess.Popen([*map(str, node), "serve"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        asking = Socket(place / "chain" / "node.sock")
        for _ in range(100):
            try:
                asking.connect()
                break
            except OSError:
                time.sleep(0.1)
        base = dict(package=sealed["package"], items=["1"], at=None, at_source=None, codes=[], bag_seals=[], unsigned=[], place=None,
                    purpose=None, order=None, note=None, corrects=None, by=dict(officer=None, passphrase=None))
        began = time.perf_counter()
        for number in range(args.events):
            asking.ask("event", **{**base, "action": "hand-over", "persons": [f"giver=Person {number}", f"receiver=Person {number + 1}"]})
        print(f"  sign {args.events} events one after the other: {time.perf_counter() - began:.1f} s", flush=True)
    finally:
        serving.terminate()
        serving.wait()
    took = [once([*node, "chain", sealed["package"], "--svg", place / f"chain-{number}.svg"])[0] for number in range(args.rounds)]
    proof = place / "chain.json"
    once([*node, "prove", sealed["package"], "--out", proof, "--annexes"])
    court = []
    for _ in range(args.rounds):
        began = time.perf_counter()
        done = subprocess.run([programs / "custodia-verify", proof, "--chain"], stdout=subprocess.PIPE, text=True)
        court.append(time.perf_counter() - began)
    assert len(re.findall(r"^ *\d+\. ", done.stdout, re.M)) == args.events + 1, "a line for each event"
    print(f"  chain of {args.events} events: custodia chain {statistics.median(took):.2f} s, custodia-verify --chain {statistics.median(court):.2f} s "
          f"({proof.stat().st_size / 2**20:.1f} MiB of proof)", flush=True)
    shutil.rmtree(place)
