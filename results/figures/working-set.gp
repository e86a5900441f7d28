# Memory in use, truth and estimates, over time.
# Run from the run directory: gnuplot figures/working-set.gp
load "figures/style.gp"
load "figures/run.gp"
figure = "working-set"
title = "Working sets: the truth, and estimates"
unit = "MiB"
lines = |wss_lines|
npanels = wss_panels
points = wss_points
note = wss_note
undefine panel_title
array panel_title[npanels]
do for [i = 1:npanels] { panel_title[i] = wss_title[i] }
line_title(i) = wss_lines[i]
load "figures/lines.gp"
