# Guest memory behind large host pages, all guests. One line for each combination.
# Run from the run directory: gnuplot figures/large-pages.gp
load "figures/style.gp"
load "figures/run.gp"
figure = "large-pages"
title = "Guest memory in large host pages" . (strlen(large_pages_keys) && strlen(large_pages_keys) < 36 ? ", by " . large_pages_keys : "")
unit = "MiB"
lines = large_pages_lines
panels = 1
npanels = 1
array panel_title[1] = [""]
points = large_pages_points
note = ""
line_title(i) = large_pages_titles[i]
load "figures/lines.gp"
