# Lines over time, panel by panel. It wants figure, title, unit, lines (in each panel), npanels, points
# (how many in each column) and line_title(), note.
legends = lines
legend_extra_px = 14
panel_px = npanels == 1 ? 640 : 340
tics_px = 40
load "figures/grid.gp"
data = sprintf("figures/%s.csv", figure)
set xtics font "sans,12"
set xrange [0:*]
set yrange [0:*]
set offsets 0, 0, graph 0.05, 0
# A figure whose values span orders of magnitude sets log_y.
if (exists("log_y")) {
	set logscale y
	set yrange [*:*]
}
if (!exists("x_title")) x_title = "time (ms)"
do for [p = 1:npanels] {
	set lmargin at screen left(p)
	set rmargin at screen right(p) - 10 / fig_px
	set tmargin at screen top(p)
	set bmargin at screen bottom(p)
	set title panel_title[p] offset 0, -0.4 noenhanced
	set ylabel (column_of(p) == 0 ? unit : "") offset 0.8, 0
	# Below the last panel of each column.
	set xlabel (p + columns > npanels ? x_title : "") offset 0, 0.4
	plot for [i = 1:lines] data using 1:1 + (p - 1) * lines + i every ::1 with linespoints lt i pointinterval int(ceil(word(points, (p - 1) * lines + i) / 10.0)) notitle
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
set key at screen 0.5, screen (legend_py - 8) / fig_py center top horizontal maxcols legend_columns Left reverse samplen 4 \
	spacing 1.25 noenhanced
plot for [i = 1:lines] data using (NaN):(NaN) with linespoints lt i title line_title(i)
unset multiplot
