# The experiment's own measure, with the 95% interval where runs were repeated.
# Run from the run directory: gnuplot figures/metric.gp
load "figures/style.gp"
load "figures/run.gp"
figure = "metric"
title = metric_label
legends = 0
load "figures/bars.gp"
set yrange [0:*]
set offsets 0, 0, graph 0.1, 0
do for [p = 1:panels] {
	set lmargin at screen left(p)
	set rmargin at screen right(p)
	set tmargin at screen top(p)
	set bmargin at screen bottom(p)
	set title panel_title[p] offset 0, -0.4 noenhanced
	plot data using 0:(or_zero(3)):xtic(label_column) every ::first(p)::last(p) with boxes fs pattern 3 border lc rgb "#000000" \
			lc rgb color(3) lw 0.8 notitle, \
		data using 0:(or_zero(3) + or_zero(4)):(valid(3) ? short(or_zero(3)) : "none") every ::first(p)::last(p) with labels offset 0, 0.6 font label_font notitle, \
		data using 0:(or_zero(3) - or_zero(4)):(0):(2 * or_zero(4)) every ::first(p)::last(p) \
			with vectors heads size screen 0.012,90 lc rgb "#000000" lw 1.5 notitle
	unset label 1
}
unset multiplot
