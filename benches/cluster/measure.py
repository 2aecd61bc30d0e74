"""Starts Orrery's servers on loopback and measures what their clients and they themselves need."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import time
import urllib.request

PATIENCE_SECONDS = 60


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def page(port, path):
    """The text of a page, or None while nobody answers with success."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.read().decode()
    except OSError:
        return None


def peak_bytes(process):
    """The most memory that a process ever had resident."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


class Cluster:
    """A scheduler and executors, ended with the `with` block."""

    def __init__(self, orrery, home, executors, vcores, cores, scheduler_args=()):
        self.orrery, self.home, self.cores = orrery, pathlib.Path(home), cores
        self.executors, self.vcores, self.scheduler_args = executors, vcores, scheduler_args
        self.processes, self.executor_pages = [], []

    def __enter__(self):
        self.home.mkdir(parents=True)
        internal, client, http = free_port(), free_port(), free_port()
        self.http, self.url = http, f"http://127.0.0.1:{client}"
        ports = ["--internal-port", internal, "--client-port", client, "--http-port", http]
        where = ["--warehouse", self.home / "warehouse", "--state-dir", self.home / "state"]
        self.scheduler = self.start("scheduler", *ports, *where, *self.scheduler_args)
        try:
            # It refuses nobody once it answers.
            self.wait(lambda: page(http, "/healthz"))
            for number in range(self.executors):
                self.executor_pages.append(free_port())
                ports = ["--scheduler-port", internal, "--flight-port", free_port(), "--task-port", free_port(), "--http-port", self.executor_pages[-1]]
                self.start(f"executor{number}", *ports, "--vcores", self.vcores, "--work-dir", self.home / f"executor{number}")
            self.wait(lambda: (page(http, "/api/executors") or "").count('"vcores"') == self.executors)
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self, name, *args):
        log = open(self.home / f"{name}.log", "w")
        command = [str(self.orrery), re.sub(r"\d", "", name), *map(str, args)]
        process = subprocess.Popen(command, stderr=log, stdout=log, preexec_fn=lambda: os.sched_setaffinity(0, self.cores))
        self.processes.append(process)
        return process

    def wait(self, condition):
        end = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > end or any(process.poll() is not None for process in self.processes):
                raise SystemExit("the cluster did not come up:\n" + "".join(log.read_text() for log in self.home.glob("*.log")))
            time.sleep(0.05)

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def client(self, *args):
        """Seconds and standard output of a client command."""
        return timed([self.orrery, *args], self.cores, env={"ORRERY_SCHEDULER": self.url})


def timed(command, cores, env=None):
    """Seconds and standard output of a command, which has to succeed."""
    start = time.perf_counter()
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{command} failed:\n{done.stderr}")
    return seconds, done.stdout
