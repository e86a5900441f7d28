/* SPDX-License-Identifier: MIT */
/* text.h - text that comes from a user, put where it could be taken for something else: a CSV field, a gnuplot script,
 * a page */
#ifndef OVERBOOK_VMM_TEXT_H
#define OVERBOOK_VMM_TEXT_H

#include <glib.h>

/* A CSV field (RFC 4180): quoted if it must be. */
void text_csv(GString *out, const char *text);
/* A CSV field that gnuplot reads: always quoted; gnuplot knows no doubled quotes, so a quote becomes an apostrophe. */
void text_gnuplot_field(GString *out, const char *text);
/* 'text': within single quotes gnuplot substitutes nothing. A line break becomes a space. */
void text_gnuplot_quoted(GString *out, const char *text);
/* NAME = 'text' and a new line. */
void text_gnuplot_set(GString *out, const char *name, const char *text);
/* Element content or a quoted attribute. */
void text_html(GString *out, const char *text);
/* For a reader: three digits that count, thousands apart; "-" for not-a-number. g_free. */
char *text_number(double x);

#endif
