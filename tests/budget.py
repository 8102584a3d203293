#!/usr/bin/env python3
"""Runs with an overhead budget and with --diagnose: what they log, that they resume, and that exact runs stay as they
were. Prints TAP. Usage: budget.py BLANCH"""
import json
import os
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


def main():
    tap.need_device(BLANCH)
    with tempfile.TemporaryDirectory() as folder:
        refusals(folder)
        exact(folder)
        budget(folder)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
