# What merging made of each page of all guests: merged, or the reason why not. One bar for each combination.
# Run from the run directory: gnuplot figures/merging.gp
load "figures/style.gp"
load "figures/run.gp"
figure = "merging"
title = "Guest memory, merged or why not" . (strlen(merging_keys) && strlen(merging_keys) < 36 ? ", by " . merging_keys : "")
unit = "MiB"
styles = merging_styles
# All guests are one panel here.
panels = 1
bars = merging_bars
array panel_title[1] = [""]
label_column = 2
label_length = merging_label_length
note = ""
load "figures/stacked.gp"
