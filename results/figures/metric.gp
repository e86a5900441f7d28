# The experiment's own measure, one bar for each VM and combination, with the 95% interval where runs were repeated.
# Run from the run directory: gnuplot figures/metric.gp
load "figures/style.gp"
load "figures/run.gp"
stats "figures/metric.csv" using 0 nooutput
set terminal svg size (260 + 38 * STATS_records), 520 dynamic font "sans,14" background "white"
set output "figures/metric.svg"
set title run_title noenhanced
set ylabel metric_name noenhanced
set yrange [0:*]
set xrange [-0.8:STATS_records - 0.2]
set boxwidth 0.8
set xtics rotate by 40 right noenhanced
unset key
plot "figures/metric.csv" using 0:2:xtic(1) every ::1 with boxes fs pattern 2 lt 1, \
     "" using 0:2:(sprintf(column(2) < 10 ? "%.2f" : "%.0f", column(2))) every ::1 with labels offset 0, 0.7 font "sans,11", \
     "" using 0:($3 > 0 ? $2 : NaN):3 every ::1 with yerrorbars lc rgb "#000000" lw 1.5 pt 0
