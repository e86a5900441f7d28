# Where the memory of all guests is, and what merging saves of it. One bar for each combination.
# Run from the run directory: gnuplot figures/sharing.gp
load "figures/style.gp"
load "figures/run.gp"
figure = "sharing"
title = "Guest memory in host frames, and saved" . (strlen(sharing_keys) && strlen(sharing_keys) < 36 ? ", by " . sharing_keys : "")
unit = "MiB"
styles = sharing_styles
# All guests are one panel here.
panels = 1
bars = sharing_bars
array panel_title[1] = [""]
label_column = 2
label_length = sharing_label_length
note = ""
load "figures/stacked.gp"
