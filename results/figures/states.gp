# Free memory of the host and the state that a policy was in, decision by decision.
# Run from the run directory: gnuplot figures/states.gp
load "figures/style.gp"
load "figures/run.gp"
figure = "states"
title = "Free memory, and the host's state"
npanels = states_panels
legends = 2
note = ""
panel_px = 640
tics_px = 40
legend_extra_px = 14
load "figures/grid.gp"
data = "figures/states.csv"
mine(p) = column(1) == p ? 1 : NaN
set xtics font "sans,12"
set xrange [0:*]
set yrange [0:*]
set y2range [3.4:-0.4]
set y2tics ("high" 0, "soft" 1, "hard" 2, "low" 3) nomirror out scale 0.6
set border 11 lt 1 lc rgb "#000000" lw 1 dt 1
do for [p = 1:npanels] {
	set lmargin at screen left(p)
	set rmargin at screen right(p) - 60 / fig_px
	set tmargin at screen top(p)
	set bmargin at screen bottom(p)
	set title states_title[p] offset 0, -0.4 noenhanced
	set ylabel "MiB free" offset 0.8, 0
	set xlabel (p + columns > npanels ? "time (ms)" : "") offset 0, 0.4
	plot data using (column(2) * mine(p)):3 every ::1 with lines lt 1 lw 1.2 notitle, \
		data using (column(2) * mine(p)):4 every ::1 axes x1y2 with steps lt 2 lw 2 dt 1 notitle
	unset label 1
}
unset title; unset xlabel; unset ylabel; unset xtics; unset ytics; unset y2tics; unset border; unset grid
set lmargin at screen 0
set rmargin at screen 1
set tmargin at screen legend_py / fig_py
set bmargin at screen 0
set xrange [0:1]
set yrange [0:1]
set key at screen 0.5, screen (legend_py - 8) / fig_py center top horizontal maxcols legend_columns Left reverse samplen 4 \
	spacing 1.25 noenhanced
plot data using (NaN):(NaN) with lines lt 1 lw 1.2 title "free memory (left)", \
	data using (NaN):(NaN) with lines lt 2 lw 2 dt 1 title "state (right)"
unset multiplot
