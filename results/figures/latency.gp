# Latency of accesses, the faults that they take included: from the median to the 99.9th percentile.
# Run from the run directory: gnuplot figures/latency.gp
load "figures/style.gp"
load "figures/run.gp"
figure = "latency"
title = "Latency of accesses, faults included"
legends = 4
load "figures/bars.gp"
set logscale y
set yrange [latency_low:latency_high]
points = "6 4 9 7"
do for [p = 1:panels] {
	set lmargin at screen left(p)
	set rmargin at screen right(p)
	set tmargin at screen top(p)
	set bmargin at screen bottom(p)
	set title panel_title[p] offset 0, -0.4 noenhanced
	set ylabel (column_of(p) == 0 ? "nanoseconds" : "") offset 0.8, 0
	plot data using 0:3:(0):($6 - $3):xtic(label_column) every ::first(p)::last(p) with vectors nohead lc rgb "#888888" lw 1 notitle, \
		for [i = 1:4] data using 0:i + 2 every ::first(p)::last(p) with points pt int(word(points, i)) ps 1 lc rgb "#000000" notitle
	unset label 1
}
unset title; unset ylabel; unset xtics; unset ytics; unset border; unset grid; unset logscale
unset offsets
set lmargin at screen 0
set rmargin at screen 1
set tmargin at screen legend_py / fig_py
set bmargin at screen 0
set xrange [0:1]
set yrange [0:1]
set key at screen 0.5, screen (legend_py - 8) / fig_py center top horizontal maxcols legend_columns Left reverse samplen 2 spacing 1.25
percentiles = "median 90th 99th 99.9th"
plot for [i = 1:4] NaN with points pt int(word(points, i)) ps 1 lc rgb "#000000" \
	title word(percentiles, i) . (i > 1 ? " percentile" : "")
unset multiplot
