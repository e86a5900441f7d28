# Guest memory resident in host frames, over time.
# Run from the run directory: gnuplot figures/memory.gp
load "figures/style.gp"
load "figures/run.gp"
figure = "memory"
title = "Guest memory resident in host frames"
unit = "MiB"
lines = memory_lines
npanels = memory_panels
points = memory_points
note = memory_note
line_title(i) = memory_titles[i]
load "figures/lines.gp"
