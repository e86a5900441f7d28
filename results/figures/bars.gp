# Panels of bars: grid.gp for as many as run.gp says. It wants figure, title and legends.
tilted = label_length * 9 > 34
panel_px = 82 + 36 * bars
tics_px = tilted ? 22 + least(6.2 * label_length, 190) : 30
npanels = panels
load "figures/grid.gp"
if (tilted) {
	set xtics rotate by 40 right noenhanced scale 0
} else {
	set xtics norotate noenhanced scale 0
}
spare = most(0, 4 - bars) / 2.0
set xrange [-0.7 - spare:bars - 0.3 + spare]
set boxwidth 0.75
# The rows of panel p in the CSV.
first(p) = 1 + (p - 1) * bars
last(p) = p * bars
data = sprintf("figures/%s.csv", figure)
