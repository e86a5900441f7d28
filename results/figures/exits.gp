# VM exits by cause.
# Run from the run directory: gnuplot figures/exits.gp
load "figures/style.gp"
stats "figures/exits.csv" using 0 nooutput
set terminal svg size (360 + 34 * STATS_records), 520 dynamic font "sans,14" background "white"
set output "figures/exits.svg"
set title "VM exits" noenhanced
set ylabel "exits per 1,000 operations"
set yrange [0:*]
set style data histograms
set style histogram rowstacked
set boxwidth 0.8
set xtics rotate by 40 right noenhanced
unset x2tics
plot for [i = 2:11] "figures/exits.csv" using i:xtic(1) title columnheader(i) fs pattern (i - 2) lt i - 1
