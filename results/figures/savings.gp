# Memory saved by merging, patches and compression, all guests. One line for each combination.
# Run from the run directory: gnuplot figures/savings.gp
load "figures/style.gp"
load "figures/run.gp"
figure = "savings"
title = "Memory saved" . (strlen(savings_keys) && strlen(savings_keys) < 36 ? ", by " . savings_keys : "")
unit = "MiB"
lines = savings_lines
panels = 1
npanels = 1
array panel_title[1] = [""]
points = savings_points
note = ""
line_title(i) = savings_titles[i]
load "figures/lines.gp"
