"""Prepares the data, runs every engine as often as asked, checks that their tables agree and writes the results."""

import datetime
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys

from measure import measure, parse_report
from steps import STEPS
from verify import differences, facts_about

HERE = pathlib.Path(__file__).resolve().parent
ENGINES = ("orrery", "duckdb", "spark", "datafusion", "sail", "polars")


def compare(options, root):
    """Returns the exit code: 0 when every engine that finished wrote the same tables."""
    engines = options.engines.split(",")
    unknown = [engine for engine in engines if engine not in ENGINES]
    if unknown:
        print(f"unknown engine {', '.join(unknown)}; known: {', '.join(ENGINES)}", file=sys.stderr)
        return 2
    orrery = binary(options, root) if "orrery" in engines or not options.data else None
    data = (options.data or generate(orrery, options.events)).resolve()
    machine = describe_machine(options.threads)
    bytes_limit = (options.memory_limit * 1e9) if options.memory_limit else machine["memory_bytes"] - 2e9
    results = {engine: {"version": None, "runs": []} for engine in engines}
    # Turns, not blocks: whatever else the machine does meanwhile hits all engines alike.
    for turn in range(options.runs):
        for engine in engines:
            if turn and results[engine]["runs"][-1]["failure"]:
                continue  # it would fail again
            warm(data)
            run = run_engine(engine, orrery, data, options, bytes_limit, results[engine])
            results[engine]["runs"].append(run)
            print(f"{engine:<11} run {turn + 1}: {run['failure'] or ''} {run['seconds']:.2f} s, {run['peak_bytes'] / 1e9:.2f} GB", flush=True)
    wrong = check_agreement(engines, results)
    write_results(options, machine, data, engines, results, wrong)
    return 1 if wrong else 0


def binary(options, root):
    if options.orrery:
        return options.orrery.resolve()
    path = root / "target" / "release" / "orrery"
    if not path.exists():
        subprocess.run(["cargo", "build", "--release", "-p", "orrery"], cwd=root, check=True)
    return path


def generate(orrery, events):
    """The generated raw events, kept for the next time."""
    folder = HERE / ".data" / str(events)
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(exist_ok=True)
        command = [str(orrery), "generate", "clickstream", "--events", str(events), "--out", str(folder / "raw")]
        subprocess.run(command, check=True)
        (folder / "complete").touch()
    return folder / "raw"


def warm(data):
    """Reads the raw files once, so that every run finds them in the page cache."""
    for path in data.rglob("*.parquet"):
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 24):
                pass


def describe_machine(threads):
    with open("/proc/cpuinfo") as info:
        model = next((line.partition(":")[2].strip() for line in info if line.startswith("model name")), platform.machine())
    with open("/proc/meminfo") as info:
        memory = next(int(line.split()[1]) * 1024 for line in info if line.startswith("MemTotal"))
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "cores_used": threads,
        "memory_bytes": memory,
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
    }


def command_of(engine, orrery, data, out, options):
    if engine == "orrery":
        return [str(orrery), "run", str(HERE / "orrery"), "--warehouse", str(out), "--set", f"source={data}"]
    common = [str(data), str(out), str(options.threads)]
    if engine == "sail":
        return [str(options.sail_python), str(HERE / "run_spark.py"), *common, "sail"]
    command = [sys.executable, str(HERE / f"run_{engine}.py"), *common]
    return [*command, "spark"] if engine == "spark" else command


def run_engine(engine, orrery, data, options, bytes_limit, result):
    """One run in a fresh process and an empty folder: seconds, peak_bytes, failure, steps and, if it finished, its tables."""
    out = (options.work / engine).resolve()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    steps = {}

    def on_line(line, _):
        reported = parse_report(line)
        if reported and reported.get("event") == "step":
            steps[reported["step"]] = reported["seconds"]
        elif reported and reported.get("event") == "version":
            result["version"] = reported["version"]

    cores = sorted(os.sched_getaffinity(0))[: options.threads]
    run = measure(
        command_of(engine, orrery, data, out, options),
        cores=cores,
        seconds_limit=options.time_limit,
        bytes_limit=bytes_limit,
        log=out / "stderr.log",
        on_line=on_line,
    )
    if engine == "orrery":
        steps = steps_of_orrery((out / "stderr.log").read_text())
        result["version"] = subprocess.run([orrery, "--version"], capture_output=True, text=True).stdout.split()[-1]
    run["steps"] = steps
    if not run["failure"]:
        run["tables"] = facts_about(out, options.threads)
    return run


