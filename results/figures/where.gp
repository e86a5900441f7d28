# Where guests' pages were, over time: stacked areas, panel by panel.
# Run from the run directory: gnuplot figures/where.gp
load "figures/style.gp"
load "figures/run.gp"
figure = "where"
title = "Where the pages of guests were"
npanels = where_panels
nparts = words(where_parts)
legends = nparts
note = ""
panel_px = npanels == 1 ? 640 : 340
tics_px = 40
legend_extra_px = 14
load "figures/grid.gp"
data = "figures/where.csv"
part(i) = int(word(where_parts, i))
style_of(i) = int(word(where_styles, part(i)))
# The sum of the first i parts; those of other panels are not drawn.
upto(i) = i < 1 ? 0 : sum [k = 1:i] column(part(k) + 2)
mine(p) = column(1) == p ? 1 : NaN
set xtics font "sans,12"
set xrange [0:*]
set yrange [0:*]
set offsets 0, 0, graph 0.05, 0
do for [p = 1:npanels] {
	set lmargin at screen left(p)
	set rmargin at screen right(p) - 10 / fig_px
	set tmargin at screen top(p)
	set bmargin at screen bottom(p)
	set title where_title[p] offset 0, -0.4 noenhanced
	set ylabel (column_of(p) == 0 ? "MiB" : "") offset 0.8, 0
	set xlabel (p + columns > npanels ? "time (ms)" : "") offset 0, 0.4
	plot for [i = nparts:1:-1] data using (column(2) * mine(p)):(upto(i - 1)):(upto(i)) every ::1 with filledcurves \
		fs pattern fill(style_of(i)) border lc rgb "#000000" lc rgb color(style_of(i)) lw 0.6 dt 1 notitle
	unset label 1
}
unset title; unset xlabel; unset ylabel; unset xtics; unset ytics; unset border; unset grid
unset offsets
set lmargin at screen 0
set rmargin at screen 1
set tmargin at screen legend_py / fig_py
set bmargin at screen 0
set xrange [0:1]
set yrange [0:1]
set key at screen 0.5, screen (legend_py - 8) / fig_py center top horizontal maxcols legend_columns Left reverse samplen 2 \
	width 1 spacing 1.25 noenhanced
set style data boxes
plot for [i = 1:nparts] data using (NaN):(NaN) with boxes fs pattern fill(style_of(i)) border lc rgb "#000000" \
	lc rgb color(style_of(i)) lw 0.8 dt 1 title columnheader(part(i) + 2)
unset multiplot
