# What guests with a disk have in memory and in their swap, over time.
# Run from the run directory: gnuplot figures/guest-memory.gp
load "figures/style.gp"
load "figures/run.gp"
figure = "guest-memory"
title = "What is in the guest's memory, and in its swap"
unit = "MiB"
lines = 5
npanels = guest_memory_panels
points = guest_memory_points
note = guest_memory_note
undefine panel_title
array panel_title[npanels]
do for [i = 1:npanels] { panel_title[i] = guest_memory_title[i] }
line_title(i) = guest_memory_lines[i]
load "figures/lines.gp"
