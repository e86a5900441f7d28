# Memory saved by merging, patches and compression, all guests, against the time of the scanner. One line for each combination.
# Run from the run directory: gnuplot figures/savings-cost.gp
load "figures/style.gp"
load "figures/run.gp"
figure = "savings-cost"
x_title = "time of the scanner (ms)"
title = "Memory saved" . (strlen(savings_cost_keys) && strlen(savings_cost_keys) < 36 ? ", by " . savings_cost_keys : "")
unit = "MiB"
lines = savings_cost_lines
panels = 1
npanels = 1
array panel_title[1] = [""]
points = savings_cost_points
note = ""
line_title(i) = savings_cost_titles[i]
load "figures/lines.gp"
