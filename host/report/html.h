/* Building HTML in memory, reading numbers out of JSON, printing them with sensible digits. */
#ifndef BL_HTML_H
#define BL_HTML_H

#include "io/document.h"

struct bl_html { // start from zero; free data
    char *data;
    size_t size, capacity;
    int error; // sticks: later calls do nothing
};
void bl_html(struct bl_html *html, const char *format, ...) BL_PRINTF(2, 3); // as it stands
void bl_html_text(struct bl_html *html, const char *text);                   // escaped; NULL is empty

/* A number as text, in a buffer of a small ring that later calls reuse: use it at once. */
const char *bl_ms(double ms);           // "12.3", three digits or so; "–" for NAN
const char *bl_signed_ms(double ms);    // "+1.23", "−0.40", "0"
const char *bl_percent(double percent); // "+26 %", "−3.1 %"
const char *bl_whole(double value);     // "12,345"

extern const char bl_report_style[], bl_report_script[];

struct bl_series {           // of a chart
    const char *label, *css; // css: the line's class
    int count;
    double *x, *y;
};
struct bl_chart {
    const char *title, *x_label, *y_label;
    const struct bl_series *series;
    int count;
    double y_low, y_high; // NAN: chosen
    bool whole_x;         // ticks of x are whole numbers
};
/* A figure whose text keeps its size whatever the page's width. Nothing where there are no two points. */
void bl_html_chart(struct bl_html *html, const struct bl_chart *chart);

/* The sections about one device of a comparison. */
void bl_html_pair(struct bl_html *html, const cJSON *document, const cJSON *pair, bool many);
void bl_html_curves(struct bl_html *html, const cJSON *document, const char *device);
/* setting NULL: any. NULL: none. */
const cJSON *bl_compare_run(const cJSON *document, const char *device, const char *norm, const char *setting);
void bl_run_label(const cJSON *run, char *label, size_t size); // "ND, --refresh 5"
/* A row of every run, and which device is fastest. */
void bl_html_overview(struct bl_html *html, const cJSON *const *documents, int count);
/* What a step consists of: phases and layers, their work, fractions of the limits; bars where wanted. */
void bl_html_run(struct bl_html *html, const cJSON *run, bool bars);
/* All curves of several documents in one picture. */
void bl_html_joint_curves(struct bl_html *html, const cJSON *const *documents, int count);
/* Every cell learns its column's head, which a narrow page shows beside it. */
void bl_html_label_cells(struct bl_html *html);
const cJSON *bl_last_epoch(const cJSON *run);
/* Its steps differ, some refresh the whitening and some do not: means speak for it, not medians. */
bool bl_pair_varies(const cJSON *pair);
double bl_pair_overhead(const cJSON *pair); // per cent over BN
/* What a run's budget decided; nothing where it has none. */
void bl_html_budget(struct bl_html *html, const cJSON *pair, const cJSON *run);

#endif
