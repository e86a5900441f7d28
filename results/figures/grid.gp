# Lays out small multiples with one legend below them, and begins the picture figures/NAME.svg. It wants: figure (NAME), title,
# npanels, panel_px (the least width of a panel), tics_px (height of what is below its axis), legends (number of entries), note (what to say of
# what is left out).
if (!exists("left_px")) left_px = 92
columns = npanels < 2 ? 1 : npanels < 5 ? 2 : npanels < 10 ? 3 : 4
columns = int(most(1, least(columns, floor(1080.0 / panel_px))))
panel_px = least(most(panel_px, npanels == 1 ? 640 : columns == 2 ? 350 : 290), 1080.0 / columns)
rows = int(ceil(npanels / real(columns)))
panel_py = 210.0 + 36 + tics_px
legend_columns = legends < 1 ? 1 : int(least(legends, floor(columns * panel_px / 330.0)))
legend_py = legends < 1 ? 8 : 20 + 28.5 * ceil(legends / real(legend_columns))
fig_px = 1.0 * columns * panel_px + 16
fig_py = 44 + rows * panel_py + legend_py + (exists("legend_extra_px") ? legend_extra_px : 0)

# Edges of panel p (from 1), as gnuplot counts them: from the bottom left corner, 1 is the whole.
column_of(p) = (int(p) - 1) % columns
row_of(p) = (int(p) - 1) / columns
left(p) = (column_of(p) * panel_px + left_px) / fig_px
right(p) = ((column_of(p) + 1) * panel_px - 4) / fig_px
top(p) = 1 - (44 + row_of(p) * panel_py + 30) / fig_py
bottom(p) = top(p) - 210 / fig_py

set terminal svg size fig_px, fig_py fixed noenhanced font "sans,15" background "white"
set output sprintf("figures/%s.svg", figure)
set label 1 title . note at screen 0.5, screen (1 - 18 / fig_py) center font "sans,17" noenhanced
set multiplot
