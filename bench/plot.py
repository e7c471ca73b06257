#!/usr/bin/env python3
"""Draws the figures that bench prints as JSON: plot.py FIGURES.json PLOT.png"""

import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

with open(sys.argv[1], encoding="utf-8") as file:
    figures = [f for f in json.load(file) if not f["case"].startswith("plain")]
figures.reverse()
colours = {"Edge Auth": "#1b6ca8", "Edge Auth, cache off": "#74a9cf"}
labels = [f"{f['gateway']}: {f['case']}" for f in figures]
fig, (share, added) = plt.subplots(1, 2, figsize=(13, 0.33 * len(figures) + 1.4), sharey=True)
for axis, key, factor, title in (
    (share, "share", 100, "throughput, % of the same gateway without authentication"),
    (added, "added", 1, "CPU added to a request, µs"),
):
    values = [f[key] * factor for f in figures]
    axis.barh(labels, values, color=[colours.get(f["gateway"], "#999999") for f in figures])
    for row, value in enumerate(values):
        axis.text(max(value, 0), row, f" {value:.0f}", va="center", fontsize=8)
    axis.set_title(title, fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
share.axvline(100, color="black", linewidth=0.6)
fig.tight_layout()
fig.savefig(sys.argv[2], dpi=110)
