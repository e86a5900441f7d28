# TLB reach: what a full second-level TLB translates, mean of the guests. One line for each combination.
# Run from the run directory: gnuplot figures/tlb-reach.gp
load "figures/style.gp"
load "figures/run.gp"
figure = "tlb-reach"
title = "TLB reach" . (strlen(tlb_reach_keys) && strlen(tlb_reach_keys) < 36 ? ", by " . tlb_reach_keys : "")
unit = "MiB"
log_y = 1
lines = tlb_reach_lines
panels = 1
npanels = 1
array panel_title[1] = [""]
points = tlb_reach_points
note = ""
line_title(i) = tlb_reach_titles[i]
load "figures/lines.gp"
