# What the host's swapping did in vain, by VSwapper's names: pages of all guests. One panel for each kind.
# Run from the run directory: gnuplot figures/pathologies.gp
load "figures/style.gp"
load "figures/run.gp"
figure = "pathologies"
title = "Pages swapped in vain, of all guests" . (strlen(pathologies_keys) ? ", by " . pathologies_keys : "")
legends = 0
panels = pathologies_panels
bars = pathologies_bars
array panel_title[panels]
do for [p = 1:panels] {
	panel_title[p] = pathologies_title[p]
}
label_column = 2
label_length = pathologies_label_length
note = ""
load "figures/bars.gp"
set yrange [0:*]
set offsets 0, 0, graph 0.1, 0
do for [p = 1:panels] {
	set lmargin at screen left(p)
	set rmargin at screen right(p)
	set tmargin at screen top(p)
	set bmargin at screen bottom(p)
	set title panel_title[p] offset 0, -0.4 noenhanced
	set ylabel (column_of(p) == 0 ? "pages" : "") offset 0.8, 0
	plot data using 0:(or_zero(3)):xtic(label_column) every ::first(p)::last(p) with boxes fs pattern 3 border lc rgb "#000000" \
			lc rgb color(3) lw 0.8 notitle, \
		data using 0:(or_zero(3)):(short(or_zero(3))) every ::first(p)::last(p) with labels offset 0, 0.6 font label_font notitle
	unset label 1
}
unset multiplot
