# Where the time of each operation went: useful work, translation, VM exits by cause.
# Run from the run directory: gnuplot figures/time.gp
load "figures/style.gp"
load "figures/run.gp"
figure = "time"
title = "Where the time goes"
unit = time_unit
styles = time_styles
load "figures/stacked.gp"
