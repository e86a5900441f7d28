# Miss-ratio curves at the end of the run, as method mrc knows them: one line for each guest.
# Run from the run directory: gnuplot figures/miss-ratio.gp
load "figures/style.gp"
load "figures/run.gp"
set terminal svg size 720,460 font "sans,14" background rgb "#ffffff" noenhanced
set output "figures/miss-ratio.svg"
set title "Reuses that would miss, by memory" noenhanced
set xlabel "memory (MiB)"
set ylabel "%"
set xrange [0:*]
set yrange [0:105]
set key outside below horizontal samplen 4 maxcols 4 noenhanced
plot for [i = 1:|miss_title|] "figures/miss-ratio.csv" every ::1 using ($1 == i ? $2 : NaN):3 with linespoints lt i \
	pointinterval 4 title miss_title[i]
