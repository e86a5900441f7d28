# What each balloon was asked for, and what it held, over time.
# Run from the run directory: gnuplot figures/balloon.gp
load "figures/style.gp"
load "figures/run.gp"
figure = "balloon"
title = "Balloon: actual against target"
unit = "MiB"
lines = 2
npanels = balloon_panels
points = balloon_points
note = balloon_note
undefine panel_title
array panel_title[npanels]
do for [i = 1:npanels] { panel_title[i] = balloon_title[i] }
line_title(i) = i == 1 ? "target" : "actual"
load "figures/lines.gp"