def steps_of_orrery(lines):
    """Seconds per step from the line that `orrery run` prints after each statement: `[2/9] 1_clean.sql:4 CREATE … · 3.214 s · …`."""
    steps = {}
    line = r"^\[\d+/\d+\] \d_(\w+)\.sql:.* · (?:(\d+) min )?([\d.]+) s\b"
    for step, minutes, seconds in re.findall(line, lines, re.MULTILINE):
        steps[step] = steps.get(step, 0) + 60 * int(minutes or 0) + float(seconds)
    return steps


def check_agreement(engines, results):
    """Compares the tables of all finished runs with the first one's; returns what differs, by engine."""
    finished = [(engine, run["tables"]) for engine in engines for run in results[engine]["runs"] if "tables" in run]
    wrong = {}
    for engine, tables in finished[1:]:
        for sentence in differences(finished[0][1], tables):
            if sentence not in wrong.setdefault(engine, []):
                wrong[engine].append(sentence)
    return {engine: sentences for engine, sentences in wrong.items() if sentences}


def median_run(runs):
    """Medians over the runs that finished, or None."""
    good = [run for run in runs if not run["failure"]]
    if not good:
        return None
    return {
        "seconds": statistics.median(run["seconds"] for run in good),
        "peak_bytes": max(run["peak_bytes"] for run in good),
        "bytes_written": sum(table["bytes"] for table in good[0]["tables"].values()),
        "steps": {step: statistics.median(run["steps"][step] for run in good) for step in STEPS if all(step in r["steps"] for r in good)},
    }


def markdown(options, machine, rows, engines, results, wrong):
    medians = {engine: median_run(results[engine]["runs"]) for engine in engines}
    reference = medians.get("duckdb")
    lines = [
        f"# The clickstream pipeline on {rows:,} raw events",
        "",
        f"{machine['cpu']}, {machine['cores_used']} of {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB memory, "
        f"{machine['system']}, kernel {machine['kernel']}; {datetime.date.today().isoformat()}. "
        f"Wall seconds, median of {options.runs} runs in fresh processes; peak memory of the process tree, highest of the runs.",
        "",
        "| engine | version | total s | " + " | ".join(STEPS) + " | start and rest | peak GB | written MB | vs DuckDB |",
        "|---|---|--:|" + "--:|" * (len(STEPS) + 4),
    ]
    for engine in engines:
        median, version = medians[engine], results[engine]["version"] or "?"
        if median is None:
            run = results[engine]["runs"][-1]
            done = ", ".join(f"{step} {seconds:.2f} s" for step, seconds in run["steps"].items()) or "no step"
            lines.append(f"| {engine} | {version} | {run['failure']} (finished: {done}) |")
            continue
        steps = [median["steps"].get(step) for step in STEPS]
        rest = median["seconds"] - sum(s for s in steps if s is not None)
        ratio = f"{median['seconds'] / reference['seconds']:.2f}" if reference else ""
        cells = [f"{s:.2f}" if s is not None else "" for s in steps]
        lines.append(
            f"| {engine} | {version} | **{median['seconds']:.2f}** | "
            + " | ".join(cells)
            + f" | {rest:.2f} | {median['peak_bytes'] / 1e9:.2f} | {median['bytes_written'] / 1e6:.0f} | {ratio} |"
        )
    lines.append("")
    if wrong:
        lines.append("**The tables of the engines differ:**")
        lines += [f"- {engine}: {sentence}" for engine, sentences in wrong.items() for sentence in sentences]
    else:
        lines.append("All engines that finished wrote the same rows: counts, checksums and sums of every table agree.")
    return "\n".join(lines) + "\n"


def write_results(options, machine, data, engines, results, wrong):
    import pyarrow.parquet

    rows = sum(pyarrow.parquet.read_metadata(path).num_rows for path in data.rglob("*.parquet"))
    text = markdown(options, machine, rows, engines, results, wrong)
    options.results.mkdir(parents=True, exist_ok=True)
    name = f"{rows}-events"
    (options.results / f"{name}.md").write_text(text)
    record = {
        "rows": rows,
        "machine": machine,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "engines": results,
        "differences": wrong,
    }
    (options.results / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    print("\n" + text)
    print("written to", options.results / f"{name}.md")
