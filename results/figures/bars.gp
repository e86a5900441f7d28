# Panels of bars: grid.gp for as many as run.gp says. It wants figure, title and legends.
tilted = label_length * 9 > 34
tics_px = tilted ? 24 + least(5.6 * label_length, 190) : 30
# The first label reaches to the left of its bar.
left_px = tilted ? most(104, least(6.6 * label_length, 220) - 10) : 104
panel_px = left_px + 4 + 36 * bars
label_font = bars > 26 ? "sans,9" : bars > 12 ? "sans,11" : "sans,13"
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
