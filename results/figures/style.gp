# What all figures share. Parts differ in brightness and pattern, lines in marks and dashes: they survive a black-and-white printer.
set datafile separator ","
set grid ytics lt 1 lc rgb "#d0d0d0" lw 0.5 dt 1
set border 3 lt 1 lc rgb "#000000" lw 1 dt 1
set tics nomirror out scale 0.6
unset key

# Styles of the parts of a bar, 1 to 13; run.gp says which column has which, so that a part looks the same in every figure.
style_colors = "#f2f2f2 #1b4f72 #aab7c4 #c0392b #8e44ad #e67e22 #7d6608 #f4d03f #1e8449 #666666 #333333 #2e86c1 #d98880"
style_fills = "3 3 3 2 4 5 1 3 6 7 3 5 4"
color(s) = word(style_colors, s)
fill(s) = int(word(style_fills, s))

# Lines of a series.
set linetype 1 lc rgb "#000000" lw 1.5 pt 7 dt 1 ps 0.8
set linetype 2 lc rgb "#c0392b" lw 1.5 pt 4 dt 2 ps 0.9
set linetype 3 lc rgb "#1b4f72" lw 1.5 pt 9 dt 1 ps 0.9
set linetype 4 lc rgb "#e67e22" lw 1.5 pt 12 dt 4 ps 1.0
set linetype 5 lc rgb "#1e8449" lw 1.5 pt 5 dt 2 ps 0.8
set linetype 6 lc rgb "#8e44ad" lw 1.5 pt 2 dt 1 ps 0.9
set linetype 7 lc rgb "#777777" lw 1.5 pt 6 dt 4 ps 0.9
set linetype 8 lc rgb "#7d6608" lw 1.5 pt 1 dt 3 ps 1.0

# A number as its reader wants it.
short(x) = abs(x) >= 10000 ? sprintf("%.1fk", x / 1000) : x == floor(x) ? sprintf("%.0f", x) : abs(x) < 0.1 ? sprintf("%.2g", x) : abs(x) < 10 ? sprintf("%.2f", x) : \
	abs(x) < 100 ? sprintf("%.1f", x) : sprintf("%.0f", x)
# A column's value; NaN in the data stands for what there is no value of.
or_zero(c) = valid(c) ? column(c) : 0
least(a, b) = a < b ? a : b
most(a, b) = a > b ? a : b
