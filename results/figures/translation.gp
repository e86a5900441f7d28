# How accesses were translated.
# Run from the run directory: gnuplot figures/translation.gp
load "figures/style.gp"
stats "figures/translation.csv" using 0 nooutput
set terminal svg size (360 + 34 * STATS_records), 520 dynamic font "sans,14" background "white"
set output "figures/translation.svg"
set title "Translation of accesses" noenhanced
set ylabel "per cent of translated accesses"
set yrange [0:*]
set style data histograms
set style histogram rowstacked
set boxwidth 0.8
set xtics rotate by 40 right noenhanced
unset x2tics
set yrange [0:100]
plot for [i = 2:4] "figures/translation.csv" using i:xtic(1) title columnheader(i) fs pattern (i - 2) lt i - 1
