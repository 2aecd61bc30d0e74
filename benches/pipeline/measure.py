"""Runs one engine's process under a time and memory limit, and samples the memory of its whole process tree."""

import json
import os
import signal
import subprocess
import threading
import time

SAMPLE_SECONDS = 0.02
PAGE = os.sysconf("SC_PAGE_SIZE")


def process_tree(root):
    """The root process and all its descendants that are alive."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    parent = int(stat.read().rpartition(")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue  # it ended meanwhile
            children.setdefault(parent, []).append(int(entry))
    tree, waiting = [], [root]
    while waiting:
        process = waiting.pop()
        tree.append(process)
        waiting.extend(children.get(process, []))
    return tree


def resident_bytes(processes):
    total = 0
    for process in processes:
        try:
            with open(f"/proc/{process}/statm") as statm:
                total += int(statm.read().split()[1]) * PAGE
        except (OSError, IndexError):
            continue
    return total


def kill(process):
    """Ends the process group that measure() started, the JVM or server in it included."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def read_lines(process, on_line):
    for line in process.stdout:
        on_line(line, time.perf_counter())


def measure(command, *, cores, seconds_limit, bytes_limit, log, on_line=None):
    """Runs the command on the given cores. Returns a dict: seconds, peak_bytes, and failure (None if it went well).

    Standard output goes line by line to on_line(line, time), standard error to the file `log`.
    """
    with open(log, "w") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        reader = threading.Thread(target=read_lines, args=(process, on_line or (lambda line, at: None)))
        reader.start()
        peak, failure = 0, None
        while process.poll() is None:
            peak = max(peak, resident_bytes(process_tree(process.pid)))
            if peak > bytes_limit:
                failure = f"stopped: it used more than {bytes_limit / 1e9:.0f} GB of memory"
            elif time.perf_counter() - start > seconds_limit:
                failure = f"stopped: it took longer than {seconds_limit:.0f} s"
            if failure:
                kill(process)
                process.wait()
                break
            time.sleep(SAMPLE_SECONDS)
        seconds = time.perf_counter() - start
        reader.join()
        kill(process)  # whatever the engine left behind
    if failure is None and process.returncode != 0:
        with open(log) as errors:
            last = [line.strip() for line in errors if line.strip()][-1:]
        failure = f"failed with exit code {process.returncode}: {(last or ['no message'])[0][:300]}"
    return {"seconds": seconds, "peak_bytes": peak, "failure": failure}


def parse_report(line):
    """The report in a line of an engine's output, or None for anything else it prints."""
    if not line.startswith("{"):
        return None
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None
