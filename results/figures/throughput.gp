# Operations per second of virtual time.
# Run from the run directory: gnuplot figures/throughput.gp
load "figures/style.gp"
stats "figures/throughput.csv" using 1 nooutput
set terminal svg size 900, 460 dynamic font "sans,14" background "white"
set output "figures/throughput.svg"
set title "Throughput"
set xlabel "time (ms)"
set ylabel "operations per microsecond"
set yrange [0:*]
set key noenhanced
points = STATS_records
plot for [i = 2:STATS_columns] "figures/throughput.csv" using 1:i with linespoints pointinterval ceil(points / 12.0) title columnheader(i)
