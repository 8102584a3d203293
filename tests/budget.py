#!/usr/bin/env python3
"""Runs with an overhead budget and with --diagnose: what they log, that they resume, and that exact runs stay as they
were. Prints TAP. Usage: budget.py BLANCH"""
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

import tap

BLANCH = sys.argv[1]
DATA = "synthetic:3x32x32:10"
COMMON = ["--model", "smallcnn", "--norm", "nd", "--data", DATA, "--batch", "16", "--lr", "0.05", "--quiet"]
report = tap.Report()


def run(*args):
    return subprocess.run([BLANCH, *args], capture_output=True, text=True)


def check(name, holds, why=""):
    report.case(name, bool(holds), why)


def lines(out, kind):
    with open(os.path.join(out, "log.jsonl")) as log:
        return [line for line in map(json.loads, log) if line["type"] == kind]


def weights(out):
    with open(os.path.join(out, "last.safetensors"), "rb") as file:
        return file.read()


def train(out, *args):
    done = run("train", *COMMON, "--out", out, *args)
    return done.returncode == 0, done.stderr


def refusals(folder):
    for name, args in {
        "a negative budget": ["--overhead-budget=-5%"],
        "a budget that is no number": ["--overhead-budget", "abc"],
        "a budget beside --refresh": ["--overhead-budget", "20%", "--refresh", "5"],
        "a budget for batch norm": ["--overhead-budget", "20%", "--norm", "bn"],
        "choosing blocks without a budget": ["--block", "auto"],
    }.items():
        done = run("train", *COMMON, "--out", os.path.join(folder, "refused"), "--steps", "1", *args)
        one_line = done.stderr.count("\n") == 1 and "--overhead-budget" in done.stderr
        check(name + " is refused", done.returncode == 2 and one_line, done.stderr)


def exact(folder):
    plain, none, seen = (os.path.join(folder, name) for name in ("plain", "none", "seen"))
    for out, args in (plain, []), (none, ["--overhead-budget", "none"]), (seen, ["--diagnose"]):
        fine, why = train(out, "--steps", "25", *args)
        check("a run of 25 steps " + " ".join(args), fine, why)
    check("a budget of none changes no bit", weights(plain) == weights(none))
    check("--diagnose changes no bit", weights(plain) == weights(seen))
    diagnosed = lines(seen, "diagnose")
    check("steps 1 and 21 are diagnosed", [line["step"] for line in diagnosed] == [1, 21])
    layers = diagnosed[-1]["layers"]
    check("every layer is", [layer["name"] for layer in layers] == ["conv1", "conv2", "conv3", "conv4", "fc"])
    for layer in layers:
        values = layer["spread"]
        check("eigenvalues of %s rise from 0 to 1" % layer["name"],
              values == sorted(values) and values[0] > -0.01 and values[-1] < 1.05, str(layer))
    check("too few samples are remarked", "samples" in layers[-1].get("trouble", ""), str(layers[-1]))
    for cap, remedy in ("2", "--cov-samples"), ("5000", "--block"):
        fine, said = train(os.path.join(folder, "cap" + cap), "--steps", "1", "--diagnose", "--cov-samples", cap)
        line = next((line for line in said.splitlines() if "conv4" in line), "")
        check("samples capped at %s: what to turn is %s" % (cap, remedy), fine and " samples, " in line and
              remedy in line.partition("; try ")[2] and ("--batch" in line) == (remedy == "--block"), said)


def budget(folder):
    out = os.path.join(folder, "budget")
    fine, why = train(out, "--steps", "40", "--overhead-budget", "60%")
    check("a run with a budget", fine, why)
    decided = lines(out, "budget")
    check("decides at step 15", decided and decided[0]["step"] == 15 and decided[0]["bn_ms"] > 0, str(decided))
    check("for every layer", len(decided[0]["layers"]) == 5 and all(layer["interval"] >= 1
                                                                    for layer in decided[0]["layers"]))
    losses = [line["loss"] for line in lines(out, "step")]
    check("learns", losses[-1] < 0.5 * losses[0], str(losses))
    with open(os.path.join(out, "config.json")) as file:
        check("config.json has the budget", json.load(file).get("overhead_budget") == "60%")
    resumed = run("train", "--resume", "--out", out, "--steps", "60", "--quiet")
    steps = [line["step"] for line in lines(out, "step")]
    check("resumes", resumed.returncode == 0 and steps == list(range(1, 61)), resumed.stderr)
    validated = run("train", "--resume", "--out", out, "--steps", "62", "--validate", "1", "--quiet")
    check("agrees with plain C between refreshes", validated.returncode == 0, validated.stderr)


