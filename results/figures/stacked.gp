# Stacked bars: the parts are the columns from the third. It wants figure, title, unit and styles (one number for each part).
parts = words(styles)
legends = parts
load "figures/bars.gp"
set yrange [0:*]
set offsets 0, 0, graph 0.1, 0
set style data histograms
set style histogram rowstacked
do for [p = 1:panels] {
	set lmargin at screen left(p)
	set rmargin at screen right(p)
	set tmargin at screen top(p)
	set bmargin at screen bottom(p)
	set title panel_title[p] offset 0, -0.4 noenhanced
	set ylabel (column_of(p) == 0 ? unit : "") offset 0.8, 0
	plot for [i = 1:parts] data using (or_zero(i + 2)):xtic(label_column) every ::first(p)::last(p) \
			fs pattern fill(int(word(styles, i))) border lc rgb "#000000" \
			lc rgb color(int(word(styles, i))) lw 0.8 dt 1 notitle, \
		data using 0:(sum [i = 3:parts + 2] or_zero(i)):(valid(3) ? short(sum [i = 3:parts + 2] or_zero(i)) : "none") \
			every ::first(p)::last(p) with labels offset 0, 0.6 font label_font notitle
	unset label 1
}

# The legend: a panel of its own with nothing in it.
unset title; unset ylabel; unset xtics; unset ytics; unset border; unset grid
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
plot for [i = 1:parts] data using (NaN):(NaN) with boxes fs pattern fill(int(word(styles, i))) border lc rgb "#000000" \
	lc rgb color(int(word(styles, i))) lw 0.8 dt 1 title columnheader(i + 2)
unset multiplot
