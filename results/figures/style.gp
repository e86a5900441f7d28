# What all figures share. Colours differ in brightness and each area has a pattern, so that they survive a black-and-white printer.
set datafile separator ","
set encoding utf8
set key outside right top vertical Left reverse noenhanced samplen 2
set grid ytics lc rgb "#c0c0c0" lw 0.5
set border 3
set tics nomirror
set style fill pattern border lc rgb "#000000"
set linetype 1 lc rgb "#1b4f72" lw 2 pt 7 dt 1
set linetype 2 lc rgb "#e67e22" lw 2 pt 4 dt 2
set linetype 3 lc rgb "#229954" lw 2 pt 9 dt 3
set linetype 4 lc rgb "#8e44ad" lw 2 pt 13 dt 4
set linetype 5 lc rgb "#c0392b" lw 2 pt 2 dt 5
set linetype 6 lc rgb "#7f8c8d" lw 2 pt 6 dt 1
set linetype 7 lc rgb "#f1c40f" lw 2 pt 5 dt 2
set linetype 8 lc rgb "#17202a" lw 2 pt 1 dt 3
set linetype 9 lc rgb "#5dade2" lw 2 pt 11 dt 4
set linetype 10 lc rgb "#a04000" lw 2 pt 3 dt 5
set linetype cycle 10
