/* SPDX-License-Identifier: MIT */
/*
 * report.h - figures and the page that shows them
 *
 * Both work on a finished directory's files alone (experiment.ini, manifest.json, summary.json or summary.csv,
 * samples.csv), so `overbook report DIR` can make them again at any time.
 */
#ifndef OVERBOOK_VMM_REPORT_H
#define OVERBOOK_VMM_REPORT_H

#include <glib.h>

/*
 * Draw what fits the directory into DIR/figures: NAME.gp (the template, runnable by hand from DIR), NAME.csv (its
 * data) and NAME.svg. FALSE with VMM_LACKS when gnuplot is missing.
 */
gboolean figures_draw(const char *dir, GError **error);

/* DIR/report.html: one self-contained page. */
gboolean report_write(const char *dir, GError **error);

#endif
