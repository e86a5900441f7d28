# Guest memory resident in host frames, over time.
# Run from the run directory: gnuplot figures/memory.gp
load "figures/style.gp"
stats "figures/memory.csv" using 1 nooutput
set terminal svg size 900, 460 dynamic font "sans,14" background "white"
set output "figures/memory.svg"
set title "Resident guest memory"
set xlabel "time (ms)"
set ylabel "MiB"
set yrange [0:*]
set key noenhanced
points = STATS_records
plot for [i = 2:STATS_columns] "figures/memory.csv" using 1:i with linespoints pointinterval ceil(points / 12.0) title columnheader(i)
