# How accesses were translated that missed the first-level TLB; the rest, to 100%, hit it.
# Run from the run directory: gnuplot figures/translation.gp
load "figures/style.gp"
load "figures/run.gp"
figure = "translation"
title = "Accesses that miss the first-level TLB"
unit = "% of accesses"
styles = translation_styles
load "figures/stacked.gp"
