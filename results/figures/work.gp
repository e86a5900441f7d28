# What guests got done: operations in a second of simulated time, by guest. One bar for each combination.
# Run from the run directory: gnuplot figures/work.gp
load "figures/style.gp"
load "figures/run.gp"
figure = "work"
title = "Work done by the guests" . (strlen(work_keys) ? ", by " . work_keys : "")
unit = work_unit
styles = work_styles
# All guests are one panel here.
panels = 1
bars = work_bars
array panel_title[1] = [""]
label_column = 2
label_length = work_label_length
note = ""
load "figures/stacked.gp"
