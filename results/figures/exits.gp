# VM exits by cause.
# Run from the run directory: gnuplot figures/exits.gp
load "figures/style.gp"
load "figures/run.gp"
figure = "exits"
title = "VM exits by cause"
unit = "exits per 1,000 operations"
styles = exits_styles
load "figures/stacked.gp"
