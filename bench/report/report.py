#!/usr/bin/python3
"""Runs the benchmarks and writes a page about them: see tools/report.sh.

  report.py --out DIR [options] PROGRAM...    runs these, then writes the page
  report.py --out DIR --render FILE           writes it from an earlier run

DIR gets report.json, all that was measured, and report.html, which needs no
other file. targets.toml says what the figures are held against.
"""

import argparse
import base64
import io
import itertools
import json
import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import tomllib

import jinja2
import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # pylint: disable=wrong-import-position

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NANOSECONDS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}
# Of a benchmark in JSON: what is no counter.
OWN_KEYS = {
    "name", "family_index", "per_family_instance_index", "run_name", "run_type",
    "repetitions", "repetition_index", "threads", "aggregate_name",
    "aggregate_unit", "iterations", "real_time", "cpu_time", "time_unit",
    "items_per_second", "label"
}

# ---- Measuring. ----


def say(text):
  print(f"report: {text}", file=sys.stderr, flush=True)


def output_of(*command):
  try:
    run = subprocess.run(command, cwd=ROOT, check=True, encoding="utf-8",
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return run.stdout.strip()
  except (OSError, subprocess.CalledProcessError):
    return ""


def processor():
  for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
    if line.startswith("model name"):
      return line.partition(":")[2].strip()
  return "unknown"


def setup(flags):
  memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
  changed = " with changes" if output_of("git", "status", "--porcelain") else ""
  return {
      "processor": f"{os.cpu_count()} x {processor()}",
      "memory": f"{memory / 2**30:.1f} GiB",
      "system": output_of("uname", "-srm"),
      "compiler": output_of(os.environ.get("CC", "gcc"), "--version").split("\n")[0],
      "flags": flags,
      "SQLite": output_of("pkg-config", "--modversion", "sqlite3"),
      "commit": output_of("git", "describe", "--always") + changed,
      "load before": "%.2f" % os.getloadavg()[0],
  }


def run_program(program, args):
  """What Google Benchmark says, or {"error": ...}."""
  with tempfile.TemporaryDirectory() as directory:
    out = pathlib.Path(directory, "out.json")
    command = [
        program, f"--benchmark_repetitions={args.repetitions}",
        "--benchmark_report_aggregates_only",
        # What disturbs a while disturbs all alike.
        "--benchmark_enable_random_interleaving",
        f"--benchmark_min_time={args.min_time}", f"--benchmark_out={out}",
        "--benchmark_out_format=json"
    ]
    if args.large and "--large" in output_of(program, "--help"):
      command.append("--large")
    with open(pathlib.Path(directory, "log"), "w+", encoding="utf-8") as log:
      run = subprocess.run(command, check=False, stdin=subprocess.DEVNULL,
                           stdout=log, stderr=subprocess.STDOUT)
      if run.returncode != 0:
        log.seek(0)
        last = log.read().strip().rpartition("\n")[2]
        return {"error": f"ended with {run.returncode}: {last}"}
    return json.loads(out.read_text(encoding="utf-8"))


def compile_seconds(repetitions):
  """How long the compiler takes for the README's example; None if it can't."""
  with tempfile.TemporaryDirectory() as directory:
    polyref = pathlib.Path(directory, "polyref")
    polyref.mkdir()
    for folder in ("cache", "loaders"):
      (polyref / folder).symlink_to(ROOT / folder)
    command = [
        os.environ.get("CXX", "g++"), "-std=c++20", "-O2", "-c", "-o",
        os.devnull, f"-I{directory}", str(ROOT / "tests/readme_example.cc")
    ]
    seconds = []
    for _ in range(repetitions):
      before = resource.getrusage(resource.RUSAGE_CHILDREN)
      run = subprocess.run(command, check=False, stderr=subprocess.DEVNULL)
      after = resource.getrusage(resource.RUSAGE_CHILDREN)
      if run.returncode != 0:
        return None
      seconds.append(after.ru_utime + after.ru_stime - before.ru_utime -
                     before.ru_stime)
    return statistics.median(seconds)


def measure(args):
  report = {"setup": setup(args.flags), "repetitions": args.repetitions,
            "programs": {}}
  for program in args.programs:
    name = os.path.basename(program)
    say(name)
    report["programs"][name] = run_program(program, args)
  say("compile time")
  report["compile_seconds"] = compile_seconds(args.repetitions)
  return report


# ---- Figures: by the name of a benchmark, without how its time is taken. ----


def short_name(name):
  return re.sub(r"/(manual_time|real_time|process_time)", "", name)


def figures_of(program):
  figures = {}
  for entry in program.get("benchmarks", []):
    if entry.get("aggregate_name") not in ("median", "cv"):
      continue
    name = short_name(entry["run_name"])
    figure = figures.setdefault(name, {})
    # Other work on the machine disturbs the clock on the wall. A benchmark says
    # in its name if it takes that, or a clock of its own.
    time = "cpu_time" if name == entry["run_name"] else "real_time"
    if entry["aggregate_name"] == "cv":
      figure["spread"] = entry[time]
      continue
    figure["time"] = entry[time] * NANOSECONDS[entry["time_unit"]]
    if entry.get("items_per_second"):
      figure["items_per_second"] = entry["items_per_second"]
      figure["ns_per_item"] = 1e9 / entry["items_per_second"]
    figure["counters"] = {
        key: value for key, value in entry.items() if key not in OWN_KEYS
    }
  return figures


def all_figures(report):
  figures = {}
  for program in report["programs"].values():
    figures.update(figures_of(program))
  if report.get("compile_seconds"):
    figures["compile/user_file"] = {
        "time": report["compile_seconds"] * 1e9, "counters": {}
    }
  return figures


# ---- Targets. ----


def combinations(over):
  for values in itertools.product(*over.values()):
    yield dict(zip(over, values))


def figure_of(figures, name, key):
  figure = figures.get(name, {})
  return figure.get(key, figure.get("counters", {}).get(key))


def judge(target, choice, figures):
  key = target.get("figure", "time")
  value = figure_of(figures, target["value"].format(**choice), key)
  unit = target.get("unit", "x")
  if value is not None and "base" in target:
    base = figure_of(figures, target["base"].format(**choice), key)
    value = value / base if base else None
  elif value is not None and "without" in target:
    base = figure_of(figures, target["without"].format(**choice), key)
    value = None if base is None else value - base
  elif value is not None:
    value *= target.get("scale", 1)
  most, least = target.get("most"), target.get("least")
  if value is None:
    state = "missing"
  elif (most is not None and value > most) or (least is not None and
                                               value < least):
    state = "missed"
  else:
    state = "met"
  return {
      "title": target["title"].format(**choice),
      "figure": "-" if value is None else f"{value:.4g} {unit}",
      "wanted": f"<= {most} {unit}" if most is not None else
                f">= {least} {unit}",
      "value": value,
      "state": state,
  }


def judge_all(figures):
  with open(HERE / "targets.toml", "rb") as file:
    targets = tomllib.load(file)["target"]
  return [
      judge(target, choice, figures)
      for target in targets
      for choice in combinations(target.get("over", {}))
  ]


# ---- The page. ----


def time_text(nanoseconds):
  for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
    if nanoseconds >= size:
      return f"{nanoseconds / size:.4g} {unit}"
  return f"{nanoseconds:.4g} ns"


def row_of(name, figure):
  item = figure.get("ns_per_item")
  spread = figure.get("spread")
  return {
      "name": name,
      "time": time_text(figure["time"]),
      "spread": "" if spread is None else f"{100 * spread:.1f} %",
      "item": "" if item is None else time_text(item),
      "counters": ", ".join(f"{key} {value:.4g}"
                            for key, value in figure["counters"].items()),
  }


def parts_of(name):
  """Panel, line and arguments of "BM_A<B>/c/rows:10": "B c", "BM_A", {rows}."""
  family, *rest = name.split("/")
  template = re.search(r"<([^,>]*)", family)
  panel = [template[1]] if template else []
  line = re.sub(r"<[^,>]*,? *", "<", family).replace("<>", "")
  arguments = {}
  for part in rest:
    key, colon, value = part.partition(":")
    if colon and value.isdigit():
      arguments[key] = int(value)
    else:
      panel.append(part)
  return " ".join(panel), line, arguments


def svg_of(figure):
  buffer = io.StringIO()
  figure.savefig(buffer, format="svg", bbox_inches="tight")
  pyplot.close(figure)
  return base64.b64encode(buffer.getvalue().encode()).decode()


def draw_lines(title, lines, x_name):
  figure, axes = pyplot.subplots(figsize=(8, 4.5))
  for line, points in lines.items():
    points.sort()
    axes.plot([x for x, _ in points], [y / 1e3 for _, y in points], marker="o",
              markersize=4, label=line)
  axes.set(title=title, xlabel=x_name, ylabel="µs", xscale="log", yscale="log")
  axes.grid(alpha=0.3)
  axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
  return {"title": title, "svg": svg_of(figure)}


def draw_bars(title, bars):
  figure, axes = pyplot.subplots(figsize=(8, 0.6 + 0.28 * len(bars)))
  axes.barh([name for name, _ in bars], [y / 1e3 for _, y in bars])
  axes.invert_yaxis()
  axes.set(title=title, xlabel="µs", xscale="log")
  axes.grid(alpha=0.3, axis="x")
  return {"title": title, "svg": svg_of(figure)}


def plots_of(program, figures):
  """A plot for each panel: lines over an argument all have, or else bars."""
  panels = {}
  for name, figure in figures.items():
    panel, line, arguments = parts_of(name)
    panels.setdefault(panel, []).append((line, arguments, figure["time"]))
  plots = []
  for panel, entries in panels.items():
    title = f"{program}: {panel}" if panel else program
    seen = {}
    for _, arguments, _ in entries:
      for key, value in arguments.items():
        seen.setdefault(key, set()).add(value)
    x_name = max(seen, key=lambda key: len(seen[key]), default=None)
    if (x_name in (None, "threads") or len(seen[x_name]) < 2 or
        any(arguments.get(x_name, 0) == 0 for _, arguments, _ in entries)):
      plots.append(draw_bars(title, [
          (" ".join([line] + [f"{k}:{v}" for k, v in arguments.items()]), time)
          for line, arguments, time in entries
      ]))
      continue
    lines = {}
    for line, arguments, time in entries:
      others = [f"{k}:{v}" for k, v in arguments.items() if k != x_name]
      lines.setdefault(" ".join([line] + others), []).append(
          (arguments[x_name], time))
    plots.append(draw_lines(title, lines, x_name))
  return plots


def page_of(report):
  programs = []
  for name, program in report["programs"].items():
    figures = figures_of(program)
    programs.append({
        "name": name,
        "error": program.get("error"),
        "plots": plots_of(name, figures),
        "rows": [row_of(key, figure) for key, figure in figures.items()],
    })
  environment = jinja2.Environment(loader=jinja2.FileSystemLoader(HERE),
                                   autoescape=True, trim_blocks=True,
                                   lstrip_blocks=True)
  return environment.get_template("page.html.j2").render(
      setup=report["setup"], repetitions=report["repetitions"],
      targets=report["targets"], programs=programs)


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
  parser.add_argument("programs", nargs="*")
  parser.add_argument("--out", required=True)
  parser.add_argument("--render")
  parser.add_argument("--repetitions", type=int, default=5)
  parser.add_argument("--min_time", type=float, default=0.2)
  parser.add_argument("--large", action="store_true")
  parser.add_argument("--flags", default="")
  args = parser.parse_args()

  out = pathlib.Path(args.out)
  out.mkdir(parents=True, exist_ok=True)
  if args.render:
    report = json.loads(pathlib.Path(args.render).read_text(encoding="utf-8"))
  else:
    report = measure(args)
  report["targets"] = judge_all(all_figures(report))
  (out / "report.json").write_text(json.dumps(report, indent=1),
                                   encoding="utf-8")
  (out / "report.html").write_text(page_of(report), encoding="utf-8")
  for target in report["targets"]:
    print(f"{target['state']:8} {target['figure']:>14}  {target['wanted']:>12}  "
          f"{target['title']}")
  say(f"wrote {out / 'report.html'} and {out / 'report.json'}")


if __name__ == "__main__":
  main()
