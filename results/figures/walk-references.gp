# Table entries read in one page walk: guests down, what virtualizes their memory across.
# Run from the run directory: gnuplot figures/walk-references.gp
load "figures/style.gp"
load "figures/run.gp"
data = "figures/walk-references.csv"
cell_px = most(62.0, 480.0 / |walk_columns|)
cell_py = most(34.0, 100.0 / |walk_rows|)
left_px = 165.0
fig_px = left_px + cell_px * |walk_columns| + 12
panel_py = 60 + cell_py * |walk_rows| + 126
fig_py = 44 + panel_py * |walk_panels| + 10
top(p) = 1 - (44 + (p - 1) * panel_py + 40) / fig_py
set terminal svg size fig_px, fig_py fixed noenhanced font "sans,15" background "white"
set output "figures/walk-references.svg"
set label 1 "Table entries read in one page walk" at screen 0.5, screen (1 - 18 / fig_py) center font "sans,17"
set label 2 "second stage: its levels, and the pages that the host gives" at screen (left_px + fig_px) / 2 / fig_px, screen 14 / fig_py center
do for [p = 1:|walk_panels|] {
	set label 2 + p "the guest's own tables" at screen 16 / fig_px, screen top(p) - cell_py * |walk_rows| / 2 / fig_py center rotate
}
set multiplot
set lmargin at screen left_px / fig_px
set rmargin at screen (left_px + cell_px * |walk_columns|) / fig_px
set xrange [0.5:|walk_columns| + 0.5]
set yrange [|walk_rows| + 0.5:0.5]
set xtics () rotate by 40 right noenhanced scale 0
set ytics () noenhanced scale 0
unset grid
unset colorbox
set border 0
set style fill solid border lc rgb "#ffffff"
# Steady but for a stray miss of a walk cache: 2.01 is 2.
for_label(x) = abs(x - floor(x + 0.5)) < 0.1 ? sprintf("%.0f", x) : sprintf("%.1f", x)
# White to dark blue, and figures white on dark: 40 entries and more are darkest.
shade(x) = 255 - int(200 * least(x, 40) / 40)
gray(x) = shade(x) * 65536 + shade(x) * 256 + int(least(255, shade(x) + 30))
ink(x) = x > 22 ? 0xffffff : 0
do for [i = 1:|walk_columns|] { set xtics add (walk_columns[i] i) }
do for [i = 1:|walk_rows|] { set ytics add (walk_rows[i] i) }
do for [p = 1:|walk_panels|] {
	set tmargin at screen top(p)
	set bmargin at screen top(p) - cell_py * |walk_rows| / fig_py
	set title walk_panels[p] offset 0, -0.4 noenhanced
	plot data using ($1 == p ? $3 : NaN):2:(0.5):(0.5):(gray($4)) with boxxyerror lc rgb variable notitle, \
		data using ($1 == p ? $3 : NaN):2:(for_label($4)):(ink($4)) with labels tc rgb variable notitle
	unset label
}
unset multiplot
