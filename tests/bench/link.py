"""What arrives over a link that is long and lossy: a node beside scp, rsync and, where it is installed, sendme.

Two network namespaces with a link between them (linkem.py: root and iproute2). Everybody carries the same file over the same
link, TCP by what the system uses (sysctl net.ipv4.tcp_congestion_control); who has not ended after `--limit-s` is stopped, and what lies there by then is counted.
"""

import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
MIB = 1 << 20
FROM, TO = "10.77.0.1", "10.77.0.2"


class Link:
    """The link while it is up; `inside` is how a command is run at either end."""

    def __init__(self, rate, rtt_ms, loss_percent, name="cbench", cuts=()):
        self.words = [sys.executable, HERE / "linkem.py", "up", "--rate", rate, "--delay", f"{rtt_ms / 2}ms",
                      "--loss", f"{loss_percent}%", "--name", name, "--json", os.devnull,
                      *(word for cut in cuts for word in ("--flap", cut))]
        self.here, self.there = (["ip", "netns", "exec", f"{name}-{end}"] for end in "ab")

    def __enter__(self):
        self.child = subprocess.Popen([str(word) for word in self.words], stdout=subprocess.PIPE, text=True)
        if not any(line.startswith("up") for line in iter(self.child.stdout.readline, "")):
            sys.exit("`link` needs root, /dev/net/tun and iproute2")
        return self

    def __exit__(self, *_):
        self.child.send_signal(signal.SIGTERM)
        self.child.wait()


class Runner:
    """Carries one file over one link, in each way there is."""

    def __init__(self, bench, link, file, limit):
        self.bench, self.link, self.file, self.limit = bench, link, file, limit
        self.size = file.stat().st_size

    def seconds_and_bytes(self, command, arrived):
        """Runs a command to its end or to the limit; gives the time, and the bytes that `arrived` counts if it was stopped."""
        began = time.perf_counter()
        child = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
        try:
            _, said = child.communicate(timeout=self.limit)
        except subprocess.TimeoutExpired:
            took, counted = time.perf_counter() - began, arrived()
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            return took, counted
        if child.returncode != 0:
            sys.exit(f"{command[0]} … ended with {child.returncode}: {said.decode()}")
        return time.perf_counter() - began, self.size

    def custodia(self):
        """Both nodes at their ends: from the command to the stored receipt, every byte proven, durable, in both ledgers."""
        bench = self.bench
        home, peer = bench.node("lab.example", listen=f"{FROM}:4433"), bench.node("court.example", listen=f"{TO}:4433")
        bench.introduce(home, peer)
        package = bench.seal(home, self.file.parent)
        bench.serve(peer, self.link.there)
        bench.serve(home, self.link.here)
        done = self.seconds_and_bytes([bench.custodia, "--home", home, "--json", "--progress", "none", "send", package, "--to", "court.example", "--wait"],
                                      lambda: largest(peer))
        bench.stop()
        bench.drop(home, peer)
        return done

    def scp(self):
        return self.over_ssh(lambda options, copy: ["scp", "-q", "-P", "2222", *options, self.file, f"{TO}:{copy}/"])

    def rsync(self):
        return self.over_ssh(lambda options, copy: ["rsync", "-a", "-e", " ".join(map(str, ["ssh", "-q", "-p", "2222", *options])), self.file, f"{TO}:{copy}/"])

    def over_ssh(self, command):
        copy = self.bench.fresh("copy")
        copy.mkdir()
        options = self.bench.sshd(TO, 2222, self.link.there)
        time.sleep(1)
        done = self.seconds_and_bytes([*self.link.here, *command(options, copy)], lambda: largest(copy))
        self.bench.stop(everything=True)
        self.bench.drop(copy)
        return done

    def sendme(self):
        copy = self.bench.fresh("copy")
        copy.mkdir()
        serve = [*self.link.here, "sendme", "send", "--relay", "disabled", "--ticket-type", "addresses", self.file]
        child = subprocess.Popen([str(word) for word in serve], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                                 text=True, cwd=self.bench.dir, start_new_session=True)
        ticket = next(word for line in iter(child.stdout.readline, "") for word in line.split() if word.startswith("blob"))
        command = [*self.link.there, "env", "-C", copy, "sendme", "receive", "--relay", "disabled", ticket]
        done = self.seconds_and_bytes(command, lambda: largest(copy))
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        self.bench.drop(copy)
        return done


def largest(folder):
    """Bytes of the largest file below a folder, as far as they are on the disk."""
    sizes = [0]
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append(min((Path(place) / name).stat().st_size, (Path(place) / name).stat().st_blocks * 512))
            except OSError:
                pass
    return max(sizes)


def link(bench, args):
    """Prints a line for each link: seconds, share of the link, and how many times the best of the others."""
    source = bench.dir / "link"
    source.mkdir()
    file = source / "image.raw"
    file.write_bytes(b"".join(os.urandom(MIB) for _ in range(args.link_mib)))
    bits = args.link_mbit * 1_000_000
    ways = [way for way in args.link_ways.split(",") if way in ("custodia", "scp", "rsync") or shutil.which(way)]
    print(f"  {args.link_mib} MiB, {args.link_mbit} Mbit/s: the content alone takes {file.stat().st_size * 8 / bits:.1f} s; limit {args.limit_s} s;"
          f" TCP by {Path('/proc/sys/net/ipv4/tcp_congestion_control').read_text().strip()}")
    for rtt in map(float, args.rtt_ms.split(",")):
        for loss in map(float, args.loss.split(",")):
            rates = {way: [] for way in ways}
            for _ in range(args.rounds):
                for way in ways:
                    with Link(f"{args.link_mbit}mbit", rtt, loss) as up:
                        seconds, arrived = getattr(Runner(bench, up, file, args.limit_s), way)()
                        rates[way].append((arrived * 8 / seconds, seconds, arrived))
            middle = {way: statistics.median(rate for rate, _, _ in each) for way, each in rates.items()}
            for way, each in rates.items():
                shares = [100 * rate / bits for rate, _, _ in each]
                arrived = statistics.median(arrived for _, _, arrived in each)
                part = "" if arrived == file.stat().st_size else f"   stopped with {arrived / MIB:.1f} MiB"
                print(f"  {rtt:4.0f} ms, {loss:3.1f} % lost   {way:<9} {statistics.median(seconds for _, seconds, _ in each):7.1f} s"
                      f"   {100 * middle[way] / bits:5.1f} % of the link ({min(shares):.1f} to {max(shares):.1f}){part}", flush=True)
            others = [rate for way, rate in middle.items() if way != "custodia"]
            if others and "custodia" in middle:
                print(f"        {middle['custodia'] / max(others):.1f} times the best of the others", flush=True)
