# Operations in each second of virtual time.
# Run from the run directory: gnuplot figures/throughput.gp
load "figures/style.gp"
load "figures/run.gp"
figure = "throughput"
title = "Throughput"
unit = throughput_unit
lines = throughput_lines
npanels = throughput_panels
points = throughput_points
note = throughput_note
line_title(i) = throughput_titles[i]
load "figures/lines.gp"
