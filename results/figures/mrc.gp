# Miss-ratio curve: how often a program faults with how much memory. Reads mrc.csv, writes mrc.svg:
#     gnuplot mrc.gp
# policies and subject are set above this line by `overbook trace mrc`.
if (!exists("policies")) policies = "lru clock fifo opt"
if (!exists("subject")) subject = "miss-ratio curve"

set datafile separator ","
set terminal svg size 800,560 font "Helvetica,14" background rgb "white" noenhanced
set output "mrc.svg"

set title subject
set xlabel "memory (MiB)"
set ylabel "miss ratio (misses per access)"
set logscale x 2
set logscale y 10
set format y "%.0e"
set grid xtics ytics lt 1 lc rgb "#d0d0d0" lw 0.5
set key outside below horizontal samplen 4 width 2
set border lc rgb "black"

# Told apart without colour: by dashes, marks and shades.
set style line 1 lc rgb "#000000" lw 2 dt 1 pt 7 ps 0.6
set style line 2 lc rgb "#000000" lw 2 dt 2 pt 4 ps 0.6
set style line 3 lc rgb "#707070" lw 2 dt 1 pt 9 ps 0.7
set style line 4 lc rgb "#707070" lw 2 dt 4 pt 2 ps 0.7
set style line 5 lc rgb "#000000" lw 2 dt 3 pt 6 ps 0.7
set style line 6 lc rgb "#a0a0a0" lw 2 dt 5 pt 12 ps 0.7

# No memory avoids the cold misses: the floor.
stats "mrc.csv" every ::1 using 5 name "cold" nooutput
stats "mrc.csv" every ::1 using 3 name "requests" nooutput
floor = cold_max / requests_max

plot for [i = 1:words(policies)] "mrc.csv" every ::1 \
	using ($2 / 1048576.0):(strcol(1) eq word(policies, i) ? $4 / $3 : NaN) \
	with linespoints ls i title word(policies, i), \
	floor with lines lc rgb "#000000" lw 1 dt "." title "cold misses"
