# How far estimates of working sets were off, on average. One bar for each method.
# Run from the run directory: gnuplot figures/working-set-error.gp
load "figures/style.gp"
load "figures/run.gp"
figure = "working-set-error"
title = "Mean error of the estimate, in per cent of the working set"
unit = "%"
styles = "3 9"
panels = wss_error_panels
bars = wss_error_bars
undefine panel_title
array panel_title[panels]
do for [i = 1:panels] { panel_title[i] = wss_error_title[i] }
label_column = 2
label_length = 7
note = ""
load "figures/stacked.gp"
