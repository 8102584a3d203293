/* Line charts. The lines are SVG, stretched to the page's width; the figures beside them are text placed in per cent,
 * so that they keep their size on a phone. */
#include "html.h"
#include <math.h>
#include <stdlib.h>

struct span {
    double low, high, step;
}; // of an axis; step between ticks

enum { MOST_TICKS = 12 };

/* What is drawn: numbers whose differences and squares are numbers. */
static bool shown(double value) {
    return fabs(value) <= 1e100;
}

static bool usable(const struct bl_series *series) {
    int points = 0;
    for (int i = 0; i < series->count; i++) points += shown(series->x[i]) && shown(series->y[i]);
    return points > 1;
}

static double nice_step(double range, int ticks) {
    double raw = range / ticks, power = pow(10, floor(log10(raw))), part = raw / power;
    return power * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The first losses may be many times the later ones: the axis ends at four medians, and the line leaves it at the top.
 */
static double high_of(struct bl_html *html, const struct bl_chart *chart) {
    double *all = NULL, high = 1;
    size_t capacity = 0, used = 0;
    for (int s = 0; s < chart->count; s++)
        for (int i = 0; i < chart->series[s].count; i++) {
            void *grown = all;
            if (!shown(chart->series[s].y[i])) continue;
            if ((html->error = bl_grow(&grown, &capacity, used + 1, sizeof *all))) goto done;
            all = grown;
            all[used++] = chart->series[s].y[i];
        }
    if (!used) goto done;
    qsort(all, used, sizeof *all, compare_doubles);
    high = fmin(all[used - 1], 4 * all[used / 2]);
done:
    free(all);
    return high > 0 ? high : 1;
}

static double low_of(const struct bl_chart *chart) {
    double low = INFINITY;
    for (int s = 0; s < chart->count; s++)
        for (int i = 0; i < chart->series[s].count; i++)
            if (shown(chart->series[s].y[i])) low = fmin(low, chart->series[s].y[i]);
    return low;
}

/* An axis of values that are equal, or closer together than a few of their last digits, gets a length. */
static void widen(struct span *axis) {
    double least = 1e-9 * fmax(fabs(axis->low), fabs(axis->high));
    if (!(axis->high > axis->low)) axis->high = axis->low + 1;
    if (axis->high - axis->low < fmax(least, 1e-100)) axis->high = axis->low + fmax(1, 1e3 * least);
}

static struct span y_axis(struct bl_html *html, const struct bl_chart *chart) {
    struct span y = {isnan(chart->y_low) ? low_of(chart) : chart->y_low,
                     isnan(chart->y_high) ? high_of(html, chart) : chart->y_high, 1};
    widen(&y);
    y.step = nice_step(y.high - y.low, 5);
    y.low = floor(y.low / y.step) * y.step;
    y.high = ceil(y.high / y.step - 1e-9) * y.step;
    return y;
}

static struct span x_axis(const struct bl_chart *chart) {
    struct span x = {INFINITY, -INFINITY, 1};
    for (int s = 0; s < chart->count; s++)
        for (int i = 0; i < chart->series[s].count; i++) {
            if (!shown(chart->series[s].x[i])) continue;
            x.low = fmin(x.low, chart->series[s].x[i]);
            x.high = fmax(x.high, chart->series[s].x[i]);
        }
    if (!chart->powers_x && x.low > 0 && x.low < x.high / 4) x.low = 0;
    widen(&x);
    x.step = nice_step(x.high - x.low, 5);
    if (chart->whole_x && x.step < 1) x.step = 1;
    return x;
}

/* In per cent of the axis; a line that leaves it goes far, but not beyond what a browser computes with. */
static double place(const struct span *axis, double value) {
    return fmax(-1e4, fmin(1e4, bl_percent_of(value - axis->low, axis->high - axis->low)));
}

/* The t-th tick of an axis whose first is at `first`. */
static bool tick_at(const struct span *axis, double first, int t, double *at) {
    *at = first + t * axis->step;
    return t < MOST_TICKS && *at <= axis->high + axis->step / 1e6;
}

static const char *tick_text(const struct span *axis, double value) {
    bool plain = axis->step >= 0.00999 && fabs(value) < 1e7;
    int digits = axis->step < 0.0999 ? 2 : axis->step < 0.999 ? 1 : 0;
    return plain ? bl_fixed(value, digits) : bl_short(fabs(value) < axis->step / 2 ? 0 : value);
}

static void draw_lines(struct bl_html *html, const struct bl_chart *chart, const struct span *x, const struct span *y) {
    double value;
    for (int t = 0; tick_at(y, y->low, t, &value); t++) {
        double at = 100 - place(y, value);
        bl_html(html, "<line class=\"grid\" x1=\"0\" x2=\"100\" y1=\"%.2f\" y2=\"%.2f\"/>", at, at);
    }
    for (int s = 0; s < chart->count; s++) {
        const struct bl_series *series = &chart->series[s];
        bool pen_up = true;
        bl_html(html, "<path class=\"line %s\" d=\"", series->css);
        for (int i = 0; i < series->count; i++) {
            if (!shown(series->x[i]) || !shown(series->y[i])) {
                pen_up = true;
                continue;
            }
            bl_html(html, "%c%.2f %.2f", pen_up ? 'M' : 'L', place(x, series->x[i]), 100 - place(y, series->y[i]));
            pen_up = false;
        }
        bl_html(html, "\"/>");
        if (series->marked)
            bl_html(html, "<path class=\"line dot %s\" d=\"M%.2f %.2fh.01\"/>", series->css,
                    place(x, series->x[series->marked - 1]), 100 - place(y, series->y[series->marked - 1]));
    }
}

/* The least x of any point above the given one; NAN: there is none. */
static double next_x(const struct bl_chart *chart, double above) {
    double least = NAN;
    for (int s = 0; s < chart->count; s++)
        for (int i = 0; i < chart->series[s].count; i++)
            if (shown(chart->series[s].x[i]) && chart->series[s].x[i] > above + 1e-9)
                least = fmin(least, chart->series[s].x[i]);
    return least;
}

static void draw_powers(struct bl_html *html, const struct bl_chart *chart, const struct span *x) {
    double at = -INFINITY;
    for (int t = 0; t < MOST_TICKS && !isnan(at = next_x(chart, at)); t++)
        bl_html(html, "<span class=\"x\" style=\"left:%.2f%%\">%.3g</span>", place(x, at), pow(10, at));
}

static void draw_ticks(struct bl_html *html, const struct bl_chart *chart, const struct span *x, const struct span *y) {
    double at, first = ceil(x->low / x->step - 1e-9) * x->step;
    for (int t = 0; tick_at(y, y->low, t, &at); t++)
        bl_html(html, "<span class=\"y\" style=\"bottom:%.2f%%\">%s</span>", place(y, at), tick_text(y, at));
    if (chart->powers_x) {
        draw_powers(html, chart, x);
        return;
    }
    for (int t = 0; tick_at(x, first, t, &at); t++)
        bl_html(html, "<span class=\"x\" style=\"left:%.2f%%\">%s</span>", place(x, at),
                tick_text(x, fabs(at) < x->step / 2 ? 0 : at));
}

/* What the legend tells: of the marked point, else of the last. */
static double last_value(const struct bl_series *series) {
    if (series->marked) return series->y[series->marked - 1];
    for (int i = series->count - 1; i >= 0; i--)
        if (shown(series->y[i])) return series->y[i];
    return NAN;
}

static void draw_legend(struct bl_html *html, const struct bl_chart *chart) {
    bl_html(html, "<ul class=\"legend\">");
    for (int s = 0; s < chart->count; s++) {
        double last = last_value(&chart->series[s]);
        bl_html(html, "<li><svg class=\"key\" viewBox=\"0 0 24 8\"><path class=\"line %s\" d=\"M0 4L24 4\"/></svg>",
                chart->series[s].css);
        bl_html_text(html, chart->series[s].label);
        bl_html(html, " <span class=\"num\">%s</span></li>", bl_fixed(last, last < 10 ? 3 : 1));
    }
    bl_html(html, "</ul>");
}

void bl_html_chart(struct bl_html *html, const struct bl_chart *chart) {
    bool any = false;
    for (int s = 0; s < chart->count; s++) any |= usable(&chart->series[s]);
    if (!any) return;
    struct span x = x_axis(chart), y = y_axis(html, chart);
    bl_html(html, "<figure class=\"chart\"><figcaption>%s</figcaption>", chart->title);
    draw_legend(html, chart);
    bl_html(html,
            "<div class=\"plot\"><svg viewBox=\"0 0 100 100\" preserveAspectRatio=\"none\" role=\"img\" "
            "aria-label=\"%s\">",
            chart->title);
    draw_lines(html, chart, &x, &y);
    bl_html(html, "</svg>");
    draw_ticks(html, chart, &x, &y);
    bl_html(html, "</div><p class=\"axis\">%s</p></figure>\n", chart->x_label);
}
