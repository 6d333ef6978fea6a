"""Starts, watches, kills and stops a Colonnade server."""

import os
import signal
import socket
import subprocess
import time

import psycopg


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """One server process over one data directory. Ports stay the same over restarts."""

    def __init__(self, binary, data_dir, log_path=None, arguments=()):
        self.binary, self.data_dir, self.arguments = binary, data_dir, list(arguments)
        self.port, self.http_port = free_port(), free_port()
        self.log_path = log_path or os.path.join(os.path.dirname(os.path.abspath(data_dir)), "server.log")
        self.process = None

    @property
    def url(self):
        return f"postgresql://colonnade@127.0.0.1:{self.port}/colonnade"

    def spawn(self):
        """Starts it and does not wait."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [self.binary, "serve", "--data-dir", self.data_dir, "--pg-listen", f"127.0.0.1:{self.port}",
                 "--http-listen", f"127.0.0.1:{self.http_port}", *self.arguments],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def start(self, timeout=120):
        """Starts it and returns the seconds until it answered a query."""
        began = time.perf_counter()
        self.spawn()
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with code {self.process.returncode}; see {self.log_path}")
            try:
                with psycopg.connect(self.url, connect_timeout=5, autocommit=True) as connection:
                    connection.execute("SELECT 1")
                return time.perf_counter() - began
            except psycopg.OperationalError:
                if time.perf_counter() - began > timeout:
                    raise
                time.sleep(0.01)

    def kill(self):
        """The hard end: no signal handler runs."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout=120):
        """The polite end; returns the exit code."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode if self.process else None

    def peak_memory_bytes(self):
        """Greatest resident size so far."""
        with open(f"/proc/{self.process.pid}/status") as status:
            for line in status:
                if line.startswith("VmHWM"):
                    return int(line.split()[1]) * 1024
        return None


def directory_bytes(path):
    """Bytes that the files of a directory occupy on the disk."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.stat(os.path.join(folder, name)).st_blocks * 512
            except FileNotFoundError:
                pass
    return total


def find_binary():
    """The release binary, where cargo puts it."""
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(root, "target"))
    for profile in ("release", "debug"):
        path = os.path.join(target, profile, "colonnade")
        if os.path.exists(path):
            return path
    raise SystemExit("no binary: run cargo build --release, or give --binary")
