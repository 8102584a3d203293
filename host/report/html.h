/* Building HTML in memory, printing numbers with sensible digits, and the sections of a page. */
#ifndef BL_HTML_H
#define BL_HTML_H

#include "report/result.h"

struct bl_html { // start from zero; free data
    char *data;
    size_t size, capacity;
    int error; // sticks: later calls do nothing
};
void bl_html(struct bl_html *html, const char *format, ...) BL_PRINTF(2, 3); // as it stands
/* A page until its content, which has no title yet, and from there: it is written unless code is an error, which is
 * returned; html is freed. BLANCH_EIO, BLANCH_ENOMEM. */
void bl_html_begin(struct bl_html *html, const char *title);
int bl_html_end(struct bl_html *html, const char *path, int code);
/* Text from outside, for elements and attributes in quotes: escaped, and what is hidden or no UTF-8 as bl_text_show
 * shows it. NULL is empty. */
void bl_html_text(struct bl_html *html, const char *text);
void bl_html_said(struct bl_html *html, const char *text); // the same, `commands` within it as code
/* The same for a field of comma-separated values. What a spreadsheet would take for a formula gets a ' before it. */
void bl_csv_text(struct bl_html *csv, const char *text);
/* A cell that sorts by value (NAN: before all), and one that has no number. */
void bl_html_cell(struct bl_html *html, double value, const char *text);
void bl_html_share(struct bl_html *html, enum bl_limit limit, double part); // in per cent, or why it is above 100

/* A number as text, in a buffer of a small ring that later calls reuse: use it at once. */
const char *bl_ms(double ms);                   // "12.3", three digits or so; "–" for NAN
const char *bl_signed_ms(double ms);            // "+1.23", "−0.40", "0"
const char *bl_percent(double percent);         // "+26 %", "−3.1 %"
const char *bl_whole(double value);             // "12,345"
const char *bl_fixed(double value, int digits); // after the point
const char *bl_short(double value);             // "1.2e+09"

extern const char bl_report_style[], bl_report_script[];

/* What a page calls a phase, and the class whose colour it has. */
const char *bl_phase_label(int phase);
const char *bl_phase_css(int phase);

struct bl_series {           // of a chart
    const char *label, *css; // css: the line's class
    int count;
    double *x, *y;
    int marked; // a point, counted from 1; 0: none
};
struct bl_chart {
    const char *title, *x_label, *y_label;
    const struct bl_series *series;
    int count;
    double y_low, y_high; // NAN: chosen
    bool whole_x;         // ticks of x are whole numbers
    bool powers_x;        // x are powers of ten; ticks are where the points are, and tell the numbers themselves
};
/* A figure whose text keeps its size whatever the page's width. Nothing where there are no two points. */
void bl_html_chart(struct bl_html *html, const struct bl_chart *chart);

/* A device's label: what tells it from others of that name in the results follows it. */
void bl_html_device(struct bl_html *html, const struct bl_result *results, int count, const struct bl_result *result,
                    int device);
/* The sections about one device of a comparison. */
void bl_html_pair(struct bl_html *html, const struct bl_result *result, const struct bl_pair_result *pair, bool many);
void bl_html_curves(struct bl_html *html, const struct bl_result *result, int device);
void bl_run_label(const struct bl_run_result *run, char *label, size_t size); // "ND, --refresh 5"
/* A cell with a run's learning rate, and whether it is the best or where it diverged. */
void bl_html_rate(struct bl_html *html, const struct bl_run_result *run);
/* Runs on different numbers of ranks; nothing where there are none. BLANCH_ENOMEM. */
int bl_html_scaling(struct bl_html *html, const struct bl_result *results, int count);
void bl_html_ranks(struct bl_html *html, const struct bl_run_result *run); // nothing where it has no others
/* A row of every run, and which device is fastest. */
void bl_html_overview(struct bl_html *html, const struct bl_result *results, int count);
/* What a step consists of: phases and layers, their work, fractions of the limits; bars where wanted. */
void bl_html_run(struct bl_html *html, const struct bl_run_result *run, bool bars);
void bl_html_legend(struct bl_html *html, const double *ms); // (BL_PHASES) of those that took any
/* A bar of a layer's phases, whose full width is `scale` ms. */
void bl_html_bar(struct bl_html *html, const char *who, const double *phases, double scale);
/* Where a step's time goes, with both norms: phases, and the layers of each. */
void bl_html_flame(struct bl_html *html, const struct bl_pair_result *pair);
/* Which rows of several documents may be compared, and whether they differ. BLANCH_ENOMEM. */
int bl_html_differences(struct bl_html *html, const struct bl_result *results, int count);
/* All curves of several results in one picture. */
void bl_html_joint_curves(struct bl_html *html, const struct bl_result *results, int count);
/* Every cell learns its column's head, which a narrow page shows beside it. */
void bl_html_label_cells(struct bl_html *html);
void bl_html_eval(struct bl_html *html, const struct bl_eval_result *eval); // NULL: nothing
/* What a run's budget decided; nothing where it has none. */
void bl_html_budget(struct bl_html *html, const struct bl_pair_result *pair, const struct bl_run_result *run);

#endif