def config(out):
    with open(os.path.join(out, "config.json")) as file:
        return json.load(file)


def metadata(out):
    data = weights(out)
    return json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]])["__metadata__"]


def tensors(data):
    """What follows the header."""
    return data[8 + struct.unpack("<Q", data[:8])[0]:]


LARGEST = {"conv1": {"block": 3}, "conv2": {"block": 16}, "conv3": {"block": 32}, "conv4": {"block": 32}}


def blocks(folder):
    """Blocks that are chosen: times decide, so the budgets are far from what any machine measures."""
    large, small, again, init = (os.path.join(folder, name) for name in ("large", "small", "again", "init"))
    chosen = ["--block", "auto", "--schedule", "constant", "--steps", "6"]
    fine, why = train(large, *chosen, "--overhead-budget", "10000%")
    found = config(large) if fine else {}
    check("a large budget keeps the largest blocks",
          found.get("blocks") == LARGEST and found["exact"] and found["block"] == "auto", why + str(found))
    fine, why = train(os.path.join(folder, "default"), "--schedule", "constant", "--steps", "6")
    check("which are exact deconvolution, bit for bit", fine and tensors(weights(large)) ==
          tensors(weights(os.path.join(folder, "default"))), why)
    fine, why = train(small, *chosen, "--overhead-budget", "0%")
    found = config(small) if fine else {}
    line = lines(small, "blocks")[0] if fine else {}
    least = line.get("rest_ms", 0) + sum(min(layer["whitening_ms"]) for layer in line.get("layers", []))
    check("none takes the cheapest of every layer",
          fine and abs(least / line["bn_ms"] - 1 - line["overhead_pct"] / 100) < 1e-3 * least / line["bn_ms"],
          why + str(line))
    check("and leaves the rest to refreshes", found.get("exact") is False, str(found))
    check("the weights know it", json.loads(metadata(small)["blocks"]) == found["blocks"])
    os.mkdir(again)
    shutil.copy(os.path.join(small, "config.json"), again)
    for steps in "3", "6":
        done = run("train", "--resume", "--out", again, "--steps", steps, "--quiet")
        check("a run of this record until step " + steps, done.returncode == 0, done.stderr)
    check("is the same when it was interrupted", weights(small) == weights(again))
    file = os.path.join(small, "last.safetensors")
    named = ["--weights", file, "--model", "smallcnn", "--norm", "nd", "--data", DATA]
    of_run, of_file = run("eval", "--run", small, "--json"), run("eval", *named, "--json")
    check("eval rebuilds the network from the run or the weights",
          of_run.returncode == of_file.returncode == 0 and
          json.loads(of_run.stdout)["loss"] == json.loads(of_file.stdout)["loss"], of_run.stderr + of_file.stderr)
    done = run("eval", *named, "--block", "32")
    check("a block beside them is refused", done.returncode == 2 and "leave --block" in done.stderr, done.stderr)
    fine, why = train(init, "--init", file, "--steps", "2")
    check("--init takes them over", fine and config(init)["blocks"] == found["blocks"], why)
    out = os.path.join(folder, "compared")
    done = run("compare", "--model", "smallcnn", "--data", DATA, "--batch", "16", "--steps", "5", "--out", out,
               "--settings", "auto: --overhead-budget 10000% --block auto")
    found = lines(out, "blocks") if done.returncode == 0 else []
    check("compare chooses for a setting", [line["setting"] for line in found] == ["auto"], done.stderr)
    with open(os.path.join(out, "compare.json")) as file:
        chosen = next(r for r in json.load(file)["runs"] if r["setting"] == "auto")
    check("and records it", chosen["settings"]["block"] == "auto" and chosen["exact"] and
          chosen["blocks"] == {line["name"]: {"block": line["block"]} for line in found[0]["layers"]}, str(chosen))
    for args in ["bench", "--model", "smallcnn", "--norm", "nd"], ["models", "smallcnn", "--norm", "nd"]:
        done = run(*args, "--block", "auto")
        check(args[0] + " chooses no blocks", done.returncode == 2 and "give a number" in done.stderr, done.stderr)


def main():
    tap.need_device(BLANCH)
    with tempfile.TemporaryDirectory() as folder:
        refusals(folder)
        exact(folder)
        budget(folder)
        blocks(folder)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
